#pragma once
#include <lamina/kernel/cpu/norm/norm_rows.hpp>
#include <lamina/kernel/norm/layer_norm.hpp>

template <>
struct lamina::kernel::layer_norm<lamina::Cpu> : lamina::kernel::norm_by_rows<lamina::Cpu> {};
