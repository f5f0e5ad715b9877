#pragma once
#include <algorithm>
#include <functional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <lamina/compose/plan/row_sender.hpp>
#include <lamina/compose/plan/tensor_slot.hpp>
#include <lamina/core/arena.hpp>
#include <lamina/core/error.hpp>
#include <lamina/core/quantization/matrix.hpp>
#include <lamina/core/run.hpp>
#include <lamina/core/tensor/tensors.hpp>
#include <lamina/core/threads.hpp>
#include <lamina/kernel/device.hpp>
#include <lamina/kernel/optimizer/optimizer.hpp>
#include <lamina/layer/adapter/adapted_linear.hpp>
#include <lamina/parallel/share.hpp>

/// Tensors in memory: Weights<Model> those of a model, TensorMemory those of any list. Learning tensors are one run of
/// fp32 values, with gradients after them in the same order; frozen matrices keep the checkpoint's element type; frozen
/// vectors are stored as activations are. Matrices of the base model come before those of adapters, vectors last, each
/// in the model's order; the tensors that a fused layer joins follow one another without a gap, so that it sees q, k
/// and v as one matrix. If activations are half precision, what learns has a half-precision copy in the same order,
/// which the model reads and the optimizer renews.
namespace lamina {

template <class T, Backend B = Cpu>
class TensorMemory {
 public:
  using Copy = T;
  using backend = B;
  using Choice = TensorChoice;
  using Choose = std::function<Choice(const TensorSpec&)>;
  static constexpr bool has_copy = !std::is_same_v<T, float>;

  TensorMemory(std::vector<TensorSpec> tensors, const Choose& choose) {
    int outputs = 0;  // of the layer whose matrix came last
    for (TensorSpec& spec : tensors) {
      const Choice choice = choose(spec);
      if (!spec.added && spec.rank == 2) outputs = spec.rows();
      if (spec.added)
        for (int& e : spec.extents)
          if (e == Dyn) e = spec.rank == 2 ? choice.rank : choice.rank > 0 ? outputs : 0;
      TensorSlot slot{.spec = spec,
                      .dtype = spec.fp32        ? DType::F32
                               : spec.rank == 1 ? dtype_of<T>
                                                : choice.dtype,
                      .learns = spec.learns && choice.learns};
      if (slot.learns) slot.dtype = DType::F32;
      slot.rate = choice.rate;
      slot.rows_below = choice.rows_below;
      if (choice.quantization) quantize(slot, choice.quantization);
      slots_.push_back(slot);
    }
    if (has_copy) place_folded();
    for (int kind : {0, 1, 2})
      for (TensorSlot& slot : slots_)
        if (kind_of(slot.spec) == kind && (slot.learns || !slot.folded)) place(slot);
    frozen_ = aligned(frozen_ + bytes_below_);
    kept_ = {0, learning_}, gradient_count_ = learning_;
    quantized_.resize(static_cast<std::size_t>(
        std::count_if(slots_.begin(), slots_.end(), [](const TensorSlot& slot) { return bool(slot.quantization); })));
  }

  const std::vector<TensorSlot>& slots() const { return slots_; }
  std::int64_t param_count() const {
    std::int64_t n = 0;
    for (const TensorSlot& slot : slots_) n += slot.spec.count();
    return n;
  }
  std::size_t learning_count() const { return learning_; }
  std::size_t frozen_bytes() const { return frozen_; }
  /// Of a tensor's values.
  static std::size_t bytes_of(const TensorSlot& slot) {
    if (slot.quantization) return QuantizedLayout(slot.quantization, slot.spec.rows(), slot.spec.cols()).bytes;
    return static_cast<std::size_t>(slot.spec.count()) * size_bytes(slot.dtype);
  }
  std::size_t gradient_count() const { return gradient_count_; }  ///< values in the gradients' memory
  /// The one that allocate() was given.
  Stream<B> stream() const { return stream_; }

