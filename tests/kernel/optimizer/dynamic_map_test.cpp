#include <lamina/kernel/optimizer/dynamic_map.hpp>

#include <bit>
#include <cmath>
#include <vector>

#include "support/catch.hpp"

using namespace lamina;
using namespace lamina::kernel;

namespace {
/// FNV-1a of the codes' bits.
std::uint64_t hash(const std::array<float, dynamic_codes>& codes) {
  std::uint64_t h = 14695981039346656037u;
  for (const float code : codes)
    for (int shift = 0; shift < 32; shift += 8)
      h = (h ^ ((std::bit_cast<std::uint32_t>(code) >> shift) & 255)) * 1099511628211u;
  return h;
}
}  // namespace

TEST_CASE("dynamic_map: codes are those of bitsandbytes, bit for bit") {
  constexpr auto with_signs = dynamic_map(true), without = dynamic_map(false);
  CHECK(with_signs[128] == 0x1.27476ep-21f);
  CHECK(without[200] == 0x1.3bccccp-1f);
  CHECK(hash(with_signs) == 0xd677f22a96665bc4u);  // create_dynamic_map(True) of bitsandbytes 0.50
  CHECK(hash(without) == 0x43811b16730a873eu);     // create_dynamic_map(False)
}

TEST_CASE("dynamic_map: a number gets its nearest code, and keeps its sign") {
  for (const bool with_signs : {true, false}) {
    const auto codes = dynamic_map(with_signs);
    for (int i = 0; i < dynamic_codes; ++i) {
      CHECK(nearest_code(codes[i], codes.data()) == i);
      if (i == 0) continue;
      const float middle = (codes[i - 1] + codes[i]) * 0.5f;
      CHECK(nearest_code(std::nextafter(middle, -2.0f), codes.data()) == i - 1);
      CHECK(nearest_code(middle, codes.data()) == i);
    }
    CHECK(nearest_code(2, codes.data()) == dynamic_codes - 1);
    CHECK(nearest_code(-2, codes.data()) == 0);
  }
  const auto codes = dynamic_map(true);
  CHECK(codes[nearest_signed_code(-1e-9f, codes.data())] < 0);
  CHECK(codes[nearest_signed_code(1e-9f, codes.data())] == 0);
  CHECK(codes[nearest_signed_code(0, codes.data())] == 0);
}
