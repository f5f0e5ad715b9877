#pragma once
#include <algorithm>
#include <array>
#include <cstdint>
#include <map>
#include <span>
#include <utility>
#include <vector>

#include <lamina/compose/staging.hpp>
#include <lamina/compose/tables.hpp>
#include <lamina/compose/weights.hpp>
#include <lamina/core/batch.hpp>
#include <lamina/engine/images.hpp>
#include <lamina/engine/step_plan.hpp>
#include <lamina/kernel/device.hpp>
#include <lamina/kernel/paged_attention.hpp>
#include <lamina/kernel/plan.hpp>

namespace lamina::engine {

/// Memory that a runner holds for as long as it lives, chosen before anything is allocated.
struct RunnerLimits {
  int rows = 256;          ///< request rows
  int context_tokens = 0;  ///< the longest sequence
  int pages = 0, page_tokens = 64;
  int image_blocks = 0, image_block_rows = 64;
};

/// Runs the steps of a scheduler on a model: its weights, the bytes of all pages and of the images' rows, and for each
/// request row what the model needs of its sequence. One thread.
///
/// Prompts are given once, with begin(); StepPlans then name them. A step returns the logits of its rows that sample,
/// and choose() tells the runner which tokens were chosen of them.
template <class Model, Real T = float, Backend B = Cpu>
class Runner {
 public:
  using Inference = Mode<T, false, false>;
  using TextCore = typename Tables<Model>::TextCore;
  static constexpr int layers = Model::Stack_::repeats, kv_heads = TextCore::HeadsOf::kv_heads,
                       head_dim = TextCore::HeadsOf::head_dim, hidden_size = Model::hidden_size;

  /// device, weights and images outlive the runner; images has limits.image_blocks blocks.
  Runner(Device<B>& device, const Weights<Model, T, B>& weights, int image_token, const RunnerLimits& limits,
         const ImageRows& images)
      : device_(device),
        weights_(weights),
        image_token_(image_token),
        limits_(limits),
        images_(images),
        rows_(static_cast<std::size_t>(limits.rows)),
        table_stride_((limits.context_tokens + limits.page_tokens - 1) / limits.page_tokens),
        entries_(rows_.size() * static_cast<std::size_t>(table_stride_), 0),
        cache_block_(cache_bytes(limits), Memory<B>{}),
        image_block_(image_bytes(limits), Memory<B>{}) {
    const auto side = static_cast<std::size_t>(limits.pages) * page_elements(limits);
    cache_.layer_stride = static_cast<std::ptrdiff_t>(2 * side);
    T* first = cache_block_.template take<T>(layers * 2 * side);
    cache_.k = {first, static_cast<std::ptrdiff_t>(page_elements(limits)), limits.page_tokens};
    cache_.v = {first + side, cache_.k.page_stride, limits.page_tokens};
    for (Matrix<T>& store : stores_)
      store = image_block_.template matrix<T>(limits.image_blocks * limits.image_block_rows, hidden_size);
  }

  static std::size_t cache_bytes(const RunnerLimits& limits) {
    return sizeof(T) * layers * 2 * static_cast<std::size_t>(limits.pages) * page_elements(limits);
  }
  static std::size_t image_bytes(const RunnerLimits& limits) {
    Arena counting;
    for (int i = 0; i < 1 + Model::tap_count; ++i)
      counting.matrix<T>(limits.image_blocks * limits.image_block_rows, hidden_size);
    return counting.peak_bytes();
  }
  static constexpr int vocab_size = Model::vocab_size;

  /// Takes the prompt of a request: one sequence with its images, as ids and patches.
  /// errors  lamina::Error if placeholders and images do not match.
  void begin(RequestId id, Batch prompt) {
    Request request;
    find_positions(prompt, Model::merge, image_token_, positions_);
    request.positions = positions_.of_token;
    request.next = positions_.next.back();
    request.prompt = std::move(prompt);
    requests_.insert_or_assign(id, std::move(request));
  }
  /// Forgets a request that has ended.
  void end(RequestId id) { requests_.erase(id); }

