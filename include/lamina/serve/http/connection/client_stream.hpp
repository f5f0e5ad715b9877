#pragma once
#include <lamina/serve/http/tls.hpp>

#include <chrono>
#include <memory>
#include <optional>
#include <utility>

#include <boost/asio/generic/stream_protocol.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/ssl/stream.hpp>
#include <boost/asio/write.hpp>
#include <boost/beast/core/basic_stream.hpp>

namespace lamina::serve::detail {

/// The bytes of one client, over TCP or a Unix socket, with or without TLS. Time-outs close it.
class ClientStream {
 public:
  using Protocol = boost::asio::generic::stream_protocol;
  using Socket = Protocol::socket;

  /// tls: null for none.
  ClientStream(Socket socket, std::shared_ptr<TlsContext> tls) : plain_(std::move(socket)), tls_(std::move(tls)) {
    if (tls_) secure_.emplace(plain_, *tls_);
  }

  auto get_executor() { return plain_.get_executor(); }
  void expires_after(std::chrono::milliseconds time) { plain_.expires_after(time); }
  void expires_at(std::chrono::steady_clock::time_point time) { plain_.expires_at(time); }
  void expires_never() { plain_.expires_never(); }
  /// Ends what is under way; the stream can be used on.
  void cancel() { plain_.cancel(); }
  void close() noexcept {
    boost::beast::error_code ignored;
    plain_.socket().shutdown(boost::asio::socket_base::shutdown_both, ignored);
    plain_.close();
  }

  /// handler(error), at once if there is no TLS.
  template <class Handler>
  void async_handshake(Handler handler) {
    if (secure_) return secure_->async_handshake(boost::asio::ssl::stream_base::server, std::move(handler));
    boost::asio::post(get_executor(),
                      [handler = std::move(handler)]() mutable { handler(boost::beast::error_code{}); });
  }
  template <class Buffers, class Handler>
  void async_read_some(const Buffers& buffers, Handler handler) {
    if (secure_ && !ended_) return secure_->async_read_some(buffers, std::move(handler));
    plain_.async_read_some(buffers, std::move(handler));
  }
  template <class Buffers, class Handler>
  void async_write(const Buffers& buffers, Handler handler) {
    if (secure_) return boost::asio::async_write(*secure_, buffers, std::move(handler));
    boost::asio::async_write(plain_, buffers, std::move(handler));
  }
  /// Says that nothing more will be written, while no read is under way; then handler(). What is read after that is
  /// only good for being thrown away.
  template <class Handler>
  void async_end(Handler handler) {
    auto end = [this, handler = std::move(handler)]() mutable {
      ended_ = true;
      boost::beast::error_code ignored;
      plain_.socket().shutdown(boost::asio::socket_base::shutdown_send, ignored);
      handler();
    };
    if (!secure_) return boost::asio::post(get_executor(), std::move(end));
    // Reading goes on without TLS, and a client that still sends its request fails the shutdown: its answer is sent.
    secure_->async_shutdown([end = std::move(end)](boost::beast::error_code) mutable { end(); });
  }

 private:
  boost::beast::basic_stream<Protocol> plain_;
  std::shared_ptr<TlsContext> tls_;
  std::optional<boost::asio::ssl::stream<boost::beast::basic_stream<Protocol>&>> secure_;
  bool ended_ = false;
};

}  // namespace lamina::serve::detail
