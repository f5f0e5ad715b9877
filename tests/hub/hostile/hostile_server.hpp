#pragma once
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/read_until.hpp>
#include <boost/asio/streambuf.hpp>
#include <boost/asio/write.hpp>

#include <atomic>
#include <chrono>
#include <cstdlib>
#include <functional>
#include <istream>
#include <memory>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include <lamina/core/error.hpp>

/// A server on the loopback interface that answers with any bytes, at any pace.
namespace lamina::testing {

struct Reply {
  std::string begin;                     ///< sent first, at once
  std::string again = {};                ///< sent again and again, until the client goes; "": the connection ends
  std::chrono::milliseconds pause = {};  ///< before each
  int times = 1'000'000;                 ///< at most so often
};

/// A head, with Content-Length if `length` is not negative, and a body.
inline std::string answer_of(int status, const std::string& fields, const std::string& body, std::int64_t length) {
  return cat("HTTP/1.1 ", status, " Said\r\n", fields, length < 0 ? "" : cat("Content-Length: ", length, "\r\n"),
             "Connection: close\r\n\r\n", body);
}
inline Reply whole_reply(int status, const std::string& body, const std::string& fields = "") {
  return {.begin = answer_of(status, fields, body, static_cast<std::int64_t>(body.size()))};
}

class HostileServer {
 public:
  /// answer: to the path and query of a request; called by several threads.
  explicit HostileServer(std::function<Reply(const std::string&)> answer)
      : answer_(std::move(answer)), acceptor_(io_, {boost::asio::ip::make_address("127.0.0.1"), 0}) {
    ::setenv("no_proxy", "127.0.0.1", 1);  // whatever proxy the machine has
    thread_ = std::thread([this] { accept(); });
  }
  ~HostileServer() {
    stopping_ = true;
    {  // wakes accept()
      boost::system::error_code ignored;
      Tcp socket(io_);
      socket.connect(acceptor_.local_endpoint(), ignored);
    }
    thread_.join();
    for (auto& socket : sockets_) ::shutdown(socket->native_handle(), SHUT_RDWR);
    for (auto& worker : workers_) worker.join();
  }
  std::string url() const { return cat("http://127.0.0.1:", acceptor_.local_endpoint().port()); }
  int requests() const { return requests_; }

 private:
  using Tcp = boost::asio::ip::tcp::socket;

  void accept() {
    for (;;) {
      auto socket = std::make_shared<Tcp>(io_);
      boost::system::error_code error;
      acceptor_.accept(*socket, error);
      if (stopping_) return;
      if (error) continue;
      sockets_.push_back(socket);
      workers_.emplace_back([this, socket] {
        converse(*socket);
        ::shutdown(socket->native_handle(), SHUT_RDWR);
      });
    }
  }
  void converse(Tcp& socket) {
    boost::asio::streambuf buffer;
    boost::system::error_code error;
    boost::asio::read_until(socket, buffer, "\r\n\r\n", error);
    if (error) return;
    std::istream in(&buffer);
    std::string method, target;
    in >> method >> target;
    ++requests_;
    const Reply reply = answer_(target);
    boost::asio::write(socket, boost::asio::buffer(reply.begin), error);
    for (int i = 0; !reply.again.empty() && i < reply.times && !error && !stopping_; ++i) {
      std::this_thread::sleep_for(reply.pause);
      boost::asio::write(socket, boost::asio::buffer(reply.again), error);
    }
  }

  std::function<Reply(const std::string&)> answer_;
  boost::asio::io_context io_;
  boost::asio::ip::tcp::acceptor acceptor_;
  std::atomic<bool> stopping_ = false;
  std::atomic<int> requests_ = 0;
  std::vector<std::shared_ptr<Tcp>> sockets_;  // closed at the end: their numbers are not used twice
  std::vector<std::thread> workers_;
  std::thread thread_;
};

}  // namespace lamina::testing
