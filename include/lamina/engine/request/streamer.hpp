#pragma once
#include <algorithm>
#include <condition_variable>
#include <cstddef>
#include <deque>
#include <exception>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <lamina/core/log.hpp>
#include <lamina/engine/request/listener.hpp>

namespace lamina::engine {

/// Something that happened to a request.
struct Event {
  enum class Kind { started, prompt, token, cancelled, failed };
  RequestId id = 0;
  Kind kind = Kind::token;
  std::shared_ptr<RequestListener> listener = {};
  Chosen chosen = {};
  Last last = Last::no;
  int cached = 0;                    ///< of started
  std::vector<Sampled> scores = {};  ///< of prompt
  std::string message = {};          ///< of failed
};

/// Threads that call the listeners, so that text and its transport never hold up a step. Each request has its thread.
class Streamer {
 public:
  /// enough: called with the id of a request whose listener wants no more tokens, from these threads.
  Streamer(int threads, std::function<void(RequestId)> enough) : enough_(std::move(enough)) {
    for (int i = 0; i < std::max(threads, 1); ++i) lanes_.push_back(std::make_unique<Lane>());
    for (auto& lane : lanes_) lane->thread = std::thread([this, &lane = *lane] { work(lane); });
  }
  Streamer(const Streamer&) = delete;
  Streamer& operator=(const Streamer&) = delete;
  ~Streamer() { stop(); }

  /// Takes the events of a step, in their order. Waits if the threads are many steps behind.
  void add(std::vector<Event> events) {
    std::vector<std::vector<Event>> parts(lanes_.size());
    if (parts.size() == 1)
      parts.front() = std::move(events);
    else
      for (Event& event : events) parts[event.id % parts.size()].push_back(std::move(event));
    for (std::size_t i = 0; i < parts.size(); ++i)
      if (!parts[i].empty()) push(*lanes_[i], std::move(parts[i]));
  }
  /// Returns when all events have been dealt with.
  void stop() {
    for (auto& lane : lanes_) {
      const std::lock_guard lock(lane->mutex);
      lane->stopping = true;
      lane->changed.notify_all();
    }
    for (auto& lane : lanes_)
      if (lane->thread.joinable()) lane->thread.join();
  }

 private:
  static constexpr std::size_t most_steps_behind = 64;

  struct Lane {
    std::mutex mutex;
    std::condition_variable changed;
    std::deque<std::vector<Event>> steps;
    bool stopping = false;
    std::thread thread;
  };

  static void push(Lane& lane, std::vector<Event> events) {
    std::unique_lock lock(lane.mutex);
    lane.changed.wait(lock, [&] { return lane.steps.size() < most_steps_behind; });
    lane.steps.push_back(std::move(events));
    lane.changed.notify_all();
  }
  void work(Lane& lane) {
    for (;;) {
      std::vector<Event> events;
      {
        std::unique_lock lock(lane.mutex);
        lane.changed.wait(lock, [&] { return lane.stopping || !lane.steps.empty(); });
        if (lane.steps.empty()) return;
        events = std::move(lane.steps.front());
        lane.steps.pop_front();
        lane.changed.notify_all();
      }
      for (Event& event : events) guarded_call(event);
    }
  }
  /// An exception, of no memory say, ends the request, not the thread.
  void guarded_call(Event& event) const noexcept {
    try {
      call(event);
    } catch (const std::exception& e) {
      log_error("a request was dropped: ", e.what());
      enough_(event.id);
    }
  }
  void call(Event& event) const {
    RequestListener& listener = *event.listener;
    switch (event.kind) {
      case Event::Kind::started:
        return listener.started(event.cached);
      case Event::Kind::prompt:
        return listener.prompt(std::move(event.scores));
      case Event::Kind::token:
        if (!listener.token(event.chosen, event.last) && event.last == Last::no) enough_(event.id);
        return;
      case Event::Kind::cancelled:
        return listener.cancelled();
      case Event::Kind::failed:
        return listener.failed(event.message);
    }
  }

  std::function<void(RequestId)> enough_;
  std::vector<std::unique_ptr<Lane>> lanes_;
};

}  // namespace lamina::engine