  /// Runs one step. Logits (S, V) of its S rows that sample, in their order, valid until the next step.
  Matrix<const float> run(const StepPlan& plan) {
    for (const RowStart& start : plan.starts) rows_[static_cast<std::size_t>(start.row)] = {start.id, start.tokens};
    for (const PageEdit& edit : plan.pages)
      entries_[static_cast<std::size_t>(edit.row) * static_cast<std::size_t>(table_stride_) +
               static_cast<std::size_t>(edit.index)] = edit.page;
    if (!plan.images.empty()) encode(plan);
    return plan.rows.empty() ? Matrix<const float>{} : read(plan);
  }
  /// The tokens that were chosen of the last step's logits.
  void choose(const StepChoices& result) {
    for (const Chosen& chosen : result.chosen)
      for (Row& row : rows_)
        if (row.id == chosen.id) row.tokens.push_back(chosen.token);
  }

 private:
  struct Request {
    Batch prompt;
    std::vector<std::array<int, 3>> positions;  ///< of the prompt's tokens
    int next = 0;                               ///< position of the first token after it, on all axes
  };
  struct Row {
    RequestId id = 0;
    std::vector<int> tokens;
  };
  /// What a step reads, on the host.
  struct HostStep {
    std::vector<int> ids, slots, cu_q, cu_keys, sequence_rows, visual_rows, visual_sources, sampled;
    std::vector<std::array<int, 3>> positions;
  };

  static std::size_t page_elements(const RunnerLimits& limits) {
    return static_cast<std::size_t>(kv_heads) * static_cast<std::size_t>(limits.page_tokens) * head_dim;
  }
  /// Where row `i` of an image is stored.
  int image_row(const ImageHash& hash, int i) const {
    const int block = images_.blocks(hash)[static_cast<std::size_t>(i / limits_.image_block_rows)];
    return block * limits_.image_block_rows + i % limits_.image_block_rows;
  }

  /// The tower on all new images at once; its rows go to the blocks that were reserved for them.
  void encode(const StepPlan& plan) {
    Batch batch;
    std::vector<int> to;
    for (const ImageEncode& encode : plan.images) {
      const Batch& prompt = requests_.at(encode.request).prompt;
      std::size_t patch = 0;
      int token = 0;
      for (const Grid& grid : prompt.grids) {
        const std::size_t values = static_cast<std::size_t>(grid.patches()) * Model::patch_width;
        token = first_placeholder(prompt, token);
        if (token == encode.image.first) {
          batch.grids.push_back(grid);
          batch.patches.insert(batch.patches.end(), prompt.patches.begin() + static_cast<std::ptrdiff_t>(patch),
                               prompt.patches.begin() + static_cast<std::ptrdiff_t>(patch + values));
        }
        patch += values;
        token += grid.tokens(Model::merge);
      }
      for (int i = 0; i < encode.image.tokens; ++i) to.push_back(image_row(encode.image.hash, i));
    }
    Input<T> in = tables_.template build_images<T>(batch);
    const int* index = to.data();
    staging_.add(in, batch.patches.data(), Model::merge);
    staging_.add(index, to.size());
    work([&](auto run) {
      Arena::Scope scope(*run.scratch);
      const auto visual = Model::template take_visual_rows<T>(*run.scratch, in.patches.rows);
      Model::encode_images(run, weights_.parameters(), saved_, in, visual);
      using rows = kernel::rows<typename decltype(run)::backend>;
      const int count = static_cast<int>(to.size());
      for (int k = 0; k <= Model::tap_count; ++k)
        rows::scatter(run.stream, count,
                      kernel::Rows<T>{.x = k == 0 ? visual.main : visual.taps[static_cast<std::size_t>(k - 1)],
                                      .index = index,
                                      .y = stores_[static_cast<std::size_t>(k)]});
    });
  }
  int first_placeholder(const Batch& prompt, int from) const {
    const auto at = std::find(prompt.ids.begin() + from, prompt.ids.end(), image_token_);
    return static_cast<int>(at - prompt.ids.begin());
  }

