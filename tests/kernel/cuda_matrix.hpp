#pragma once
#include "random_matrix.hpp"
#include "support/catch.hpp"
#include "support/cuda.cuh"

/// Random matrices on the GPU, and how far a kernel's sums may be from the specification's.
namespace lamina::test {

/// Rows end 3 elements before the next begins, or at the next multiple of 8: whether 16-byte pieces are aligned.
inline int gap(int cols, bool aligned) { return aligned ? (8 - cols % 8) % 8 : 3; }

template <class T>
Matrix<T> upload(const RandomMatrix<T>& m) {
  return {testing::gpu().upload(m.data), m.rows, m.cols, m.stride};
}
template <class T>
Weight upload_weight(const RandomMatrix<T>& m) {
  return {testing::gpu().upload(m.data), dtype_of<T>, m.rows, m.cols, m.stride};
}
/// m as the device has it now.
template <class T>
RandomMatrix<T> download(const Matrix<T>& from, const RandomMatrix<T>& like) {
  RandomMatrix<T> m = like;
  m.data = testing::gpu().download(from.data, like.data.size());
  return m;
}
/// The same values in fp32, each first rounded to R.
template <class R, class T>
RandomMatrix<float> widened(RandomMatrix<T>& m) {
  RandomMatrix<float> w(m.rows, m.cols, 0, static_cast<int>(m.stride) - m.cols);
  for (int i = 0; i < m.rows; ++i) {
    for (int j = 0; j < m.cols; ++j) w(i, j) = to_f32(round_to<R>(to_f32(m(i, j))));
  }
  return w;
}

/// Half a unit in the last place of T, relative; what rounding a result to T costs.
template <class T>
inline constexpr float rounding = std::is_same_v<T, float>  ? 0x1p-24f
                                  : std::is_same_v<T, bf16> ? 0x1p-8f
                                                            : 0x1p-11f;

/// Tensor cores cut off what IEEE addition rounds, so each step errs by up to 2^-23: twice test::sum_tolerance.
inline float mma_tolerance(int length) { return 2 * sum_tolerance(length); }

/// Elements that are further from `want` than a sum of `length` terms of total size `magnitude`, rounded to T, may be.
/// Some of cuBLASLt's kernels round the sum to T before they add the bias and beta * y, which are at most `added`.
/// Tells the first.
template <class T>
int count_wrong(RandomMatrix<T>& got, RandomMatrix<float>& want, RandomMatrix<float>& magnitude, int length,
                float added = 0) {
  int wrong = 0;
  for (int i = 0; i < want.rows; ++i) {
    for (int j = 0; j < want.cols; ++j) {
      const float bound =
          mma_tolerance(length) * magnitude(i, j) + rounding<T> * (2 * std::fabs(want(i, j)) + added) + 0x1p-24f;
      if (std::fabs(to_f32(got(i, j)) - want(i, j)) <= bound) continue;
      if (wrong++ == 0)
        UNSCOPED_INFO("(" << i << ", " << j << "): got " << to_f32(got(i, j)) << ", want " << want(i, j));
    }
  }
  return wrong;
}

/// A stream whose scratch is as large as the kernel said, and no larger.
class ExactScratch {
 public:
  explicit ExactScratch(std::size_t bytes) : arena_(bytes, Memory<Cuda>{}) {
    kernel::cuda::check(cudaMemsetAsync(arena_.take<std::byte>(bytes), 0xff, bytes, stream().handle), "memset");
    arena_.release_to(0);
  }
  Stream<Cuda> stream() { return testing::gpu().device().stream(&arena_); }

 private:
  Arena arena_;
};

}  // namespace lamina::test
