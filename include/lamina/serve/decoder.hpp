#pragma once
#include <array>
#include <memory>
#include <new>
#include <optional>
#include <stop_token>
#include <variant>
#include <vector>

#include <lamina/compose/staging.hpp>
#include <lamina/compose/tables.hpp>
#include <lamina/compose/weights.hpp>
#include <lamina/kernel/device.hpp>
#include <lamina/kernel/plan.hpp>

namespace lamina::serve {

/// Runs a model on one sequence with a KV cache: prefill reads a prompt with its images, a step one more token. The
/// host chooses tokens from logits (prefill, decode), or the backend does (choose_first, choose_next). A GPU then works
/// one step ahead of what the host has asked for, and that step is lost if the host stops.
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
        host_block_(Arena::staging(sizeof(HostMemory), Memory<B>{})),
        host_(new (host_block_.template take<HostMemory>(1)) HostMemory),
        widened_(Model::vocab_size) {
    Arena counting;
    place_step(counting);
    step_block_ = Arena(counting.peak_bytes(), Memory<B>{});
    place_step(step_block_);
  }

  static std::size_t cache_bytes(int capacity) {
    return sizeof(T) * 2 * layers * kv_width * static_cast<std::size_t>(capacity);
  }
  int capacity() const { return capacity_; }

  /// Logits (V) that follow the prompt. The batch holds one sequence. Throws Cancelled, which leaves no sequence.
  std::span<const float> prefill(const Batch& prompt, const std::stop_token& cancelled = {}) {
    read(prompt, cancelled);
    return read_logits();
  }
  /// Logits (V) after one more token.
  std::span<const float> decode(int id) {
    set_state({.id = id, .position = position_++, .cu_keys = {0, length_ + 1}});
    step(std::nullopt);
    return read_logits();
  }

  /// Reads the prompt and chooses the first token; the rule holds for those that follow, too. Error, here and in
  /// choose_next(), if a logit is not finite: a wrong number must end the request, never become a token.
  int choose_first(const Batch& prompt, const kernel::SamplingRule& rule, const std::stop_token& cancelled = {}) {
    read(prompt, cancelled);
    set_state({.position = position_ - 1, .cu_keys = {0, length_}});
    host_->rule = rule;
    Memory<B>::upload_later(device_.stream(), step_.rule, &host_->rule, sizeof(kernel::SamplingRule));
    order_ = kernel::order_of(rule);
    const auto first = [this](auto run) { choose(run, order_); };
    reserve_scratch(first);
    first(running());
    chosen_ = given_ = 0;
    marks_[0].set(device_.stream());
    ++chosen_;
    return give();
  }
  /// The token after the last one.
  int choose_next() {
    constexpr int ahead = Memory<B>::remote ? 1 : 0;
    while (chosen_ <= given_ + ahead && (length_ < capacity_ || chosen_ == given_)) {
      step(order_);
      marks_[chosen_++ % 2].set(device_.stream());
    }
    return give();
  }

 private:
  static constexpr int head_dim = TextCore::HeadsOf::head_dim;

  /// What steps read and leave, always at the same place: a step can be recorded.
  struct StepMemory {
    kernel::DecodeState* state = nullptr;
    kernel::SamplingRule* rule = nullptr;
    float* rotary = nullptr;  ///< (Dh) cos, then sin of the token's position
    T* logits = nullptr;      ///< (V) of the last token that was read
  };
  /// What the host writes for the backend, and the backend for the host.
  struct HostMemory {
    kernel::DecodeState state;
    kernel::SamplingRule rule;
    int told[2] = {-1, -1};
  };
  void place_step(Arena& arena) {
    step_ = {arena.take<kernel::DecodeState>(1), arena.take<kernel::SamplingRule>(1), arena.take<float>(head_dim),
             arena.take<T>(Model::vocab_size)};
  }
  void set_state(const kernel::DecodeState& state) {
    host_->state = state;
    Memory<B>::upload_later(device_.stream(), step_.state, &host_->state, sizeof(kernel::DecodeState));
  }

