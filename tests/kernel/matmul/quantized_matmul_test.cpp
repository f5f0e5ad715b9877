#include <lamina/core/quantization/quantize.hpp>
#include <lamina/kernel/cpu/matmul/matmul.hpp>

#include "kernel/random_matrix.hpp"
#include "support/catch.hpp"

using namespace lamina;
using namespace lamina::kernel;
using test::RandomMatrix;
using Code = Quantization::Code;

namespace {

/// Two matrices of k columns, one above the other, quantised, and the same read back.
struct Pair {
  std::vector<std::byte> bytes[2];
  QuantizedMatrix parts[2];
  RandomMatrix<float> read;
  Weight weight;

  Pair(const Quantization& q, int n, int k) : read(n, k, 2, 0) {
    const int rows[] = {n / 3, n - n / 3};
    for (int p = 0, first = 0; p < 2; first += rows[p], ++p) {
      bytes[p].resize(QuantizedLayout(q, rows[p], k).bytes);
      quantize(q, rows[p], k, &read(first, 0), bytes[p].data());
      parts[p] = {q, rows[p], k, bytes[p].data()};
      for (int r = 0; r < rows[p]; ++r) parts[p].decode(r, 0, k, &read(first + r, 0));
    }
    weight = {bytes[0].data(), DType::U8, n, k, k, parts};
  }
};

}  // namespace

TEST_CASE("matmul: products with quantised weights are those with the values that they stand for") {
  for (const Quantization& q : {Quantization::four_bit(Code::nf4, true), Quantization::four_bit(Code::fp4, false),
                                Quantization::llm_int8(), Quantization::fp8_rows()})
    for (const auto& [m, n, k] : {std::array{1, 33, 64}, {40, 70, 96}, {33, 129, 704}}) {
      CAPTURE(name_of(q), m, n, k);
      Pair w(q, n, k);
      RandomMatrix<float> x(m, k, 1), y(m, n, 3), plain = y, dy(m, n, 4), dx(m, k, 5), dx_plain = dx;
      matmul<Cpu>::forward({}, MatmulFwd<float>{x, w.weight, nullptr, y});
      plain::matmul_forward(MatmulFwd<float>{x, w.read.weight(), nullptr, plain});
      matmul<Cpu>::backward_input({}, MatmulBwdInput<float>{dy, w.weight, dx});
      plain::matmul_backward_input(MatmulBwdInput<float>{dy, w.read.weight(), dx_plain});
      const auto differs = [](RandomMatrix<float>& a, RandomMatrix<float>& b, int length) {
        float most = 0;
        for (int i = 0; i < a.rows; ++i)
          for (int j = 0; j < a.cols; ++j) most = std::max(most, std::fabs(a(i, j) - b(i, j)));
        return most > test::sum_tolerance(length) * static_cast<float>(length) * 16;
      };
      CHECK(!differs(y, plain, k));
      CHECK(!differs(dx, dx_plain, n));
      RandomMatrix<float> specified = y;
      plain::matmul_forward(MatmulFwd<float>{x, w.weight, nullptr, specified});
      CHECK(specified.same_bits(plain));
    }
}
