#pragma once
#include <array>
#include <cstddef>

#include <lamina/compose/plan/tables.hpp>
#include <lamina/compose/plan/weights.hpp>
#include <lamina/compose/sharded.hpp>
#include <lamina/engine/schedule/step_plan.hpp>
#include <lamina/engine/session.hpp>
#include <lamina/engine/step/adjust_inputs.hpp>
#include <lamina/engine/step/step_inputs.hpp>
#include <lamina/kernel/attention/paged_attention.hpp>
#include <lamina/kernel/device.hpp>
#include <lamina/kernel/plan.hpp>
#include <lamina/parallel/gpu/device_group.hpp>

namespace lamina::engine {

/// Logits (S, V) of the rows that sample, below them those of scored tokens; and room for the rows that are adjusted.
template <Real T>
struct StepLogits {
  Matrix<T> rows;
  Matrix<float> adjusted;
};

/// How a model computes a step: the memory that every step works with, always at the same place, and the kernels that
/// read a step's arrays. Run either on a backend or as a plan, which counts scratch.
template <class Model, Real T, Backend B>
struct ModelStep {
  using Inference = Mode<T, false, false>;
  using TextCore = typename Tables<Model>::TextCore;
  static constexpr int layers = Model::Stack_::repeats, kv_heads = TextCore::HeadsOf::kv_heads,
                       head_dim = TextCore::HeadsOf::head_dim, hidden_size = Model::hidden_size,
                       vocab_size = Model::vocab_size;

  static constexpr int ranks = rank_count<Model>;  ///< that share the model

  int* newest = nullptr;   ///< (R)
  int* entries = nullptr;  ///< (R, table_stride) page tables
  Matrix<float> turns;     ///< (positions, Dh) cos and sin of every position
  int row_count = 0;       ///< R
  std::byte* inputs = nullptr;
  std::byte* adjust_inputs = nullptr;
  kernel::PagedCache<T> pages;
  std::array<Matrix<T>, 1 + Model::tap_count> stores;  ///< images' rows: the tower's output, then its side outputs
  int table_stride = 0, workers = 1;
  int splits_each = 0;  ///< the most splits of a sequence; 0: as workers need

  /// Without memory: enough for a plan.
  ModelStep(Device<B>& device, const SessionLimits& limits, bool batch_invariant)
      : row_count(limits.rows),
        table_stride(limits.pages_per_row()),
        workers(kernel::paged_attention<B>::workers(device.multiprocessors(), kv_heads)) {
    if (!batch_invariant) return;
    const int keys = kernel::split_tile_keys * kernel::invariant_split_tiles;
    pages.splits.fixed_tiles = kernel::invariant_split_tiles;
    splits_each = (limits.context_tokens + keys - 1) / keys;
  }

  /// Values of the keys, or of the values, of one page in one layer.
  static std::size_t page_elements(int page_tokens) {
    return static_cast<std::size_t>(kv_heads) * static_cast<std::size_t>(page_tokens) * head_dim;
  }
  /// The most that a step has of everything.
  static StepSizes largest(const SessionLimits& limits) {
    return {.sequences = limits.rows,
            .tokens = limits.step_tokens,
            .sampled = limits.rows + limits.scored_tokens,
            .visuals = limits.step_tokens,
            .edits = limits.rows * limits.pages_per_row(),
            .adapted = limits.adapter_slots > 0 ? limits.step_tokens : 0};
  }

  void place(Arena& arena, const SessionLimits& limits);
  void place_pages(Arena& arena, const SessionLimits& limits);
  void place_images(Arena& arena, const SessionLimits& limits);

