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
#include <string_view>
#include <thread>
#include <utility>

#include <boost/asio/dispatch.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/strand.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/http.hpp>

#include <lamina/core/error.hpp>
#include <lamina/serve/http/connection/client_stream.hpp>
#include <lamina/serve/http/connection/table.hpp>
#include <lamina/serve/http/connection/unsent_budget.hpp>
#include <lamina/serve/http/head.hpp>
#include <lamina/serve/http/transport.hpp>
#include <lamina/serve/openai/api_error.hpp>

namespace lamina::serve::detail {
namespace beast = boost::beast;
namespace http = boost::beast::http;
namespace net = boost::asio;

/// What connections share with their server.
struct HttpShared {
  HttpShared(const HttpLimits& limits_, HttpApplication& application_)
      : limits(limits_),
        application(application_),
        connections(limits_),
        bodies(std::make_shared<ByteBudget>(std::max(limits_.all_bodies_bytes, 3 * limits_.body_bytes))),
        unsent(limits_.all_unsent_bytes) {}
  const HttpLimits limits;
  HttpApplication& application;
  ConnectionTable connections;
  std::shared_ptr<ByteBudget> bodies;
  UnsentBudget unsent;
  std::atomic<bool> draining{false};
};

/// Beast's reader of a body into a RequestBody. A body that finds no memory, in the budget or at all, is the error
/// not_enough_memory.
struct BudgetedBody {
  using value_type = RequestBody;
  class reader {
   public:
    template <bool is_request, class Fields>
    reader(http::header<is_request, Fields>&, RequestBody& body) : body_(body) {}
    void init(const boost::optional<std::uint64_t>& length, beast::error_code& error) {
      error = {};
      if (length) body_.expect(*length);
    }
    template <class Buffers>
    std::size_t put(const Buffers& buffers, beast::error_code& error) {
      error = {};
      std::size_t size = 0;
      try {
        for (const auto piece : beast::buffers_range_ref(buffers)) {
          if (!body_.append({static_cast<const char*>(piece.data()), piece.size()})) throw std::bad_alloc();
          size += piece.size();
        }
      } catch (const std::bad_alloc&) {
        error = beast::errc::make_error_code(beast::errc::not_enough_memory);
      }
      return size;
    }
    void finish(beast::error_code& error) { error = {}; }

   private:
    RequestBody& body_;
  };
};

/// One client: reads a request, hands it on, writes the answer, in turn. All members run on the connection's strand.
class HttpConnection : public std::enable_shared_from_this<HttpConnection> {
  enum class Phase { idle, reading, answering, closing, closed };
  class Answer;
  using Clock = std::chrono::steady_clock;
  static constexpr std::size_t large_body = 64 * 1024;

  /// A completion handler that keeps the connection alive and lets no exception reach the network thread.
  template <class Work>
  auto then(Work work) {
    return [self = shared_from_this(), work](auto... arguments) { self->guarded([&] { work(*self, arguments...); }); };
  }
  template <class Work>
  void guarded(const Work& work) noexcept {
    try {
      try {
        work();
      } catch (const ApiError& e) {
        if (phase_ != Phase::reading) throw;
        keep_alive_ = false;  // what is left of the request must not be read as the next one
        refuse(error_reply(e));
      } catch (const std::bad_alloc&) {
        if (phase_ != Phase::reading) throw;
        refuse(busy_reply("out of memory; try again"));
        shared_->connections.close_slowest();  // so that the next try finds room
      }
    } catch (...) {
      close();
    }
  }

 public:
  /// peer: who it is, for logs. tls: null for none.
  HttpConnection(ClientStream::Socket socket, std::shared_ptr<TlsContext> tls, std::string peer,
                 std::shared_ptr<HttpShared> shared, std::unique_ptr<ConnectionTable::Seat> seat)
      : stream_(std::move(socket), std::move(tls)),
        shared_(std::move(shared)),
        seat_(std::move(seat)),
        unsent_share_(shared_->unsent),
        peer_(std::move(peer)),
        buffer_(shared_->limits.header_bytes + 64 * 1024) {}

  void start() {
    const auto leave = [weak = weak_from_this()] {
      if (const auto self = weak.lock()) self->abort();
    };
    seat_->on_eviction(leave);
    unsent_share_.on_eviction(leave);
    net::dispatch(stream_.get_executor(), then([](HttpConnection& c) { c.greet(); }));
  }
  /// The server ends: an idle connection closes now, a request that is still coming in gets 503, an answer is ended.
  void drain() {
    net::post(stream_.get_executor(), then([](HttpConnection& c) {
                if (c.phase_ == Phase::idle) c.close();
                if (c.phase_ == Phase::reading) c.stream_.cancel();  // the read's handler answers
              }));
  }
  /// Closes whatever happens.
  void abort() {
    net::post(stream_.get_executor(), then([](HttpConnection& c) { c.close(); }));
  }

