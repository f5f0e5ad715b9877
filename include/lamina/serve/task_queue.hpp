#pragma once
#include <algorithm>
#include <condition_variable>
#include <deque>
#include <exception>
#include <functional>
#include <iostream>
#include <list>
#include <mutex>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace lamina::serve {

/// Threads that run the tasks of clients in turns, those of one client in the order in which they came. How many may
/// wait is the business of who adds them.
class TaskQueue {
 public:
  /// Exactly one of the two is called.
  struct Task {
    std::function<void()> run;
    std::function<void()> drop;  ///< instead of run, if the task is not to run any more
    std::string client = {};     ///< tasks without one are all of one client
  };

  explicit TaskQueue(int threads) {
    for (int i = 0; i < threads; ++i) threads_.emplace_back([this] { work(); });
  }
  TaskQueue(const TaskQueue&) = delete;
  TaskQueue& operator=(const TaskQueue&) = delete;
  ~TaskQueue() { stop(); }

  /// After stop() the task is dropped at once.
  void add(Task task) {
    {
      const std::lock_guard lock(mutex_);
      if (!stopped_) {
        append(std::move(task));
        ready_.notify_one();
        return;
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
    ready_.notify_all();
    for (auto& thread : threads_)
      if (thread.joinable()) thread.join();
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
  void work() {
    for (;;) {
      Task task;
      {
        std::unique_lock lock(mutex_);
        ready_.wait(lock, [this] { return stopped_ || !lines_.empty(); });
        if (lines_.empty()) return;
        task = take();
      }
      call(task.run);
    }
  }
  /// An exception that a task did not handle (no memory for its own answer, say) ends the task, not the thread.
  static void call(const std::function<void()>& part) noexcept {
    try {
      part();
    } catch (const std::exception& e) {
      std::clog << "a request was dropped: " << e.what() << "\n";
    }
  }

  std::mutex mutex_;
  std::condition_variable ready_;
  std::list<Line> lines_;  // the first one's turn is next
  bool stopped_ = false;
  std::vector<std::thread> threads_;
};

}  // namespace lamina::serve
