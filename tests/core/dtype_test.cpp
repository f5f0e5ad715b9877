#include <lamina/core/tensor/dtype.hpp>
#include "support/catch.hpp"

#include <cmath>

using namespace lamina;

TEST_CASE("dtype: every finite half survives a trip through float") {
  for (std::uint32_t bits = 0; bits < 0x10000; ++bits) {
    const f16 h{static_cast<std::uint16_t>(bits)};
    if ((bits & 0x7c00u) == 0x7c00u && (bits & 0x3ffu)) continue;
    REQUIRE(round_to<f16>(to_f32(h)).bits == bits);
    const bf16 b{static_cast<std::uint16_t>(bits)};
    if ((bits & 0x7f80u) == 0x7f80u && (bits & 0x7fu)) continue;
    REQUIRE(round_to<bf16>(to_f32(b)).bits == bits);
  }
}

TEST_CASE("dtype: ties round to even and overflow becomes infinity") {
  CHECK(to_f32(round_to<bf16>(1.00390625f)) == 1.0f);  // halfway between 1 and 1.0078125
  CHECK(to_f32(round_to<bf16>(1.01171875f)) == 1.015625f);
  CHECK(to_f32(round_to<f16>(65519.9f)) == 65504.0f);
  CHECK(std::isinf(to_f32(round_to<f16>(65520.0f))));
  CHECK(to_f32(round_to<f16>(0x1p-25f)) == 0.0f);
  CHECK(std::isnan(to_f32(round_to<f16>(NAN))));
  CHECK(std::isnan(to_f32(round_to<bf16>(NAN))));
}