 private:
  void greet();
  void await_request();
  void read_header();
  void on_header(std::size_t size);
  RequestHead read_head() const;
  std::optional<HttpReply> early_answer();
  std::uint64_t skippable_body() const;
  bool wants_continue() const;
  void read_body();
  void parse_body();
  void check_last_chunk(std::string_view frame) const;
  [[noreturn]] void fail_body(beast::error_code error) const;
  void handle();
  void watch_client();
  void on_early_bytes(beast::error_code error, std::size_t n);
  void refuse(HttpReply reply);
  void send(std::string bytes);
  void write_next();
  void answer_ended();
  void linger();
  void end_output();
  void discard();
  void close() noexcept;
  std::string head_of(const HttpReply& reply, bool chunked) const;

  /// Reads at most `size` bytes more of a request, then goes on with `next`.
  template <class Next>
  void read_more(std::size_t size, Clock::time_point until, Next next) {
    if (shared_->draining) return refuse(busy_reply(leaving_message));
    stream_.expires_at(until);
    stream_.async_read_some(buffer_.prepare(std::min(size, buffer_.max_size() - buffer_.size())),
                            then([next](HttpConnection& c, beast::error_code error, std::size_t n) {
                              if (c.phase_ != Phase::reading) return;
                              if (error == net::error::operation_aborted && c.shared_->draining)
                                return c.refuse(busy_reply(leaving_message));
                              if (error) return c.close();
                              c.buffer_.commit(n);
                              next(c, n);
                            }));
  }

  void send_reply(HttpReply reply) {
    if (phase_ != Phase::answering) return;
    std::string bytes = head_of(reply, false);
    if (!head_request_ && reply.body.size() > large_body) {  // not worth a copy
      send(std::move(bytes));
      return send_last(std::move(reply.body));
    }
    if (!head_request_) bytes += reply.body;
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
    send(http10_ ? bytes : beast::buffers_to_string(http::make_chunk(net::buffer(bytes))));
  }
  void send_end() {
    if (phase_ == Phase::answering) send_last(http10_ ? "" : beast::buffers_to_string(http::make_chunk_last()));
  }
  void answer_dropped() {
    if (phase_ != Phase::answering || last_queued_) return;
    if (streaming_) return close();
    if (shared_->draining) return send_reply(busy_reply(leaving_message));
    send_reply({500, ApiError(500, "InternalServerError", "the request was dropped").body(), "application/json", {}});
  }
  void send_last(std::string bytes) {
    last_queued_ = true;
    send(std::move(bytes));
  }

  ClientStream stream_;
  std::shared_ptr<HttpShared> shared_;
  std::unique_ptr<ConnectionTable::Seat> seat_;
  UnsentBudget::Share unsent_share_;
  std::string peer_;
  beast::flat_buffer buffer_;
  std::optional<HeaderScan> scan_;
  std::optional<http::request_parser<BudgetedBody>> parser_;
  std::optional<RequestHead> head_;  ///< of the request that is being read
  Clock::time_point read_start_;     ///< of the header, then of a period of the body
  Clock::time_point linger_until_;
  std::uint64_t received_ = 0;      ///< bytes of this body with its chunks' frames; then bytes that were thrown away
  std::uint64_t period_bytes_ = 0;  ///< of received_, since read_start_
  std::uint64_t unwanted_ = 0;      ///< bytes of a body that was answered already, before the next request
  std::deque<std::string> unsent_;
  std::optional<std::stop_source> cancel_;
  Phase phase_ = Phase::idle;
  bool keep_alive_ = true, http10_ = false, head_request_ = false;
  bool streaming_ = false, last_queued_ = false, watching_ = false, next_after_watch_ = false;
};

/// The answer to one request, owned by the code that computes it.
class HttpConnection::Answer : public Exchange {
 public:
  Answer(std::shared_ptr<HttpConnection> connection, std::stop_token token)
      : connection_(std::move(connection)), token_(std::move(token)) {}
  /// Must reach the connection, or the client would wait for ever: tries again while memory is short.
  ~Answer() override {
    for (int i = 0; i < 100; ++i) try {
        on_strand([](HttpConnection& c) { c.answer_dropped(); });
        break;
      } catch (const std::exception&) {
        std::this_thread::sleep_for(std::chrono::milliseconds(20));
      }
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
      c->guarded([&] {
        if (c->cancel_ && c->cancel_->get_token() == token) f(*c);
      });
    });
  }
  std::shared_ptr<HttpConnection> connection_;
  std::stop_token token_;
};

}  // namespace lamina::serve::detail

#include <lamina/serve/http/connection/reading.hpp>
#include <lamina/serve/http/connection/writing.hpp>
