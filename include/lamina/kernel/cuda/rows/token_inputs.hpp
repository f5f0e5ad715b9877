#pragma once
#include <lamina/kernel/rows/token_inputs.hpp>

template <>
struct lamina::kernel::token_inputs<lamina::Cuda> {
  static void forward(Stream<Cuda> s, const TokenInputs& a);
};
