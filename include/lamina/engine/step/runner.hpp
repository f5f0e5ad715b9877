#pragma once
#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include <lamina/compose/plan/staging.hpp>
#include <lamina/compose/plan/tables.hpp>
#include <lamina/compose/plan/weights.hpp>
#include <lamina/core/batch.hpp>
#include <lamina/core/threads.hpp>
#include <lamina/engine/adapters/adapter_memory.hpp>
#include <lamina/engine/images/prompt_image.hpp>
#include <lamina/engine/schedule/step_plan.hpp>
#include <lamina/engine/session.hpp>
#include <lamina/engine/step/flight.hpp>
#include <lamina/engine/step/model_step.hpp>
#include <lamina/engine/step/prompt_scores.hpp>
#include <lamina/engine/step/request_rows.hpp>
#include <lamina/engine/step/sampler.hpp>
#include <lamina/engine/step/step_inputs.hpp>
#include <lamina/kernel/device.hpp>
#include <lamina/kernel/paged_attention.hpp>

namespace lamina::engine {

/// Runs the steps of a scheduler on a model: owns the bytes of all pages, the images' rows, and for each request row
/// what the model needs of its sequence. The newest token of a row is known to the backend before it is known to the
/// host, so on a GPU two steps may be under way, unless the host needs the logits of one itself. Rules of requests are
/// worked out while a step's logits are computed: those that depend on the tokens of the step before, once these are
/// known. Steps in which every row reads one token are recorded once for each row count of `graph_rows` and repeated.
/// One thread.
template <class Model, Real T = float, Backend B = Cpu>
class Runner {
 public:
  /// Bytes of a page of keys and values, all layers.
  static std::size_t page_bytes(int page_tokens) {
    return sizeof(T) * 2 * ModelStep<Model, T, B>::layers * ModelStep<Model, T, B>::page_elements(page_tokens);
  }
  /// Bytes of a stored row of an image.
  static constexpr std::size_t image_row_bytes = sizeof(T) * Model::hidden_size * (1 + Model::tap_count);
  /// Bytes of everything else that a runner takes: scratch of the largest step, and what steps read.
  static std::size_t other_bytes(Device<B>& device, const Parameter* parameters, const SessionLimits& limits) {
    ModelStep<Model, T, B> step(device, limits, false);
    Arena counting;
    step.place(counting, limits);
    return counting.used_bytes() + step.scratch_bytes(parameters, limits);
  }

  /// device, weights and adapters (null: there are none) outlive the runner. graph_rows: rising; none: no step is
  /// recorded.
  Runner(Device<B>& device, const Weights<Model, T, B>& weights, int image_token, const SessionLimits& limits,
         std::vector<int> graph_rows = {}, bool batch_invariant = false, AdapterMemory<T, B>* adapters = nullptr);

  /// As EngineSession says.
  void begin(RequestId id, std::shared_ptr<const Batch> prompt, const SamplingParams& sampling);
  void end(RequestId id) { requests_.end(id); }
  void start(const StepPlan& plan, const ImageRows& images);
  bool may_start_ahead() const { return Device<B>::runs_ahead && awaited_ == 0; }
  StepChoices finish();

  /// The newest token of a request row becomes this one, instead of the one that was chosen.
  void set_newest(int row, int token) { Memory<B>::upload(device_.stream(), step_.newest + row, &token, sizeof(int)); }
  /// As EngineSession says.
  std::vector<float> logits() { return fetch(0, logits_.rows.rows); }

 private:
  /// The host's memory for a step under way.
  struct HostBuffer {
    Arena arena;
    int* told = nullptr;
    kernel::RowLogprobs* scores = nullptr;
    std::byte* inputs = nullptr;
    typename Device<B>::Mark done;
  };

  void encode(const StepPlan& plan, const ImageRows& images);
  int recorded_rows(const StepPlan& plan) const;
  Flight flight_of(const StepPlan& plan);
  StepInputs read(const StepPlan& plan, const ImageRows& images, HostBuffer& buffer);
  void run_or_repeat(int rows, const StepShape& shape, const StepInputs& in);
  void draw(Flight& flight);
  void settle(const Flight& flight, std::size_t i, Chosen& chosen);
  void choose_on_host(std::size_t logits_row, Chosen& chosen);
  std::vector<float> fetch(int first, int count);

