#pragma once
#include <lamina/serve/http/connection/connection.hpp>

/// How a connection writes its answer and ends.
namespace lamina::serve::detail {

/// Answers the request that is being read, from its header or because of a fault. Nothing more of it is kept.
inline void HttpConnection::refuse(HttpReply reply) {
  if (!head_) keep_alive_ = head_request_ = http10_ = false;
  if (!parser_ || (!parser_->is_done() && unwanted_ == 0)) keep_alive_ = false;
  if (head_) shared_->application.complete(*head_, reply);
  head_.reset();
  parser_.reset();
  seat_->enter(ConnectionTable::Stage::answering);
  phase_ = Phase::answering;
  streaming_ = last_queued_ = false;
  send_reply(std::move(reply));
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
  else if (!streaming_ && reply.status != 204)  // RFC 9110 section 8.6
    head.content_length(reply.body.size());
  std::ostringstream out;
  out << head.base();
  return out.str();
}

inline void HttpConnection::send(std::string bytes) {
  if (phase_ == Phase::closed) return;
  const std::size_t size = bytes.size();
  unsent_.push_back(std::move(bytes));
  unsent_share_.add(size);
  if (streaming_ && unsent_share_.bytes() > shared_->limits.unsent_bytes) return close();
  if (unsent_.size() == 1) write_next();
}

inline void HttpConnection::write_next() {
  stream_.expires_after(shared_->limits.write);
  stream_.async_write(net::buffer(unsent_.front()), then([](HttpConnection& c, beast::error_code error, std::size_t) {
                        if (c.phase_ == Phase::closed) return c.unsent_.clear();
                        if (error) return c.close();
                        c.unsent_share_.remove(c.unsent_.front().size());
                        c.unsent_.pop_front();
                        if (!c.unsent_.empty()) return c.write_next();
                        if (c.last_queued_) c.answer_ended();
                      }));
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
  seat_->enter(ConnectionTable::Stage::idle);
  linger_until_ = Clock::now() + shared_->limits.linger;
  received_ = 0;
  if (watching_) return stream_.cancel();  // its handler goes on to end_output
  end_output();
}

inline void HttpConnection::end_output() {
  stream_.expires_at(linger_until_);
  stream_.async_end(then([](HttpConnection& c) {
    if (c.phase_ != Phase::closed) c.discard();
  }));
}

inline void HttpConnection::discard() {
  buffer_.clear();
  stream_.expires_at(linger_until_);
  stream_.async_read_some(buffer_.prepare(64 * 1024),
                          then([](HttpConnection& c, beast::error_code error, std::size_t n) {
                            c.received_ += n;
                            if (error || c.phase_ == Phase::closed || c.received_ > c.shared_->limits.linger_bytes)
                              return c.close();
                            c.discard();
                          }));
}

inline void HttpConnection::close() noexcept {
  if (phase_ == Phase::closed) return;
  phase_ = Phase::closed;
  head_.reset();
  parser_.reset();  // gives the body's bytes back
  if (cancel_) cancel_->request_stop();
  stream_.close();
}

}  // namespace lamina::serve::detail
