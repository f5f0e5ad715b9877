#pragma once
#include <algorithm>
#include <chrono>
#include <cmath>
#include <condition_variable>
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
#include <lamina/engine/scheduler.hpp>
#include <lamina/engine/session.hpp>
#include <lamina/engine/statistics.hpp>
#include <lamina/engine/streamer.hpp>

/// Many requests at once on one model.
namespace lamina::engine {

/// A request as a program submits it. One for n answers is n of these, which may share the prompt.
struct Submission {
  std::shared_ptr<const Batch> prompt;  ///< one sequence; what it holds stays until the request ends
  std::vector<ImageSpan> images = {};   ///< of the prompt, in the order of their tokens
  SamplingParams sampling = {};         ///< the answer ends with one of its `ends`
  int max_tokens = 16;                  ///< of the answer, at least 1; the context is the other limit
  int priority = 0;                     ///< smaller is served first; equal ones in the order of arrival
  std::string scope = {};               ///< only requests of equal scope share computed pages
  std::shared_ptr<Listener> listener;
  bool admitted = false;  ///< it is a part of something that was taken already: what waits is not bounded
  RequestTimes::Clock::time_point arrived = RequestTimes::Clock::now();
};

/// What the operator chose about the order of work and about what may wait.
struct EngineLimits {
  bool prefix_cache = true;
  int prompt_chunk_tokens = 0;                       ///< a step reads at most so many tokens of one prompt; 0: no limit
  int waiting_requests = 1024;                       ///< that have not started
  std::int64_t waiting_tokens = 16 << 20;            ///< of their prompts
  std::int64_t patch_bytes = std::int64_t{8} << 30;  ///< of all prompts, until their requests end
  int streamers = 1;                                 ///< threads that call listeners
};

/// The engine has no room for a request now; it may have later.
struct Overloaded : Error {
  using Error::Error;
};

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
  void cancel(RequestId id) { command({Command::Kind::cancel, id, {}}); }
  /// Every request that has not started ends; those that the engine has not seen yet do at once.
  void cancel_waiting();
  /// Every request ends.
  void cancel_all() { command({Command::Kind::cancel_all, 0, {}}); }
  /// Pages that were computed for requests so far are not found by those that start later.
  void forget_prefixes() { command({Command::Kind::forget_prefixes, 0, {}}); }
  /// Ends all requests and the threads. Listeners have had their last call when it returns.
  void stop();

  /// At this moment; does not hold up the engine.
  Statistics statistics() const {
    const std::lock_guard lock(statistics_mutex_);
    return statistics_;
  }

 private:
  using Clock = RequestTimes::Clock;

  struct Command {
    enum class Kind { submit, cancel, enough, cancel_waiting, cancel_all, forget_prefixes };
    Kind kind;
    RequestId id = 0;
    std::unique_ptr<Submission> submission;
  };
  /// A request that is here.
  struct Live {
    std::shared_ptr<Listener> listener;
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
  /// What requests hold between submit() and their start, and until their end.
  struct Load {
    int waiting_requests = 0;
    std::int64_t waiting_tokens = 0, patch_bytes = 0;
  };

  SchedulerLimits scheduler_limits(const EngineLimits& limits) const;
  void check(const Submission& submission) const;
  void check_room(std::int64_t tokens, std::int64_t bytes) const;
  void command(Command command);

  void run();
  bool take_commands();
  void take(Command& command);
  void begin(RequestId id, Submission& submission);
  void step();
  void note_starts(const StepPlan& plan);
  void finish_oldest();
  void arrived(const Arrival& arrival, Chosen& chosen, int& tokens);
  void scored(PromptScores& scores);
  void abandon(const std::string& message);
  void cancel_each(bool started_too);
  /// Removes a request and tells its listener how it ended; nothing if it is not here.
  void end(RequestId id, Outcome outcome, Event event);
  void hand_on();

  std::unique_ptr<EngineSession> session_;
  EngineLimits limits_;
  SessionLimits sizes_;
  int vocab_size_;
  bool on_device_;
  PagePool pages_;
  ImageRows images_;
  Scheduler scheduler_;