  /// Before allocate(): fp32 values that a half-precision copy stands for are kept of this share alone. Other ranks
  /// have the others.
  void keep(const parallel::Share& share) {
    if (has_copy) kept_ = share;
  }
  /// Before allocate(): there are no fp32 values, the half-precision copy is all there is. Without a copy they stay.
  void keep_as_copy() { keep({0, 0}); }
  bool is_kept_as_copy() const { return has_copy && kept_.count == 0 && learning_ > 0; }
  /// Before allocate(): gradients have a block of `count` values, that of each tensor from place_of on.
  void place_gradients(std::vector<std::size_t> place_of, std::size_t count) {
    gradient_place_of_ = std::move(place_of), gradient_count_ = count;
  }
  /// The values that values() holds.
  const parallel::Share& kept() const { return kept_; }

  /// Takes the memory. Frozen tensors are not set (0 if there are folded ones); tensors that learn are 0, gradients
  /// too.
  void allocate(bool with_gradients, Stream<B> stream = {}) {
    stream_ = stream;
    frozen_block_ = Arena(frozen_, Memory<B>{});
    frozen_base_ = frozen_block_.take<std::byte>(frozen_);
    learning_block_ = Arena(learning_bytes(with_gradients), Memory<B>{});
    values_ = learning_block_.take<float>(kept_.count);
    gradients_ = with_gradients ? learning_block_.take<float>(gradient_count_) : nullptr;
    copy_ = has_copy ? learning_block_.take<T>(learning_) : nullptr;
    Memory<B>::zero(stream, values_, learning_block_.used_bytes());
    if (has_copy) Memory<B>::zero(stream, frozen_base_, frozen_);  // between a folded matrix's windows there are zeros
    parameters_ = parameters_at(frozen_base_, values_, gradients_, copy_);
    place_quantized();
  }
  /// Of values, gradients and the half-precision copy.
  std::size_t learning_bytes(bool with_gradients) const {
    Arena counting;
    counting.take<float>(kept_.count);
    if (with_gradients) counting.take<float>(gradient_count_);
    if (has_copy) counting.take<T>(learning_);
    return counting.used_bytes();
  }
  /// The parameters as they are with this memory; a plan has addresses that nobody touches.
  std::vector<Parameter> parameters_at(std::byte* frozen, float* values, float* gradients, T* copy = nullptr) const {
    std::vector<Parameter> parameters;
    const QuantizedMatrix* quantized = quantized_.data();
    for (std::size_t i = 0; i < slots_.size(); ++i) {
      const TensorSlot& slot = slots_[i];
      Parameter p;
      const void* data = frozen + slot.offset;
      DType dtype = slot.dtype;
      std::ptrdiff_t stride = slot.spec.cols();
      if (slot.folded)
        data = frozen + slot.folded_offset, dtype = dtype_of<T>, stride = slot.folded_stride;
      else if (slot.learns && copy && !slot.spec.fp32)
        data = copy + slot.offset, dtype = dtype_of<T>;
      else if (slot.learns)
        data = values + slot.offset;
      p.value = {data, dtype, slot.spec.rows(), slot.spec.cols(), stride};
      if (slot.quantization) p.value.quantized = quantized++;
      const std::size_t place = gradient_place_of_.empty() ? slot.offset : gradient_place_of_[i];
      if (slot.learns && gradients) p.grad = gradients + place;
      p.scale = slot.spec.scale;
      p.folded = slot.folded;
      p.id = (i + 1) * 0xD1B54A32D192ED03ull;
      parameters.push_back(p);
    }
    return parameters;
  }

