#pragma once
#include <algorithm>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

#include <lamina/core/error.hpp>
#include <lamina/engine/request/streamer.hpp>
#include <lamina/engine/request/submission.hpp>

namespace lamina::engine {

/// What other threads want from the engine.
struct Command {
  enum class Kind { submit, cancel, enough, cancel_waiting, cancel_all, forget_prefixes };
  Kind kind;
  RequestId id = 0;
  std::unique_ptr<Submission> submission = {};
};

/// Commands until the engine's thread takes them, and what requests hold before they start and until they end: so much
/// and no more may be submitted.
class Inbox {
 public:
  explicit Inbox(const EngineLimits& limits) : limits_(limits) {}

  /// errors  Overloaded if too much waits, or stop() was called.
  RequestId submit(Submission submission) {
    const auto tokens = static_cast<std::int64_t>(submission.prompt->ids.size());
    const std::int64_t bytes = patch_bytes(submission);
    auto owned = std::make_unique<Submission>(std::move(submission));
    const std::lock_guard lock(mutex_);
    if (stopping_) throw Overloaded("the engine has been stopped");
    if (!owned->admitted) check_room(tokens, bytes);
    commands_.push_back({Command::Kind::submit, ++last_id_, std::move(owned)});
    ++waiting_requests_;
    waiting_tokens_ += tokens;
    patch_bytes_ += bytes;
    wake_.notify_one();
    return last_id_;
  }
  void add(Command command) {
    const std::lock_guard lock(mutex_);
    commands_.push_back(std::move(command));
    wake_.notify_one();
  }
  /// Removes requests that were submitted and not yet taken by the engine's thread. Returns the news for their
  /// listeners.
  std::vector<Event> cancel_submitted() {
    std::vector<Event> events;
    const std::lock_guard lock(mutex_);
    for (Command& command : commands_) {
      if (command.kind != Command::Kind::submit) continue;
      Submission& submission = *command.submission;
      --waiting_requests_;
      waiting_tokens_ -= static_cast<std::int64_t>(submission.prompt->ids.size());
      patch_bytes_ -= patch_bytes(submission);
      events.push_back({.id = command.id, .kind = Event::Kind::cancelled, .listener = std::move(submission.listener)});
    }
    std::erase_if(commands_, is_submit);
    return events;
  }
  void stop() {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
    wake_.notify_one();
  }

  struct Taken {
    std::vector<Command> commands;
    bool stopping = false;
  };
  /// All commands, in their order. wait: returns only when there is one, or stop() was called.
  Taken take(bool wait) {
    std::unique_lock lock(mutex_);
    if (wait) wake_.wait(lock, [this] { return stopping_ || !commands_.empty(); });
    return {std::exchange(commands_, {}), stopping_};
  }
  /// A request with a prompt of so many tokens has started, or ended before it did.
  void waits_no_more(int prompt_tokens) {
    const std::lock_guard lock(mutex_);
    --waiting_requests_;
    waiting_tokens_ -= prompt_tokens;
  }
  /// A request with patches of so many bytes has ended.
  void release_patches(std::int64_t bytes) {
    const std::lock_guard lock(mutex_);
    patch_bytes_ -= bytes;
  }
  /// Requests that were submitted and not yet taken by the engine's thread.
  int submitted() const {
    const std::lock_guard lock(mutex_);
    return static_cast<int>(std::count_if(commands_.begin(), commands_.end(), is_submit));
  }

  static std::int64_t patch_bytes(const Submission& submission) {
    return static_cast<std::int64_t>(submission.prompt->patches.size() * sizeof(float));
  }

 private:
  static bool is_submit(const Command& command) { return command.kind == Command::Kind::submit; }
  /// Whether a prompt may wait, too; the mutex is held.
  void check_room(std::int64_t tokens, std::int64_t bytes) const {
    if (waiting_requests_ >= limits_.waiting_requests)
      throw Overloaded(cat(waiting_requests_, " requests are waiting; try again"));
    if (waiting_requests_ > 0 && waiting_tokens_ + tokens > limits_.waiting_tokens)
      throw Overloaded(cat("prompts of ", waiting_tokens_, " tokens are waiting; try again"));
    if (patch_bytes_ > 0 && patch_bytes_ + bytes > limits_.patch_bytes)
      throw Overloaded(cat("images of ", patch_bytes_, " bytes are in use; try again"));
  }

  EngineLimits limits_;
  mutable std::mutex mutex_;
  std::condition_variable wake_;
  std::vector<Command> commands_;
  int waiting_requests_ = 0;  ///< submitted and not started
  std::int64_t waiting_tokens_ = 0, patch_bytes_ = 0;
  RequestId last_id_ = 0;
  bool stopping_ = false;
};

}  // namespace lamina::engine
