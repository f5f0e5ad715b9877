#pragma once
#include <fcntl.h>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <thread>
#include <utility>

#include <boost/asio/connect.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/read.hpp>
#include <boost/asio/write.hpp>

#include <lamina/core/error.hpp>

namespace lamina::parallel {

namespace asio = boost::asio;
using Seconds = std::chrono::seconds;

/// A TCP connection to another process. A call that takes longer than the connection's timeout is an Error.
class Connection {
 public:
  Connection() = default;
  /// Connects, and tries again until the timeout, since the other process may start later; if the host's name is not
  /// known, for a minute at most.
  static Connection to(const std::string& host, int port, Seconds timeout) {
    constexpr auto pause = std::chrono::milliseconds(100);
    const auto begin = std::chrono::steady_clock::now(), end = begin + timeout, known = begin + Seconds(60);
    for (;; std::this_thread::sleep_for(pause)) {
      Connection c(cat(host, ":", port), timeout);
      boost::system::error_code error;
      const auto addresses = asio::ip::tcp::resolver(*c.context_).resolve(host, std::to_string(port), error);
      if (!error) asio::connect(*c.socket_, addresses, error);
      if (!error) return c.settle(), std::move(c);
      const auto now = std::chrono::steady_clock::now();
      if (now > end || (addresses.empty() && now > known))
        fail("connecting to ", c.name_, ": ", error.message(), ": does rank 0 run there, and is the port open?");
    }
  }

  /// One that a Listener has accepted.
  Connection(asio::ip::tcp::socket accepted, std::string name, Seconds timeout) : Connection(std::move(name), timeout) {
    const auto protocol = accepted.local_endpoint().protocol();
    socket_->assign(protocol, accepted.release());
    settle();
  }

  void send(std::span<const std::byte> bytes) {
    within("sends nothing back",
           [&](auto done) { asio::async_write(*socket_, asio::buffer(bytes.data(), bytes.size()), done); });
  }
  void receive(std::span<std::byte> bytes) {
    within("is silent", [&](auto done) { asio::async_read(*socket_, asio::buffer(bytes.data(), bytes.size()), done); });
  }
  template <class T>
  void send_value(const T& value) {
    send(std::as_bytes(std::span(&value, 1)));
  }
  template <class T>
  T receive_value() {
    T value{};
    receive(std::as_writable_bytes(std::span(&value, 1)));
    return value;
  }

  bool connected() const { return socket_ != nullptr; }
  /// The name of the other process in messages.
  void set_name(std::string name) { name_ = std::move(name); }
  const std::string& name() const { return name_; }
  /// For code that waits for several connections at once.
  asio::ip::tcp::socket& socket() { return *socket_; }
  asio::io_context& context() { return *context_; }

 private:
  Connection(std::string name, Seconds timeout)
      : name_(std::move(name)),
        timeout_(timeout),
        context_(std::make_unique<asio::io_context>()),
        socket_(std::make_unique<asio::ip::tcp::socket>(*context_)) {}

  /// Small messages are sent at once, and a host that has vanished is noticed within half a minute.
  void settle() {
    socket_->set_option(asio::ip::tcp::no_delay(true));
    socket_->set_option(asio::socket_base::keep_alive(true));
    using Option = asio::detail::socket_option::integer<IPPROTO_TCP, TCP_KEEPIDLE>;
    socket_->set_option(Option(10));
    socket_->set_option(asio::detail::socket_option::integer<IPPROTO_TCP, TCP_KEEPINTVL>(5));
    socket_->set_option(asio::detail::socket_option::integer<IPPROTO_TCP, TCP_KEEPCNT>(3));
  }
  template <class Begin>
  void within(const char* silence, Begin begin) {
    boost::system::error_code result;
    begin([&](boost::system::error_code error, std::size_t) { result = error; });
    context_->restart();
    context_->run_for(timeout_);
    if (!context_->stopped()) {
      socket_->close();
      context_->run();
      fail(name_, " ", silence, " for ", timeout_.count(), " s (ddp_timeout): does it still run?");
    }
    if (result) fail("the connection to ", name_, " is closed: ", result.message(), ": has that process ended?");
  }

  std::string name_;
  Seconds timeout_{};
  std::unique_ptr<asio::io_context> context_;
  std::unique_ptr<asio::ip::tcp::socket> socket_;
};

/// Who may connect to a Listener.
enum class Reach { this_host, all_hosts };

/// The port on which rank 0 awaits the others.
class Listener {
 public:
  /// port 0: any free one.
  Listener(int port, Reach reach) : acceptor_(context_) {
    const asio::ip::address_v4 address =
        reach == Reach::this_host ? asio::ip::address_v4::loopback() : asio::ip::address_v4::any();
    const asio::ip::tcp::endpoint here(address, static_cast<std::uint16_t>(port));
    boost::system::error_code error;
    acceptor_.open(here.protocol());
    ::fcntl(acceptor_.native_handle(), F_SETFD, FD_CLOEXEC);  // programs that this one starts do not hold the port
    acceptor_.set_option(asio::socket_base::reuse_address(true));
    acceptor_.bind(here, error);
    if (!error) acceptor_.listen(asio::socket_base::max_listen_connections, error);
    if (error) fail("listening on port ", port, ": ", error.message(), ": set another MASTER_PORT");
  }
  int port() const { return acceptor_.local_endpoint().port(); }
  /// For code that accepts connections.
  asio::ip::tcp::acceptor& acceptor() { return acceptor_; }
  asio::io_context& context() { return context_; }

 private:
  asio::io_context context_;
  asio::ip::tcp::acceptor acceptor_;
};

}  // namespace lamina::parallel
