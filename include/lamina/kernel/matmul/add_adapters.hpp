#pragma once
#include <array>

#include <lamina/core/backend.hpp>
#include <lamina/core/error.hpp>
#include <lamina/core/tensor/param.hpp>
#include <lamina/core/tensor/view.hpp>

namespace lamina::kernel {

/// Whether adding an adapter's share to y costs as much as reading y again, so that the base product should add it.
template <class B>
inline constexpr bool folds_adapters = false;
template <>
inline constexpr bool folds_adapters<Cuda> = true;

/// The low-rank terms of a product, of which each row may choose one: the matrices of several adapters, each adapter's
/// in a slot of its own. The product may have several parts: layers that read the same x and whose outputs are side by
/// side (fuse/joint.hpp).
struct RowTerms {
  static constexpr int most_parts = 4;
  Weight a;  ///< (slots * parts * rank, K)
  Weight b;  ///< (slots * N, rank), scale included
  int slots = 0, rank = 0, parts = 1;
  std::array<int, most_parts> widths{};  ///< outputs of each part; N is their sum
  bool below_weight = false;             ///< a begins where the product's matrix W ends: [W; A] is one matrix

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

/// The rest of a product that was one with A: h = x [W; A]^T has x W^T and, of every adapter, t = x A_s^T.
///
///     z[n, o] = h[n, o] + bias[o] + sum_r B_s[o, r] h[n, N + s ranks + rank part(o) + r],   s = slots[n * slot_stride]
///     y = z + beta y;   if gated, y[n, o] = silu(z[n, o]) z[n, N/2 + o]
///
/// h (M, N + slots * ranks); y (M, N), gated (M, N/2). A row whose slot is negative has no sum
/// numerics   z in fp32. A row's result depends on no other row
/// source     Chen et al. 2023, arXiv:2310.18547, whose first launch the product with W stands for
template <class T>
struct AdaptedProduct {
  Matrix<const T> h;
  RowTerms adapters;
  const T* bias = nullptr;
  const int* slots = nullptr;
  int slot_stride = 1;
  Matrix<T> y;
  float beta = 0;
  bool gated = false;

  int outputs() const { return gated ? 2 * y.cols : y.cols; }
};

/// A backend without this kernel runs all models, but no adapters by name.
template <class B>
struct add_adapters {
  static void forward(auto...) { refuse(); }
  static void finish(auto...) { refuse(); }

 private:
  [[noreturn]] static void refuse() {
    fail("adapters by name: this backend has no kernel for them (kernel/matmul/add_adapters.hpp)");
  }
};

}  // namespace lamina::kernel