  /// Bytes of scratch for the largest step and for the largest images that are encoded at once.
  std::size_t scratch_bytes(const Parameter* parameters, const SessionLimits& limits) const;
  /// Reads tokens; returns the logits after them, in scratch.
  template <class R>
  StepLogits<T> run(R run, const Parameter* parameters, const StepShape& shape, const StepInputs& in) const;
  /// Adjusts rows of logits and draws a token for each of the `sampled` rows; told (sampled): staging memory.
  void draw(Stream<B> s, const StepLogits<T>& logits, int sampled, const StepInputs& in, const AdjustInputs& adjust,
            int* told) const;
  /// Logprobs after rows of logits, whichever ask for them; out (rows): staging memory.
  void score(Stream<B> s, const StepLogits<T>& logits, int rows, const StepInputs& in, kernel::RowLogprobs* out) const {
    kernel::logprobs<B>::rows(s, kernel::Logprobs<T>{.logits = logits.rows.row_range(0, rows),
                                                     .tokens = in.asked,
                                                     .newest = newest,
                                                     .alternatives = in.alternatives,
                                                     .out = out});
  }
  /// Runs the tower on all new images at once; its rows go to the rows `to` of the stores.
  template <class R>
  void encode(R run, const Parameter* parameters, Input<T>& in, const int* to, int rows) const;

