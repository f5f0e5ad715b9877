#pragma once
#include <lamina/kernel/cuda/norm/norm_rows.hpp>
#include <lamina/kernel/norm/add_norm.hpp>

template <>
struct lamina::kernel::add_rms_norm<lamina::Cuda> : lamina::kernel::norm_by_rows<lamina::Cuda> {};
template <>
struct lamina::kernel::add_layer_norm<lamina::Cuda> : lamina::kernel::norm_by_rows<lamina::Cuda> {};