  /// Gives a tensor its values: write(std::span<std::byte>) fills host memory with elements of slot.dtype, or with the
  /// QuantizedLayout of its quantization.
  template <class F>
  void fill(const TensorSlot& slot, F write) {
    if constexpr (in_place) {
      write(std::span(static_cast<std::byte*>(data(slot)), bytes_of(slot)));
    } else {
      std::vector<std::byte> values(bytes_of(slot));
      write(std::span(values));
      send(slot, 0, slot.spec.rows(), values.data());
      stream_done();
    }
  }
  using Sender = RowSender<B>;
  /// The same some rows at a time, of a tensor that is not quantised: write(first_element, std::span<std::byte>). While
  /// rows are on their way to the backend's memory the next ones are written.
  template <class F>
  void fill_rows(Sender& sender, const TensorSlot& slot, F write) {
    if constexpr (in_place) {
      write(std::size_t{0}, std::span(static_cast<std::byte*>(data(slot)), bytes_of(slot)));
    } else {
      const std::size_t cols = static_cast<std::size_t>(slot.spec.cols()), row = cols * size_bytes(slot.dtype);
      const int rows = slot.spec.rows(), most = static_cast<int>(std::max<std::size_t>(1, Sender::at_once / row));
      for (int first = 0; first < rows; first += most) {
        const int count = std::min(most, rows - first);
        const auto [part, to] = sender.next(row * static_cast<std::size_t>(count));
        write(static_cast<std::size_t>(first) * cols, to);
        send(slot, first, count, to.data());
        part.sent.set(stream_);
      }
    }
  }
  /// A tensor's address in the backend's memory, if it is kept.
  void* data(const TensorSlot& slot) {
    if (slot.learns) return values_ + (slot.offset - kept_.first);
    return frozen_base_ + (slot.folded ? slot.folded_offset : slot.offset);
  }
  /// What learns, its gradients or their block, and its half-precision copy, in the backend's memory.
  std::span<float> values(const TensorSlot& slot) {
    return values({slot.offset, static_cast<std::size_t>(slot.spec.count())});
  }
  std::span<float> values(const parallel::Share& kept) { return {values_ + (kept.first - kept_.first), kept.count}; }
  std::span<float> values() { return {values_, kept_.count}; }
  std::span<float> gradients() { return {gradients_, gradients_ ? gradient_count_ : 0}; }
  std::span<T> copy() { return {copy_, copy_ ? learning_ : 0}; }
  /// Where the optimizer writes half-precision copies: in the order of the values, adjacent ones as one.
  std::vector<kernel::ValueCopy<T>> copies() const {
    std::vector<kernel::ValueCopy<T>> copies;
    if (!has_copy) return copies;
    std::vector<std::size_t> order;
    for (std::size_t i = 0; i < slots_.size(); ++i)
      if (slots_[i].learns && slots_[i].spec.count() > 0) order.push_back(i);
    std::sort(order.begin(), order.end(), [&](auto a, auto b) { return slots_[a].offset < slots_[b].offset; });
    bool joins = false;  // the next tensor the last one's run
    for (const std::size_t i : order) {
      const TensorSlot& slot = slots_[i];
      const auto count = static_cast<std::size_t>(slot.spec.count());
      if (slot.folded) {
        joins = false;
        copies.push_back({slot.offset, count, reinterpret_cast<T*>(frozen_base_ + slot.folded_offset), slot.spec.cols(),
                          slot.folded_stride, slot.folds_scaled ? parameters_[i].scale : 1.0f});
        continue;
      }
      constexpr int row = kernel::ValueRun<T>::most;  // any width: rows follow one another without a gap
      if (!std::exchange(joins, true)) copies.push_back({slot.offset, 0, copy_ + slot.offset, row, row});
      copies.back().count += count;
    }
    return copies;
  }
  Parameter* parameters() { return parameters_.data(); }
  const Parameter* parameters() const { return parameters_.data(); }

