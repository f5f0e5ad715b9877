#pragma once
#include <lamina/kernel/add_norm.hpp>
#include <lamina/kernel/cpu/norm_rows.hpp>

template <>
struct lamina::kernel::add_rms_norm<lamina::Cpu> : lamina::kernel::norm_by_rows<lamina::Cpu> {};
template <>
struct lamina::kernel::add_layer_norm<lamina::Cpu> : lamina::kernel::norm_by_rows<lamina::Cpu> {};