  static std::vector<Parameter> planned(const Weights<Model, T, B>& weights, const AdapterMemory<T, B>* adapters) {
    std::vector<Parameter> parameters(weights.parameters(), weights.parameters() + weights.slots().size());
    return adapters ? adapters->planned(std::move(parameters)) : parameters;
  }
  const Parameter* parameters() const { return adapters_ ? adapters_->parameters() : weights_.parameters(); }
  Run<B, typename ModelStep<Model, T, B>::Inference> running() {
    return {device_.stream(&scratch_), &scratch_, nullptr};
  }

  Device<B>& device_;
  const Weights<Model, T, B>& weights_;
  AdapterMemory<T, B>* adapters_;
  bool always_adapted_;  ///< rows without adapters run the same kernels as those with
  int image_token_;
  SessionLimits limits_;
  std::vector<int> graph_rows_;
  ModelStep<Model, T, B> step_;
  Arena cache_block_, image_block_, step_block_, scratch_;
  RequestRows requests_;
  std::array<HostBuffer, 2> buffers_;
  std::deque<Flight> flights_;
  std::uint64_t started_ = 0;
  int awaited_ = 0;     ///< rows under way whose logits the host reads, which the next step writes over
  Arena adjust_block_;  ///< the host's memory for a step's AdjustInputs; only one such step is under way
  struct Recorded {
    StepLogits<T> logits;
    Recorder<B> recorder;
  };
  std::map<std::pair<int, bool>, Recorded> recorded_;  ///< by row count and by whether rows have adapters
  StepLogits<T> logits_;
  Tables<Model> tables_;
  Positions positions_;
  Staging<B> staging_;
  typename Device<B>::Mark staged_;  ///< behind the images' upload
};

template <class Model, Real T, Backend B>
Runner<Model, T, B>::Runner(Device<B>& device, const Weights<Model, T, B>& weights, int image_token,
                            const SessionLimits& limits, std::vector<int> graph_rows, bool batch_invariant,
                            AdapterMemory<T, B>* adapters)
    : device_(device),
      weights_(weights),
      adapters_(adapters),
      always_adapted_(adapters && batch_invariant),
      image_token_(image_token),
      limits_(limits),
      graph_rows_(std::move(graph_rows)),
      step_(device, limits, batch_invariant),
      cache_block_(page_bytes(limits.page_tokens) * static_cast<std::size_t>(limits.pages), Memory<B>{}),
      scratch_(step_.scratch_bytes(planned(weights, adapters).data(), limits), Memory<B>{}),
      requests_(limits) {
  step_.place_pages(cache_block_, limits);
  const auto allocate = [](auto place) {
    Arena counting;
    place(counting);
    Arena block(counting.peak_bytes(), Memory<B>{});
    place(block);
    return block;
  };
  image_block_ = allocate([&](Arena& arena) { step_.place_images(arena, limits); });
  step_block_ = allocate([&](Arena& arena) { step_.place(arena, limits); });
  const std::vector<float> turns = tables_.rotary_rows(limits.context_tokens);
  Memory<B>::upload(device_.stream(), step_.turns.data, turns.data(), sizeof(float) * turns.size());
  Memory<B>::zero(
      device_.stream(), step_.entries,
      sizeof(int) * static_cast<std::size_t>(limits.rows) * static_cast<std::size_t>(limits.pages_per_row()));
  const std::size_t input_bytes = StepInputs::bytes_of(step_.largest(limits)),
                    rows = static_cast<std::size_t>(limits.rows),
                    scores = rows + static_cast<std::size_t>(limits.scored_tokens);
  for (HostBuffer& buffer : buffers_) {
    buffer.arena = Arena::staging(
        input_bytes + sizeof(int) * rows + sizeof(kernel::RowLogprobs) * scores + 2 * Arena::alignment, Memory<B>{});
    buffer.told = buffer.arena.template take<int>(rows);
    buffer.scores = buffer.arena.template take<kernel::RowLogprobs>(scores);
    buffer.inputs = buffer.arena.template take<std::byte>(input_bytes);
  }
  adjust_block_ = Arena::staging(AdjustInputs::bytes_of(limits.rows, Model::vocab_size), Memory<B>{});
}

template <class Model, Real T, Backend B>
void Runner<Model, T, B>::begin(RequestId id, std::shared_ptr<const Batch> prompt, const SamplingParams& sampling) {
  for (const Grid& grid : prompt->grids)
    if (grid.tokens(Model::merge) > limits_.step_image_tokens)
      fail("an image of ", grid.tokens(Model::merge), " tokens; at most ", limits_.step_image_tokens,
           " are encoded at once: send a smaller image");
  expect_patches(*prompt, Model::patch_width);
  RunningRequest request;
  find_positions(*prompt, Model::merge, image_token_, positions_);
  request.positions = positions_.of_token;
  request.next = positions_.next.back();
  request.rule = sampling.rule();
  request.prompt_logprobs = sampling.prompt_logprobs;
  if (sampling.logprobs) request.logprobs = sampling.top_logprobs;
  Sampler sampler(sampling, prompt->ids, Model::vocab_size);  // refuses ids outside the vocabulary, for either
  const bool scored_by_host = request.logprobs && RunningRequest::scored_by_host(*request.logprobs);
  if (sampling.adjusts() || scored_by_host) request.sampler = std::move(sampler);
  request.prompt = std::move(prompt);
  requests_.begin(id, std::move(request));
}

template <class Model, Real T, Backend B>
void Runner<Model, T, B>::start(const StepPlan& plan, const ImageRows& images) {
  if (adapters_ && adapters_->load(device_.stream(), plan.adapters))
    std::erase_if(recorded_, [](const auto& step) { return step.first.second; });
  requests_.edit(plan);
  if (!plan.images.empty()) encode(plan, images);
  Flight flight = flight_of(plan);
  flight.in = read(plan, images, buffers_[flight.buffer]);
  flight.draws_later = !flight.adjusted.empty() && !flights_.empty() && !flights_.back().adjusted.empty();
  if (!flight.draws_later) draw(flight);
  flights_.push_back(std::move(flight));
}

/// What is outstanding once a plan runs.
template <class Model, Real T, Backend B>
Flight Runner<Model, T, B>::flight_of(const StepPlan& plan) {
  const StepShape shape = plan.shape();
  Flight flight{.number = plan.number, .logits = shape.sampled + shape.scored, .buffer = started_++ % 2};
  for (const StepRow& row : plan.rows) {
    RunningRequest& request = requests_.at(row.id);
    if (row.scored > 0) {
      const bool by_host = RunningRequest::scored_by_host(*request.prompt_logprobs);
      flight.scored.push_back(row);
      awaited_ += by_host, flight.asks_logprobs |= !by_host;
    }
    if (!row.samples) continue;
    Draw draw{.id = row.id, .row = row.row, .by_host = request.drawn_by_host(), .alternatives = request.alternatives()};
    flight.asks_logprobs |= draw.alternatives >= 0;
    if (request.adjusted()) {
      draw.adjusted = static_cast<int>(flight.adjusted.size());
      flight.adjusted.push_back({static_cast<int>(flight.draws.size())});
    }
    awaited_ += draw.by_host;
    flight.draws.push_back(draw);
  }
  return flight;
}

/// Works out the rules of requests while their logits are computed, and draws.
template <class Model, Real T, Backend B>
void Runner<Model, T, B>::draw(Flight& flight) {
  const Stream<B> s = device_.stream();
  HostBuffer& buffer = buffers_[flight.buffer];
  flight.draws_later = false;
  AdjustInputs adjust;
  if (!flight.adjusted.empty()) {
    for (AdjustedRow& row : flight.adjusted)
      row.sampler = requests_.sampler(flight.draws[static_cast<std::size_t>(row.row)].id);
    adjust_block_.release_to(0);
    std::byte* const block = adjust_block_.template take<std::byte>(0);
    adjust = AdjustInputs::write(block, flight.adjusted, Model::vocab_size);
    Memory<B>::upload_later(s, step_.adjust_inputs, block, adjust.bytes);
    adjust = AdjustInputs::in(step_.adjust_inputs, adjust.sizes, Model::vocab_size);
  }
  if (!flight.draws.empty())
    step_.draw(s, logits_, static_cast<int>(flight.draws.size()), flight.in, adjust, buffer.told);
  if (flight.asks_logprobs) step_.score(s, logits_, flight.logits, flight.in, buffer.scores);
  buffer.done.set(s);
}

template <class Model, Real T, Backend B>
StepChoices Runner<Model, T, B>::finish() {
  const Flight flight = std::move(flights_.front());
  flights_.pop_front();
  HostBuffer& buffer = buffers_[flight.buffer];
  buffer.done.wait();
  StepChoices out{.number = flight.number, .chosen = {}, .scores = {}};
  for (std::size_t i = 0; i < flight.draws.size(); ++i) {
    Chosen chosen{.id = flight.draws[i].id, .token = buffer.told[i]};
    if (requests_.has(chosen.id)) settle(flight, i, chosen);
    out.chosen.push_back(std::move(chosen));
  }
  int logits_row = static_cast<int>(flight.draws.size());
  for (const StepRow& row : flight.scored) {
    if (requests_.has(row.id)) {
      const RunningRequest& request = requests_.at(row.id);
      const bool by_host = RunningRequest::scored_by_host(*request.prompt_logprobs);
      out.scores.push_back(by_host ? scores_of(row, request, fetch(logits_row, row.scored), Model::vocab_size)
                                   : scores_of(row, request, buffer.scores + logits_row, Model::vocab_size));
    }
    logits_row += row.scored;
  }
  if (flights_.empty())
    awaited_ = 0;
  else if (flights_.front().draws_later)
    draw(flights_.front());
  return out;
}

/// What the host does once a row's token is there: its request's sampler draws it or hears of it. An error is the
/// request's alone: others of the step have their tokens.
template <class Model, Real T, Backend B>
void Runner<Model, T, B>::settle(const Flight& flight, std::size_t i, Chosen& chosen) try {
  const Draw& draw = flight.draws[i];
  if (draw.by_host) {
    choose_on_host(i, chosen);
    set_newest(draw.row, chosen.token);
  } else if (draw.adjusted >= 0) {
    if (const std::string& error = flight.adjusted[static_cast<std::size_t>(draw.adjusted)].error; !error.empty())
      throw Error(error);
    if (chosen.token == kernel::SampleRows<T>::none_left) fail(Sampler::nothing_left);
    if (chosen.token >= 0) requests_.at(draw.id).drew(chosen.token);
  }
  if (draw.alternatives < 0 || chosen.token < 0) return;
  Sampled sampled = sampled_of(buffers_[flight.buffer].scores[i], chosen.token, draw.alternatives, Model::vocab_size);
  chosen.logprob = sampled.token.logprob;
  chosen.top = std::move(sampled.top);
} catch (const Error& e) {
  chosen.token = -1;
  chosen.error = e.what();
}

/// The token that a request's own sampler draws; negative if a logit is not finite.
template <class Model, Real T, Backend B>
void Runner<Model, T, B>::choose_on_host(std::size_t logits_row, Chosen& chosen) {
  const std::vector<float> logits = fetch(static_cast<int>(logits_row), 1);
  if (!std::ranges::all_of(logits, [](float x) { return std::isfinite(x); })) return;
  Sampled sampled = requests_.at(chosen.id).sampler->next(logits);
  chosen.token = sampled.token.id;
  chosen.logprob = sampled.token.logprob;
  chosen.top = std::move(sampled.top);
}

/// Some rows of the step's logits, fetched.
template <class Model, Real T, Backend B>
std::vector<float> Runner<Model, T, B>::fetch(int first, int count) {
  std::vector<T> rounded(static_cast<std::size_t>(count) * Model::vocab_size);
  Memory<B>::download(device_.stream(), rounded.data(), logits_.rows.row(first), sizeof(T) * rounded.size());
  std::vector<float> out(rounded.size());
  parallel_for(std::ssize(out), [&](std::int64_t i) {
    const auto at = static_cast<std::size_t>(i);
    out[at] = to_f32(rounded[at]);
  });
  return out;
}

/// The tower on all new images at once; its rows go to the blocks that were reserved for them.
template <class Model, Real T, Backend B>
void Runner<Model, T, B>::encode(const StepPlan& plan, const ImageRows& images) {
  std::vector<Grid> grids;
  std::vector<std::span<const float>> patches;
  std::vector<int> to, slots;
  for (const ImageEncode& encode : plan.images) {
    const Batch& prompt = *requests_.at(encode.request).prompt;
    const auto [grid, values] = image_at<Model>(prompt, encode.image.first, image_token_);
    grids.push_back(grid), patches.push_back(values);
    slots.insert(slots.end(), static_cast<std::size_t>(grid.patches()), encode.adapter_slot);
    for (int i = 0; i < encode.image.tokens; ++i) to.push_back(requests_.image_row(images, encode.image.hash, i));
  }
  staged_.wait();  // the host's copy of the images before these may still be read
  Input<T> in = tables_.template build_images<T>(grids);
  const int* index = to.data();
  staging_.add(in, patches, Model::merge);
  staging_.add(index, to.size());
  if (always_adapted_ || std::ranges::any_of(slots, [](int slot) { return slot >= 0; })) {
    in.vision.adapter_slots = slots.data();
    staging_.add(in.vision.adapter_slots, slots.size());
  }
  staging_.send(device_.stream());
  staged_.set(device_.stream());
  step_.encode(running(), parameters(), in, index, static_cast<int>(to.size()));
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

/// Sends what the step reads and computes its logits; returns what it reads, at the backend's copy.
template <class Model, Real T, Backend B>
StepInputs Runner<Model, T, B>::read(const StepPlan& plan, const ImageRows& images, HostBuffer& buffer) {
  const int rows = recorded_rows(plan), edits = static_cast<int>(plan.pages.size());
  const StepShape shape = plan.shape();
  // Recorded steps of all row counts find their numbers at the same places.
  StepSizes sizes = rows > 0 ? StepSizes{limits_.rows, limits_.rows, limits_.rows, 0, limits_.rows}
                             : StepSizes{shape.singles + shape.chunks, shape.tokens, shape.sampled + shape.scored,
                                         shape.visuals, edits};
  if (always_adapted_ || plan.has_adapters()) sizes.adapted = sizes.tokens;
  const StepInputs host = StepInputs::in(buffer.inputs, sizes), in = StepInputs::in(step_.inputs, sizes);
  requests_.fill(plan, images, host);
  if (rows > 0) host.pad(shape.singles, rows);
  const Stream<B> s = device_.stream();
  Memory<B>::upload_later(s, step_.inputs, buffer.inputs, host.bytes);
  kernel::paged_attention<B>::edit(
      s, kernel::PageTableEdits{.entries = step_.entries, .at = in.edits_at, .page = in.edits_to, .count = edits});
  if (plan.rows.empty()) return in;
  if (rows > 0)
    run_or_repeat(rows, {rows, rows, 0, rows, 0}, in);
  else
    logits_ = step_.run(running(), parameters(), shape, in);
  return in;
}
/// The first step of a row count runs as it is, so that nothing is left to be loaded; the second is recorded.
template <class Model, Real T, Backend B>
void Runner<Model, T, B>::run_or_repeat(int rows, const StepShape& shape, const StepInputs& in) {
  Recorded& recorded = recorded_[{rows, in.adapter_slots != nullptr}];
  const auto launch = [&] { recorded.logits = step_.run(running(), parameters(), shape, in); };
  if (recorded.recorder.ready()) recorded.recorder.record(device_, launch);
  recorded.recorder.run(device_, launch);
  logits_ = recorded.logits;
}

}  // namespace lamina::engine