 private:
  static int kind_of(const TensorSpec& spec) { return spec.rank == 1 ? 2 : spec.added ? 1 : 0; }
  static std::size_t aligned(std::size_t bytes) {
    return (bytes + Arena::alignment - 1) / Arena::alignment * Arena::alignment;
  }
  void place(TensorSlot& slot) {
    const auto count = static_cast<std::size_t>(slot.spec.count());
    if (slot.learns) {
      slot.offset = learning_;
      learning_ += count;
    } else {
      if (!slot.spec.joined || slot.quantization) frozen_ = aligned(frozen_ + std::exchange(bytes_below_, 0));
      slot.offset = frozen_;
      frozen_ += bytes_of(slot);
      bytes_below_ += static_cast<std::size_t>(slot.rows_below) * static_cast<std::size_t>(slot.spec.cols()) *
                      size_bytes(slot.dtype);
    }
  }

  static constexpr bool in_place = !Memory<B>::remote && !has_copy;

  void stream_done() {
    typename Device<B>::Mark all;
    all.set(stream_);
    all.wait();
  }
  /// Sends rows of a tensor, elements of slot.dtype, from host memory to their place.
  void send(const TensorSlot& slot, int first_row, int rows, const std::byte* from) {
    const std::size_t at = static_cast<std::size_t>(first_row) * static_cast<std::size_t>(slot.spec.cols()),
                      count = static_cast<std::size_t>(rows) * static_cast<std::size_t>(slot.spec.cols());
    if (slot.learns)
      send_kept({slot.offset + at, count}, from);
    else if (slot.folded)
      send_folded(slot, first_row, rows, from);
    else if (slot.quantization)
      Memory<B>::upload_later(stream_, static_cast<std::byte*>(data(slot)), from, bytes_of(slot));
    else
      Memory<B>::upload_later(stream_, static_cast<std::byte*>(data(slot)) + at * size_bytes(slot.dtype), from,
                              count * size_bytes(slot.dtype));
    if (slot.learns) renew_copy(slot, first_row, rows, reinterpret_cast<const float*>(from));
  }
  /// Sends those of learning values that are kept; `from` has all of them.
  void send_kept(const parallel::Share& values, const std::byte* from) {
    const std::size_t first = std::max(values.first, kept_.first), end = std::min(values.end(), kept_.end());
    if (first >= end) return;
    Memory<B>::upload_later(stream_, values_ + (first - kept_.first), from + (first - values.first) * sizeof(float),
                            (end - first) * sizeof(float));
  }
  void renew_copy(const TensorSlot& slot, int first_row, int rows, const float* values) {
    if constexpr (has_copy) {
      const float scale = slot.folds_scaled ? parameters_[static_cast<std::size_t>(&slot - slots_.data())].scale : 1;
      const std::size_t cols = static_cast<std::size_t>(slot.spec.cols());
      std::vector<T> rounded(static_cast<std::size_t>(rows) * cols);
      parallel_for(std::ssize(rounded), [&](std::int64_t i) { rounded[i] = round_to<T>(scale * values[i]); });
      if (slot.folded)
        send_folded(slot, first_row, rows, reinterpret_cast<const std::byte*>(rounded.data()));
      else
        Memory<B>::upload_later(stream_, copy_ + slot.offset + static_cast<std::size_t>(first_row) * cols,
                                rounded.data(), rounded.size() * sizeof(T));
      stream_done();
    }
  }
  /// Rows of a window of a folded matrix, elements of T.
  void send_folded(const TensorSlot& slot, int first_row, int rows, const std::byte* from) {
    const std::size_t stride = static_cast<std::size_t>(slot.folded_stride) * sizeof(T);
    Memory<B>::upload_rows_later(
        stream_, frozen_base_ + slot.folded_offset + static_cast<std::size_t>(first_row) * stride, stride, from,
        static_cast<std::size_t>(slot.spec.cols()) * sizeof(T), static_cast<std::size_t>(rows));
  }

