#pragma once
#include <algorithm>
#include <array>
#include <cstddef>

/// Numbers from -1 to 1 in 8 bits, finer near 0: a decimal exponent whose length varies, and a fraction in the bits
/// that are left. A block of 256 neighbours shares a factor, the largest magnitude among them.
/// source      Dettmers et al. 2022, arXiv:2110.02861, section 2; values as create_dynamic_map of bitsandbytes has them
namespace lamina {

inline constexpr int dynamic_codes = 256, dynamic_block = 256;

/// The values of the codes, ascending. Without signs there is one bit more for the fraction.
constexpr std::array<float, dynamic_codes> dynamic_map(bool with_signs) {
  constexpr double powers[] = {1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1};
  std::array<float, dynamic_codes> codes{};  // one of them is 0
  std::size_t used = 1;
  for (int exponent = 0; exponent < 7; ++exponent) {
    const int steps = 1 << (exponent + (with_signs ? 0 : 1));
    const float step = (1.0f - 0.1f) / static_cast<float>(steps);
    // torch.linspace(0.1, 1): from both ends, each with a product and a sum that are rounded once
    const auto edge = [&](int i) {
      return i < (steps + 1) / 2 ? static_cast<float>(double{step} * i + double{0.1f})
                                 : static_cast<float>(1 - double{step} * (steps - i));
    };
    for (int i = 0; i < steps; ++i) {
      const float value = static_cast<float>(powers[exponent]) * ((edge(i) + edge(i + 1)) / 2);
      codes[used++] = value;
      if (with_signs) codes[used++] = -value;
    }
  }
  codes[used++] = 1;
  std::sort(codes.begin(), codes.end());
  return codes;
}

}  // namespace lamina
