#pragma once
#include <algorithm>
#include <array>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <unordered_map>
#include <utility>
#include <vector>

#include <lamina/compose/staging.hpp>
#include <lamina/compose/tables.hpp>
#include <lamina/compose/weights.hpp>
#include <lamina/core/batch.hpp>
#include <lamina/engine/sampler.hpp>
#include <lamina/engine/session.hpp>
#include <lamina/engine/step_inputs.hpp>
#include <lamina/engine/step_plan.hpp>
#include <lamina/kernel/device.hpp>
#include <lamina/kernel/paged_attention.hpp>
#include <lamina/kernel/plan.hpp>

namespace lamina::engine {

/// How many rows of a step are computed by what.
struct StepShape {
  int tokens = 0, singles = 0, chunks = 0, sampled = 0, visuals = 0;
};

/// Runs the steps of a scheduler on a model: owns the bytes of all pages, the images' rows, and for each request row
/// what the model needs of its sequence. The newest token of a row is known to the backend before it is known to the
/// host, so on a GPU two steps may be under way. Steps in which every row reads one token are recorded once for each
/// row count of `graph_rows` and repeated. One thread.
template <class Model, Real T = float, Backend B = Cpu>
class Runner {
 public:
  using Inference = Mode<T, false, false>;
  using TextCore = typename Tables<Model>::TextCore;
  static constexpr int layers = Model::Stack_::repeats, kv_heads = TextCore::HeadsOf::kv_heads,
                       head_dim = TextCore::HeadsOf::head_dim, hidden_size = Model::hidden_size,
                       vocab_size = Model::vocab_size;

  /// Bytes of a page of keys and values, all layers.
  static std::size_t page_bytes(int page_tokens) { return sizeof(T) * 2 * layers * page_elements(page_tokens); }
  /// Bytes of a stored row of an image.
  static constexpr std::size_t image_row_bytes = sizeof(T) * hidden_size * (1 + Model::tap_count);
  /// Bytes of everything else that a runner takes: scratch of the largest step, and what steps read.
  static std::size_t other_bytes(Device<B>& device, const Parameter* parameters, const SessionLimits& limits) {
    Arena counting;
    Memories::place(counting, limits);
    return counting.used_bytes() + scratch_bytes(parameters, fixed_for(device, limits, false), limits);
  }

  /// device and weights outlive the runner. graph_rows: rising; none: no step is recorded.
  Runner(Device<B>& device, const Weights<Model, T, B>& weights, int image_token, const SessionLimits& limits,
         std::vector<int> graph_rows = {}, bool batch_invariant = false);

  /// As EngineSession says.
  void begin(RequestId id, std::shared_ptr<const Batch> prompt, const SamplingParams& sampling);
  void end(RequestId id) { requests_.erase(id); }
  void start(const StepPlan& plan, const ImageRows& images);
  bool may_start_ahead() const { return Device<B>::runs_ahead && host_choices_ == 0; }
  StepChoices finish();

  /// The newest token of a request row becomes this one, instead of the one that was chosen.
  void set_newest(int row, int token) {
    Memory<B>::upload(device_.stream(), fixed_.memory.newest + row, &token, sizeof(int));
  }
  /// Logits (S, V) of the S rows that sampled in the step that was started last, until the next one is started.
  std::vector<float> logits();

 private:
  struct Request {
    std::shared_ptr<const Batch> prompt;
    std::vector<std::array<int, 3>> positions;  ///< of the prompt's tokens
    int next = 0;                               ///< position of the first token after it, on all axes
    std::optional<kernel::SamplingRule> rule;   ///< nothing: the host chooses
    std::optional<Sampler> sampler;
  };
  struct Row {
    RequestId id = 0;
    std::vector<int> tokens;  ///< known when the sequence entered the row
  };
  /// What steps read and leave, always at the same place.
  struct Memories {
    int* newest = nullptr;   ///< (R)
    int* told = nullptr;     ///< (R) the tokens that a step chose
    int* entries = nullptr;  ///< (R, table_stride) page tables
    Matrix<float> turns;     ///< (positions, Dh) cos and sin of every position
    std::byte* inputs = nullptr;

