#pragma once
#include <lamina/kernel/cuda/norm/norm_rows.hpp>
#include <lamina/kernel/norm/layer_norm.hpp>

template <>
struct lamina::kernel::layer_norm<lamina::Cuda> : lamina::kernel::norm_by_rows<lamina::Cuda> {};
