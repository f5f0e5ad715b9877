#pragma once
#include <lamina/core/host/device.hpp>
#include <lamina/core/quantization/dynamic_map.hpp>

/// Codes of core/quantization/dynamic_map.hpp, on both backends.
namespace lamina::kernel {

/// The code whose value is nearest to x, of the larger one if there are two.
LAMINA_HD inline int nearest_code(float x, const float* codes) {
  int below = 0;  // codes whose midpoint to the next one is not above x
  for (int step = dynamic_codes / 2; step > 0; step /= 2)
    if (below + step < dynamic_codes && (codes[below + step - 1] + codes[below + step]) * 0.5f <= x) below += step;
  return below;
}
/// The same for codes with signs. No number changes its sign: a small negative one does not become 0.
LAMINA_HD inline int nearest_signed_code(float x, const float* codes) {
  const int code = nearest_code(x, codes);
  if (x < 0 && codes[code] >= 0) return code - 1;
  return x > 0 && codes[code] < 0 ? code + 1 : code;
}

}  // namespace lamina::kernel