    static Memories place(Arena& arena, const SessionLimits& limits) {
      const auto rows = static_cast<std::size_t>(limits.rows);
      Memories m;
      m.newest = arena.take<int>(rows);
      m.told = arena.take<int>(rows);
      m.entries = arena.take<int>(rows * static_cast<std::size_t>(table_stride(limits)));
      m.turns = arena.matrix<float>(limits.context_tokens, head_dim);
      m.inputs = arena.take<std::byte>(StepInputs::bytes_of(most_of(limits)));
      return m;
    }
  };
  /// What every step works with.
  struct Fixed {
    Memories memory;
    kernel::PagedCache<T> pages;
    std::array<Matrix<T>, 1 + Model::tap_count> stores;  ///< images' rows: the tower's output, then its side outputs
    int table_stride = 0, workers = 1;
    int splits_each = 0;  ///< the most splits of a sequence; 0: as workers need
  };
  /// A step under way.
  struct Flight {
    std::uint64_t number = 0;
    std::vector<RequestId> ids;  ///< of the rows that sample
    std::vector<int> rows;       ///< theirs
    std::size_t buffer = 0;
  };
  /// The host's memory for a step under way.
  struct HostBuffer {
    Arena arena;
    int* told = nullptr;
    std::byte* inputs = nullptr;
    typename Device<B>::Mark done;
  };

  static std::size_t page_elements(int page_tokens) {
    return static_cast<std::size_t>(kv_heads) * static_cast<std::size_t>(page_tokens) * head_dim;
  }
  static int table_stride(const SessionLimits& limits) {
    return (limits.context_tokens + limits.page_tokens - 1) / limits.page_tokens;
  }
  /// The most that a step has of everything.
  static StepSizes most_of(const SessionLimits& limits) {
    return {.sequences = limits.rows,
            .tokens = limits.step_tokens,
            .sampled = limits.rows,
            .visuals = limits.step_tokens,
            .edits = limits.rows * table_stride(limits)};
  }
  static Fixed fixed_for(Device<B>& device, const SessionLimits& limits, bool batch_invariant) {
    Fixed fixed;
    fixed.table_stride = table_stride(limits);
    fixed.workers = kernel::paged_attention<B>::workers(device.multiprocessors(), kv_heads);
    if (batch_invariant) {
      const int keys = kernel::split_tile_keys * kernel::invariant_split_tiles;
      fixed.pages.splits.fixed_tiles = kernel::invariant_split_tiles;
      fixed.splits_each = (limits.context_tokens + keys - 1) / keys;
    }
    return fixed;
  }
  static std::size_t scratch_bytes(const Parameter* parameters, const Fixed& fixed, const SessionLimits& limits);
  static Input<T> images_of(int patches);

  /// Where row `i` of an image is stored.
  int image_row(const ImageRows& images, const ImageHash& hash, int i) const {
    const int block = images.blocks(hash)[static_cast<std::size_t>(i / limits_.image_block_rows)];
    return block * limits_.image_block_rows + i % limits_.image_block_rows;
  }
  void place_pages();
  void place_images();
  int first_placeholder(const Batch& prompt, int from) const {
    const auto at = std::find(prompt.ids.begin() + from, prompt.ids.end(), image_token_);
    return static_cast<int>(at - prompt.ids.begin());
  }
  std::pair<Grid, std::span<const float>> patches_of(const ImageEncode& encode) const;
  void encode(const StepPlan& plan, const ImageRows& images);

  int recorded_rows(const StepPlan& plan) const;
  static StepShape shape_of(const StepPlan& plan);
  void fill(const StepPlan& plan, const ImageRows& images, const StepInputs& in) const;
  void fill_tokens(const StepRow& row, int at, const StepInputs& in) const;
  void fill_sampled(const StepRow& row, int last, int s, const StepInputs& in) const;
  static void pad(const StepShape& shape, int rows, const StepInputs& in);
  void read(const StepPlan& plan, const ImageRows& images, HostBuffer& buffer);
  void run_or_repeat(int rows, const StepShape& shape, const StepInputs& in);
  int choose_on_host(const Flight& flight, std::size_t i, Chosen& chosen);

