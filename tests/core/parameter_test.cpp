#include <lamina/core/run.hpp>

#include <array>

#include "support/catch.hpp"
#include "support/error_of.hpp"

using namespace lamina;
using lamina::testing::contains, lamina::testing::error_of;

TEST_CASE("Parameter: a vector or a matrix that is read as another type, or another extent, is an error") {
  const std::array<float, 8> values{};
  Parameter vector, matrix, half;
  vector.value = {values.data(), DType::F32, 1, 8, 8};
  matrix.value = {values.data(), DType::F32, 2, 4, 4};
  half.value = {values.data(), DType::BF16, 2, 4, 4};
  CHECK(vector.vector<float, 8>().data() == values.data());
  CHECK(matrix.matrix<float>().cols == 4);
  CHECK(half.matrix<bf16>().rows == 2);
  CHECK(contains(error_of([&] { vector.vector<float, 16>(); }), "1 x 8 values of F32 is read by vector<F32, 16>()"));
  CHECK(contains(error_of([&] { vector.vector<bf16, 8>(); }), "is read by vector<BF16, 8>()"));
  CHECK(contains(error_of([&] { half.matrix<float>(); }), "2 x 4 values of BF16 is read by matrix<F32>()"));
}

TEST_CASE("Kept: where nothing is allocated, as in inference, writing it is an error") {
  Kept<4> kept;
  CHECK(contains(error_of([&] { kept(0, 0) = 1; }), "Kept<4>: nothing is kept in this mode"));
  CHECK(contains(error_of([&] { kept.row(0)[0] = 1; }), "ask `if (saved.member)`"));
  Arena arena(1024);
  kept.allocate(arena, 2);
  kept(1, 3) = 5;
  CHECK(kept.row(1)[3] == 5);
}
