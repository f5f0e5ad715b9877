#pragma once
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <deque>
#include <exception>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <lamina/compose/plan/tables.hpp>
#include <lamina/core/batch.hpp>
#include <lamina/core/log.hpp>
#include <lamina/core/threads.hpp>
#include <lamina/engine/images/prompt_image.hpp>
#include <lamina/engine/schedule/step_plan.hpp>
#include <lamina/engine/session.hpp>
#include <lamina/engine/step/flight.hpp>
#include <lamina/engine/step/prompt_scores.hpp>
#include <lamina/engine/step/rank_runner.hpp>
#include <lamina/engine/step/request_rows.hpp>
#include <lamina/engine/step/sampler.hpp>
#include <lamina/engine/step/step_inputs.hpp>
#include <lamina/engine/step/step_work.hpp>

namespace lamina::engine {

/// Runs the steps of a scheduler on a model: keeps for each request row what the model needs of its sequence, and
/// chooses its tokens. The newest token of a row is known to the backend before it is known to the host, so on a GPU
/// two steps may be under way, unless the host needs the logits of one itself. Rules of requests are worked out while a
/// step's logits are computed: those that depend on the tokens of the step before, once these are known. Steps in which
/// every row reads one token are recorded once for each row count of `graph_rows` and repeated. If several ranks share
/// the model, this is rank 0's, and the others do as it says (engine/step/follow.hpp); an error while a step is started
/// then ends the process. One thread.
template <class Model, Real T = float, Backend B = Cpu>
class Runner {
 public:
  using Parts = RunnerParts<Model, T, B>;

  /// graph_rows: rising; none: no step is recorded.
  Runner(const Parts& parts, VisionTokens vision_tokens, const SessionLimits& limits, std::vector<int> graph_rows = {},
         bool batch_invariant = false);
  ~Runner();
  Runner(const Runner&) = delete;
  Runner& operator=(const Runner&) = delete;

  /// As EngineSession says.
  void begin(RequestId id, std::shared_ptr<const Batch> prompt, const SamplingParams& sampling);
  void end(RequestId id) { requests_.end(id); }
  void start(const StepPlan& plan, const ImageRows& images);
  bool may_start_ahead() const { return Device<B>::runs_ahead && awaited_ == 0; }
  StepChoices finish();

  /// The newest token of a request row becomes this one, instead of the one that was chosen.
  void set_newest(int row, int token) { Memory<B>::upload(stream(), rank_.step().newest + row, &token, sizeof(int)); }
  /// As EngineSession says.
  std::vector<float> logits() { return fetch(0, rank_.logits().rows.rows); }

 private:
  using HostBuffer = typename RankRunner<Model, T, B>::HostBuffer;

  ImageWork images_of(const StepPlan& plan, const ImageRows& images) const;
  int recorded_rows(const StepPlan& plan) const;
  StepWork work_of(const StepPlan& plan, const ImageRows& images, HostBuffer& buffer) const;
  Flight flight_of(const StepPlan& plan);
  void tell_and_run(const StepWork& work, Flight& flight);
  void run(const StepWork& work, Flight& flight);
  void draw(Flight& flight);
  void settle(const Flight& flight, std::size_t i, Chosen& chosen);
  void choose_on_host(std::size_t logits_row, Chosen& chosen);
  std::vector<float> fetch(int first, int count);

  Stream<B> stream() const { return rank_.device().stream(); }