 private:
  static Input<T> images_of(int cells);
  template <class R>
  void head(R run, Weight w, Matrix<const T> hidden, Matrix<T> logits) const;
  template <class S>
  static Weight rows_of_rank(S stream, Weight w);
  template <class R>
  kernel::TokenInputs token_inputs(R run, int count, const StepInputs& in) const;
  template <class R>
  VisualRows<T> gather_images(R run, int rows, const StepInputs& in) const;
  template <class R>
  void split(R run, kernel::PagedCache<T>& cache) const;
};

template <class Model, Real T, Backend B>
void ModelStep<Model, T, B>::place(Arena& arena, const SessionLimits& limits) {
  const auto rows = static_cast<std::size_t>(limits.rows);
  newest = arena.take<int>(rows);
  entries = arena.take<int>(rows * static_cast<std::size_t>(table_stride));
  turns = arena.matrix<float>(limits.context_tokens, head_dim);
  inputs = arena.take<std::byte>(StepInputs::bytes_of(largest(limits)));
  adjust_inputs = arena.take<std::byte>(AdjustInputs::bytes_of(limits.rows, vocab_size));
}
template <class Model, Real T, Backend B>
void ModelStep<Model, T, B>::place_pages(Arena& arena, const SessionLimits& limits) {
  const std::size_t elements = page_elements(limits.page_tokens),
                    side = static_cast<std::size_t>(limits.pages) * elements;
  T* first = arena.take<T>(layers * 2 * side);
  pages.layer_stride = static_cast<std::ptrdiff_t>(2 * side);
  pages.k = {first, static_cast<std::ptrdiff_t>(elements), limits.page_tokens};
  pages.v = {first + side, pages.k.page_stride, limits.page_tokens};
}
template <class Model, Real T, Backend B>
void ModelStep<Model, T, B>::place_images(Arena& arena, const SessionLimits& limits) {
  for (Matrix<T>& store : stores) store = arena.matrix<T>(limits.image_blocks * limits.image_block_rows, hidden_size);
}

template <class Model, Real T, Backend B>
std::size_t ModelStep<Model, T, B>::scratch_bytes(const Parameter* parameters, const SessionLimits& limits) const {
  Arena counting;
  const Run<Plan, Inference> plan{plan_stream<B>(nullptr, counting), &counting, nullptr};
  Input<T> images = images_of(limits.step_image_tokens);
  StepInputs in;
  int some_slot = 0;
  for (const bool adapted : {false, true}) {
    if (adapted && limits.adapter_slots == 0) break;
    images.vision.term_slots = in.adapter_slots = adapted ? &some_slot : nullptr;
    run(plan, parameters, {limits.rows, limits.rows, 0, limits.rows, 0}, in);
    run(plan, parameters,
        {limits.step_tokens, limits.rows - 1, 1, limits.rows, limits.step_tokens, limits.scored_tokens}, in);
    if constexpr (Model::reads_images) encode(plan, parameters, images, nullptr, limits.step_image_tokens);
  }
  return counting.peak_bytes();
}
/// Sizes of one image of so many merged cells; if frames have rows of their own, of as many frames as these allow.
template <class Model, Real T, Backend B>
Input<T> ModelStep<Model, T, B>::images_of(int cells) {
  constexpr VisualTokens tokens = Model::visual_tokens;
  const int patches = cells * tokens.merge * tokens.merge;
  Input<T> in;
  in.patches = {nullptr, patches, Model::patch_width};
  in.vision.rows = in.vision.longest = in.vision.longest_window = patches;
  in.vision.sequences = tokens.per_frame > 0 ? cells / tokens.per_frame : 1;
  in.vision.windows = 1;
  if constexpr (Model::reads_images)
    in.vision.cos = in.vision.sin = {nullptr, patches, Tables<Model>::VisionCore::HeadsOf::head_dim / 2};
  return in;
}
template <class Model, Real T, Backend B>
template <class R>
void ModelStep<Model, T, B>::encode(R run, const Parameter* parameters, Input<T>& in, const int* to, int rows) const {
  Arena::Scope scope(*run.scratch);
  typename Model::template Saved<Inference> nothing{};
  const VisualRows<T> visual = Model::template take_visual_rows<T>(*run.scratch, in);
  Model::encode_images(run, parameters, nothing, in, visual);
  for (int k = 0; k <= Model::tap_count; ++k)
    kernel::rows<typename R::backend>::scatter(
        run.stream, rows,
        kernel::Rows<T>{.x = k == 0 ? visual.main : visual.taps[static_cast<std::size_t>(k - 1)],
                        .index = to,
                        .y = stores[static_cast<std::size_t>(k)]});
}

template <class Model, Real T, Backend B>
template <class R>
StepLogits<T> ModelStep<Model, T, B>::run(R run, const Parameter* parameters, const StepShape& shape,
                                          const StepInputs& in) const {
  using backend = typename R::backend;
  Arena::Scope scope(*run.scratch);
  const auto take = [&](int n, int width) { return run.scratch->template matrix<T>(n, width); };
  if constexpr (ranks > 1)  // rank 0 alone chooses tokens
    kernel::across_ranks<backend>::broadcast(run.stream, kernel::RankBroadcast{newest, row_count});
  const kernel::TokenInputs tokens = token_inputs(run, shape.tokens, in);
  kernel::token_inputs<backend>::forward(run.stream, tokens);

  kernel::PagedCache<T> cache = pages;
  cache.singles = shape.singles, cache.chunks = shape.chunks;
  cache.slots = in.slots, cache.cu_q = in.cu_q, cache.cu_keys = in.cu_keys;
  cache.tables = {entries, table_stride, in.sequence_rows};
  split(run, cache);

  Input<T> input;
  input.ids = tokens.ids;
  input.tokens = input.text.rows = shape.tokens;
  input.text.cos = tokens.cos, input.text.sin = tokens.sin;
  input.text.pages = &cache;
  input.text.term_slots = in.adapter_slots;
  input.visual_rows = in.visual_rows;
  const VisualRows<T> shown = gather_images(run, shape.visuals, in);
  Matrix<T> hidden = take(shape.tokens, hidden_size);
  typename Model::template Saved<Inference> nothing{};
  Model::decode(run, parameters, nothing, input, shown, hidden);
  const int wanted = shape.sampled + shape.scored;
  if (wanted == 0) return {};
  if (shape.chunks > 0) {
    const Matrix<T> last = take(wanted, hidden_size);
    kernel::rows<backend>::gather(run.stream, wanted, kernel::Rows<T>{.x = hidden, .index = in.sampled, .y = last});
    hidden = last;
  }
  const StepLogits<T> logits{take(wanted, vocab_size), run.scratch->template matrix<float>(shape.sampled, vocab_size)};
  head(run, Model::head(parameters).value, hidden, logits.rows);
  return logits;
}
/// The logits of all ranks' parts of the vocabulary.
template <class Model, Real T, Backend B>
template <class R>
void ModelStep<Model, T, B>::head(R run, Weight w, Matrix<const T> hidden, Matrix<T> logits) const {
  using backend = typename R::backend;
  const auto multiply = [&](Matrix<T> y) {
    kernel::matmul<backend>::forward(run.stream,
                                     kernel::MatmulFwd<T>{.x = hidden, .w = w, .y = y, .alpha = Model::head_scale});
  };
  if constexpr (ranks == 1) {
    multiply(logits);
  } else {
    Arena::Scope scope(*run.scratch);
    const Matrix<T> own = run.scratch->template matrix<T>(logits.rows, vocab_size / ranks);
    if (w.rows == vocab_size) w = rows_of_rank(run.stream, w);
    multiply(own);
    kernel::across_ranks<backend>::gather(run.stream, kernel::RankGather<T>{.x = own, .y = logits});
  }
}
/// A head that is tied to the embedding is whole on every rank.
template <class Model, Real T, Backend B>
template <class S>
Weight ModelStep<Model, T, B>::rows_of_rank(S stream, Weight w) {
  w.rows /= ranks;
  if constexpr (requires { stream.ranks; })  // a plan has none
    w.data =
        static_cast<const std::byte*>(w.data) + static_cast<std::size_t>(parallel::ranks_of(stream).rank() * w.rows) *
                                                    static_cast<std::size_t>(w.stride) * size_bytes(w.dtype);
  return w;
}
template <class Model, Real T, Backend B>
void ModelStep<Model, T, B>::draw(Stream<B> s, const StepLogits<T>& logits, int sampled, const StepInputs& in,
                                  const AdjustInputs& adjust, int* told) const {
  const Matrix<float> adjusted = logits.adjusted.row_range(0, adjust.sizes.rows);
  kernel::adjust_logits<B>::forward(s, kernel::AdjustLogits<T>{.logits = logits.rows,
                                                               .rules = adjust.rules,
                                                               .bits = adjust.bits,
                                                               .offsets = adjust.offsets,
                                                               .adjusted = adjusted});
  kernel::sample<B>::rows(s, kernel::SampleRows<T>{.logits = logits.rows.row_range(0, sampled),
                                                   .adjusted = adjusted,
                                                   .sources = in.sources,
                                                   .rows = in.sampled_rows,
                                                   .rules = in.rules,
                                                   .chosen = in.chosen,
                                                   .newest = newest,
                                                   .told = told});
}
template <class Model, Real T, Backend B>
template <class R>
kernel::TokenInputs ModelStep<Model, T, B>::token_inputs(R run, int count, const StepInputs& in) const {
  const auto angles = [&] { return run.scratch->template matrix<float>(count, head_dim / 2); };
  kernel::TokenInputs tokens{.given = in.given,
                             .newest = newest,
                             .positions = in.positions,
                             .turns = turns,
                             .ids = run.scratch->template take<int>(static_cast<std::size_t>(count)),
                             .cos = angles(),
                             .sin = angles()};
  for (int j = 0; j < head_dim / 2; ++j) tokens.axis[j] = static_cast<unsigned char>(TextCore::Rope::axis(j));
  return tokens;
}
/// The stored rows of the images that a step's tokens show.
template <class Model, Real T, Backend B>
template <class R>
VisualRows<T> ModelStep<Model, T, B>::gather_images(R run, int rows, const StepInputs& in) const {
  VisualRows<T> shown;
  for (int k = 0; rows > 0 && k <= Model::tap_count; ++k) {
    Matrix<T>& to = k == 0 ? shown.main : shown.taps[static_cast<std::size_t>(k - 1)];
    to = run.scratch->template matrix<T>(rows, hidden_size);
    kernel::rows<typename R::backend>::gather(
        run.stream, rows,
        kernel::Rows<T>{.x = stores[static_cast<std::size_t>(k)], .index = in.visual_sources, .y = to});
  }
  return shown;
}
/// How decoding shares out the keys of the sequences that read one token.
template <class Model, Real T, Backend B>
template <class R>
void ModelStep<Model, T, B>::split(R run, kernel::PagedCache<T>& cache) const {
  if (cache.singles == 0) return;
  kernel::KeySplits& splits = cache.splits;
  splits.workers = workers;
  splits.most = splits_each > 0 ? cache.singles * splits_each : cache.singles + workers;
  splits.splits = run.scratch->template take<kernel::KeySplit>(static_cast<std::size_t>(splits.most));
  splits.starts = run.scratch->template take<int>(static_cast<std::size_t>(workers) + 1);
  kernel::paged_attention<typename R::backend>::split(run.stream, kernel::SplitKeys{.cu_q = cache.cu_q,
                                                                                    .cu_keys = cache.cu_keys,
                                                                                    .rows = cache.tables.rows,
                                                                                    .sequences = cache.singles,
                                                                                    .to = splits});
}

}  // namespace lamina::engine
