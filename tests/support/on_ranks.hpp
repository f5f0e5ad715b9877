#pragma once
#include <lamina/parallel/tcp/tcp_group.hpp>

#include <functional>
#include <thread>
#include <vector>

namespace lamina::testing {

/// Runs f on `size` ranks, each a thread.
inline void on_ranks(int size, const std::function<void(parallel::Group&)>& f,
                     parallel::Seconds timeout = parallel::Seconds(20)) {
  using namespace parallel;
  Listener listener(0, Reach::this_host);
  const Pass pass = draw_pass();
  const int port = listener.port();
  std::vector<std::thread> others;
  for (int rank = 1; rank < size; ++rank)
    others.emplace_back([=] {
      TcpGroup group({rank, size, rank, size}, join_rank_0("127.0.0.1", port, rank, size, pass, timeout));
      f(group);
    });
  {
    TcpGroup group({0, size, 0, size}, await_ranks(listener, size, pass, timeout));
    f(group);
  }
  for (std::thread& other : others) other.join();
}

}  // namespace lamina::testing