  /// Tokens, positions and slots of the rows of a plan. Rows of one token that sample come first.
  HostStep gather(const StepPlan& plan) {
    HostStep step;
    step.cu_q = step.cu_keys = {0};
    for (const StepRow& row : plan.rows) {
      const Row& sequence = rows_[static_cast<std::size_t>(row.row)];
      const Request& request = requests_.at(row.id);
      const int* table = &entries_[static_cast<std::size_t>(row.row) * static_cast<std::size_t>(table_stride_)];
      const int prompt = static_cast<int>(request.positions.size());
      for (int n = row.first; n < row.first + row.count; ++n) {
        const int after = request.next + n - prompt;
        step.positions.push_back(n < prompt ? request.positions[static_cast<std::size_t>(n)]
                                            : std::array<int, 3>{after, after, after});
        step.ids.push_back(sequence.tokens[static_cast<std::size_t>(n)]);
        step.slots.push_back(table[n / limits_.page_tokens] * limits_.page_tokens + n % limits_.page_tokens);
      }
      const int end = static_cast<int>(step.ids.size());
      for (const ImageSpan& image : row.images) {
        const int first = std::max(image.first, row.first),
                  last = std::min(image.first + image.tokens, row.first + row.count);
        for (int n = first; n < last; ++n) {
          const int at = end - row.count + n - row.first;
          step.ids[static_cast<std::size_t>(at)] = -1;
          step.visual_rows.push_back(at);
          step.visual_sources.push_back(image_row(image.hash, n - image.first));
        }
      }
      step.cu_q.push_back(end);
      step.cu_keys.push_back(step.cu_keys.back() + row.first + row.count);
      step.sequence_rows.push_back(row.row);
      if (row.samples) step.sampled.push_back(end - 1);
    }
    return step;
  }

  Matrix<const float> read(const StepPlan& plan) {
    const HostStep step = gather(plan);
    Input<T> in = tables_.template build_text<T>(step.ids, step.positions);
    const int visual = static_cast<int>(step.visual_rows.size()), sampled = static_cast<int>(step.sampled.size());
    kernel::PagedCache<T> cache = cache_;
    cache.singles = static_cast<int>(
        std::find_if(plan.rows.begin(), plan.rows.end(), [](const StepRow& r) { return r.count > 1 || !r.samples; }) -
        plan.rows.begin());
    cache.chunks = static_cast<int>(plan.rows.size()) - cache.singles;
    cache.slots = step.slots.data(), cache.cu_q = step.cu_q.data(), cache.cu_keys = step.cu_keys.data();
    cache.tables = {entries_.data(), table_stride_, step.sequence_rows.data()};
    const int *sources = step.visual_sources.data(), *last = step.sampled.data();
    in.visual_rows = step.visual_rows.data();
    in.text.pages = &cache;
    staging_.add(in.ids, step.ids.size());
    staging_.add(in.text.cos.data, step.ids.size() * static_cast<std::size_t>(in.text.cos.cols));
    staging_.add(in.text.sin.data, step.ids.size() * static_cast<std::size_t>(in.text.sin.cols));
    staging_.add(in.visual_rows, step.visual_rows.size());
    staging_.add(sources, step.visual_sources.size());
    staging_.add(last, step.sampled.size());
    staging_.add(cache.slots, step.slots.size());
    staging_.add(cache.cu_q, step.cu_q.size());
    staging_.add(cache.cu_keys, step.cu_keys.size());
    staging_.add(cache.tables.rows, step.sequence_rows.size());
    staging_.add(cache.tables.entries, entries_.size());
    logits_.resize(static_cast<std::size_t>(sampled) * vocab_size);
    Matrix<T> out;
    work([&](auto run) {
      Arena::Scope scope(*run.scratch);
      split(run, cache);
      VisualRows<T> shown;
      if (visual > 0) shown = gather_images(run, visual, sources);
      const Matrix<T> hidden = run.scratch->template matrix<T>(in.tokens, hidden_size);
      Model::decode(run, weights_.parameters(), saved_, in, shown, hidden);
      out = run.scratch->template matrix<T>(sampled, vocab_size);
      if (sampled > 0) head(run, hidden, last, out);
    });
    download(out);
    return {logits_.data(), sampled, vocab_size};
  }

