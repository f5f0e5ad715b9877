#pragma once
#include <span>
#include <string>
#include <vector>

#include <lamina/core/arena.hpp>
#include <lamina/core/error.hpp>
#include <lamina/core/tensors.hpp>

/// The tensors of a model in memory. What learns lies in one run of fp32 values, with gradients beside it in the same
/// order; frozen matrices keep the checkpoint's element type; frozen vectors are stored as activations are. Matrices of
/// the base model lie before those of adapters, vectors last, each in the model's order; the tensors that a fused layer
/// joins follow one another without a gap, so that it sees q, k and v as one matrix.
namespace lamina {

/// A tensor of a model with its place at run time. An adapter's rank is filled in.
struct TensorSlot {
  TensorSpec spec;
  std::size_t offset = 0;  ///< elements into the learning run, or bytes into the frozen block
  DType dtype = DType::F32;
  bool learns = false;
  std::string name() const { return std::string(spec.path.view()); }
};

template <class Model, class T>
class Weights {
 public:
  /// Decides per tensor: its element type while frozen (matrices only), an adapter's rank (0: none), whether it learns.
  struct Choice {
    DType dtype = DType::F32;
    int rank = 0;
    bool learns = true;
  };

  /// Everything fp32, and what the type lets learn learns.
  Weights() : Weights([](const TensorSpec&) { return Choice{}; }) {}
  template <class Choose>
  explicit Weights(Choose choose) {
    for_each_tensor<Model>([&](TensorSpec spec) {
      const Choice choice = choose(spec);
      if (spec.adapter)
        for (int& e : spec.extents)
          if (e == Dyn) e = choice.rank;
      TensorSlot slot{spec, 0, spec.rank == 1 ? dtype_of<T> : choice.dtype, spec.learns && choice.learns};
      if (slot.learns) slot.dtype = DType::F32;
      slots_.push_back(slot);
    });
    for (int kind : {0, 1, 2})
      for (TensorSlot& slot : slots_)
        if (kind_of(slot.spec) == kind) place(slot);
    frozen_ = aligned(frozen_);
  }

  const std::vector<TensorSlot>& slots() const { return slots_; }
  std::int64_t param_count() const {
    std::int64_t n = 0;
    for (const TensorSlot& slot : slots_) n += slot.spec.count();
    return n;
  }
  std::size_t learning_count() const { return learning_; }
  std::size_t frozen_bytes() const { return frozen_; }

  /// Takes the memory. Values are not set.
  void allocate(bool with_gradients) {
    frozen_block_ = Arena(frozen_);
    frozen_base_ = frozen_block_.take<std::byte>(frozen_);
    values_.assign(learning_, 0.0f);
    if (with_gradients) gradients_.assign(learning_, 0.0f);
    parameters_ = parameters_at(frozen_base_, values_.data(), with_gradients ? gradients_.data() : nullptr);
  }
  /// The parameters as they are with this memory; a plan gives addresses that nobody touches.
  std::vector<Parameter> parameters_at(std::byte* frozen, float* values, float* gradients) const {
    std::vector<Parameter> parameters;
    for (std::size_t i = 0; i < slots_.size(); ++i) {
      const TensorSlot& slot = slots_[i];
      Parameter p;
      const void* data = slot.learns ? static_cast<const void*>(values + slot.offset) : frozen + slot.offset;
      p.value = {data, slot.dtype, slot.spec.rows(), slot.spec.cols(), slot.spec.cols()};
      if (slot.learns && gradients) p.grad = gradients + slot.offset;
      p.scale = slot.spec.scale;
      p.id = (i + 1) * 0xD1B54A32D192ED03ull;
      parameters.push_back(p);
    }
    return parameters;
  }
  void* data(const TensorSlot& slot) {
    if (slot.learns) return values_.data() + slot.offset;
    return frozen_base_ + slot.offset;
  }
  std::span<float> values(const TensorSlot& slot) {
    return {values_.data() + slot.offset, static_cast<std::size_t>(slot.spec.count())};
  }
  std::span<float> values() { return values_; }
  std::span<float> gradients() { return gradients_; }
  Parameter* parameters() { return parameters_.data(); }
  const Parameter* parameters() const { return parameters_.data(); }

 private:
  static int kind_of(const TensorSpec& spec) { return spec.rank == 1 ? 2 : spec.adapter ? 1 : 0; }
  static std::size_t aligned(std::size_t bytes) {
    return (bytes + Arena::alignment - 1) / Arena::alignment * Arena::alignment;
  }
  void place(TensorSlot& slot) {
    const auto count = static_cast<std::size_t>(slot.spec.count());
    if (slot.learns) {
      slot.offset = learning_;
      learning_ += count;
    } else {
      if (!slot.spec.joined) frozen_ = aligned(frozen_);
      slot.offset = frozen_;
      frozen_ += count * size_bytes(slot.dtype);
    }
  }

  std::vector<TensorSlot> slots_;
  std::size_t learning_ = 0, frozen_ = 0;
  Arena frozen_block_;
  std::byte* frozen_base_ = nullptr;
  std::vector<float> values_, gradients_;
  std::vector<Parameter> parameters_;
};

}  // namespace lamina
