#pragma once
#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <sstream>
#include <stop_token>
#include <string>
#include <utility>

#include <boost/asio/dispatch.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/strand.hpp>
#include <boost/asio/write.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/http.hpp>

#include <lamina/core/error.hpp>
#include <lamina/serve/api_error.hpp>
#include <lamina/serve/transport.hpp>

namespace lamina::serve {

/// What a client may send, and how long it may take.
struct HttpLimits {
  std::uint32_t header_bytes = 64 * 1024;
  int header_count = 256;
  std::uint64_t body_bytes = 64 * 1024 * 1024;
  int connections = 1024;
  std::chrono::milliseconds idle{75'000};         ///< between requests
  std::chrono::milliseconds header_read{10'000};  ///< first byte to end of header
  std::chrono::milliseconds body_grace{30'000};   ///< a body may take this, and its bytes at body_bytes_per_s
  std::uint64_t body_bytes_per_s = 16 * 1024;
  std::chrono::milliseconds write{60'000};     ///< for a client that does not read
  std::size_t unsent_bytes = 8 * 1024 * 1024;  ///< a stream whose client lags further is cancelled
};

namespace detail {
namespace beast = boost::beast;
namespace http = boost::beast::http;
namespace net = boost::asio;

/// What connections share with their server.
struct HttpShared {
  HttpLimits limits;
  Handler handler;
  std::atomic<bool> draining{false};
  std::atomic<int> connections{0};
};

/// One client: reads a request, hands it on, writes the answer, in turn. All members run on the connection's strand.
class HttpConnection : public std::enable_shared_from_this<HttpConnection> {
 public:
  HttpConnection(net::ip::tcp::socket socket, std::shared_ptr<HttpShared> shared)
      : stream_(std::move(socket)), buffer_(shared->limits.header_bytes + 64 * 1024), shared_(std::move(shared)) {
    ++shared_->connections;
    beast::error_code error;
    const auto peer = stream_.socket().remote_endpoint(error);
    if (!error) peer_ = peer.address().to_string() + ":" + std::to_string(peer.port());
    stream_.socket().set_option(net::ip::tcp::no_delay(true), error);
  }
  ~HttpConnection() { --shared_->connections; }

  void start() {
    net::dispatch(stream_.get_executor(), [self = shared_from_this()] { self->await_request(); });
  }
  /// The server ends: an idle connection closes now, a busy one after its answer.
  void drain() {
    net::post(stream_.get_executor(), [self = shared_from_this()] {
      if (self->phase_ == Phase::idle) self->close();
    });
  }
  /// Closes whatever happens.
  void abort() {
    net::post(stream_.get_executor(), [self = shared_from_this()] { self->close(); });
  }

 private:
  enum class Phase { idle, reading, answering, closing, closed };
  class Answer;

  void await_request();
  void read_header();
  void on_header(beast::error_code error);
  void read_body();
  void handle();
  void watch_client();
  void refuse(int status, const std::string& type, const std::string& message);
  void send(std::string bytes);
  void write_next();
  void answer_ended();
  void linger();
  void discard();
  void close();
  std::string head_of(const HttpReply& reply, bool chunked) const;

  void send_reply(HttpReply reply) {
    if (phase_ != Phase::answering) return;
    const bool with_body = !head_request_;
    std::string bytes = head_of(reply, false);
    if (with_body) bytes += reply.body;
    send_last(std::move(bytes));
  }
  void send_head(const HttpReply& head) {
    if (phase_ != Phase::answering) return;
    streaming_ = true;
    if (http10_) keep_alive_ = false;
    send(head_of(head, !http10_));
  }
  void send_chunk(const std::string& bytes) {
    if (phase_ != Phase::answering || bytes.empty()) return;
    if (http10_) return send(bytes);
    std::ostringstream size;
    size << std::hex << bytes.size();
    send(size.str() + "\r\n" + bytes + "\r\n");
  }
  void send_end() {
    if (phase_ == Phase::answering) send_last(http10_ ? "" : "0\r\n\r\n");
  }
  void answer_dropped() {
    if (phase_ != Phase::answering || last_queued_) return;
    if (streaming_) return close();
    send_reply({500, ApiError(500, "InternalServerError", "the request was dropped").body(), "application/json", {}});
  }
  void send_last(std::string bytes) {
    last_queued_ = true;
    send(std::move(bytes));
  }

  beast::tcp_stream stream_;
  beast::flat_buffer buffer_;
  std::shared_ptr<HttpShared> shared_;
  std::string peer_;
  std::optional<http::request_parser<http::string_body>> parser_;
  std::chrono::steady_clock::time_point body_start_, linger_until_;
  std::uint64_t body_received_ = 0;
  std::deque<std::string> unsent_;
  std::size_t unsent_bytes_ = 0;
  std::optional<std::stop_source> cancel_;
  Phase phase_ = Phase::idle;
  bool keep_alive_ = true, http10_ = false, head_request_ = false;
  bool streaming_ = false, last_queued_ = false, watching_ = false, next_after_watch_ = false;
};

/// The answer to one request, held by whoever works on it.
class HttpConnection::Answer : public Exchange {
 public:
  Answer(std::shared_ptr<HttpConnection> connection, std::stop_token token)
      : connection_(std::move(connection)), token_(std::move(token)) {}
  ~Answer() override {
    on_strand([](HttpConnection& c) { c.answer_dropped(); });
  }
  void reply(HttpReply reply) override {
    on_strand([reply = std::move(reply)](HttpConnection& c) mutable { c.send_reply(std::move(reply)); });
  }
  void begin_stream(HttpReply head) override {
    on_strand([head = std::move(head)](HttpConnection& c) { c.send_head(head); });
  }
  void write(std::string bytes) override {
    on_strand([bytes = std::move(bytes)](HttpConnection& c) { c.send_chunk(bytes); });
  }
  void end_stream() override {
    on_strand([](HttpConnection& c) { c.send_end(); });
  }
  std::stop_token cancelled() const override { return token_; }

 private:
  /// Only for the request that this answers: the connection may be at the next one. A token names its request.
  template <class F>
  void on_strand(F f) {
    net::post(connection_->stream_.get_executor(), [c = connection_, token = token_, f = std::move(f)]() mutable {
      if (c->cancel_ && c->cancel_->get_token() == token) f(*c);
    });
  }
  std::shared_ptr<HttpConnection> connection_;
  std::stop_token token_;
};

inline void HttpConnection::await_request() {
  phase_ = Phase::idle;
  if (shared_->draining) return close();
  if (buffer_.size() > 0) return read_header();
  stream_.expires_after(shared_->limits.idle);
  stream_.async_read_some(buffer_.prepare(4096), [self = shared_from_this()](beast::error_code error, std::size_t n) {
    if (error || self->phase_ != Phase::idle) return self->close();
    self->buffer_.commit(n);
    self->read_header();
  });
}

inline void HttpConnection::read_header() {
  phase_ = Phase::reading;
  parser_.emplace();
  parser_->header_limit(shared_->limits.header_bytes);
  parser_->body_limit(shared_->limits.body_bytes);
  stream_.expires_after(shared_->limits.header_read);
  http::async_read_header(
      stream_, buffer_, *parser_,
      [self = shared_from_this()](beast::error_code error, std::size_t) { self->on_header(error); });
}

inline void HttpConnection::on_header(beast::error_code error) {
  if (phase_ != Phase::reading) return;
  if (error == http::error::body_limit)
    return refuse(413, "PayloadTooLarge", cat("body: larger than ", shared_->limits.body_bytes, " bytes"));
  if (error == http::error::header_limit || error == http::error::buffer_overflow)
    return refuse(431, "Request Header Fields Too Large",
                  cat("headers: larger than ", shared_->limits.header_bytes, " bytes"));
  if (error.category() == http::make_error_code(http::error::end_of_stream).category() &&
      error != http::error::end_of_stream && error != http::error::partial_message)
    return refuse(400, "Bad Request", "request: not valid HTTP/1.1: " + error.message());
  if (error) return close();
  const auto& request = parser_->get();
  if (std::distance(request.begin(), request.end()) > shared_->limits.header_count)
    return refuse(431, "Request Header Fields Too Large",
                  cat("headers: more than ", shared_->limits.header_count, " of them"));
  if (const auto length = parser_->content_length(); length && *length > shared_->limits.body_bytes)
    return refuse(413, "PayloadTooLarge",
                  cat("body: is ", *length, " bytes, the limit is ", shared_->limits.body_bytes, " bytes"));
  body_start_ = std::chrono::steady_clock::now();
  body_received_ = 0;
  if (beast::iequals(request[http::field::expect], "100-continue")) {
    stream_.expires_after(shared_->limits.write);
    static constexpr char go_on[] = "HTTP/1.1 100 Continue\r\n\r\n";
    return net::async_write(stream_, net::buffer(go_on, sizeof go_on - 1),
                            [self = shared_from_this()](beast::error_code e, std::size_t) {
                              if (e || self->phase_ != Phase::reading) return self->close();
                              self->read_body();
                            });
  }
  read_body();
}

inline void HttpConnection::read_body() {
  if (parser_->is_done()) return handle();
  const auto& limits = shared_->limits;
  const auto earned =
      std::chrono::milliseconds(body_received_ * 1000 / std::max<std::uint64_t>(limits.body_bytes_per_s, 1));
  stream_.expires_at(body_start_ + limits.body_grace + earned);
  http::async_read_some(stream_, buffer_, *parser_,
                        [self = shared_from_this()](beast::error_code error, std::size_t n) {
                          if (self->phase_ != Phase::reading) return;
                          self->body_received_ += n;
                          if (error == http::error::body_limit)
                            return self->refuse(413, "PayloadTooLarge",
                                                cat("body: larger than ", self->shared_->limits.body_bytes, " bytes"));
                          if (error && error.category() == http::make_error_code(http::error::bad_chunk).category() &&
                              error != http::error::end_of_stream && error != http::error::partial_message)
                            return self->refuse(400, "Bad Request", "body: not valid HTTP/1.1: " + error.message());
                          if (error) return self->close();
                          self->read_body();
                        });
}

inline void HttpConnection::handle() {
  auto message = parser_->release();
  parser_.reset();
  keep_alive_ = message.keep_alive();
  http10_ = message.version() < 11;
  head_request_ = message.method() == http::verb::head;
  streaming_ = last_queued_ = false;
  phase_ = Phase::answering;
  cancel_.emplace();
  auto answer = std::make_shared<Answer>(shared_from_this(), cancel_->get_token());
  HttpRequest request;
  request.method = std::string(message.method_string());
  std::string target(message.target());
  if (const auto scheme = target.find("://"); !target.starts_with('/') && scheme != std::string::npos) {
    const auto slash = target.find('/', scheme + 3);
    target = slash == std::string::npos ? "/" : target.substr(slash);
  }
  const auto question = target.find('?');
  request.path = target.substr(0, question);
  if (question != std::string::npos) request.query = target.substr(question + 1);
  for (const auto& field : message)
    request.headers.emplace_back(std::string(field.name_string()), std::string(field.value()));
  request.body = std::move(message.body());
  request.peer = peer_;
  watch_client();
  try {
    shared_->handler(answer, std::move(request));
  } catch (const std::exception& e) {
    answer->reply({500, ApiError(500, "InternalServerError", clipped(e.what())).body(), "application/json", {}});
  }
}

/// Reads on while an answer is made: the end of the client's stream cancels the work; what it sends early is kept, up
/// to the buffer's limit.
inline void HttpConnection::watch_client() {
  const std::size_t room = buffer_.max_size() - buffer_.size();
  if (room == 0) return;
  watching_ = true;
  stream_.expires_never();
  stream_.async_read_some(buffer_.prepare(std::min<std::size_t>(room, 4096)),
                          [self = shared_from_this()](beast::error_code error, std::size_t n) {
                            self->watching_ = false;
                            self->buffer_.commit(n);
                            if (self->phase_ == Phase::closed) return;
                            if (self->phase_ == Phase::closing) return self->discard();
                            if (std::exchange(self->next_after_watch_, false)) {
                              if (error && error != net::error::operation_aborted) return self->close();
                              return self->await_request();
                            }
                            if (error) return self->close();
                            if (self->phase_ == Phase::answering) self->watch_client();
                          });
}

inline void HttpConnection::refuse(int status, const std::string& type, const std::string& message) {
  phase_ = Phase::answering;
  keep_alive_ = head_request_ = http10_ = streaming_ = false;
  send_reply({status, ApiError(status, type, message).body(), "application/json", {}});
}

inline std::string HttpConnection::head_of(const HttpReply& reply, bool chunked) const {
  http::response<http::empty_body> head;
  head.version(http10_ ? 10 : 11);
  head.result(static_cast<unsigned>(reply.status));
  const bool keep = keep_alive_ && !shared_->draining;
  head.keep_alive(keep);
  for (const auto& [name, value] : reply.headers) head.insert(name, value);
  if (!reply.content_type.empty()) head.set(http::field::content_type, reply.content_type);
  if (chunked)
    head.set(http::field::transfer_encoding, "chunked");
  else if (!streaming_)
    head.content_length(reply.body.size());
  std::ostringstream out;
  out << head.base();
  return out.str();
}

inline void HttpConnection::send(std::string bytes) {
  unsent_bytes_ += bytes.size();
  if (streaming_ && unsent_bytes_ > shared_->limits.unsent_bytes) return close();
  unsent_.push_back(std::move(bytes));
  if (unsent_.size() == 1) write_next();
}

inline void HttpConnection::write_next() {
  stream_.expires_after(shared_->limits.write);
  net::async_write(stream_, net::buffer(unsent_.front()),
                   [self = shared_from_this()](beast::error_code error, std::size_t) {
                     if (self->phase_ == Phase::closed) return;
                     if (error) return self->close();
                     self->unsent_bytes_ -= self->unsent_.front().size();
                     self->unsent_.pop_front();
                     if (!self->unsent_.empty()) return self->write_next();
                     if (self->last_queued_) self->answer_ended();
                   });
}

inline void HttpConnection::answer_ended() {
  cancel_.reset();
  last_queued_ = false;
  if (!keep_alive_ || shared_->draining) return linger();
  phase_ = Phase::idle;
  if (!watching_) return await_request();
  next_after_watch_ = true;  // nothing is being written, so this ends the watching read alone
  stream_.cancel();
}

/// Closes such that the client can still read the answer: a close with unread input would reset the connection.
inline void HttpConnection::linger() {
  phase_ = Phase::closing;
  beast::error_code ignored;
  stream_.socket().shutdown(net::ip::tcp::socket::shutdown_send, ignored);
  linger_until_ = std::chrono::steady_clock::now() + std::chrono::seconds(5);
  if (watching_) return stream_.cancel();  // its handler goes on to discard
  discard();
}

inline void HttpConnection::discard() {
  buffer_.clear();
  stream_.expires_at(linger_until_);
  stream_.async_read_some(buffer_.prepare(64 * 1024),
                          [self = shared_from_this()](beast::error_code error, std::size_t) {
                            if (error || self->phase_ == Phase::closed) return self->close();
                            self->discard();
                          });
}

inline void HttpConnection::close() {
  if (phase_ == Phase::closed) return;
  phase_ = Phase::closed;
  if (cancel_) cancel_->request_stop();
  beast::error_code ignored;
  stream_.socket().shutdown(net::ip::tcp::socket::shutdown_both, ignored);
  stream_.close();
}

}  // namespace detail
}  // namespace lamina::serve
