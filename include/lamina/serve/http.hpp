#pragma once
#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <exception>
#include <filesystem>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <sys/resource.h>

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/signal_set.hpp>
#include <boost/asio/steady_timer.hpp>

#include <lamina/core/log.hpp>
#include <lamina/serve/http/connection/connection.hpp>
#include <lamina/serve/http/listening.hpp>

namespace lamina::serve {

/// SIGINT and SIGTERM end the process at once. This is not their default for process 1, which a container's program is.
inline void end_at_once_on_signals() {
  for (const int signal : {SIGINT, SIGTERM}) std::signal(signal, [](int s) { std::_Exit(128 + s); });
}

/// An asynchronous HTTP/1.1 server: keep-alive, chunked streams, limits on everything a client controls. A client that
/// goes away cancels its request. Exchanges must be let go of before the server is destroyed.
///
/// It stops in this order: no new connections; what waits is answered 503 (HttpApplication::drain); answers that have
/// begun may end within the grace period; then the application ends them (HttpApplication::cancel), and what is still
/// open after one second more is closed. A second signal ends the process at once.
class HttpServer {
 public:
  struct Options {
    std::string host = {};           ///< empty: all interfaces
    unsigned short port = 8000;      ///< 0: any free one
    std::filesystem::path uds = {};  ///< a Unix socket in place of host and port
    std::optional<TlsOptions> tls = {};
    HttpLimits limits = {};
    int threads = 2;
    std::chrono::milliseconds grace{10'000};  ///< for running requests when the server is stopped
    bool handle_signals = false;              ///< SIGINT and SIGTERM stop the server
  };

  /// Binds and serves at once; Error if the address cannot be bound or the certificate cannot be used. The application
  /// must outlive the server.
  HttpServer(Options options, HttpApplication& application)
      : options_(with_descriptors(for_one_proxy(std::move(options)))),
        shared_(std::make_shared<detail::HttpShared>(options_.limits, application)),
        acceptor_(boost::asio::make_strand(io_)),
        timer_(acceptor_.get_executor()),
        signals_(acceptor_.get_executor()) {
    if (options_.tls) tls_.emplace(*options_.tls);
    if (options_.uds.empty())
      port_ = detail::listen_on_port(acceptor_, io_, options_.host, options_.port);
    else
      socket_file_ = {acceptor_, options_.uds};
    if (options_.handle_signals) {
      signals_.add(SIGINT);
      signals_.add(SIGTERM);
      signals_.async_wait([this](boost::system::error_code error, int) {
        if (!error) begin_stop();
      });
    }
    accept();
    for (int i = 0; i < std::max(options_.threads, 1); ++i) threads_.emplace_back([this] { run(); });
  }
  HttpServer(const HttpServer&) = delete;
  HttpServer& operator=(const HttpServer&) = delete;
  ~HttpServer() { stop(); }

  unsigned short port() const { return port_; }
  int connections() const { return shared_->connections.size(); }
  /// Bytes of request bodies in memory.
  std::uint64_t body_bytes() const { return static_cast<std::uint64_t>(shared_->bodies->held()); }

  /// Stops accepting, lets running requests end within the grace period, then closes all.
  void stop() {
    boost::asio::post(acceptor_.get_executor(), [this] { begin_stop(); });
    wait();
  }
  /// Returns when the server has been stopped.
  void wait() {
    const std::lock_guard lock(join_mutex_);
    for (auto& thread : threads_)
      if (thread.joinable()) thread.join();
  }

 private:
  using tcp = boost::asio::ip::tcp;
  using Socket = detail::ClientStream::Socket;
  using error_code = boost::system::error_code;
  static constexpr auto poll_interval = std::chrono::milliseconds(20);

  /// All clients of a Unix socket count as one address, a proxy's, say.
  static Options for_one_proxy(Options options) {
    if (!options.uds.empty()) options.limits.connections_per_address = options.limits.connections;
    return options;
  }
  /// Every connection needs a descriptor. Raises the process's limit if that is allowed, else lowers the connections.
  static Options with_descriptors(Options options) {
    constexpr int others = 64;  // listening socket, files, pipes
    auto& limits = options.limits;
    const auto wanted = static_cast<rlim_t>(limits.connections + limits.spare_connections + others);
    rlimit now{};
    if (::getrlimit(RLIMIT_NOFILE, &now) != 0 || now.rlim_cur >= wanted) return options;
    rlimit raised = now;
    raised.rlim_cur = std::min(wanted, now.rlim_max);
    if (::setrlimit(RLIMIT_NOFILE, &raised) == 0) now = raised;
    if (now.rlim_cur >= wanted) return options;
    limits.connections = std::max(1, static_cast<int>(now.rlim_cur) - limits.spare_connections - others);
    limits.connections_per_address = std::min(limits.connections_per_address, (limits.connections + 1) / 2);
    note(cat("this process may open ", now.rlim_cur, " files, so at most ", limits.connections,
             " connections are served at a time; raise the limit (ulimit -n) for more"));
    return options;
  }

