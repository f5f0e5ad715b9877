#pragma once
#include <lamina/parallel/tcp/connection.hpp>

#include <string>
#include <thread>

namespace lamina::testing {

/// A server of one connection that says `answer` to whatever it hears, and closes at the end of its life.
class Peer {
 public:
  explicit Peer(std::string answer)
      : thread_([this, text = std::move(answer)] {
          parallel::asio::ip::tcp::socket client(listener_.context());
          boost::system::error_code error;
          listener_.acceptor().accept(client, error);
          if (!error) parallel::asio::write(client, parallel::asio::buffer(text), error);
          char heard[64];
          while (!error && !text.empty()) client.read_some(parallel::asio::buffer(heard), error);
        }) {}
  ~Peer() { thread_.join(); }
  int port() const { return listener_.port(); }

 private:
  parallel::Listener listener_{0, parallel::Reach::this_host};
  std::thread thread_;
};

}  // namespace lamina::testing
