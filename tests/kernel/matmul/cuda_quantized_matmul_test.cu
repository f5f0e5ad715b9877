#include <lamina/core/quantization/quantize.hpp>
#include <lamina/kernel/cpu/plain.hpp>
#include <lamina/kernel/cuda/matmul/matmul.cuh>

#include <array>
#include "kernel/cuda_matrix.hpp"
#include "support/catch.hpp"

using namespace lamina;
using namespace lamina::kernel;
using testing::gpu;
using namespace lamina::test;
using Code = Quantization::Code;

namespace {

/// Two matrices of k columns, one above the other, quantised on the GPU, and on the host as they read back in T.
template <class T>
struct QuantizedPair {
  QuantizedMatrix parts[2];
  RandomMatrix<float> read;
  Weight weight;

  QuantizedPair(const Quantization& q, int n, int k) : read(n, k, 2, 0) {
    const int rows[] = {n / 3, n - n / 3};
    for (int p = 0, first = 0; p < 2; first += rows[p], ++p) {
      std::vector<std::byte> bytes(QuantizedLayout(q, rows[p], k).bytes);
      quantize(q, rows[p], k, read.data.data() + first * k, bytes.data());
      const QuantizedMatrix host(q, rows[p], k, bytes.data());
      for (int r = 0; r < rows[p]; ++r) host.decode(r, 0, k, read.data.data() + (first + r) * k);
      parts[p] = {q, rows[p], k, gpu().upload(bytes)};
    }
    for (float& v : read.data) v = to_f32(round_to<T>(v));
    weight = {parts[0].codes, DType::U8, n, k, k, parts};
  }
};

template <class T>
void check_products(const Quantization& q, const std::array<int, 3>& size) {
  const auto [m, n, k] = size;
  CAPTURE(name_of(q), m, n, k);
  gpu().release();
  QuantizedPair<T> w(q, n, k);
  RandomMatrix<T> x(m, k, 1, gap(k, true)), y(m, n, 3, gap(n, true)), dy(m, n, 4, gap(n, true)),
      dx(m, k, 5, gap(k, true));
  auto want = widened<T>(y), fx = widened<T>(x), want_dx = widened<T>(dx), fdy = widened<T>(dy);
  auto magnitude = want.magnitude(), ax = fx.magnitude(), aw = w.read.magnitude(), ady = fdy.magnitude(),
       dx_magnitude = want_dx.magnitude();
  plain::matmul_forward(MatmulFwd<float>{fx, w.read.weight(), nullptr, want.view()});
  plain::matmul_forward(MatmulFwd<float>{ax, aw.weight(), nullptr, magnitude.view()});
  plain::matmul_backward_input(MatmulBwdInput<float>{fdy, w.read.weight(), want_dx.view()});
  plain::matmul_backward_input(MatmulBwdInput<float>{ady, aw.weight(), dx_magnitude.view()});
  const MatmulFwd<T> forward{upload(x), w.weight, nullptr, upload(y)};
  ExactScratch scratch(matmul<Cuda>::workspace_bytes(forward));
  matmul<Cuda>::forward(scratch.stream(), forward);
  auto got = download(forward.y, y);
  CHECK(count_wrong(got, want, magnitude, k) == 0);
  const MatmulBwdInput<T> backward{upload(dy), w.weight, upload(dx)};
  ExactScratch other(matmul<Cuda>::workspace_bytes(backward));
  matmul<Cuda>::backward_input(other.stream(), backward);
  auto got_dx = download(backward.dx, dx);
  CHECK(count_wrong(got_dx, want_dx, dx_magnitude, n) == 0);
}

}  // namespace

TEMPLATE_TEST_CASE("matmul: on a GPU products with quantised weights are those with the values they stand for",
                   "[cuda]", float, bf16, f16) {
  for (const Quantization& q :
       {Quantization::four_bit(Code::nf4, true), Quantization::four_bit(Code::fp4, true),
        Quantization::four_bit(Code::nf4, false), Quantization::llm_int8(), Quantization::fp8_rows()})
    for (const auto& size : {std::array{1, 96, 64},
                             {3, 513, 776},
                             {1, 1024, 768},
                             {8, 33, 264},
                             {9, 264, 520},
                             {64, 1024, 512},
                             {333, 513, 96},
                             {300, 24, 264},
                             {270, 264, 24},
                             {515, 70, 40}})
      check_products<TestType>(q, size);
}
