#pragma once
#include <memory>
#include <stop_token>
#include <string>
#include <utility>

#include <lamina/core/log.hpp>
#include <lamina/serve/http/http_counts.hpp>
#include <lamina/serve/http/transport.hpp>

namespace lamina::serve::detail {

/// Adds headers to whatever answer is given; counts it and writes it to the log.
class DecoratedExchange : public Exchange {
 public:
  DecoratedExchange(std::shared_ptr<Exchange> inner, HeaderList headers, std::string log_line, HttpCounts& counts,
                    HttpCounts::Key key)
      : inner_(std::move(inner)),
        headers_(std::move(headers)),
        log_line_(std::move(log_line)),
        counts_(counts),
        key_(std::move(key)) {}
  void reply(HttpReply reply) override {
    decorate(reply);
    inner_->reply(std::move(reply));
  }
  void begin_stream(HttpReply head) override {
    decorate(head);
    inner_->begin_stream(std::move(head));
  }
  void write(std::string bytes) override { inner_->write(std::move(bytes)); }
  void end_stream() override { inner_->end_stream(); }
  std::stop_token cancelled() const override { return inner_->cancelled(); }

 private:
  void decorate(HttpReply& reply) const {
    counts_.add(key_, reply.status, HttpCounts::Clock::now() - begun_);
    reply.headers.insert(reply.headers.end(), headers_.begin(), headers_.end());
    if (!log_line_.empty()) log_info(log_line_, " ", reply.status);
  }
  std::shared_ptr<Exchange> inner_;
  HeaderList headers_;
  std::string log_line_;
  HttpCounts& counts_;
  HttpCounts::Key key_;
  HttpCounts::Clock::time_point begun_ = HttpCounts::Clock::now();
};

}  // namespace lamina::serve::detail
