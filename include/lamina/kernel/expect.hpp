#pragma once
#include <lamina/core/error.hpp>
#include <lamina/core/tensor/param.hpp>

/// What every backend's kernels check of their arguments before they run.
namespace lamina::kernel::detail {

inline void expect_weight(const char* who, const Weight& w, bool may_be_quantized = false) {
  const bool plain = w.dtype == DType::F32 || w.dtype == DType::BF16 || w.dtype == DType::F16;
  if (!plain && !(may_be_quantized && w.quantized))
    fail(who, ": the weight is ", w.quantized ? "quantised" : name_of(w.dtype), ", wanted F32, BF16 or F16",
         may_be_quantized ? ", or a quantised one" : "");
}
inline void expect_shape(const char* who, const char* what, int got_rows, int got_cols, int rows, int cols) {
  if (got_rows != rows || got_cols != cols) {
    fail(who, ": ", what, " is (", got_rows, ", ", got_cols, "), wanted (", rows, ", ", cols, ")");
  }
}

template <class T>
void expect_packed(const char* what, const Matrix<T>& m) {
  if (m.stride != m.cols) fail(what, " has rows of ", m.cols, " that are ", m.stride, " apart, wanted no gaps");
}

}  // namespace lamina::kernel::detail
