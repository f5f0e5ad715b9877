#pragma once
#include <lamina/kernel/logits/preference.hpp>

template <>
struct lamina::kernel::preference<lamina::Cuda> {
  static void weigh(Stream<Cuda> s, const WeighAnswers& a);
};
