#pragma once
#include <lamina/kernel/cpu/norm/norm_rows.hpp>
#include <lamina/kernel/norm/add_norm.hpp>

template <>
struct lamina::kernel::add_rms_norm<lamina::Cpu> : lamina::kernel::norm_by_rows<lamina::Cpu> {};
template <>
struct lamina::kernel::add_layer_norm<lamina::Cpu> : lamina::kernel::norm_by_rows<lamina::Cpu> {};