  static void quantize(TensorSlot& slot, const Quantization& quantization) {
    if (slot.learns || slot.spec.rank != 2 || !slot.spec.takes_row_terms)
      fail(slot.name(), ": only the frozen matrix of a linear layer can be stored as ", lamina::name_of(quantization));
    slot.quantization = quantization;
    slot.dtype = DType::U8;
  }
  void place_quantized() {
    QuantizedMatrix* quantized = quantized_.data();
    for (const TensorSlot& slot : slots_)
      if (slot.quantization)
        *quantized++ = {slot.quantization, slot.spec.rows(), slot.spec.cols(), frozen_base_ + slot.offset};
  }

  /// Gives each group of adapted layers that may share a matrix the room for it (fuse/folded.hpp), if their ranks
  /// fit its tail and no matrix is quantised or learns.
  void place_folded() {
    const auto begins = [](const TensorSlot& slot) {
      return slot.spec.fold == TensorSpec::Fold::first && !slot.spec.added && slot.spec.rank == 2;
    };
    for (std::size_t first = 0; first < slots_.size(); ++first) {
      if (!begins(slots_[first])) continue;
      std::size_t last = first + 1;
      while (last < slots_.size() && slots_[last].spec.fold != TensorSpec::Fold::none && !begins(slots_[last])) ++last;
      place_group({slots_.data() + first, last - first});
    }
  }
  void place_group(std::span<TensorSlot> group) {
    int rows = 0, ranks = 0;
    bool a_next = true;
    for (const TensorSlot& slot : group) {
      if (slot.spec.rank != 2) continue;
      if (slot.quantization || (!slot.spec.added && slot.learns)) return;
      if (!slot.spec.added) rows += slot.spec.rows();
      if (slot.spec.added && !slot.learns) return;  // the windows of adapters are copies of what learns
      if (slot.spec.added && std::exchange(a_next, !a_next)) ranks += slot.spec.rows();
    }
    if (ranks == 0 || ranks > adapter_tail) return;
    const int inputs = group[0].spec.cols();
    const std::ptrdiff_t stride = inputs + adapter_tail;
    frozen_ = aligned(frozen_);
    const auto at = [&](int row, int column) {
      return frozen_ + static_cast<std::size_t>(row * stride + column) * sizeof(T);
    };
    int row = 0, rank = 0;
    for (TensorSlot& slot : group) {  // a layer's matrix, then its A, then its B
      if (slot.spec.rank != 2) continue;
      slot.folded = true;
      slot.folded_stride = stride;
      if (!slot.spec.added) {
        slot.folded_offset = at(row, 0);
        row += slot.spec.rows();
      } else if (std::exchange(a_next, !a_next)) {
        slot.folded_offset = at(rows + rank, 0);
        rank += slot.spec.rows();
      } else {
        slot.folded_offset = at(row - slot.spec.rows(), inputs + rank - slot.spec.cols());
        slot.folds_scaled = true;
      }
    }
    frozen_ += static_cast<std::size_t>(rows + ranks) * static_cast<std::size_t>(stride) * sizeof(T);
  }

  std::vector<TensorSlot> slots_;
  std::vector<QuantizedMatrix> quantized_;  ///< of the slots that are, in their order
  std::size_t learning_ = 0, frozen_ = 0, gradient_count_ = 0;
  std::size_t bytes_below_ = 0;                 // the matrix that was placed last
  std::vector<std::size_t> gradient_place_of_;  // empty: that of its value
  parallel::Share kept_;
  Stream<B> stream_;
  Arena frozen_block_, learning_block_;
  std::byte* frozen_base_ = nullptr;
  float *values_ = nullptr, *gradients_ = nullptr;
  T* copy_ = nullptr;
  std::vector<Parameter> parameters_;
};

template <class Model, class T, Backend B = Cpu>
class Weights : public TensorMemory<T, B> {
 public:
  /// Everything fp32; all that the type lets learn learns.
  Weights() : Weights([](const TensorSpec&) { return TensorChoice{}; }) {}
  explicit Weights(const typename TensorMemory<T, B>::Choose& choose)
      : TensorMemory<T, B>(list_tensors<Model>(), choose) {}
};

}  // namespace lamina
