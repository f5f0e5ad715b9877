#include <lamina/parallel/tcp/tcp_group.hpp>

#include <optional>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "support/catch.hpp"
#include "support/error_of.hpp"
#include "support/peer.hpp"

using namespace lamina;
using namespace lamina::parallel;
using lamina::testing::contains, lamina::testing::error_of, lamina::testing::Peer;

namespace {
Star join(int port, int rank, int size, Pass pass) {
  return join_rank_0("127.0.0.1", port, rank, size, pass, Seconds(20));
}
/// Says some bytes, true words cut short or altered among them.
void say_anything(Connection& to, std::mt19937& random, Pass pass) {
  parallel::detail::Hello hello{.rank = 1, .size = 4, .pass = pass};
  std::vector<std::byte> bytes(random() % 100);
  for (std::byte& b : bytes) b = static_cast<std::byte>(random());
  const auto words = std::as_writable_bytes(std::span(&hello, 1));
  const auto kind = random() % 3;
  if (kind == 1) bytes.assign(words.begin(), words.begin() + static_cast<std::ptrdiff_t>(random() % words.size()));
  if (kind == 2) {
    hello.pass ^= Pass{1} << random() % 64;  // all is right but one bit of the pass
    bytes.assign(words.begin(), words.end());
  }
  try {
    to.send(bytes);
  } catch (const Error&) {  // it was closed
  }
}
}  // namespace

TEST_CASE("Rendezvous: strangers that say anything, or nothing, neither stop nor delay the ranks") {
  constexpr int size = 4, talkers = 200, silent = 40;
  Listener listener(0, Reach::this_host);
  const int port = listener.port();
  const Pass pass = draw_pass();
  std::thread others([&] {
    std::mt19937 random(7);
    std::vector<Connection> open;
    for (int i = 0; i < silent; ++i) open.push_back(Connection::to("127.0.0.1", port, Seconds(20)));
    for (int i = 0; i < talkers; ++i) {
      Connection stranger = Connection::to("127.0.0.1", port, Seconds(20));
      say_anything(stranger, random, pass);
      if (random() % 4 == 0) open.push_back(std::move(stranger));
      if (open.size() > silent + 20) open.erase(open.begin() + silent);
    }
    std::vector<std::thread> ranks;
    for (int rank = 1; rank < size; ++rank)
      ranks.emplace_back([=] {
        TcpGroup group({rank, size, rank, size}, join(port, rank, size, pass));
        group.barrier();
      });
    for (std::thread& rank : ranks) rank.join();
  });
  const auto start = std::chrono::steady_clock::now();
  {
    TcpGroup group({0, size, 0, size}, await_ranks(listener, size, pass, Seconds(60)));
    group.barrier();
  }
  others.join();
  CHECK(std::chrono::steady_clock::now() - start < std::chrono::seconds(4));  // not even one stranger's patience
}

TEST_CASE("Rendezvous: more silent strangers than are heard at once delay the ranks by their patience alone") {
  Listener listener(0, Reach::this_host);
  const int port = listener.port();
  std::vector<Connection> silent;
  for (int i = 0; i < 80; ++i) silent.push_back(Connection::to("127.0.0.1", port, Seconds(20)));
  std::thread rank([&] { join(port, 1, 2, 5); });
  CHECK(await_ranks(listener, 2, 5, Seconds(60)).size() == 1);
  rank.join();
}

TEST_CASE("Rendezvous: two processes of one rank, and one of another number of processes, are errors") {
  const auto error = [](const std::vector<std::pair<int, int>>& ranks) {
    std::optional<Listener> listener(std::in_place, 0, Reach::this_host);
    const int port = listener->port();
    std::vector<std::thread> others;
    for (const auto& [rank, size] : ranks)
      others.emplace_back([=, rank = rank, size = size] { error_of([&] { join(port, rank, size, 5); }); });
    const std::string text = error_of([&] { await_ranks(*listener, 3, 5, Seconds(20)); });
    listener.reset();  // closes what was not admitted
    for (std::thread& other : others) other.join();
    return text;
  };
  CHECK(contains(error({{1, 3}, {1, 3}}), "two processes are rank 1 of 3"));
  CHECK(contains(error({{1, 4}}), "a process connected as rank 1 of 4, rank 0 is one of 3"));
  CHECK(contains(error({{3, 3}}), "a process connected as rank 3 of 3"));
}

TEST_CASE("Rendezvous: what answers where rank 0 should be, and is another program, is an error") {
  const Peer server("HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n"), closing("");
  CHECK(contains(error_of([&] { join(server.port(), 1, 2, 5); }), "is not rank 0 of this run"));
  CHECK(contains(error_of([&] { join(closing.port(), 1, 2, 5); }), "is closed"));
}

TEST_CASE("Rendezvous: a listener of this host is reached by its loopback address alone") {
  Listener here(0, Reach::this_host), everywhere(0, Reach::all_hosts);
  CHECK(here.acceptor().local_endpoint().address().is_loopback());
  CHECK_FALSE(everywhere.acceptor().local_endpoint().address().is_loopback());
}
