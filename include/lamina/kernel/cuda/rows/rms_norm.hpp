#pragma once
#include <lamina/kernel/cuda/rows/norm_rows.hpp>
#include <lamina/kernel/rms_norm.hpp>

template <>
struct lamina::kernel::rms_norm<lamina::Cuda> : lamina::kernel::norm_by_rows<lamina::Cuda> {};
