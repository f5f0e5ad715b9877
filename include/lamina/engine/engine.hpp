#pragma once
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <deque>
#include <exception>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <unordered_map>
#include <utility>
#include <vector>

#include <lamina/core/error.hpp>
#include <lamina/core/log.hpp>
#include <lamina/engine/inbox.hpp>
#include <lamina/engine/request/streamer.hpp>
#include <lamina/engine/request/submission.hpp>
#include <lamina/engine/schedule/scheduler.hpp>
#include <lamina/engine/session.hpp>
#include <lamina/engine/statistics.hpp>

/// Many requests at once on one model.
namespace lamina::engine {

/// Owns a session, its pages and the thread that runs its steps. Requests may be submitted and cancelled from any
/// thread; listeners are called from threads of the engine.
///
/// A step that fails ends the requests that it reads, with its message; logits that are not finite end their request
/// alone. Nothing that the failed step computed is used again.
class Engine {
 public:
  explicit Engine(std::unique_ptr<EngineSession> session, const EngineLimits& limits = {});
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;
  ~Engine() { stop(); }

  const SessionLimits& sizes() const { return sizes_; }
  int vocab_size() const { return vocab_size_; }
  int context_tokens() const { return sizes_.context_tokens; }
  bool on_device() const { return on_device_; }

  /// Queues a request.
  /// errors  Overloaded if too much waits, or the engine has been stopped; lamina::Error if the request could never
  ///         run: no prompt, no room for an answer, an image larger than the image cache.
  RequestId submit(Submission submission);
  /// The request ends within a step, if it is still here.
  void cancel(RequestId id) { inbox_.add({Command::Kind::cancel, id}); }
  /// Every request that has not started ends; those that the engine has not seen yet do at once.
  void cancel_waiting();
  /// Every request ends.
  void cancel_all() { inbox_.add({Command::Kind::cancel_all}); }
  /// Pages that were computed for requests so far are not found by those that start later.
  void forget_prefixes() { inbox_.add({Command::Kind::forget_prefixes}); }
  /// As EngineSession says.
  std::shared_ptr<const LoadedAdapter> prepare_adapter(const std::string& name,
                                                       const checkpoint::AdapterLayers& layers) const {
    return session_->prepare_adapter(name, layers);
  }
  /// Ends all requests and the threads. Listeners have had their last call when it returns.
  void stop();

  /// At this moment; does not hold up the engine.
  Statistics statistics() const {
    const std::lock_guard lock(statistics_mutex_);
    return statistics_;
  }

 private:
  using Clock = RequestTimes::Clock;

  /// A request that is here.
  struct Live {
    std::shared_ptr<RequestListener> listener;
    std::shared_ptr<const LoadedAdapter> adapter;
    std::vector<int> ends;
    RequestTimes times;
    int images = 0;
    std::int64_t patch_bytes = 0;
    bool started = false;
  };
  /// A step that was planned. Its result is outstanding until finish() was called for it.
  struct PlannedStep {
    StepPlan plan;
    bool started = false;
  };

  SchedulerLimits scheduler_limits(const EngineLimits& limits) const;

  void run();
  bool take_commands();
  void take(Command& command);
  void begin(RequestId id, Submission& submission);
  void step();
  void note_starts(const StepPlan& plan);
  /// More requests of its adapter run, or wait.
  void count_adapter(const Live& live, int running, int waiting);
  void finish_oldest();
  void arrived(const Arrival& arrival, Chosen& chosen, int& tokens);
  void scored(PromptScores& scores);
  void abandon(const std::string& message);
  void cancel_each(bool started_too);
  /// Removes a request and tells its listener how it ended; nothing if it is not here.
  void end(RequestId id, Outcome outcome, Event event);
  void hand_on();

  std::unique_ptr<EngineSession> session_;
  SessionLimits sizes_;
  int vocab_size_;
  bool on_device_;
  PagePool pages_;
  ImageRows images_;
  Scheduler scheduler_;