  /// The cache doubles as a sequence grows: a short answer in a long context costs little memory. The table of rotary
  /// angles grows with it: no position is beyond the number of tokens.
  void reserve_cache(int tokens) {
    if (tokens <= reserved_) return;
    const int rows = std::min(capacity_, std::max({256, tokens, 2 * reserved_}));
    const std::vector<float> rotary = tables_.rotary_rows(rows);
    Arena larger(cache_bytes(rows) + sizeof(float) * rotary.size() + (2 * layers + 1) * Arena::alignment, Memory<B>{});
    const Stream<B> s = device_.stream();
    const Matrix<float> angles = larger.matrix<float>(rows, head_dim);
    Memory<B>::upload(s, angles.data, rotary.data(), sizeof(float) * rotary.size());
    std::vector<typename KVCache<T>::Slot> slots(layers);
    for (std::size_t i = 0; i < slots.size(); ++i) {
      slots[i] = {larger.matrix<T>(rows, kv_width), larger.matrix<T>(rows, kv_width)};
      if (length_ == 0) continue;
      kernel::add<B>::copy(s, kernel::Add<T>{.x = slots_[i].k.row_range(0, length_), .y = slots[i].k});
      kernel::add<B>::copy(s, kernel::Add<T>{.x = slots_[i].v.row_range(0, length_), .y = slots[i].v});
    }
    device_.wait();
    steps_ = 0;  // recorded launches point into the old cache
    cache_arena_ = std::move(larger);
    rotary_ = angles;
    slots_ = std::move(slots);
    cache_.slots = slots_.data();
    reserved_ = rows;
  }
  /// Memory for work(run).
  template <class Work>
  void reserve_scratch(Work work) {
    Arena counting;
    work(Run<Plan, Inference>{plan_stream<B>(nullptr, counting), &counting, nullptr});
    if (!scratch_.counts() && scratch_.capacity_bytes() >= counting.peak_bytes()) return;
    steps_ = 0;          // recorded launches point into the old memory
    scratch_ = Arena();  // which must be free before more is asked for
    scratch_ = Arena(counting.peak_bytes(), Memory<B>{});
  }
  Run<B, Inference> running() { return {device_.stream(&scratch_), &scratch_, nullptr}; }

