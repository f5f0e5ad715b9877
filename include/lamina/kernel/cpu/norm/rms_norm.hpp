#pragma once
#include <lamina/kernel/cpu/norm/norm_rows.hpp>
#include <lamina/kernel/norm/rms_norm.hpp>

template <>
struct lamina::kernel::rms_norm<lamina::Cpu> : lamina::kernel::norm_by_rows<lamina::Cpu> {};
