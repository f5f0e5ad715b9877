#pragma once
#include <algorithm>
#include <functional>
#include <memory>
#include <stop_token>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace lamina::serve {

using HeaderList = std::vector<std::pair<std::string, std::string>>;

/// A request that was read whole.
struct HttpRequest {
  std::string method, path, query;  ///< path without "?" and what follows
  HeaderList headers;
  std::string body, peer;

  /// The value of the first header of this name, case aside; null if there is none.
  const std::string* header(std::string_view name) const {
    const auto lower = [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; };
    const auto same = [&](char a, char b) { return lower(a) == lower(b); };
    for (const auto& [key, value] : headers)
      if (std::equal(key.begin(), key.end(), name.begin(), name.end(), same)) return &value;
    return nullptr;
  }
};

struct HttpReply {
  int status = 200;
  std::string body, content_type = "application/json";
  HeaderList headers;
};

/// The answer to one request; any thread may give it. Exactly one of reply() or begin_stream() ... end_stream(). One
/// that is dropped unanswered becomes status 500, a stream dropped open a broken connection.
class Exchange {
 public:
  virtual ~Exchange() = default;
  virtual void reply(HttpReply) = 0;
  /// Sends the head; its body is ignored.
  virtual void begin_stream(HttpReply head) = 0;
  virtual void write(std::string bytes) = 0;
  virtual void end_stream() = 0;
  /// Stops when the client has gone or the server ends: whoever works on the answer may give up.
  virtual std::stop_token cancelled() const = 0;
};

/// Answers a request now or later, from any thread; must not block.
using Handler = std::function<void(std::shared_ptr<Exchange>, HttpRequest)>;

}  // namespace lamina::serve
