#pragma once
#include <array>

#include <lamina/core/backend.hpp>
#include <lamina/core/error.hpp>
#include <lamina/core/tensor/param.hpp>
#include <lamina/core/tensor/view.hpp>

namespace lamina::kernel {

/// The low-rank terms of a product, of which each row may choose one: the matrices of several adapters, each adapter's
/// in a slot of its own. The product may have several parts: layers that read the same x and whose outputs are side by
/// side (fuse/joint.hpp).
struct RowTerms {
  static constexpr int most_parts = 4;
  Weight a;  ///< (slots * parts * rank, K)
  Weight b;  ///< (slots * N, rank), scale included
  int slots = 0, rank = 0, parts = 1;
  std::array<int, most_parts> widths{};  ///< outputs of each part; N is their sum

  int ranks() const { return parts * rank; }
};

/// Adds what the adapter of each row adds to a product.
///
///     t[n] = A_s x[n],   y[n, o] += sum_r B_s[o, r] t[n, rank * part(o) + r],   s = slots[n * slot_stride]
///
/// x (M, K); y (M, N). A row whose slot is negative stays as it is
/// numerics   sums in fp32; t is rounded to T; y is rounded once more. A row's result depends on no other row
/// source     Chen et al. 2023, arXiv:2310.18547: adapters of many requests in one launch
template <class T>
struct AddAdapters {
  Matrix<const T> x;
  RowTerms adapters;
  const int* slots = nullptr;
  int slot_stride = 1;
  Matrix<T> y;
};

/// A backend without this kernel runs all models, but no adapters by name.
template <class B>
struct add_adapters {
  static void forward(auto...) {
    fail("adapters by name: this backend has no kernel for them (kernel/matmul/add_adapters.hpp)");
  }
};

}  // namespace lamina::kernel
