#pragma once
#include <cstddef>
#include <cstdint>

#include <lamina/core/error.hpp>
#include <lamina/core/list.hpp>
#include <lamina/core/name.hpp>
#include <lamina/core/tensor/dtype.hpp>
#include <lamina/core/tensor/shape.hpp>
#include <lamina/core/tensor/view.hpp>

namespace lamina {

/// How a parameter starts when no checkpoint gives it.
namespace init {
struct zeros {};
struct ones {};
struct normal {};     ///< N(0, 0.02), initializer_range of these families
struct row_norms {};  ///< the length of each row of the layer's matrix
struct kaiming {};    ///< U(-1/sqrt(fan_in), 1/sqrt(fan_in)): torch's kaiming_uniform_(a = sqrt 5)
}  // namespace init

/// What else a Param may be: never trained, although its neighbours are; kept in fp32 for whoever reads it, whatever
/// activations are.
struct Fixed {};
struct Fp32 {};

/// A parameter of a layer: its name below the layer's path, its shape, its initial values.
template <class Name, class Shape_, class Init = init::normal, class... How>
struct Param {
  using name = Name;
  using shape = Shape_;
  using init = Init;
  static constexpr bool learns = !list_has<List<How...>, Fixed>, fp32 = list_has<List<How...>, Fp32>;
};
/// The parameters of a layer, in the order in which forward and backward receive them.
template <class... P>
using ParamList = List<P...>;

struct QuantizedMatrix;  // core/quantization/matrix.hpp

/// A weight matrix (rows, cols) whose element type is known at run time (F32, BF16 or F16): a checkpoint keeps its own.
struct Weight {
  const void* data = nullptr;
  DType dtype = DType::F32;
  int rows = 0, cols = 0;
  std::ptrdiff_t stride = 0;
  /// If it is quantised, how: the matrix, or several one above the other whose rows are these. Then dtype is U8, which
  /// whoever does not know about it refuses.
  const QuantizedMatrix* quantized = nullptr;
};

namespace kernel {
struct RowTerms;  // kernel/matmul/add_adapters.hpp
}

/// One parameter at run time. Matrices keep the checkpoint's element type; vectors are stored as activations are.
struct Parameter {
  Weight value;
  float* grad = nullptr;  ///< where gradients add up, fp32; null: frozen
  float scale = 1;        ///< of a branch's product
  float dropout = 0;      ///< of a branch's input: probability that an element is zeroed
  bool folded = false;    ///< value is a window of a matrix that a fused layer's tensors share (Weights)
  std::uint64_t id = 0;   ///< differs between tensors of a model: each branch drops elements of its own
  const kernel::RowTerms* row_terms = nullptr;  ///< of which each row may choose one (Context::term_slots); null: none

  /// A vector. Error if it has another element type than T, or another extent than D.
  template <class T, int D>
  View<const T, D> vector() const {
    if (value.dtype != dtype_of<T> || value.rows * value.cols != D)
      misread(cat("vector<", name_of(dtype_of<T>), ", ", D, ">()"));
    return View<const T, D>(static_cast<const T*>(value.data));
  }
  /// A matrix. Error if it has another element type than T.
  template <class T>
  Matrix<const T> matrix() const {
    if (value.dtype != dtype_of<T>) misread(cat("matrix<", name_of(dtype_of<T>), ">()"));
    return {static_cast<const T*>(value.data), value.rows, value.cols, value.stride};
  }
  Matrix<float> matrix_grad() const { return {grad, value.rows, value.cols}; }

 private:
  [[noreturn]] void misread(const std::string& as) const {
    fail("a parameter of ", value.rows, " x ", value.cols, " values of ", name_of(value.dtype), " is read by ", as,
         ": its extents are those of the layer's params; frozen matrices keep the element type of their file, so a ",
         "layer that reads one itself converts it (kernel/cpu/arrays.hpp)");
  }
};

}  // namespace lamina
