#pragma once
#include <algorithm>
#include <chrono>
#include <csignal>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/v6_only.hpp>
#include <boost/asio/signal_set.hpp>
#include <boost/asio/steady_timer.hpp>

#include <lamina/serve/http_connection.hpp>

namespace lamina::serve {

/// An asynchronous HTTP/1.1 server: keep-alive, chunked streams, limits on everything a client controls. A client that
/// goes away cancels its request. Exchanges must be let go of before the server is destroyed.
class HttpServer {
 public:
  struct Options {
    std::string host;            ///< empty: all interfaces
    unsigned short port = 8000;  ///< 0: any free one
    HttpLimits limits;
    int threads = 2;
    std::chrono::milliseconds grace{10'000};  ///< for running requests when the server is stopped
    bool handle_signals = false;              ///< SIGINT and SIGTERM stop the server
  };

  /// Binds and serves at once; Error where the address cannot be bound.
  HttpServer(Options options, Handler handler)
      : options_(std::move(options)),
        shared_(std::make_shared<detail::HttpShared>()),
        acceptor_(boost::asio::make_strand(io_)),
        timer_(acceptor_.get_executor()),
        signals_(acceptor_.get_executor()) {
    shared_->limits = options_.limits;
    shared_->handler = std::move(handler);
    listen();
    if (options_.handle_signals) {
      signals_.add(SIGINT);
      signals_.add(SIGTERM);
      signals_.async_wait([this](boost::system::error_code error, int) {
        if (!error) begin_stop();
      });
    }
    accept();
    for (int i = 0; i < std::max(options_.threads, 1); ++i) threads_.emplace_back([this] { io_.run(); });
  }
  HttpServer(const HttpServer&) = delete;
  HttpServer& operator=(const HttpServer&) = delete;
  ~HttpServer() { stop(); }

  unsigned short port() const { return port_; }
  int connections() const { return shared_->connections; }

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
  using error_code = boost::system::error_code;
  static constexpr auto poll_interval = std::chrono::milliseconds(20);

  void listen() {
    error_code error;
    const bool any = options_.host.empty();
    auto address = boost::asio::ip::make_address(any ? "::" : options_.host, error);
    if (error) {  // a name
      tcp::resolver resolver(io_);
      const auto found = resolver.resolve(options_.host, "", error);
      if (error || found.empty()) fail("--host ", options_.host, ": not an address of this machine: ", error.message());
      address = found.begin()->endpoint().address();
    }
    if (!bind({address, options_.port}, any, error) && any)  // no IPv6 here
      bind({tcp::v4(), options_.port}, false, error);
    if (error)
      fail("--host ", any ? "(all interfaces)" : options_.host, " --port ", options_.port, ": ", error.message(),
           ": choose another port or end the program that holds it");
    port_ = acceptor_.local_endpoint().port();
  }
  bool bind(const tcp::endpoint& endpoint, bool dual, error_code& error) {
    error_code ignored;
    acceptor_.close(ignored);
    acceptor_.open(endpoint.protocol(), error);
    if (error) return false;
    acceptor_.set_option(tcp::acceptor::reuse_address(true), ignored);
    if (dual) acceptor_.set_option(boost::asio::ip::v6_only(false), ignored);
    acceptor_.bind(endpoint, error);
    if (!error) acceptor_.listen(boost::asio::socket_base::max_listen_connections, error);
    return !error;
  }

  void accept() {
    acceptor_.async_accept(boost::asio::make_strand(io_), [this](error_code error, tcp::socket socket) {
      if (shared_->draining || !acceptor_.is_open()) return;
      if (error) {  // out of descriptors: wait for some to come free
        timer_.expires_after(std::chrono::milliseconds(100));
        return timer_.async_wait([this](error_code) {
          if (!shared_->draining) accept();
        });
      }
      if (shared_->connections >= options_.limits.connections)
        turn_away(socket);
      else
        start(std::move(socket));
      accept();
    });
  }
  void start(tcp::socket socket) {
    auto connection = std::make_shared<detail::HttpConnection>(std::move(socket), shared_);
    std::erase_if(connections_, [](const auto& weak) { return weak.expired(); });
    connections_.push_back(connection);
    connection->start();
  }
  static void turn_away(tcp::socket& socket) {
    static const std::string body = ApiError(503, "ServiceUnavailable", "too many connections").body();
    static const std::string reply =
        cat("HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nConnection: close\r\n",
            "Content-Type: application/json\r\nContent-Length: ", body.size(), "\r\n\r\n", body);
    error_code ignored;
    socket.non_blocking(true, ignored);
    socket.write_some(boost::asio::buffer(reply), ignored);  // a fresh socket's buffer takes it whole
    socket.shutdown(tcp::socket::shutdown_send, ignored);
  }

  void begin_stop() {
    if (shared_->draining.exchange(true)) return;
    error_code ignored;
    acceptor_.close(ignored);
    signals_.cancel(ignored);
    stop_at_ = std::chrono::steady_clock::now() + options_.grace;
    for (auto& weak : connections_)
      if (auto connection = weak.lock()) connection->drain();
    poll_stop();
  }
  /// Looks whether all have gone; those that stay past the grace period are closed, then the threads end.
  void poll_stop() {
    const auto now = std::chrono::steady_clock::now();
    if (shared_->connections == 0 || now > stop_at_ + std::chrono::seconds(1)) return io_.stop();
    if (now > stop_at_)
      for (auto& weak : connections_)
        if (auto connection = weak.lock()) connection->abort();
    timer_.expires_after(poll_interval);
    timer_.async_wait([this](error_code) { poll_stop(); });
  }

  Options options_;
  std::shared_ptr<detail::HttpShared> shared_;
  boost::asio::io_context io_;
  tcp::acceptor acceptor_;
  boost::asio::steady_timer timer_;
  boost::asio::signal_set signals_;
  std::vector<std::weak_ptr<detail::HttpConnection>> connections_;
  std::chrono::steady_clock::time_point stop_at_;
  unsigned short port_ = 0;
  std::mutex join_mutex_;
  std::vector<std::thread> threads_;
};

}  // namespace lamina::serve