  template <class R>
  static Matrix<T> run_step(R run, const Parameter* parameters, const StepShape& shape, const StepInputs& in,
                            const Fixed& fixed);
  template <class R>
  static void split(R run, kernel::PagedCache<T>& pages, const Fixed& fixed);
  template <class R>
  static void run_encode(R run, const Parameter* parameters, Input<T>& in, const int* to, int rows, const Fixed& fixed);
  Run<B, Inference> running() { return {device_.stream(&scratch_), &scratch_, nullptr}; }

  Device<B>& device_;
  const Weights<Model, T, B>& weights_;
  int image_token_;
  SessionLimits limits_;
  std::vector<int> graph_rows_;
  Fixed fixed_;
  Arena cache_block_, image_block_, step_block_, scratch_;
  std::vector<int> entries_;  ///< the page tables as the host knows them
  std::vector<Row> rows_;
  std::unordered_map<RequestId, Request> requests_;
  std::array<HostBuffer, 2> buffers_;
  std::deque<Flight> flights_;
  std::uint64_t started_ = 0;
  int host_choices_ = 0;  ///< rows under way whose token the host chooses
  struct Recorded {
    Matrix<T> logits;
    Recorder<B> recorder;
  };
  std::map<int, Recorded> recorded_;  ///< by row count
  Matrix<T> logits_;
  Tables<Model> tables_;
  Positions positions_;
  Staging<B> staging_;
  typename Device<B>::Mark staged_;  ///< behind the images' upload
};

template <class Model, Real T, Backend B>
Runner<Model, T, B>::Runner(Device<B>& device, const Weights<Model, T, B>& weights, int image_token,
                            const SessionLimits& limits, std::vector<int> graph_rows, bool batch_invariant)
    : device_(device),
      weights_(weights),
      image_token_(image_token),
      limits_(limits),
      graph_rows_(std::move(graph_rows)),
      fixed_(fixed_for(device, limits, batch_invariant)),
      cache_block_(page_bytes(limits.page_tokens) * static_cast<std::size_t>(limits.pages), Memory<B>{}),
      scratch_(scratch_bytes(weights.parameters(), fixed_, limits), Memory<B>{}),
      entries_(static_cast<std::size_t>(limits.rows) * static_cast<std::size_t>(table_stride(limits)), 0),
      rows_(static_cast<std::size_t>(limits.rows)) {
  place_pages();
  place_images();
  Arena counting;
  Memories::place(counting, limits);
  step_block_ = Arena(counting.peak_bytes(), Memory<B>{});
  fixed_.memory = Memories::place(step_block_, limits);
  const std::vector<float> turns = tables_.rotary_rows(limits.context_tokens);
  Memory<B>::upload(device_.stream(), fixed_.memory.turns.data, turns.data(), sizeof(float) * turns.size());
  Memory<B>::zero(device_.stream(), fixed_.memory.entries, sizeof(int) * entries_.size());
  const std::size_t input_bytes = StepInputs::bytes_of(most_of(limits)), rows = static_cast<std::size_t>(limits.rows);
  for (HostBuffer& buffer : buffers_) {
    buffer.arena = Arena::staging(input_bytes + sizeof(int) * rows + Arena::alignment, Memory<B>{});
    buffer.told = buffer.arena.template take<int>(rows);
    buffer.inputs = buffer.arena.template take<std::byte>(input_bytes);
  }
}
template <class Model, Real T, Backend B>
void Runner<Model, T, B>::place_pages() {
  const std::size_t elements = page_elements(limits_.page_tokens),
                    side = static_cast<std::size_t>(limits_.pages) * elements;
  T* first = cache_block_.template take<T>(layers * 2 * side);
  kernel::PagedCache<T>& pages = fixed_.pages;
  pages.layer_stride = static_cast<std::ptrdiff_t>(2 * side);
  pages.k = {first, static_cast<std::ptrdiff_t>(elements), limits_.page_tokens};
  pages.v = {first + side, pages.k.page_stride, limits_.page_tokens};
}
template <class Model, Real T, Backend B>
void Runner<Model, T, B>::place_images() {
  const auto place = [&](Arena& arena) {
    for (Matrix<T>& store : fixed_.stores)
      store = arena.matrix<T>(limits_.image_blocks * limits_.image_block_rows, hidden_size);
  };
  Arena counting;
  place(counting);
  image_block_ = Arena(counting.peak_bytes(), Memory<B>{});
  place(image_block_);
}

/// Scratch of the largest step and of the largest images that are encoded at once.
template <class Model, Real T, Backend B>
std::size_t Runner<Model, T, B>::scratch_bytes(const Parameter* parameters, const Fixed& fixed,
                                               const SessionLimits& limits) {
  Arena counting;
  const Run<Plan, Inference> run{plan_stream<B>(nullptr, counting), &counting, nullptr};
  run_step(run, parameters, {limits.rows, limits.rows, 0, limits.rows, 0}, {}, fixed);
  run_step(run, parameters, {limits.step_tokens, limits.rows - 1, 1, limits.rows, limits.step_tokens}, {}, fixed);
  Input<T> images = images_of(limits.step_image_tokens * Model::merge * Model::merge);
  run_encode(run, parameters, images, nullptr, limits.step_image_tokens, fixed);
  return counting.peak_bytes();
}

/// Sizes of one image of so many patches.
template <class Model, Real T, Backend B>
Input<T> Runner<Model, T, B>::images_of(int patches) {
  Input<T> in;
  in.patches = {nullptr, patches, Model::patch_width};
  in.vision.rows = in.vision.longest = in.vision.longest_window = patches;
  in.vision.sequences = in.vision.windows = 1;
  in.vision.cos = in.vision.sin = {nullptr, patches, Tables<Model>::VisionCore::HeadsOf::head_dim / 2};
  return in;
}

template <class Model, Real T, Backend B>
void Runner<Model, T, B>::begin(RequestId id, std::shared_ptr<const Batch> prompt, const SamplingParams& sampling) {
  for (const Grid& grid : prompt->grids)
    if (grid.tokens(Model::merge) > limits_.step_image_tokens)
      fail("an image of ", grid.tokens(Model::merge), " tokens; at most ", limits_.step_image_tokens,
           " are encoded at once: send a smaller image");
  expect_patches(*prompt, Model::patch_width);
  Request request;
  find_positions(*prompt, Model::merge, image_token_, positions_);
  request.positions = positions_.of_token;
  request.next = positions_.next.back();
  request.rule = sampling.rule();
  Sampler sampler(sampling, prompt->ids, vocab_size);  // refuses ids outside the vocabulary, for either
  if (!request.rule) request.sampler = std::move(sampler);
  request.prompt = std::move(prompt);
  requests_.insert_or_assign(id, std::move(request));
}

template <class Model, Real T, Backend B>
void Runner<Model, T, B>::start(const StepPlan& plan, const ImageRows& images) {
  for (const RowStart& start : plan.starts) rows_[static_cast<std::size_t>(start.row)] = {start.id, start.tokens};
  const int stride = table_stride(limits_);
  for (const PageEdit& edit : plan.pages)
    entries_[static_cast<std::size_t>(edit.row) * static_cast<std::size_t>(stride) +
             static_cast<std::size_t>(edit.index)] = edit.page;
  if (!plan.images.empty()) encode(plan, images);
  Flight flight{.number = plan.number, .ids = {}, .rows = {}, .buffer = started_++ % 2};
  HostBuffer& buffer = buffers_[flight.buffer];
  for (const StepRow& row : plan.rows) {
    if (!row.samples) continue;
    flight.ids.push_back(row.id);
    flight.rows.push_back(row.row);
    host_choices_ += !requests_.at(row.id).rule;
  }
  read(plan, images, buffer);
  buffer.done.set(device_.stream());
  flights_.push_back(std::move(flight));
}

template <class Model, Real T, Backend B>
StepChoices Runner<Model, T, B>::finish() {
  const Flight flight = std::move(flights_.front());
  flights_.pop_front();
  HostBuffer& buffer = buffers_[flight.buffer];
  buffer.done.wait();
  StepChoices out{.number = flight.number, .chosen = {}};
  for (std::size_t i = 0; i < flight.ids.size(); ++i) {
    Chosen chosen{.id = flight.ids[i], .token = buffer.told[i]};
    const auto request = requests_.find(chosen.id);
    if (request != requests_.end() && request->second.sampler) {
      chosen.token = choose_on_host(flight, i, chosen);
      set_newest(flight.rows[i], chosen.token);
    }
    out.chosen.push_back(std::move(chosen));
  }
  if (flights_.empty()) host_choices_ = 0;
  return out;
}

/// The token that a request's own sampler draws; negative if a logit is not finite, or no token may be drawn.
template <class Model, Real T, Backend B>
int Runner<Model, T, B>::choose_on_host(const Flight& flight, std::size_t i, Chosen& chosen) {
  std::vector<T> row(vocab_size);
  Memory<B>::download(device_.stream(), row.data(), logits_.row(static_cast<int>(i)), sizeof(T) * row.size());
  std::vector<float> logits(row.size());
  std::transform(row.begin(), row.end(), logits.begin(), [](T x) { return to_f32(x); });
  if (!std::all_of(logits.begin(), logits.end(), [](float x) { return std::isfinite(x); })) return -1;
  try {
    Sampled sampled = requests_.at(flight.ids[i]).sampler->next(logits);
    chosen.logprob = sampled.token.logprob;
    chosen.top = std::move(sampled.top);
    return sampled.token.id;
  } catch (const Error& e) {  // the request's alone: others of the step have their tokens
    chosen.error = e.what();
    return -1;
  }
}

template <class Model, Real T, Backend B>
std::vector<float> Runner<Model, T, B>::logits() {
  std::vector<T> rounded(static_cast<std::size_t>(logits_.rows) * vocab_size);
  Memory<B>::download(device_.stream(), rounded.data(), logits_.data, sizeof(T) * rounded.size());
  std::vector<float> out(rounded.size());
  std::transform(rounded.begin(), rounded.end(), out.begin(), [](T x) { return to_f32(x); });
  return out;
}

/// One image of a request: its shape and its patches.
template <class Model, Real T, Backend B>
std::pair<Grid, std::span<const float>> Runner<Model, T, B>::patches_of(const ImageEncode& encode) const {
  const Batch& prompt = *requests_.at(encode.request).prompt;
  std::size_t patch = 0;
  int token = 0;
  for (const Grid& grid : prompt.grids) {
    const std::size_t values = static_cast<std::size_t>(grid.patches()) * Model::patch_width;
    token = first_placeholder(prompt, token);
    if (token == encode.image.first) return {grid, std::span(prompt.patches).subspan(patch, values)};
    patch += values;
    token += grid.tokens(Model::merge);
  }
  fail("a step encodes an image that its request has not");
}

/// The tower on all new images at once; its rows go to the blocks that were reserved for them.
template <class Model, Real T, Backend B>
void Runner<Model, T, B>::encode(const StepPlan& plan, const ImageRows& images) {
  std::vector<Grid> grids;
  std::vector<std::span<const float>> patches;
  std::vector<int> to;
  for (const ImageEncode& encode : plan.images) {
    const auto [grid, values] = patches_of(encode);
    grids.push_back(grid), patches.push_back(values);
    for (int i = 0; i < encode.image.tokens; ++i) to.push_back(image_row(images, encode.image.hash, i));
  }
  staged_.wait();  // the host's copy of the images before these may still be read
  Input<T> in = tables_.template build_images<T>(grids);
  const int* index = to.data();
  staging_.add(in, std::move(patches), Model::merge);
  staging_.add(index, to.size());
  staging_.send(device_.stream());
  staged_.set(device_.stream());
  run_encode(running(), weights_.parameters(), in, index, static_cast<int>(to.size()), fixed_);
}
template <class Model, Real T, Backend B>
template <class R>
void Runner<Model, T, B>::run_encode(R run, const Parameter* parameters, Input<T>& in, const int* to, int rows,
                                     const Fixed& fixed) {
  Arena::Scope scope(*run.scratch);
  typename Model::template Saved<Inference> nothing{};
  const VisualRows<T> visual = Model::template take_visual_rows<T>(*run.scratch, in.patches.rows);
  Model::encode_images(run, parameters, nothing, in, visual);
  for (int k = 0; k <= Model::tap_count; ++k)
    kernel::rows<typename R::backend>::scatter(
        run.stream, rows,
        kernel::Rows<T>{.x = k == 0 ? visual.main : visual.taps[static_cast<std::size_t>(k - 1)],
                        .index = to,
                        .y = fixed.stores[static_cast<std::size_t>(k)]});
}

/// The row count of the recorded step that can do this one; 0: none can.
template <class Model, Real T, Backend B>
int Runner<Model, T, B>::recorded_rows(const StepPlan& plan) const {
  const bool same = std::all_of(plan.rows.begin(), plan.rows.end(),
                                [](const StepRow& row) { return row.decodes() && row.images.empty(); });
  if (!same || plan.pages.size() > static_cast<std::size_t>(limits_.rows)) return 0;
  const auto at = std::lower_bound(graph_rows_.begin(), graph_rows_.end(), static_cast<int>(plan.rows.size()));
  return at == graph_rows_.end() ? 0 : *at;
}
template <class Model, Real T, Backend B>
StepShape Runner<Model, T, B>::shape_of(const StepPlan& plan) {
  StepShape shape;
  for (const StepRow& row : plan.rows) {
    shape.tokens += row.count;
    ++(row.decodes() ? shape.singles : shape.chunks);
    shape.sampled += row.samples;
    for (const ImageSpan& image : row.images)
      shape.visuals += std::min(image.first + image.tokens, row.first + row.count) - std::max(image.first, row.first);
  }
  return shape;
}

/// The arrays of a plan, on the host.
template <class Model, Real T, Backend B>
void Runner<Model, T, B>::fill(const StepPlan& plan, const ImageRows& images, const StepInputs& in) const {
  int n = 0, sequence = 0, sampled = 0, visual = 0;
  in.cu_q[0] = in.cu_keys[0] = 0;
  for (const StepRow& row : plan.rows) {
    fill_tokens(row, n, in);
    for (const ImageSpan& image : row.images) {
      const int first = std::max(image.first, row.first),
                last = std::min(image.first + image.tokens, row.first + row.count);
      for (int token = first; token < last; ++token, ++visual) {
        in.given[in.visual_rows[visual] = n + token - row.first] = -1;
        in.visual_sources[visual] = image_row(images, image.hash, token - image.first);
      }
    }
    n += row.count;
    in.sequence_rows[sequence] = row.row;
    in.cu_keys[sequence + 1] = in.cu_keys[sequence] + row.first + row.count;
    in.cu_q[++sequence] = n;
    if (row.samples) fill_sampled(row, n - 1, sampled++, in);
  }
  for (std::size_t i = 0; i < plan.pages.size(); ++i) {
    in.edits_at[i] = plan.pages[i].row * fixed_.table_stride + plan.pages[i].index;
    in.edits_to[i] = plan.pages[i].page;
  }
}
/// Ids, positions and slots of a sequence's tokens, from place `at` on.
template <class Model, Real T, Backend B>
void Runner<Model, T, B>::fill_tokens(const StepRow& row, int at, const StepInputs& in) const {
  const Row& sequence = rows_[static_cast<std::size_t>(row.row)];
  const Request& request = requests_.at(row.id);
  const int* table = &entries_[static_cast<std::size_t>(row.row) * static_cast<std::size_t>(fixed_.table_stride)];
  const int prompt = static_cast<int>(request.positions.size()), known = static_cast<int>(sequence.tokens.size());
  for (int n = row.first; n < row.first + row.count; ++n, ++at) {
    in.given[at] = n < known ? sequence.tokens[static_cast<std::size_t>(n)] : kernel::TokenInputs::newest_of(row.row);
    const int after = request.next + n - prompt;
    for (std::size_t axis = 0; axis < 3; ++axis)
      in.positions[3 * static_cast<std::size_t>(at) + axis] =
          n < prompt ? request.positions[static_cast<std::size_t>(n)][axis] : after;
    in.slots[at] = table[n / limits_.page_tokens] * limits_.page_tokens + n % limits_.page_tokens;
  }
}
template <class Model, Real T, Backend B>
void Runner<Model, T, B>::fill_sampled(const StepRow& row, int last, int s, const StepInputs& in) const {
  const Request& request = requests_.at(row.id);
  in.sampled[s] = last;
  in.sampled_rows[s] = request.rule ? row.row : -1;
  in.chosen[s] = row.first + row.count - static_cast<int>(request.positions.size());
  in.rules[s] = request.rule.value_or(kernel::SamplingRule{});
}
/// Rows of a recorded step beyond those that are used: they have no keys, write none and choose nothing.
template <class Model, Real T, Backend B>
void Runner<Model, T, B>::pad(const StepShape& shape, int rows, const StepInputs& in) {
  for (int i = shape.singles; i < rows; ++i) {
    in.given[i] = in.sequence_rows[i] = 0;
    in.slots[i] = in.sampled_rows[i] = -1;
    std::fill_n(in.positions + 3 * i, 3, 0);
    in.cu_q[i + 1] = i + 1;
    in.cu_keys[i + 1] = in.cu_keys[i];
    in.sampled[i] = i;
    in.chosen[i] = 0;
    in.rules[i] = {};
  }
}

/// Sends what the step reads and runs it.
template <class Model, Real T, Backend B>
void Runner<Model, T, B>::read(const StepPlan& plan, const ImageRows& images, HostBuffer& buffer) {
  const int rows = recorded_rows(plan), edits = static_cast<int>(plan.pages.size());
  const StepShape shape = shape_of(plan);
  // Recorded steps of all row counts find their numbers at the same places.
  const StepSizes sizes =
      rows > 0 ? StepSizes{limits_.rows, limits_.rows, limits_.rows, 0, limits_.rows}
               : StepSizes{shape.singles + shape.chunks, shape.tokens, shape.sampled, shape.visuals, edits};
  const StepInputs host = StepInputs::in(buffer.inputs, sizes), in = StepInputs::in(fixed_.memory.inputs, sizes);
  fill(plan, images, host);
  if (rows > 0) pad(shape, rows, host);
  const Stream<B> s = device_.stream();
  Memory<B>::upload_later(s, fixed_.memory.inputs, buffer.inputs, host.bytes);
  kernel::paged_attention<B>::edit(
      s,
      kernel::PageTableEdits{.entries = fixed_.memory.entries, .at = in.edits_at, .page = in.edits_to, .count = edits});
  if (plan.rows.empty()) return;
  if (rows > 0)
    run_or_repeat(rows, {rows, rows, 0, rows, 0}, in);
  else
    logits_ = run_step(running(), weights_.parameters(), shape, in, fixed_);
  Memory<B>::download_later(s, buffer.told, fixed_.memory.told, sizeof(int) * static_cast<std::size_t>(shape.sampled));
}
/// The first step of a row count runs as it is, so that nothing is left to be loaded; the second is recorded.
template <class Model, Real T, Backend B>
void Runner<Model, T, B>::run_or_repeat(int rows, const StepShape& shape, const StepInputs& in) {
  Recorded& recorded = recorded_[rows];
  const auto launch = [&] { recorded.logits = run_step(running(), weights_.parameters(), shape, in, fixed_); };
  if (recorded.recorder.ready()) recorded.recorder.record(device_, launch);
  recorded.recorder.run(device_, launch);
  logits_ = recorded.logits;
}

/// Reads tokens, chooses the next ones; returns the logits that they were chosen of, in scratch.
template <class Model, Real T, Backend B>
template <class R>
Matrix<T> Runner<Model, T, B>::run_step(R run, const Parameter* parameters, const StepShape& shape,
                                        const StepInputs& in, const Fixed& fixed) {
  using backend = typename R::backend;
  Arena::Scope scope(*run.scratch);
  const auto take = [&](int rows, int width) { return run.scratch->template matrix<T>(rows, width); };
  const auto angles = [&] { return run.scratch->template matrix<float>(shape.tokens, head_dim / 2); };
  kernel::TokenInputs tokens{.given = in.given,
                             .newest = fixed.memory.newest,
                             .positions = in.positions,
                             .turns = fixed.memory.turns,
                             .ids = run.scratch->template take<int>(static_cast<std::size_t>(shape.tokens)),
                             .cos = angles(),
                             .sin = angles()};
  for (int j = 0; j < head_dim / 2; ++j) tokens.axis[j] = static_cast<unsigned char>(TextCore::Rope::axis(j));
  kernel::token_inputs<backend>::forward(run.stream, tokens);

  kernel::PagedCache<T> pages = fixed.pages;
  pages.singles = shape.singles, pages.chunks = shape.chunks;
  pages.slots = in.slots, pages.cu_q = in.cu_q, pages.cu_keys = in.cu_keys;
  pages.tables = {fixed.memory.entries, fixed.table_stride, in.sequence_rows};
  split(run, pages, fixed);

  Input<T> input;
  input.ids = tokens.ids;
  input.tokens = input.text.rows = shape.tokens;
  input.text.cos = tokens.cos, input.text.sin = tokens.sin;
  input.text.pages = &pages;
  input.visual_rows = in.visual_rows;
  VisualRows<T> shown;
  for (int k = 0; shape.visuals > 0 && k <= Model::tap_count; ++k) {
    const Matrix<T> to = k == 0 ? shown.main = take(shape.visuals, hidden_size)
                                : shown.taps[static_cast<std::size_t>(k - 1)] = take(shape.visuals, hidden_size);
    kernel::rows<backend>::gather(
        run.stream, shape.visuals,
        kernel::Rows<T>{.x = fixed.stores[static_cast<std::size_t>(k)], .index = in.visual_sources, .y = to});
  }
  Matrix<T> hidden = take(shape.tokens, hidden_size);
  typename Model::template Saved<Inference> nothing{};
  Model::decode(run, parameters, nothing, input, shown, hidden);
  if (shape.sampled == 0) return {};
  if (shape.chunks > 0) {
    const Matrix<T> last = take(shape.sampled, hidden_size);
    kernel::rows<backend>::gather(run.stream, shape.sampled,
                                  kernel::Rows<T>{.x = hidden, .index = in.sampled, .y = last});
    hidden = last;
  }
  const Matrix<T> logits = take(shape.sampled, vocab_size);
  kernel::matmul<backend>::forward(
      run.stream,
      kernel::MatmulFwd<T>{.x = hidden, .w = Model::head(parameters).value, .y = logits, .alpha = Model::head_scale});
  kernel::sample<backend>::rows(run.stream, kernel::SampleRows<T>{.logits = logits,
                                                                  .rows = in.sampled_rows,
                                                                  .rules = in.rules,
                                                                  .chosen = in.chosen,
                                                                  .newest = fixed.memory.newest,
                                                                  .told = fixed.memory.told});
  return logits;
}
/// How decoding shares out the keys of the sequences that read one token.
template <class Model, Real T, Backend B>
template <class R>
void Runner<Model, T, B>::split(R run, kernel::PagedCache<T>& pages, const Fixed& fixed) {
  if (pages.singles == 0) return;
  kernel::KeySplits& splits = pages.splits;
  splits.workers = fixed.workers;
  splits.most = fixed.splits_each > 0 ? pages.singles * fixed.splits_each : pages.singles + fixed.workers;
  splits.splits = run.scratch->template take<kernel::KeySplit>(static_cast<std::size_t>(splits.most));
  splits.starts = run.scratch->template take<int>(static_cast<std::size_t>(splits.workers) + 1);
  kernel::paged_attention<typename R::backend>::split(run.stream, kernel::SplitKeys{.cu_q = pages.cu_q,
                                                                                    .cu_keys = pages.cu_keys,
                                                                                    .rows = pages.tables.rows,
                                                                                    .sequences = pages.singles,
                                                                                    .to = splits});
}

}  // namespace lamina::engine