  VisionTokens vision_tokens_;
  std::vector<int> graph_rows_;
  RankRunner<Model, T, B> rank_;
  RequestRows requests_;
  std::deque<Flight> flights_;
  std::uint64_t started_ = 0;
  int awaited_ = 0;     ///< rows under way whose logits the host reads, which the next step writes over
  Arena adjust_block_;  ///< the host's memory for a step's AdjustInputs; only one such step is under way
  Positions positions_;
};

template <class Model, Real T, Backend B>
Runner<Model, T, B>::Runner(const Parts& parts, VisionTokens vision_tokens, const SessionLimits& limits,
                            std::vector<int> graph_rows, bool batch_invariant)
    : vision_tokens_(vision_tokens),
      graph_rows_(std::move(graph_rows)),
      rank_(parts, limits, batch_invariant),
      requests_(limits),
      adjust_block_(Arena::staging(AdjustInputs::bytes_of(limits.rows, Model::vocab_size), Memory<B>{})) {}

/// Tells the other ranks that there are no more steps.
template <class Model, Real T, Backend B>
Runner<Model, T, B>::~Runner() {
  try {
    if (rank_.ranks()) rank_.ranks()->group().broadcast(no_more_steps);
  } catch (const std::exception&) {  // they have ended
  }
}

template <class Model, Real T, Backend B>
void Runner<Model, T, B>::begin(RequestId id, std::shared_ptr<const Batch> prompt, const SamplingParams& sampling) {
  for (const Grid& grid : prompt->grids)
    if (const int cost = span_of({}, 0, grid, Model::visual_tokens).cost(); cost > rank_.limits().step_image_tokens)
      fail("an image of ", cost, " tokens; at most ", rank_.limits().step_image_tokens,
           " are encoded at once: send a smaller image");
  expect_patches(*prompt, Model::patch_width);
  RunningRequest request;
  find_positions(*prompt, Model::visual_tokens, vision_tokens_, positions_);
  request.positions = positions_.of_token;
  request.next = positions_.next.back();
  request.rule = sampling.rule();
  request.prompt_logprobs = sampling.prompt_logprobs;
  if (sampling.logprobs) request.logprobs = sampling.top_logprobs;
  Sampler sampler(sampling, prompt->ids, Model::vocab_size);  // refuses ids outside the vocabulary, for either
  if (sampling.adjusts() || request.answer_scored_by_host()) request.sampler = std::move(sampler);
  request.prompt = std::move(prompt);
  requests_.begin(id, std::move(request));
}

template <class Model, Real T, Backend B>
void Runner<Model, T, B>::start(const StepPlan& plan, const ImageRows& images) {
  requests_.edit(plan);
  const StepWork work = work_of(plan, images, rank_.buffer(started_));
  Flight flight = flight_of(plan);
  if (rank_.ranks())
    tell_and_run(work, flight);
  else
    run(work, flight);
  flights_.push_back(std::move(flight));
}
/// The others run the step as well, and would wait for ever for what this rank does not send.
template <class Model, Real T, Backend B>
void Runner<Model, T, B>::tell_and_run(const StepWork& work, Flight& flight) try {
  rank_.ranks()->group().broadcast(message_of(work));
  run(work, flight);
} catch (const std::exception& e) {
  log_error(log_name(), ": a step failed on rank 0, so all ranks end: ", e.what());
  std::_Exit(1);
}
template <class Model, Real T, Backend B>
void Runner<Model, T, B>::run(const StepWork& work, Flight& flight) {
  flight.in = rank_.run(work);
  flight.draws_later = !flight.adjusted.empty() && !flights_.empty() && !flights_.back().adjusted.empty();
  if (!flight.draws_later) draw(flight);
}

/// What is outstanding once a plan runs.
template <class Model, Real T, Backend B>
Flight Runner<Model, T, B>::flight_of(const StepPlan& plan) {
  const StepShape shape = plan.shape();
  Flight flight{.number = plan.number, .logits = shape.sampled + shape.scored, .buffer = started_++ % 2};
  for (const StepRow& row : plan.rows) {
    RunningRequest& request = requests_.at(row.id);
    if (row.scored > 0) {
      const bool by_host = request.prompt_scored_by_host();
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
  const Stream<B> s = stream();
  HostBuffer& buffer = rank_.buffer(flight.buffer);
  flight.draws_later = false;
  AdjustInputs adjust;
  if (!flight.adjusted.empty()) {
    for (AdjustedRow& row : flight.adjusted)
      row.sampler = requests_.sampler(flight.draws[static_cast<std::size_t>(row.row)].id);
    adjust_block_.release_to(0);
    std::byte* const block = adjust_block_.template take<std::byte>(0);
    adjust = AdjustInputs::write(block, flight.adjusted, Model::vocab_size);
    Memory<B>::upload_later(s, rank_.step().adjust_inputs, block, adjust.bytes);
    adjust = AdjustInputs::in(rank_.step().adjust_inputs, adjust.sizes, Model::vocab_size);
  }
  if (!flight.draws.empty())
    rank_.step().draw(s, rank_.logits(), static_cast<int>(flight.draws.size()), flight.in, adjust, buffer.told);
  if (flight.asks_logprobs) rank_.step().score(s, rank_.logits(), flight.logits, flight.in, buffer.scores);
  buffer.done.set(s);
}

template <class Model, Real T, Backend B>
StepChoices Runner<Model, T, B>::finish() {
  const Flight flight = std::move(flights_.front());
  flights_.pop_front();
  HostBuffer& buffer = rank_.buffer(flight.buffer);
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
      out.scores.push_back(request.prompt_scored_by_host()
                               ? scores_of(row, request, fetch(logits_row, row.scored), Model::vocab_size)
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

/// What the host does once a row's token is there: its request's sampler draws it or is informed of it. An error is the
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
  Sampled sampled =
      sampled_of(rank_.buffer(flight.buffer).scores[i], chosen.token, draw.alternatives, Model::vocab_size);
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
  Memory<B>::download(stream(), rounded.data(), rank_.logits().rows.row(first), sizeof(T) * rounded.size());
  std::vector<float> out(rounded.size());
  parallel_for(std::ssize(out), [&](std::int64_t i) {
    const auto at = static_cast<std::size_t>(i);
    out[at] = to_f32(rounded[at]);
  });
  return out;
}

template <class Model, Real T, Backend B>
ImageWork Runner<Model, T, B>::images_of(const StepPlan& plan, const ImageRows& images) const {
  ImageWork work;
  for (const ImageEncode& encode : plan.images) {
    const Batch& prompt = *requests_.at(encode.request).prompt;
    const auto [grid, values] = image_at<Model>(prompt, encode.image.first, vision_tokens_);
    work.grids.push_back(grid), work.patches.push_back(values);
    work.adapter_slots.insert(work.adapter_slots.end(), static_cast<std::size_t>(grid.patches()), encode.adapter_slot);
    for (int i = 0; i < encode.image.tokens; ++i) work.to.push_back(requests_.image_row(images, encode.image.hash, i));
  }
  if (!rank_.always_adapted() && std::ranges::all_of(work.adapter_slots, [](int slot) { return slot < 0; }))
    work.adapter_slots.clear();
  return work;
}

/// The row count of the recorded step that can do this one; 0: none can.
template <class Model, Real T, Backend B>
int Runner<Model, T, B>::recorded_rows(const StepPlan& plan) const {
  const bool same = std::all_of(plan.rows.begin(), plan.rows.end(),
                                [](const StepRow& row) { return row.decodes() && row.images.empty(); });
  if (!same || plan.pages.size() > static_cast<std::size_t>(rank_.limits().rows)) return 0;
  const auto at = std::lower_bound(graph_rows_.begin(), graph_rows_.end(), static_cast<int>(plan.rows.size()));
  return at == graph_rows_.end() ? 0 : *at;
}

/// Writes what the step reads to the host's memory for it.
template <class Model, Real T, Backend B>
StepWork Runner<Model, T, B>::work_of(const StepPlan& plan, const ImageRows& images, HostBuffer& buffer) const {
  const int rows = recorded_rows(plan), most = rank_.limits().rows;
  StepWork work{.adapters = plan.adapters,
                .images = images_of(plan, images),
                .sizes = {},
                .shape = plan.shape(),
                .recorded_rows = rows,
                .edits = static_cast<int>(plan.pages.size()),
                .inputs = {}};
  const StepShape shape = work.shape;
  // Recorded steps of all row counts find their numbers at the same places.
  work.sizes = rows > 0 ? StepSizes{most, most, most, 0, most}
                        : StepSizes{shape.singles + shape.chunks, shape.tokens, shape.sampled + shape.scored,
                                    shape.visuals, work.edits};
  if (rank_.always_adapted() || plan.has_adapters()) work.sizes.adapted = work.sizes.tokens;
  const StepInputs host = StepInputs::in(buffer.inputs, work.sizes);
  requests_.fill(plan, images, host);
  work.inputs = {buffer.inputs, host.bytes};
  if (rows == 0 || plan.rows.empty()) return work;
  host.pad(shape.singles, rows);
  work.shape = {rows, rows, 0, rows, 0};
  return work;
}

}  // namespace lamina::engine