  mutable std::mutex inbox_mutex_;
  std::condition_variable wake_;
  std::vector<Command> inbox_;
  Load load_;
  RequestId last_id_ = 0;
  bool stopping_ = false;

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
      limits_(limits),
      sizes_(session_->limits()),
      vocab_size_(session_->vocab_size()),
      on_device_(session_->on_device()),
      pages_(sizes_.pages),
      images_(std::max(sizes_.image_blocks, 1), std::max(sizes_.image_block_rows, 1)),
      scheduler_(scheduler_limits(limits), pages_, images_),
      statistics_(sizes_.context_tokens, sizes_.step_tokens),
      streamer_(limits.streamers,
                [this](RequestId id) {
                  command({Command::Kind::enough, id, {}});
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
          .prefix_cache = limits.prefix_cache};
}

inline void Engine::check(const Submission& submission) const {
  const auto tokens = static_cast<int>(submission.prompt->ids.size());
  if (tokens < 1 || tokens >= sizes_.context_tokens)
    fail("request: the prompt has ", tokens, " tokens; wanted 1 to ", sizes_.context_tokens - 1,
         ", so that the context of ", sizes_.context_tokens, " has room for an answer");
  for (const ImageSpan& image : submission.images)
    if (images_.blocks_for(image.tokens) > images_.total_blocks())
      fail("request: an image of ", image.tokens, " tokens is larger than the image cache of ",
           images_.total_blocks() * sizes_.image_block_rows, " tokens");
  const auto& sampling = submission.sampling;
  const auto& allowed = sampling.allowed_token_ids;
  const auto ends = [&](int id) {
    return std::find(sampling.ends.begin(), sampling.ends.end(), id) != sampling.ends.end();
  };
  if (sampling.min_tokens > 0 && !allowed.empty() && std::all_of(allowed.begin(), allowed.end(), ends))
    fail("request: every token is excluded by allowed_token_ids and min_tokens");
}

inline RequestId Engine::submit(Submission submission) {
  check(submission);
  const auto tokens = static_cast<std::int64_t>(submission.prompt->ids.size());
  const auto bytes = static_cast<std::int64_t>(submission.prompt->patches.size() * sizeof(float));
  auto owned = std::make_unique<Submission>(std::move(submission));
  const std::lock_guard lock(inbox_mutex_);
  if (stopping_) throw Overloaded("the engine has been stopped");
  if (!owned->admitted) check_room(tokens, bytes);
  inbox_.push_back({Command::Kind::submit, ++last_id_, std::move(owned)});
  ++load_.waiting_requests;
  load_.waiting_tokens += tokens;
  load_.patch_bytes += bytes;
  wake_.notify_one();
  return last_id_;
}

/// Whether a prompt may wait, too; the inbox's mutex is held.
inline void Engine::check_room(std::int64_t tokens, std::int64_t bytes) const {
  if (load_.waiting_requests >= limits_.waiting_requests)
    throw Overloaded(cat(load_.waiting_requests, " requests are waiting; try again"));
  if (load_.waiting_requests > 0 && load_.waiting_tokens + tokens > limits_.waiting_tokens)
    throw Overloaded(cat("prompts of ", load_.waiting_tokens, " tokens are waiting; try again"));
  if (load_.patch_bytes > 0 && load_.patch_bytes + bytes > limits_.patch_bytes)
    throw Overloaded(cat("images of ", load_.patch_bytes, " bytes are in use; try again"));
}

inline void Engine::command(Command command) {
  const std::lock_guard lock(inbox_mutex_);
  inbox_.push_back(std::move(command));
  wake_.notify_one();
}

inline void Engine::cancel_waiting() {
  std::vector<Event> events;
  {
    const std::lock_guard lock(inbox_mutex_);
    for (Command& command : inbox_) {
      if (command.kind != Command::Kind::submit) continue;
      const Batch& prompt = *command.submission->prompt;
      --load_.waiting_requests;
      load_.waiting_tokens -= static_cast<std::int64_t>(prompt.ids.size());
      load_.patch_bytes -= static_cast<std::int64_t>(prompt.patches.size() * sizeof(float));
      events.push_back(
          {.id = command.id, .kind = Event::Kind::cancelled, .listener = std::move(command.submission->listener)});
    }
    std::erase_if(inbox_, [](const Command& command) { return command.kind == Command::Kind::submit; });
  }
  if (!events.empty()) streamer_.add(std::move(events));
  command({Command::Kind::cancel_waiting, 0, {}});
}

inline void Engine::stop() {
  {
    const std::lock_guard lock(inbox_mutex_);
    stopping_ = true;
    wake_.notify_one();
  }
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
  std::vector<Command> commands;
  bool stopping;
  {
    std::unique_lock lock(inbox_mutex_);
    if (under_way_.empty() && (requests_.empty() || stalled_))
      wake_.wait(lock, [this] { return stopping_ || !inbox_.empty(); });
    commands.swap(inbox_);
    stopping = stopping_;
  }
  for (Command& command : commands) take(command);
  if (stopping) cancel_each(true);
  return !stopping || !requests_.empty() || !under_way_.empty();
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
            .ends = submission.sampling.ends,
            .times = {.arrived = submission.arrived,
                      .prompt = static_cast<int>(prompt.ids.size()),
                      .max_tokens = submission.max_tokens},
            .images = static_cast<int>(submission.images.size()),
            .patch_bytes = static_cast<std::int64_t>(prompt.patches.size() * sizeof(float))};
  requests_.emplace(id, std::move(live));
  try {
    session_->begin(id, submission.prompt, submission.sampling);
    scheduler_.add({.id = id,
                    .tokens = prompt.ids,
                    .images = std::move(submission.images),
                    .max_tokens = submission.max_tokens,
                    .priority = submission.priority,
                    .scores_prompt = submission.sampling.prompt_logprobs.has_value(),
                    .scope = std::move(submission.scope)});
  } catch (const std::exception& e) {
    end(id, Outcome::error, {.kind = Event::Kind::failed, .message = e.what()});
  }
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
    events_.push_back(
        {.id = start.id, .kind = Event::Kind::started, .listener = live.listener, .cached = start.cached});
    const std::lock_guard lock(inbox_mutex_);
    --load_.waiting_requests;
    load_.waiting_tokens -= live.times.prompt;
    const std::lock_guard statistics_lock(statistics_mutex_);
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
  events_.push_back(std::move(event));
  {
    const std::lock_guard lock(inbox_mutex_);
    load_.patch_bytes -= live.patch_bytes;
    if (!live.started) --load_.waiting_requests, load_.waiting_tokens -= live.times.prompt;
  }
  const std::lock_guard lock(statistics_mutex_);
  live.times.end(statistics_, outcome);
}

/// Gives the events of a step to the listeners' threads and updates what others see.
inline void Engine::hand_on() {
  const bool idle = requests_.empty() && under_way_.empty();
  const bool leaked = idle && !scheduler_.idle();
  {
    std::scoped_lock lock(inbox_mutex_, statistics_mutex_);
    if (leaked && !std::exchange(statistics_.leaked, true))
      log_error("engine: pages, rows or images are still held, but no request is left: this is a bug");
    const auto unseen =
        std::count_if(inbox_.begin(), inbox_.end(), [](const Command& c) { return c.kind == Command::Kind::submit; });
    const SchedulerCounts& counts = scheduler_.counts();
    statistics_.running = scheduler_.running();
    statistics_.waiting = scheduler_.waiting() + static_cast<int>(unseen);
    statistics_.pages = pages_.total();
    statistics_.pages_used = pages_.total() - pages_.available();
    statistics_.preemptions = counts.preemptions;
    statistics_.prefix_queried = counts.prefix_queried;
    statistics_.prefix_hit = counts.prefix_hit;
  }
  if (!events_.empty()) streamer_.add(std::exchange(events_, {}));
}

}  // namespace lamina::engine
