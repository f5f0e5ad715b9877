#pragma once
#include <algorithm>
#include <array>
#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include <boost/asio/steady_timer.hpp>

#include <lamina/parallel/tcp/connection.hpp>

/// How ranks find each other over TCP: rank 0 listens, the others connect and send their rank. If the port is open to a
/// network, anybody may connect to it, send anything or nothing, and stay.
namespace lamina::parallel {

/// The connections between rank 0 and each other rank: on rank 0 those to ranks 1, 2, ..., elsewhere the one to rank 0.
using Star = std::vector<Connection>;

/// A random number of rank 0 that proves that a process belongs to this run. The launcher passes it on to the other
/// ranks; 0 if it has no way to do so.
using Pass = std::uint64_t;

inline Pass draw_pass() {
  std::random_device source;
  return (Pass{source()} << 32 | source()) | 1;
}

namespace detail {

/// The first message of a rank to rank 0, and the answer of rank 0 to a rank that it accepts.
struct Hello {
  std::uint32_t magic = 0x4C616D69;
  std::int32_t rank = 0, size = 0, unused = 0;
  Pass pass = 0;
};

/// Awaits the ranks on a listener. A process that connects has some seconds to send a rank's Hello; at most a few dozen
/// are heard at once. Whoever sends anything else is ignored, and nothing of it is kept.
class Reception {
 public:
  Reception(Listener& listener, int size, Pass pass)
      : listener_(listener), size_(size), pass_(pass), star_(static_cast<std::size_t>(size - 1)) {}

  Star await(Seconds timeout) {
    timeout_ = timeout;
    if (size_ == 1) return {};
    accept();
    listener_.context().restart();
    listener_.context().run_for(timeout);
    const bool over = !listener_.context().stopped();
    boost::system::error_code ignored;
    listener_.acceptor().close(ignored);
    if (!error_.empty()) fail(error_);
    if (over || arrived_ + 1 < size_)
      fail("not all processes have connected to rank 0 within ", timeout.count(), " s (ddp_timeout): do all run?");
    return std::move(star_);
  }

 private:
  static constexpr int most_guests = 64;
  static constexpr auto patience = std::chrono::seconds(5);

  /// A process that has connected and has not sent its Hello.
  struct Guest {
    explicit Guest(asio::ip::tcp::socket connected) : socket(std::move(connected)), hurry(socket.get_executor()) {}
    asio::ip::tcp::socket socket;
    asio::steady_timer hurry;
    Hello hello;
  };

  void accept() {
    accepting_ = true;
    listener_.acceptor().async_accept([this](boost::system::error_code error, asio::ip::tcp::socket socket) {
      accepting_ = false;
      if (!error)
        hear(std::make_shared<Guest>(std::move(socket)));
      else if (error != asio::error::connection_aborted)
        return end(cat("accepting a connection: ", error.message()));
      if (guests_ < most_guests) accept();
    });
  }
  void hear(const std::shared_ptr<Guest>& guest) {
    ++guests_;
    guest->hurry.expires_after(patience);
    guest->hurry.async_wait([guest](boost::system::error_code error) {
      boost::system::error_code ignored;
      if (!error) guest->socket.close(ignored);
    });
    asio::async_read(guest->socket, asio::buffer(&guest->hello, sizeof guest->hello),
                     [this, guest](boost::system::error_code error, std::size_t) {
                       --guests_;
                       guest->hurry.cancel();
                       if (!error) admit(*guest);
                       if (!accepting_ && arrived_ + 1 < size_) accept();
                     });
  }
  void admit(Guest& guest) {
    const Hello& hello = guest.hello;
    if (hello.magic != Hello{}.magic || hello.pass != pass_) return;
    if (hello.size != size_ || hello.rank < 1 || hello.rank >= size_)
      return end(cat("a process connected as rank ", hello.rank, " of ", hello.size, ", rank 0 is one of ", size_));
    Connection& place = star_[static_cast<std::size_t>(hello.rank - 1)];
    if (place.connected())
      return end(cat("two processes are rank ", hello.rank, " of ", size_, ": each needs a number of its own"));
    place = Connection(std::move(guest.socket), cat("rank ", hello.rank), timeout_);
    if (++arrived_ + 1 == size_) end("");
  }
  void end(const std::string& error) {
    if (error_.empty()) error_ = error;
    listener_.context().stop();
  }

  Listener& listener_;
  int size_, arrived_ = 0, guests_ = 0;
  Pass pass_;
  Seconds timeout_{};
  Star star_;
  bool accepting_ = false;
  std::string error_;
};

}  // namespace detail

/// On rank 0: awaits the other ranks, which know its pass.
inline Star await_ranks(Listener& listener, int size, Pass pass, Seconds timeout) {
  Star star = detail::Reception(listener, size, pass).await(timeout);
  for (Connection& rank : star) rank.send_value(detail::Hello{.size = size, .pass = pass});
  return star;
}
/// On another rank: connects to rank 0. Error if something else answers there.
inline Star join_rank_0(const std::string& host, int port, int rank, int size, Pass pass, Seconds timeout) {
  Star star;
  star.push_back(Connection::to(host, port, timeout));
  star[0].send_value(detail::Hello{.rank = rank, .size = size, .pass = pass});
  const auto answer = star[0].receive_value<detail::Hello>();
  if (answer.magic != detail::Hello{}.magic || answer.pass != pass || answer.size != size)
    fail("what answers at ", host, ":", port, " is not rank 0 of this run: set another MASTER_PORT");
  star[0].set_name("rank 0");
  return star;
}

}  // namespace lamina::parallel