  /// How decoding shares out keys; where the backend has no workers of its own, one does all.
  template <class R>
  void split(R run, kernel::PagedCache<T>& cache) {
    if (cache.singles == 0) return;
    cache.splits.workers = workers();
    cache.splits.most = cache.singles + cache.splits.workers;
    cache.splits.splits = run.scratch->template take<kernel::KeySplit>(static_cast<std::size_t>(cache.splits.most));
    cache.splits.starts = run.scratch->template take<int>(static_cast<std::size_t>(cache.splits.workers) + 1);
    kernel::paged_attention<typename R::backend>::split(run.stream, kernel::SplitKeys{.cu_q = cache.cu_q,
                                                                                      .cu_keys = cache.cu_keys,
                                                                                      .rows = cache.tables.rows,
                                                                                      .sequences = cache.singles,
                                                                                      .to = cache.splits});
  }
  int workers() const {
    if constexpr (std::is_same_v<B, Cuda>)
      return kernel::paged_attention<Cuda>::workers(device_.gpu().multiprocessors(), kv_heads);
    else
      return 1;
  }
  template <class R>
  VisualRows<T> gather_images(R run, int count, const int* sources) {
    VisualRows<T> shown;
    for (int k = 0; k <= Model::tap_count; ++k) {
      const Matrix<T> to = run.scratch->template matrix<T>(count, hidden_size);
      kernel::rows<typename R::backend>::gather(
          run.stream, count, kernel::Rows<T>{.x = stores_[static_cast<std::size_t>(k)], .index = sources, .y = to});
      (k == 0 ? shown.main : shown.taps[static_cast<std::size_t>(k - 1)]) = to;
    }
    return shown;
  }
  template <class R>
  void head(R run, Matrix<T> hidden, const int* last, Matrix<T> out) {
    const Matrix<T> x = run.scratch->template matrix<T>(out.rows, hidden_size);
    kernel::rows<typename R::backend>::gather(run.stream, out.rows,
                                              kernel::Rows<T>{.x = hidden, .index = last, .y = x});
    kernel::matmul<typename R::backend>::forward(
        run.stream, kernel::MatmulFwd<T>{
                        .x = x, .w = Model::head(weights_.parameters()).value, .y = out, .alpha = Model::head_scale});
  }

  /// Sends what was staged and runs f with scratch for it, counted first.
  template <class F>
  void work(F f) {
    Arena counting;
    f(Run<Plan, Inference>{plan_stream<B>(nullptr, counting), &counting, nullptr});
    if (scratch_.counts() || scratch_.capacity_bytes() < counting.peak_bytes()) {
      scratch_ = Arena();  // which must be free before more is asked for
      scratch_ = Arena(counting.peak_bytes(), Memory<B>{});
    }
    staging_.send(device_.stream());
    f(Run<B, Inference>{device_.stream(&scratch_), &scratch_, nullptr});
  }
  void download(const Matrix<T>& out) {
    if constexpr (std::is_same_v<T, float>) {
      Memory<B>::download(device_.stream(), logits_.data(), out.data, sizeof(T) * logits_.size());
    } else {
      rounded_.resize(logits_.size());
      Memory<B>::download(device_.stream(), rounded_.data(), out.data, sizeof(T) * rounded_.size());
      std::transform(rounded_.begin(), rounded_.end(), logits_.begin(), [](T x) { return to_f32(x); });
    }
  }

  Device<B>& device_;
  const Weights<Model, T, B>& weights_;
  int image_token_;
  RunnerLimits limits_;
  const ImageRows& images_;
  std::vector<Row> rows_;
  std::map<RequestId, Request> requests_;
  int table_stride_;          ///< page table entries of a row
  std::vector<int> entries_;  ///< (rows, table_stride)
  Arena cache_block_, image_block_, scratch_;
  kernel::PagedCache<T> cache_;
  std::array<Matrix<T>, 1 + Model::tap_count> stores_;  ///< images' rows: the tower's output, then its side outputs
  Tables<Model> tables_;
  Positions positions_;
  typename Model::template Saved<Inference> saved_{};
  Staging<B> staging_;
  std::vector<T> rounded_;
  std::vector<float> logits_;
};

}  // namespace lamina::engine
