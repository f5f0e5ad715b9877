#pragma once
#include <memory>
#include <variant>
#include <vector>

#include <lamina/compose/staging.hpp>
#include <lamina/compose/tables.hpp>
#include <lamina/compose/weights.hpp>
#include <lamina/kernel/device.hpp>
#include <lamina/kernel/plan.hpp>

namespace lamina::serve {

/// Runs a model on one sequence with a KV cache: prefill reads a prompt with its images, decode one token.
template <class Model, Real T = float, Backend B = Cpu>
class Decoder {
 public:
  using Inference = Mode<T, false, false>;
  using TextCore = typename Tables<Model>::TextCore;
  static constexpr int layers = Model::Stack_::repeats, kv_width = TextCore::HeadsOf::kv_width;

  /// capacity: the most tokens a sequence may have, answer included.
  Decoder(Device<B>& device, const Weights<Model, T, B>& weights, int image_token, int capacity)
      : device_(device),
        weights_(weights),
        image_token_(image_token),
        capacity_(capacity),
        logits_block_(sizeof(T) * Model::vocab_size, Memory<B>{}),
        logits_(logits_block_.template take<T>(Model::vocab_size)),
        widened_(Model::vocab_size) {}

  static std::size_t cache_bytes(int capacity) {
    return sizeof(T) * 2 * layers * kv_width * static_cast<std::size_t>(capacity);
  }
  int capacity() const { return capacity_; }

  /// Logits (V) that follow the prompt. The batch holds one sequence.
  std::span<const float> prefill(const Batch& prompt) {
    if (static_cast<int>(prompt.ids.size()) > capacity_)
      fail("the prompt has ", prompt.ids.size(), " tokens, the context at most ", capacity_);
    reserve_cache(static_cast<int>(prompt.ids.size()));
    length_ = 0;
    generated_ = 0;
    return run(tables_.template build<T>(prompt, image_token_), prompt.patches.data());
  }
  /// Logits (V) after one more token.
  std::span<const float> decode(int id) {
    if (length_ == capacity_) fail("the context is full: it holds at most ", capacity_, " tokens");
    reserve_cache(length_ + 1);
    return run(tables_.template build_next<T>(id, generated_++), nullptr);
  }

 private:
  /// The cache doubles as a sequence grows: a short answer in a long context costs little memory.
  void reserve_cache(int tokens) {
    if (tokens <= reserved_) return;
    const int rows = std::min(capacity_, std::max({256, tokens, 2 * reserved_}));
    Arena larger(cache_bytes(rows) + 2 * layers * Arena::alignment, Memory<B>{});
    std::vector<typename KVCache<T>::Slot> slots(layers);
    for (std::size_t i = 0; i < slots.size(); ++i) {
      slots[i] = {larger.matrix<T>(rows, kv_width), larger.matrix<T>(rows, kv_width)};
      if (reserved_ == 0) continue;
      const Stream<B> s = device_.stream();
      kernel::add<B>::copy(s, kernel::Add<T>{.x = slots_[i].k.row_range(0, length_), .y = slots[i].k});
      kernel::add<B>::copy(s, kernel::Add<T>{.x = slots_[i].v.row_range(0, length_), .y = slots[i].v});
    }
    device_.wait();
    steps_ = 0;  // recorded launches point into the old cache
    cache_arena_ = std::move(larger);
    slots_ = std::move(slots);
    cache_.slots = slots_.data();
    reserved_ = rows;
  }

  std::span<const float> run(Input<T> in, const float* patches) {
    cu_keys_ = {0, length_ + in.tokens};
    in.text.cu_keys = cu_keys_.data();
    in.text.cache = &cache_;
    if (steps_ == 0 || in.tokens > 1) reserve_scratch(in);
    const Stream<B> stream = device_.stream(&scratch_);
    staging_.add(in, patches, Model::merge, 2);
    staging_.send(stream);
    launch(Run<B, Inference>{stream, &scratch_, nullptr}, in);
    length_ += in.tokens;
    read_logits();
    return widened_;
  }
  void reserve_scratch(const Input<T>& in) {
    Arena counting;
    run_on(Run<Plan, Inference>{plan_stream<B>(nullptr, counting), &counting, nullptr}, in);
    if (!scratch_.counts() && scratch_.capacity_bytes() >= counting.peak_bytes()) return;
    steps_ = 0;          // recorded launches point into the old memory
    scratch_ = Arena();  // which must be free before more is asked for
    scratch_ = Arena(counting.peak_bytes(), Memory<B>{});
  }
  /// Decoding steps differ in nothing but what the tables hold: a GPU records the second of them and repeats it.
  template <class R>
  void launch(R run, const Input<T>& in) {
    if constexpr (std::is_same_v<B, Cuda>) {
      if (in.tokens == 1 && in.patches.rows == 0) {
        if (++steps_ == 2) graph_.record(device_.gpu(), [&] { run_on(run, in); });
        if (steps_ >= 2) return graph_.launch(device_.gpu());
      } else {
        steps_ = 0;  // tables lie elsewhere now
      }
    }
    run_on(run, in);
  }
  void read_logits() {
    const Stream<B> stream = device_.stream();
    if constexpr (std::is_same_v<T, float>) {
      Memory<B>::download(stream, widened_.data(), logits_, sizeof(T) * widened_.size());
    } else {
      rounded_.resize(widened_.size());
      Memory<B>::download(stream, rounded_.data(), logits_, sizeof(T) * rounded_.size());
      for (std::size_t i = 0; i < widened_.size(); ++i) widened_[i] = to_f32(rounded_[i]);
    }
  }
  template <class R>
  void run_on(R run, Input<T> in) {
    Arena::Scope scope(*run.scratch);
    run.context = &in.text;
    typename Model::template Saved<Inference> nothing{};
    const Matrix<T> hidden = run.scratch->template matrix<T>(in.tokens, Model::hidden_size);
    Model::forward(run, weights_.parameters(), nothing, in, hidden);
    kernel::matmul<typename R::backend>::forward(run.stream,
                                                 kernel::MatmulFwd<T>{.x = hidden.row_range(in.tokens - 1, 1),
                                                                      .w = Model::head(weights_.parameters()).value,
                                                                      .y = Matrix<T>(logits_, 1, Model::vocab_size),
                                                                      .alpha = Model::head_scale});
  }

  Device<B>& device_;
  const Weights<Model, T, B>& weights_;
  int image_token_, capacity_, reserved_ = 0, length_ = 0, generated_ = 0;  ///< length_: tokens in the cache
  Tables<Model> tables_;
  Arena cache_arena_, scratch_;
  std::vector<typename KVCache<T>::Slot> slots_;
  KVCache<T> cache_;
  int steps_ = 0;  ///< decoding steps since memory last moved
  std::conditional_t<std::is_same_v<B, Cuda>, CudaGraph, std::monostate> graph_;
  std::array<int, 2> cu_keys_{};
  Staging<B> staging_;
  Arena logits_block_;
  T* logits_;
  std::vector<T> rounded_;
  std::vector<float> widened_;  ///< the last token's logits
};

}  // namespace lamina::serve