  /// The prompt's keys and values into the cache, its last token's logits into step_.
  void read(const Batch& prompt, const std::stop_token& cancelled) {
    const int tokens = static_cast<int>(prompt.ids.size());
    if (tokens > capacity_) fail("the prompt has ", tokens, " tokens, the context at most ", capacity_);
    length_ = 0;
    reserve_cache(tokens);
    Input<T> in = tables_.template build<T>(prompt, image_token_);
    const std::array<int, 2> cu_keys = {0, tokens};
    in.text.cu_keys = cu_keys.data();
    in.text.cache = &cache_;
    const auto forward = [&](auto run) { run_on(run, in); };
    reserve_scratch(forward);
    staging_.add(in, prompt.patches.data(), Model::merge, 2);
    staging_.send(device_.stream());
    auto run = running();
    if constexpr (std::is_same_v<B, Cpu>) run.stream.cancelled = &cancelled;
    forward(run);
    length_ = tokens;
    position_ = tables_.positions().next.back();
  }
  /// One more token through the model and, if an order is given, the choice of the next one. Steps differ in nothing
  /// but what step_ holds: a GPU records the second of them and repeats it.
  void step(std::optional<kernel::SampleOrder> order) {
    if (length_ == capacity_) fail("the context is full: it holds at most ", capacity_, " tokens");
    reserve_cache(length_ + 1);
    if (step_order_ != order) steps_ = 0;
    step_order_ = order;
    const auto work = [&](auto run) { run_step(run, order); };
    if (steps_ == 0) {
      reserve_scratch(work);
      recorder_.restart();
    }
    ++steps_;
    ++length_;
    const auto launch = [&] { work(running()); };
    if (recorder_.ready()) recorder_.record(device_, launch);
    recorder_.run(device_, launch);
  }
  template <class R>
  void run_step(R run, std::optional<kernel::SampleOrder> order) {
    kernel::rows<typename R::backend>::gather(
        run.stream, 1,
        kernel::Rows<float>{
            .x = rotary_, .index = &step_.state->position, .y = Matrix<float>(step_.rotary, 1, head_dim)});
    Input<T> in;
    in.ids = &step_.state->id;
    in.tokens = in.text.rows = in.text.sequences = in.text.longest = 1;
    in.text.cu_seqlens = step_.state->cu_seqlens;
    in.text.cu_keys = step_.state->cu_keys;
    in.text.cos = {step_.rotary, 1, head_dim / 2};
    in.text.sin = {step_.rotary + head_dim / 2, 1, head_dim / 2};
    in.text.cache = &cache_;
    run_on(run, in);
    if (order) choose(run, *order);
  }
  template <class R>
  void run_on(R run, Input<T> in) {
    Arena::Scope scope(*run.scratch);
    run.context = &in.text;
    typename Model::template Saved<Inference> nothing{};
    const Matrix<T> hidden = run.scratch->template matrix<T>(in.tokens, Model::hidden_size);
    Model::forward(run, weights_.parameters(), nothing, in, hidden);
    kernel::matmul<typename R::backend>::forward(
        run.stream, kernel::MatmulFwd<T>{.x = hidden.row_range(in.tokens - 1, 1),
                                         .w = Model::head(weights_.parameters()).value,
                                         .y = Matrix<T>(step_.logits, 1, Model::vocab_size),
                                         .alpha = Model::head_scale});
  }
  template <class R>
  void choose(R run, kernel::SampleOrder order) {
    kernel::sample<typename R::backend>::forward(run.stream, kernel::Sample<T>{.logits = step_.logits,
                                                                               .vocab = Model::vocab_size,
                                                                               .order = order,
                                                                               .rule = step_.rule,
                                                                               .state = step_.state,
                                                                               .told = host_->told});
  }

  std::span<const float> read_logits() {
    const Stream<B> stream = device_.stream();
    if constexpr (std::is_same_v<T, float>) {
      Memory<B>::download(stream, widened_.data(), step_.logits, sizeof(T) * widened_.size());
    } else {
      rounded_.resize(widened_.size());
      Memory<B>::download(stream, rounded_.data(), step_.logits, sizeof(T) * rounded_.size());
      for (std::size_t i = 0; i < widened_.size(); ++i) widened_[i] = to_f32(rounded_[i]);
    }
    return widened_;
  }
  /// The next token that was chosen, once it is known.
  int give() {
    marks_[given_ % 2].wait();
    const int id = host_->told[given_ % 2];
    if (id < 0)
      fail("a logit at output position ", given_,
           " is not a finite number: the model's activations overflowed; try "
           "--dtype bfloat16 or float32");
    ++given_;
    return id;
  }

  Device<B>& device_;
  const Weights<Model, T, B>& weights_;
  int image_token_, capacity_, reserved_ = 0;  ///< reserved_: rows of the cache
  int length_ = 0, position_ = 0;  ///< tokens in the cache; rotary position of the next one that decode() reads
  Tables<Model> tables_;
  Arena cache_arena_, scratch_, step_block_, host_block_;
  StepMemory step_;
  HostMemory* host_;
  Matrix<float> rotary_;  ///< (reserved_, Dh) cos and sin of every position
  std::vector<typename KVCache<T>::Slot> slots_;
  KVCache<T> cache_;
  int steps_ = 0;                                  ///< steps of one kind since memory last moved
  std::optional<kernel::SampleOrder> step_order_;  ///< of the last step
  Recorder<B> recorder_;
  kernel::SampleOrder order_{};  ///< of the sequence that choose_first() read
  int chosen_ = 0, given_ = 0;   ///< tokens that the backend has chosen, or will have; that the host was given
  std::array<typename Device<B>::Mark, 2> marks_;  ///< behind the choice of a token
  Staging<B> staging_;
  std::vector<T> rounded_;
  std::vector<float> widened_;  ///< the logits on the host
};

}  // namespace lamina::serve
