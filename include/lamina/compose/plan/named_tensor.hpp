#pragma once
#include <cmath>
#include <cstring>
#include <ostream>
#include <set>
#include <span>
#include <string>
#include <vector>

#include <lamina/compose/plan/by_name.hpp>
#include <lamina/compose/plan/weights.hpp>

namespace lamina {

/// A part of a model's weights, by name (compose/plan/by_name.hpp). Of a single tensor, or of a layer with one that is
/// called weight, it has the values:
///
///     Weights<Model, float> weights = initialised<Model>(1);
///     auto up = named(weights)[language_model{}][layers{}[7]][mlp{}][up_proj{}];
///     std::cout << up;
///     kernel::array_of(up.matrix()) *= 0.5f;
template <class W, class M>
class NamedTensors {
 public:
  NamedTensors(W& weights, TensorPlace<M> place) : weights_(weights), place_(place) {}

  template <class Name>
  auto operator[](Name name) const {
    const auto place = place_[name];
    return NamedTensors<W, part_of<decltype(place)>>(weights_, place);
  }

  const TensorSlot& slot() const { return weights_.slots()[index()]; }
  Parameter& parameter() const { return weights_.parameters()[index()]; }
  std::string name() const { return slot().name(); }

  /// The values in place. Error if they are not fp32 in the host's memory.
  Matrix<float> matrix() const {
    const Weight& value = parameter().value;
    if (Memory<typename W::backend>::remote || slot().dtype != DType::F32 || value.dtype != DType::F32)
      fail(name(), ": values of ", name_of(value.dtype),
           ", or on a GPU, are read with values() and written with set()");
    return {const_cast<float*>(static_cast<const float*>(value.data)), value.rows, value.cols, value.stride};
  }
  /// Where its gradient adds up. Error if it is frozen, or on a GPU.
  Matrix<float> gradient() const {
    if (Memory<typename W::backend>::remote || !parameter().grad)
      fail(name(), ": no gradient is here: the tensor is frozen, or on a GPU");
    return parameter().matrix_grad();
  }
  /// A copy of the values, row by row, from wherever they are.
  std::vector<float> values() const {
    const auto count = static_cast<std::size_t>(slot().spec.count());
    std::vector<std::byte> bytes(count * size_bytes(slot().dtype));
    Memory<typename W::backend>::download(weights_.stream(), bytes.data(), weights_.data(slot()), bytes.size());
    std::vector<float> out(count);
    visit(bytes.data(), [&](auto* stored) {
      for (std::size_t i = 0; i < count; ++i) out[i] = to_f32(stored[i]);
    });
    return out;
  }
  /// Writes all values, each rounded to the element type that is stored. Error if there are more or fewer.
  void set(std::span<const float> values) const {
    if (values.size() != static_cast<std::size_t>(slot().spec.count()))
      fail(name(), ": has ", slot().spec.count(), " values, got ", values.size());
    weights_.fill(slot(), [&](std::span<std::byte> to) {
      visit(to.data(), [&](auto* stored) {
        for (std::size_t i = 0; i < values.size(); ++i)
          stored[i] = round_to<std::remove_pointer_t<decltype(stored)>>(values[i]);
      });
    });
  }

  /// Its name, shape and element type, whether it learns, its L2 norm and first values.
  friend std::ostream& operator<<(std::ostream& out, const NamedTensors& tensor) {
    const TensorSlot& slot = tensor.slot();
    const std::vector<float> values = tensor.values();
    double squares = 0;
    for (const float v : values) squares += double{v} * v;
    out << slot.name() << " (";
    for (int i = 0; i < slot.spec.rank; ++i) out << (i ? ", " : "") << slot.spec.extents[static_cast<std::size_t>(i)];
    out << ") " << name_of(slot.dtype) << (slot.learns ? "" : " frozen") << ", norm " << std::sqrt(squares) << ":";
    constexpr std::size_t shown = 4;
    for (std::size_t i = 0; i < std::min(shown, values.size()); ++i) out << " " << values[i];
    return out << (values.size() > shown ? " ..." : "");
  }

 private:
  template <class Place>
  struct PartOf;
  template <class Part>
  struct PartOf<const TensorPlace<Part>> {
    using type = Part;
  };
  template <class Place>
  using part_of = typename PartOf<Place>::type;

  /// Of the tensor that is meant.
  std::size_t index() const {
    if constexpr (TensorPlace<M>::count == 1)
      return static_cast<std::size_t>(place_.first);
    else
      return static_cast<std::size_t>(place_[name::weight{}].first);
  }
  template <class F>
  void visit(std::byte* stored, F f) const {
    switch (slot().dtype) {
      case DType::F32:
        return f(reinterpret_cast<float*>(stored));
      case DType::BF16:
        return f(reinterpret_cast<bf16*>(stored));
      case DType::F16:
        return f(reinterpret_cast<f16*>(stored));
      default:
        fail(name(), ": values of ", name_of(slot().dtype), " are not weights");
    }
  }

  W& weights_;
  TensorPlace<M> place_;
};

/// All of a model's weights, by name.
template <class Model, class T, Backend B>
NamedTensors<Weights<Model, T, B>, Model> named(Weights<Model, T, B>& weights) {
  return {weights, tensors<Model>};
}

/// For Weights<Model, ...>(all_but<Model>(tensors<Model>[visual{}], ...)): everything fp32, and all learns but these
/// parts.
template <class Model, class... M>
typename TensorMemory<float>::Choose all_but(TensorPlace<M>... frozen) {
  const std::vector<TensorSpec> all = list_tensors<Model>();
  std::set<std::string> names;
  const auto add = [&](int first, int count) {
    for (int i = first; i < first + count; ++i) names.emplace(all[static_cast<std::size_t>(i)].path.view());
  };
  (add(frozen.first, TensorPlace<M>::count), ...);
  return [names](const TensorSpec& spec) {
    return TensorChoice{.learns = !names.contains(std::string(spec.path.view()))};
  };
}

}  // namespace lamina
