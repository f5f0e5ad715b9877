#pragma once
#include <lamina/kernel/add_norm.hpp>
#include <lamina/kernel/cuda/rows/norm_rows.hpp>

template <>
struct lamina::kernel::add_rms_norm<lamina::Cuda> : lamina::kernel::norm_by_rows<lamina::Cuda> {};
template <>
struct lamina::kernel::add_layer_norm<lamina::Cuda> : lamina::kernel::norm_by_rows<lamina::Cuda> {};