  /// A network thread. No exception may end it: what failed is dropped, and others go on.
  void run() {
    for (;;) try {
        io_.run();
        return;
      } catch (const std::exception& e) {
        log_warning("a connection was dropped: ", e.what());
      } catch (...) {
        log_warning("a connection was dropped");
      }
  }

  void accept() {
    if (shared_->draining || !acceptor_.is_open()) return;
    try {
      acceptor_.async_accept(boost::asio::make_strand(io_),
                             [this](error_code error, Socket socket) { accepted(error, std::move(socket)); });
    } catch (const std::exception&) {  // out of memory: the loop must not end
      std::this_thread::sleep_for(poll_interval);
      boost::asio::post(acceptor_.get_executor(), [this] { accept(); });
    }
  }
  void accepted(error_code error, Socket socket) {
    if (error) {  // out of descriptors: wait for some to come free
      timer_.expires_after(std::chrono::milliseconds(100));
      return timer_.async_wait([this](error_code) { accept(); });
    }
    try {
      if (!shared_->draining) welcome(std::move(socket));
    } catch (const std::exception&) {  // out of memory: the socket closes
    }
    accept();
  }
  void welcome(Socket socket) {
    error_code ignored;
    const tcp::endpoint peer = detail::tcp_endpoint(socket.remote_endpoint(ignored));
    const bool is_local = !options_.uds.empty();
    auto seat = shared_->connections.seat(is_local ? detail::ClientAddress() : detail::ClientAddress(peer.address()));
    if (!seat) return turn_away(socket);
    if (!is_local) socket.set_option(tcp::no_delay(true), ignored);
    auto connection = std::make_shared<detail::HttpConnection>(
        std::move(socket), tls_ ? tls_->current() : nullptr,
        is_local ? "unix" : cat(peer.address().to_string(), ":", peer.port()), shared_, std::move(seat));
    std::erase_if(connections_, [](const auto& weak) { return weak.expired(); });
    connections_.push_back(connection);
    connection->start();
  }
  void turn_away(Socket& socket) const {
    if (tls_) return;  // a handshake would cost more than the answer is worth
    namespace http = boost::beast::http;
    http::response<http::string_body> reply(http::status::service_unavailable, 11);
    reply.set(http::field::retry_after, "1");
    reply.set(http::field::content_type, "application/json");
    reply.keep_alive(false);
    reply.body() = ApiError(503, "ServiceUnavailable", "too many connections").body();
    reply.prepare_payload();
    error_code ignored;
    socket.non_blocking(true, ignored);
    http::write(socket, reply, ignored);  // a fresh socket's buffer takes it whole
    socket.shutdown(Socket::shutdown_send, ignored);
  }

  void begin_stop() {
    if (shared_->draining.exchange(true)) return;
    error_code ignored;
    acceptor_.close(ignored);
    socket_file_ = {};
    if (options_.handle_signals) {
      signals_.clear(ignored);
      end_at_once_on_signals();
    }
    stop_at_ = std::chrono::steady_clock::now() + options_.grace;
    try {
      shared_->application.drain();
      for (auto& weak : connections_)
        if (auto connection = weak.lock()) connection->drain();
    } catch (const std::exception&) {  // out of memory: they end with the grace period
    }
    poll_stop();
  }
  /// Looks whether all have gone. Those that stay past the grace period are ended, then closed, then the threads end.
  void poll_stop() {
    const auto now = std::chrono::steady_clock::now();
    if (shared_->connections.size() == 0 || now > stop_at_ + std::chrono::seconds(2)) return io_.stop();
    if (now > stop_at_ && !std::exchange(cancelled_, true)) shared_->application.cancel();
    if (now > stop_at_ + std::chrono::seconds(1))
      for (auto& weak : connections_)
        if (auto connection = weak.lock()) connection->abort();
    timer_.expires_after(poll_interval);
    timer_.async_wait([this](error_code) { poll_stop(); });
  }

  Options options_;
  std::shared_ptr<detail::HttpShared> shared_;
  boost::asio::io_context io_;
  detail::Acceptor acceptor_;
  detail::SocketFile socket_file_;
  std::optional<Tls> tls_;  ///< used on the acceptor's strand
  boost::asio::steady_timer timer_;
  boost::asio::signal_set signals_;
  std::vector<std::weak_ptr<detail::HttpConnection>> connections_;
  std::chrono::steady_clock::time_point stop_at_;
  bool cancelled_ = false;
  unsigned short port_ = 0;
  std::mutex join_mutex_;
  std::vector<std::thread> threads_;
};

}  // namespace lamina::serve
