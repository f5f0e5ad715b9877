#pragma once
#include <condition_variable>
#include <deque>
#include <exception>
#include <functional>
#include <iostream>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

namespace lamina::serve {

/// Threads that run tasks in the order they came. How many may wait is the business of who adds them.
class TaskQueue {
 public:
  /// Exactly one of the two is called.
  struct Task {
    std::function<void()> run;
    std::function<void()> drop;  ///< instead of run, if the task is not to run any more
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
        tasks_.push_back(std::move(task));
        ready_.notify_one();
        return;
      }
    }
    call(task.drop);
  }

  /// Drops what waits, on the caller's thread. Running tasks go on, and new ones may come.
  void drop_waiting() {
    std::deque<Task> dropped;
    {
      const std::lock_guard lock(mutex_);
      dropped.swap(tasks_);
    }
    for (auto& task : dropped) call(task.drop);
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
  void work() {
    for (;;) {
      Task task;
      {
        std::unique_lock lock(mutex_);
        ready_.wait(lock, [this] { return stopped_ || !tasks_.empty(); });
        if (tasks_.empty()) return;
        task = std::move(tasks_.front());
        tasks_.pop_front();
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
  std::deque<Task> tasks_;
  bool stopped_ = false;
  std::vector<std::thread> threads_;
};

}  // namespace lamina::serve
