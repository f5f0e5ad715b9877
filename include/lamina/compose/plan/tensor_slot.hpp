#pragma once
#include <cstddef>
#include <string>

#include <lamina/core/quantization/format.hpp>
#include <lamina/core/tensor/dtype.hpp>
#include <lamina/core/tensor/tensors.hpp>

namespace lamina {

/// A tensor of a model with its place at run time. An adapter's rank is filled in.
struct TensorSlot {
  TensorSpec spec;
  std::size_t offset = 0;  ///< elements into the learning run, or bytes into the frozen block
  DType dtype = DType::F32;
  Quantization quantization = {};  ///< of a frozen matrix that is stored so; then dtype is U8
  int rows_below = 0;              ///< TensorChoice's
  bool learns = false;
  float rate = 1;                 ///< of its learning rate over that of the others
  bool folded = false;            ///< a window of a folded matrix: a base matrix, or an adapter's half-precision copy
  std::size_t folded_offset = 0;  ///< bytes into the frozen block, of that window
  std::ptrdiff_t folded_stride = 0;  ///< elements from row to row of it
  bool folds_scaled = false;         ///< the copy holds scale * value: B, whose product counts scale times
  bool decays() const { return spec.rank > 1 || spec.added; }  ///< gains and biases of the model do not
  std::string name() const { return std::string(spec.path.view()); }
};

/// Decided per tensor: its element type while frozen (matrices only), an adapter's rank (0: none), whether it learns.
struct TensorChoice {
  DType dtype = DType::F32;
  int rank = 0;  ///< of an adapter whose type leaves it open; 0: none here
  bool learns = true;
  float rate = 1;  ///< of its learning rate over that of the others
  /// How it is stored while frozen, in place of dtype: the matrix of a linear layer, which products alone read.
  Quantization quantization = {};
  /// Rows of a frozen matrix, or of the one that it is joined with, that follow in memory for somebody else to use.
  int rows_below = 0;
};

}  // namespace lamina
