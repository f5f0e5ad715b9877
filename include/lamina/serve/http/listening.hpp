#pragma once
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <string>
#include <system_error>
#include <utility>

#include <boost/asio/basic_socket_acceptor.hpp>
#include <boost/asio/generic/stream_protocol.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/ip/v6_only.hpp>
#include <boost/asio/local/stream_protocol.hpp>

#include <lamina/core/error.hpp>

/// Where a server waits for connections: a TCP port or a Unix socket.
namespace lamina::serve::detail {

using Acceptor = boost::asio::basic_socket_acceptor<boost::asio::generic::stream_protocol>;
using Endpoint = boost::asio::generic::stream_protocol::endpoint;

/// The TCP endpoint that a generic one of AF_INET or AF_INET6 holds; an unspecified one for others.
inline boost::asio::ip::tcp::endpoint tcp_endpoint(const Endpoint& from) {
  boost::asio::ip::tcp::endpoint out;
  const int family = from.data()->sa_family;
  if ((family != AF_INET && family != AF_INET6) || from.size() > out.capacity()) return {};
  std::memcpy(out.data(), from.data(), from.size());
  out.resize(from.size());
  return out;
}

inline bool bind_to(Acceptor& acceptor, const Endpoint& endpoint, bool dual, boost::system::error_code& error) {
  boost::system::error_code ignored;
  acceptor.close(ignored);
  acceptor.open(endpoint.protocol(), error);
  if (error) return false;
  acceptor.set_option(boost::asio::socket_base::reuse_address(true), ignored);
  if (dual) acceptor.set_option(boost::asio::ip::v6_only(false), ignored);
  acceptor.bind(endpoint, error);
  if (!error) acceptor.listen(boost::asio::socket_base::max_listen_connections, error);
  return !error;
}

/// Listens on an address of this machine, "" for all of them, and a port, 0 for any. Returns the port; Error if it
/// cannot be had.
inline unsigned short listen_on_port(Acceptor& acceptor, boost::asio::io_context& io, const std::string& host,
                                     unsigned short port) {
  using tcp = boost::asio::ip::tcp;
  boost::system::error_code error;
  const bool any = host.empty();
  auto address = boost::asio::ip::make_address(any ? "::" : host, error);
  if (error) {  // a name
    const auto found = tcp::resolver(io).resolve(host, "", error);
    if (error || found.empty()) fail(host, ": not an address of this machine: ", error.message());
    address = found.begin()->endpoint().address();
  }
  if (!bind_to(acceptor, tcp::endpoint(address, port), any, error) && any)  // no IPv6 here
    bind_to(acceptor, tcp::endpoint(tcp::v4(), port), false, error);
  if (error)
    fail(any ? "all interfaces" : host, ", port ", port, ": ", error.message(),
         ": choose another port or end the program that holds it");
  return tcp_endpoint(acceptor.local_endpoint()).port();
}

/// A Unix socket's file, which goes when this does, unless somebody has put another in its place.
class SocketFile {
 public:
  SocketFile() = default;
  /// Listens there. A socket that a program left behind is replaced; Error if one still listens, or if it is another
  /// kind of file.
  SocketFile(Acceptor& acceptor, std::filesystem::path path) : path_(std::move(path)) {
    const std::string name = path_.string();
    if (name.size() >= sizeof(sockaddr_un::sun_path))
      fail("--uds ", name, ": ", name.size(), " bytes, the path of a socket has at most ",
           sizeof(sockaddr_un::sun_path) - 1);
    const boost::asio::local::stream_protocol::endpoint endpoint(name);
    std::error_code ignored;
    const auto status = std::filesystem::symlink_status(path_, ignored);
    if (std::filesystem::exists(status) && !std::filesystem::is_socket(status))
      fail("--uds ", name, ": is there already and is no socket: choose another path");
    if (std::filesystem::is_socket(status)) {
      boost::asio::io_context io;
      boost::system::error_code unused;
      boost::asio::local::stream_protocol::socket probe(io);
      if (!probe.connect(endpoint, unused)) fail("--uds ", name, ": a program listens there already");
      ::unlink(name.c_str());
    }
    boost::system::error_code error;
    if (!bind_to(acceptor, endpoint, false, error)) fail("--uds ", name, ": ", error.message());
    identity_ = identity();
  }
  SocketFile(SocketFile&& other) noexcept { swap(other); }
  SocketFile& operator=(SocketFile&& other) noexcept {
    swap(other);
    return *this;
  }
  ~SocketFile() {
    if (!path_.empty() && identity() == identity_) ::unlink(path_.c_str());
  }

 private:
  std::pair<dev_t, ino_t> identity() const {
    struct stat status {};
    return ::lstat(path_.c_str(), &status) == 0 ? std::pair(status.st_dev, status.st_ino) : std::pair<dev_t, ino_t>{};
  }
  void swap(SocketFile& other) {
    std::swap(path_, other.path_);
    std::swap(identity_, other.identity_);
  }

  std::filesystem::path path_;
  std::pair<dev_t, ino_t> identity_ = {};
};

}  // namespace lamina::serve::detail
