#pragma once
#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <string_view>
#include <utility>

#include <lamina/core/error.hpp>

namespace lamina::test {

/// A client on plain blocking sockets that sends whatever bytes a test wants; every read is bounded to 20 s.
class Client {
 public:
  /// `from`: an address of the loopback network, 127.x.y.z.
  explicit Client(unsigned short port, const char* from = "127.0.0.1") : fd_(::socket(AF_INET, SOCK_STREAM, 0)) {
    sockaddr_in source{};
    source.sin_family = AF_INET;
    if (::inet_pton(AF_INET, from, &source.sin_addr) != 1 ||
        ::bind(fd_, reinterpret_cast<sockaddr*>(&source), sizeof source) != 0)
      fail("test client: cannot use the address ", from);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (::connect(fd_, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) fail("test client: cannot connect");
  }
  /// Of a Unix socket.
  explicit Client(const std::filesystem::path& path) : fd_(::socket(AF_UNIX, SOCK_STREAM, 0)) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    path.string().copy(address.sun_path, sizeof address.sun_path - 1);
    if (::connect(fd_, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) fail("test client: cannot connect");
  }
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;
  ~Client() { close(); }
  void close() {
    if (fd_ >= 0) ::close(fd_);
    fd_ = -1;
  }

  /// False once the server has closed.
  bool send(std::string_view bytes) {
    while (!bytes.empty()) {
      const auto n = ::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (n <= 0) return false;
      bytes.remove_prefix(static_cast<std::size_t>(n));
    }
    return true;
  }
  /// Reads more into the buffer; false at the end of the stream.
  bool more() {
    pollfd wait{fd_, POLLIN, 0};
    if (::poll(&wait, 1, 20'000) <= 0) fail("test client: nothing came for 20 s");
    char chunk[65536];
    const auto n = ::recv(fd_, chunk, sizeof chunk, 0);
    if (n > 0) buffer_.append(chunk, static_cast<std::size_t>(n));
    return n > 0;
  }
  /// Everything up to and with `end`, or what there was at the end of the stream.
  std::string until(std::string_view end) {
    std::size_t at;
    while ((at = buffer_.find(end)) == std::string::npos)
      if (!more()) return std::exchange(buffer_, {});
    std::string out = buffer_.substr(0, at + end.size());
    buffer_.erase(0, out.size());
    return out;
  }
  /// Everything until the server closes.
  std::string rest() {
    while (more()) {
    }
    return std::exchange(buffer_, {});
  }
  bool closed() {
    while (more()) {
    }
    return true;
  }

  struct Reply {
    int status = 0;
    std::string head, body;
  };
  /// One response, its body taken out of chunks.
  Reply reply() {
    Reply out;
    out.head = until("\r\n\r\n");
    if (out.head.size() > 12) out.status = std::atoi(out.head.c_str() + 9);
    if (out.head.find("Transfer-Encoding: chunked") != std::string::npos) {
      while (const auto size = std::strtoul(until("\r\n").c_str(), nullptr, 16)) {
        out.body += take(size);
        until("\r\n");
      }
      until("\r\n");
    } else if (const auto at = out.head.find("Content-Length: "); at != std::string::npos) {
      out.body = take(std::strtoul(out.head.c_str() + at + 16, nullptr, 10));
    }
    return out;
  }
  static std::string request(std::string_view method, std::string_view path, std::string_view body = {},
                             std::string_view headers = {}) {
    return cat(method, " ", path,
               " HTTP/1.1\r\nHost: test\r\nContent-Type: application/json\r\nContent-Length: ", body.size(), "\r\n",
               headers, "\r\n", body);
  }
  Reply ask(std::string_view method, std::string_view path, std::string_view body = {}, std::string_view headers = {}) {
    send(request(method, path, body, headers));
    return reply();
  }

 private:
  std::string take(std::size_t n) {
    while (buffer_.size() < n && more()) {
    }
    std::string out = buffer_.substr(0, n);
    buffer_.erase(0, out.size());
    return out;
  }
  int fd_;
  std::string buffer_;
};

}  // namespace lamina::test
