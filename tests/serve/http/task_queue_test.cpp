#include <lamina/serve/jobs/task_queue.hpp>

#include <atomic>
#include <future>
#include <string>

#include "support/catch.hpp"

using lamina::serve::TaskQueue;

TEST_CASE("TaskQueue: clients take turns, each one's tasks run in order") {
  std::string order;
  std::promise<void> go;
  TaskQueue queue(1);
  queue.add({.run = [&] { go.get_future().wait(); }, .drop = [] {}});
  for (const std::string name : {"a1", "a2", "a3", "a4", "b1", "b2", "c1"})
    queue.add({.run = [&, name] { order += name + " "; }, .drop = [] {}, .client = name.substr(0, 1)});
  std::promise<void> done;
  queue.add({.run = [&] { done.set_value(); }, .drop = [] {}, .client = "a"});
  go.set_value();
  done.get_future().wait();
  CHECK(order == "a1 b1 c1 a2 b2 a3 a4 ");
}

TEST_CASE("TaskQueue: what waits is dropped, of every client, and later tasks run") {
  std::atomic<int> dropped{0}, ran{0};
  std::promise<void> begun, go;
  {
    TaskQueue queue(1);
    queue.add({.run =
                   [&] {
                     begun.set_value();
                     go.get_future().wait();
                   },
               .drop = [] {}});
    begun.get_future().wait();
    for (const char* client : {"a", "a", "b", ""})
      queue.add({.run = [&] { ++ran; }, .drop = [&] { ++dropped; }, .client = client});
    queue.drop_waiting();
    CHECK(dropped == 4);
    std::promise<void> done;
    queue.add({.run = [&] { done.set_value(); }, .drop = [] {}, .client = "a"});
    go.set_value();
    done.get_future().wait();
    queue.stop();
    queue.add({.run = [&] { ++ran; }, .drop = [&] { ++dropped; }, .client = "a"});
  }
  CHECK(dropped == 5);
  CHECK(ran == 0);
}
