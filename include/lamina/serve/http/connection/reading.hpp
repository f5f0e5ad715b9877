#pragma once
#include <lamina/serve/http/connection/connection.hpp>

/// How a connection reads a request: the header whole and checked, then the application's judgement, then the body.
namespace lamina::serve::detail {

/// The handshake of TLS has the time of a header; to others the connection is one that is being read. Who speaks
/// anything else is cut off.
inline void HttpConnection::greet() {
  phase_ = Phase::idle;
  if (shared_->draining) return close();
  seat_->enter(ConnectionTable::Stage::reading);
  stream_.expires_after(shared_->limits.header_read);
  stream_.async_handshake(then([](HttpConnection& c, beast::error_code error) {
    if (error || c.phase_ != Phase::idle) return c.close();
    c.await_request();
  }));
}

inline void HttpConnection::await_request() {
  phase_ = Phase::idle;
  if (shared_->draining) return close();
  seat_->enter(ConnectionTable::Stage::idle);
  head_.reset();
  scan_.emplace(shared_->limits);
  if (buffer_.size() > 0) {
    phase_ = Phase::reading;
    read_start_ = Clock::now();
    return read_header();
  }
  buffer_.shrink_to_fit();
  stream_.expires_after(seat_->spare() ? shared_->limits.header_read : shared_->limits.idle);
  stream_.async_read_some(buffer_.prepare(1024), then([](HttpConnection& c, beast::error_code error, std::size_t n) {
                            if (error || c.phase_ != Phase::idle) return c.close();
                            c.buffer_.commit(n);
                            c.phase_ = Phase::reading;
                            c.read_start_ = Clock::now();
                            c.read_header();
                          }));
}

inline void HttpConnection::read_header() {
  seat_->enter(ConnectionTable::Stage::reading);
  const auto received = [this] {
    return std::string_view(static_cast<const char*>(buffer_.data().data()), buffer_.size());
  };
  const auto skipped = std::min<std::uint64_t>(unwanted_, buffer_.size());
  buffer_.consume(static_cast<std::size_t>(skipped));
  unwanted_ -= skipped;
  while (received().starts_with("\r\n")) buffer_.consume(2);  // RFC 9112 section 2.2
  if (received().empty() && unwanted_ == 0) return await_request();
  if (received() != "\r")
    if (const auto size = scan_->find_end(received())) return on_header(*size);
  read_more(4096, read_start_ + shared_->limits.header_read, [](HttpConnection& c, std::size_t) { c.read_header(); });
}

inline void HttpConnection::on_header(std::size_t size) {
  parser_.emplace();
  parser_->header_limit(UINT32_MAX);  // HeaderScan has its own
  parser_->body_limit(UINT64_MAX);    // the key is looked at first
  beast::error_code error;
  buffer_.consume(parser_->put(net::const_buffer(buffer_.data().data(), size), error));
  if (error || !parser_->is_header_done()) refuse_request("not valid HTTP/1.1: " + error.message());
  const auto& header = parser_->get().base();
  keep_alive_ = parser_->keep_alive() && !seat_->spare();
  http10_ = header.version() < 11;
  head_request_ = header.method() == http::verb::head;
  check_framing(header);
  check_host(header);
  head_ = read_head();
  if (auto reply = early_answer()) {
    unwanted_ = skippable_body();
    return refuse(std::move(*reply));
  }
  parser_->body_limit(shared_->limits.body_bytes);
  parser_->get().body() = RequestBody(shared_->bodies);
  read_start_ = Clock::now();
  received_ = period_bytes_ = 0;
  if (!wants_continue()) return read_body();
  stream_.expires_after(shared_->limits.write);
  static constexpr char go_on[] = "HTTP/1.1 100 Continue\r\n\r\n";
  stream_.async_write(net::buffer(go_on, sizeof go_on - 1),
                      then([](HttpConnection& c, beast::error_code e, std::size_t) {
                        if (c.phase_ != Phase::reading) return;
                        if (e) return c.close();
                        c.read_body();
                      }));
}

inline RequestHead HttpConnection::read_head() const {
  const auto& header = parser_->get().base();
  RequestHead head;
  head.method = std::string(header.method_string());
  std::string target = path_of(head.method, {header.target().data(), header.target().size()});
  const auto question = target.find('?');
  if (question != std::string::npos) head.query = target.substr(question + 1);
  target.resize(std::min(question, target.size()));
  head.path = std::move(target);
  for (const auto& field : header)
    head.headers.emplace_back(std::string(field.name_string()), std::string(field.value()));
  head.peer = peer_;
  head.client = seat_->address().key();
  return head;
}

/// The answer to a request that needs or gets no look at its body. The application comes first: who has no key learns
/// nothing about limits.
inline std::optional<HttpReply> HttpConnection::early_answer() {
  if (auto reply = shared_->application.judge(*head_)) return reply;
  const auto& limits = shared_->limits;
  if (const auto length = parser_->content_length(); length && *length > limits.body_bytes)
    throw ApiError(413, "PayloadTooLarge",
                   cat("body: is ", *length, " bytes, the limit is ", limits.body_bytes, " bytes"));
  const std::string* expect = head_->header("Expect");
  if (expect && !http10_ && !beast::iequals(*expect, "100-continue"))
    throw ApiError(417, "Expectation Failed", "Expect: is " + clipped(*expect) + ", wanted 100-continue");
  if (seat_->spare()) return busy_reply("too many connections; try again");
  if (shared_->draining) return busy_reply(leaving_message);
  return std::nullopt;
}

/// The size of a body that is cheaper to read than a new connection is to make; 0: none. Who expects 100 may or may not
/// send it.
inline std::uint64_t HttpConnection::skippable_body() const {
  const auto length = parser_->content_length();
  return length && *length <= shared_->limits.skipped_body_bytes && !head_->header("Expect") ? *length : 0;
}

/// RFC 9110 section 10.1.1: not for HTTP/1.0, and needless if there is no body or it is already here.
inline bool HttpConnection::wants_continue() const {
  return !http10_ && head_->header("Expect") && !parser_->is_done() && buffer_.size() == 0;
}

inline void HttpConnection::read_body() {
  parse_body();
  const auto& limits = shared_->limits;
  if (!parser_->content_length() &&
      received_ > limits.chunk_overhead_bytes + 9 * std::uint64_t{parser_->get().body().text().size()})
    throw ApiError(400, "Bad Request", "body: its chunks are mostly sizes, extensions and trailers");
  if (parser_->is_done()) return handle();
  const auto wanted = limits.body_bytes_per_s * static_cast<std::uint64_t>(limits.body_period.count()) / 1000;
  if (period_bytes_ >= wanted) {
    read_start_ = Clock::now();
    period_bytes_ = 0;
  }
  read_more(64 * 1024, read_start_ + limits.body_period, [](HttpConnection& c, std::size_t) { c.read_body(); });
}

/// Passes the parser the bytes that have arrived. Part of a chunk's frame may stay in the buffer, and counts.
inline void HttpConnection::parse_body() {
  while (!parser_->is_done() && buffer_.size() > 0) {
    beast::error_code error;
    const std::size_t used = parser_->put(net::const_buffer(buffer_.data()), error);
    if (!error && parser_->is_done() && parser_->chunked())
      check_last_chunk({static_cast<const char*>(buffer_.data().data()), used});
    buffer_.consume(used);
    received_ += used;
    period_bytes_ += used;
    if (error == http::error::need_more) {
      if (buffer_.size() > shared_->limits.chunk_overhead_bytes)
        throw ApiError(400, "Bad Request", "body: the frame of a chunk, or the trailer, is too large");
      return;
    }
    if (error) fail_body(error);
  }
}

/// The parser reads the last chunk, its extensions and all trailer fields in one step, and repairs what is refused in a
/// header. `frame` may begin with the end of line of the chunk before it.
inline void HttpConnection::check_last_chunk(std::string_view frame) const {
  if (frame.size() > shared_->limits.chunk_overhead_bytes)
    throw ApiError(400, "Bad Request", "body: the frame of a chunk, or the trailer, is too large");
  if (frame.starts_with("\r\n")) frame.remove_prefix(2);
  HeaderScan(shared_->limits).find_end(frame);  // the chunk's size is in the place of a request line
}

inline void HttpConnection::fail_body(beast::error_code error) const {
  if (error == http::error::body_limit)
    throw ApiError(413, "PayloadTooLarge", cat("body: larger than ", shared_->limits.body_bytes, " bytes"));
  if (error == beast::errc::not_enough_memory) throw std::bad_alloc();
  throw ApiError(400, "Bad Request", "body: not valid HTTP/1.1: " + error.message());
}

inline void HttpConnection::handle() {
  HttpRequest request{std::move(*head_), std::move(parser_->get().body())};
  head_.reset();
  parser_.reset();
  seat_->enter(ConnectionTable::Stage::answering);
  phase_ = Phase::answering;
  streaming_ = last_queued_ = false;
  received_ = 0;
  cancel_.emplace();
  const auto answer = std::make_shared<Answer>(shared_from_this(), cancel_->get_token());
  watch_client();
  try {
    shared_->application.answer(answer, std::move(request));
  } catch (const std::exception& e) {
    answer->reply({500, ApiError(500, "InternalServerError", clipped(e.what())).body(), "application/json", {}});
  }
}

/// Reads on while an answer is made: the end of the client's stream cancels the work. What the client sends early is
/// kept as its next request up to the buffer's limit. Beyond that it is thrown away and the connection closes after the
/// answer (RFC 9112 section 9.3.2 lets a client send such requests again): a client that has left is always noticed.
inline void HttpConnection::watch_client() {
  if (buffer_.size() == buffer_.max_size()) {
    keep_alive_ = false;
    buffer_.clear();
  }
  watching_ = true;
  stream_.expires_never();
  stream_.async_read_some(
      buffer_.prepare(std::min<std::size_t>(buffer_.max_size() - buffer_.size(), 4096)),
      then([](HttpConnection& c, beast::error_code error, std::size_t n) { c.on_early_bytes(error, n); }));
}

inline void HttpConnection::on_early_bytes(beast::error_code error, std::size_t n) {
  watching_ = false;
  buffer_.commit(n);
  received_ += n;
  if (phase_ == Phase::closed) return;
  if (phase_ == Phase::closing) return end_output();
  if (std::exchange(next_after_watch_, false)) {
    if (error && error != net::error::operation_aborted) return close();
    return await_request();
  }
  if (error || received_ > shared_->limits.linger_bytes) return close();
  if (phase_ == Phase::answering) watch_client();
}

}  // namespace lamina::serve::detail
