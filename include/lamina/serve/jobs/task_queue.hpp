#pragma once
#include <algorithm>
#include <deque>
#include <exception>
#include <functional>
#include <list>
#include <mutex>
#include <string>
#include <utility>

#include <boost/asio/post.hpp>
#include <boost/asio/thread_pool.hpp>

#include <lamina/core/log.hpp>

namespace lamina::serve {

/// Threads that run the tasks of clients in turns, those of one client in the order in which they came. Whoever adds
/// tasks bounds how many may wait.
class TaskQueue {
 public:
  /// Exactly one of the two is called.
  struct Task {
    std::function<void()> run;
    std::function<void()> drop;  ///< instead of run, if the task is not to run any more
    std::string client = {};     ///< tasks without one are all of one client
  };

  explicit TaskQueue(int threads) : pool_(static_cast<std::size_t>(threads)) {}
  TaskQueue(const TaskQueue&) = delete;
  TaskQueue& operator=(const TaskQueue&) = delete;
  ~TaskQueue() { stop(); }

  /// After stop() the task is dropped at once.
  void add(Task task) {
    {
      const std::lock_guard lock(mutex_);
      if (!stopped_) {
        boost::asio::post(pool_, [this] { run_next(); });  // waits for the lock; finds nothing if append() throws
        return append(std::move(task));
      }
    }
    call(task.drop);
  }

  /// Drops what waits, on the caller's thread. Running tasks go on, and new ones may come.
  void drop_waiting() {
    std::list<Line> dropped;
    {
      const std::lock_guard lock(mutex_);
      dropped.swap(lines_);
    }
    for (auto& line : dropped)
      for (auto& task : line) call(task.drop);
  }

  /// Drops what waits, lets running tasks end, joins the threads.
  void stop() {
    {
      const std::lock_guard lock(mutex_);
      stopped_ = true;
    }
    drop_waiting();
    pool_.join();
  }

 private:
  using Line = std::deque<Task>;  // of one client, never empty

  void append(Task task) {
    const auto same = [&](const Line& line) { return line.front().client == task.client; };
    const auto found = std::find_if(lines_.begin(), lines_.end(), same);
    if (found != lines_.end()) return found->push_back(std::move(task));
    std::list<Line> fresh(1);
    fresh.front().push_back(std::move(task));
    lines_.splice(lines_.end(), fresh);
  }
  /// The next task of the client whose turn it is; its others go to the end. Allocates nothing: no exception may end
  /// a thread.
  Task take() noexcept {
    Line& line = lines_.front();
    Task task = std::move(line.front());
    line.pop_front();
    if (line.empty())
      lines_.pop_front();
    else
      lines_.splice(lines_.end(), lines_, lines_.begin());
    return task;
  }
  void run_next() noexcept {
    Task task;
    {
      const std::lock_guard lock(mutex_);
      if (lines_.empty()) return;  // it was dropped
      task = take();
    }
    call(task.run);
  }
  /// An exception that a task did not handle (no memory for its own answer, say) ends the task, not the thread.
  static void call(const std::function<void()>& part) noexcept {
    try {
      part();
    } catch (const std::exception& e) {
      log_error("a request was dropped: ", e.what());
    }
  }

  std::mutex mutex_;
  std::list<Line> lines_;  // the first one's turn is next
  bool stopped_ = false;
  boost::asio::thread_pool pool_;
};

}  // namespace lamina::serve