  Inbox inbox_;

  // The engine's thread alone:
  std::unordered_map<RequestId, Live> requests_;
  std::deque<PlannedStep> under_way_;
  std::vector<Event> events_;
  bool stalled_ = false;  ///< the last plan was empty: only a command can change that

  mutable std::mutex statistics_mutex_;
  Statistics statistics_;

  Streamer streamer_;
  std::thread thread_;  // last: it uses all of the above
};

inline Engine::Engine(std::unique_ptr<EngineSession> session, const EngineLimits& limits)
    : session_(std::move(session)),
      sizes_(session_->limits()),
      vocab_size_(session_->vocab_size()),
      on_device_(session_->on_device()),
      pages_(sizes_.pages),
      images_(std::max(sizes_.image_blocks, 1), std::max(sizes_.image_block_rows, 1)),
      scheduler_(scheduler_limits(limits), pages_, images_),
      inbox_(limits),
      statistics_(sizes_.context_tokens, sizes_.step_tokens),
      streamer_(limits.streamers,
                [this](RequestId id) {
                  inbox_.add({Command::Kind::enough, id});
                }),
      thread_([this] { run(); }) {}

inline SchedulerLimits Engine::scheduler_limits(const EngineLimits& limits) const {
  return {.rows = sizes_.rows,
          .step_tokens = sizes_.step_tokens,
          .page_tokens = sizes_.page_tokens,
          .context_tokens = sizes_.context_tokens,
          .prompt_chunk_tokens = limits.prompt_chunk_tokens,
          .step_image_tokens = std::max(sizes_.step_image_tokens, 1),
          .scored_tokens = sizes_.scored_tokens,
          .adapter_slots = sizes_.adapter_slots,
          .window = sizes_.window,
          .prefix_cache = limits.prefix_cache};
}

inline RequestId Engine::submit(Submission submission) {
  check_submission(submission, sizes_, images_);
  return inbox_.submit(std::move(submission));
}

inline void Engine::cancel_waiting() {
  if (auto events = inbox_.cancel_submitted(); !events.empty()) streamer_.add(std::move(events));
  inbox_.add({Command::Kind::cancel_waiting});
}

inline void Engine::stop() {
  inbox_.stop();
  if (thread_.joinable()) thread_.join();
  streamer_.stop();
}

inline void Engine::run() {
  while (take_commands()) {
    step();
    hand_on();
  }
  hand_on();
}

/// Waits while there is nothing to do. Returns false once the engine is stopped and nothing is left.
inline bool Engine::take_commands() {
  Inbox::Taken taken = inbox_.take(under_way_.empty() && (requests_.empty() || stalled_));
  for (Command& command : taken.commands) take(command);
  if (taken.stopping) cancel_each(true);
  return !taken.stopping || !requests_.empty() || !under_way_.empty();
}

inline void Engine::take(Command& command) {
  switch (command.kind) {
    case Command::Kind::submit:
      return begin(command.id, *command.submission);
    case Command::Kind::cancel:
      return end(command.id, Outcome::abort, {.kind = Event::Kind::cancelled});
    case Command::Kind::enough:
      return end(command.id, Outcome::stop, {.kind = Event::Kind::cancelled});
    case Command::Kind::cancel_waiting:
      return cancel_each(false);
    case Command::Kind::cancel_all:
      return cancel_each(true);
    case Command::Kind::forget_prefixes:
      pages_.forget_all();
  }
}

inline void Engine::begin(RequestId id, Submission& submission) {
  const Batch& prompt = *submission.prompt;
  Live live{.listener = std::move(submission.listener),
            .adapter = submission.adapter,
            .ends = submission.sampling.ends,
            .times = {.arrived = submission.arrived,
                      .prompt = static_cast<int>(prompt.ids.size()),
                      .max_tokens = submission.max_tokens},
            .images = static_cast<int>(submission.images.size()),
            .patch_bytes = Inbox::patch_bytes(submission)};
  count_adapter(live, 0, 1);
  requests_.emplace(id, std::move(live));
  try {
    session_->begin(id, submission.prompt, submission.sampling);
    scheduler_.add({.id = id,
                    .tokens = prompt.ids,
                    .images = std::move(submission.images),
                    .max_tokens = submission.max_tokens,
                    .priority = submission.priority,
                    .scores_prompt = submission.sampling.prompt_logprobs.has_value(),
                    .scope = std::move(submission.scope),
                    .adapter = std::move(submission.adapter)});
  } catch (const std::exception& e) {
    end(id, Outcome::error, {.kind = Event::Kind::failed, .message = e.what()});
  }
}

inline void Engine::count_adapter(const Live& live, int running, int waiting) {
  if (!live.adapter) return;
  const std::lock_guard lock(statistics_mutex_);
  AdapterUse& use = statistics_.adapters[live.adapter->name];
  use.running += running, use.waiting += waiting;
  if (use.running == 0 && use.waiting == 0) statistics_.adapters.erase(live.adapter->name);
}

/// Plans and starts a step, and takes the results that are due before the next one can be planned.
inline void Engine::step() {
  try {
    StepPlan plan = scheduler_.plan();
    const bool empty = plan.empty();
    stalled_ = empty && under_way_.empty();
    if (!empty) {
      note_starts(plan);
      under_way_.push_back({std::move(plan)});
      session_->start(under_way_.back().plan, images_);
      under_way_.back().started = true;
    }
    while (!under_way_.empty() && (empty || under_way_.size() > 1 || !session_->may_start_ahead())) finish_oldest();
  } catch (const std::exception& e) {
    abandon(e.what());
  }
}

inline void Engine::note_starts(const StepPlan& plan) {
  const auto now = Clock::now();
  for (const RowStart& start : plan.starts) {
    Live& live = requests_.at(start.id);
    if (std::exchange(live.started, true)) continue;  // it was preempted, and goes on
    live.times.started = now;
    count_adapter(live, 1, -1);
    events_.push_back(
        {.id = start.id, .kind = Event::Kind::started, .listener = live.listener, .cached = start.cached});
    inbox_.waits_no_more(live.times.prompt);
    const std::lock_guard lock(statistics_mutex_);
    statistics_.images_shown += static_cast<std::uint64_t>(live.images);
  }
}

inline void Engine::finish_oldest() {
  under_way_.front().started = false;  // finish() is called once, whatever comes of it
  StepChoices choices = session_->finish();
  for (PromptScores& scores : choices.scores) scored(scores);
  const std::vector<Arrival> arrivals = scheduler_.received(choices);
  const StepPlan plan = std::move(under_way_.front().plan);
  under_way_.pop_front();
  int tokens = 0;
  auto chosen = choices.chosen.begin();
  for (const Arrival& arrival : arrivals) {  // in the order of the choices, but for requests that are gone
    while (chosen->id != arrival.id) ++chosen;
    arrived(arrival, *chosen, tokens);
  }
  const std::lock_guard lock(statistics_mutex_);
  ++statistics_.steps;
  statistics_.step_lengths.add(tokens);
  statistics_.images_encoded += plan.images.size();
}

inline void Engine::arrived(const Arrival& arrival, Chosen& chosen, int& tokens) {
  Live& live = requests_.at(arrival.id);
  if (arrival.token < 0)
    return end(arrival.id, Outcome::error,
               {.kind = Event::Kind::failed,
                .message = !chosen.error.empty()
                               ? std::move(chosen.error)
                               : cat("a logit at output position ", live.times.generated,
                                     " is not a finite number: the model's activations overflowed; try --dtype "
                                     "bfloat16 or float32")});
  {
    const std::lock_guard lock(statistics_mutex_);
    tokens += live.times.token(statistics_, Clock::now());
  }
  const bool is_end = std::find(live.ends.begin(), live.ends.end(), arrival.token) != live.ends.end();
  Event event{.id = arrival.id,
              .listener = live.listener,
              .chosen = std::move(chosen),
              .last = is_end          ? Last::end_token
                      : arrival.ended ? Last::length
                                      : Last::no};
  if (event.last == Last::no) return events_.push_back(std::move(event));
  end(arrival.id, is_end ? Outcome::stop : Outcome::length, std::move(event));
}

inline void Engine::scored(PromptScores& scores) {
  const auto live = requests_.find(scores.id);
  if (live == requests_.end()) return;
  const auto wrong = std::find_if(scores.tokens.begin(), scores.tokens.end(),
                                  [](const Sampled& s) { return !std::isfinite(s.token.logprob); });
  if (wrong != scores.tokens.end())
    return end(scores.id, Outcome::error,
               {.kind = Event::Kind::failed,
                .message = cat("the logprob of token ", scores.first + (wrong - scores.tokens.begin()),
                               " of the prompt is not a finite number: the model's activations overflowed; try "
                               "--dtype bfloat16 or float32")});
  events_.push_back({.id = scores.id,
                     .kind = Event::Kind::prompt,
                     .listener = live->second.listener,
                     .scores = std::move(scores.tokens)});
}

/// A step failed: the requests of all steps under way end, since each may read what the failed one was to write.
inline void Engine::abandon(const std::string& message) {
  std::vector<StepPlan> plans;
  for (PlannedStep& step : under_way_) {
    try {
      if (step.started) session_->finish();
    } catch (const std::exception&) {  // what went wrong first is what is reported
    }
    plans.push_back(std::move(step.plan));
  }
  under_way_.clear();
  for (const RequestId id : scheduler_.failed(plans))
    end(id, Outcome::error, {.kind = Event::Kind::failed, .message = message});
}

inline void Engine::cancel_each(bool started_too) {
  std::vector<RequestId> ids;
  for (const auto& [id, live] : requests_)
    if (started_too || !live.started) ids.push_back(id);
  for (const RequestId id : ids) end(id, Outcome::abort, {.kind = Event::Kind::cancelled});
}

inline void Engine::end(RequestId id, Outcome outcome, Event event) {
  const auto found = requests_.find(id);
  if (found == requests_.end()) return;
  Live live = std::move(found->second);
  requests_.erase(found);
  scheduler_.cancel(id);
  session_->end(id);
  event.id = id;
  event.listener = std::move(live.listener);
  count_adapter(live, live.started ? -1 : 0, live.started ? 0 : -1);
  events_.push_back(std::move(event));
  inbox_.release_patches(live.patch_bytes);
  if (!live.started) inbox_.waits_no_more(live.times.prompt);
  const std::lock_guard lock(statistics_mutex_);
  live.times.end(statistics_, outcome);
}

/// Gives the events of a step to the listeners' threads and updates what others see.
inline void Engine::hand_on() {
  const bool idle = requests_.empty() && under_way_.empty();
  const bool leaked = idle && !scheduler_.idle();
  {
    const int submitted = inbox_.submitted();
    const std::lock_guard lock(statistics_mutex_);
    if (leaked && !std::exchange(statistics_.leaked, true))
      log_error("engine: pages, rows or images are still held, but no request is left: this is a bug");
    const SchedulerCounts& counts = scheduler_.counts();
    statistics_.running = scheduler_.running();
    statistics_.waiting = scheduler_.waiting() + submitted;
    statistics_.pages = pages_.total();
    statistics_.pages_used = pages_.total() - pages_.available();
    statistics_.preemptions = counts.preemptions;
    statistics_.prefix_queried = counts.prefix_queried;
    statistics_.prefix_hit = counts.prefix_hit;
  }
  if (!events_.empty()) streamer_.add(std::exchange(events_, {}));
}

}  // namespace lamina::engine
