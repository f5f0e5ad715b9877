#pragma once
#include <algorithm>
#include <functional>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <lamina/serve/http/request_body.hpp>
#include <lamina/serve/openai/api_error.hpp>

namespace lamina::serve {

using HeaderList = std::vector<std::pair<std::string, std::string>>;

/// A request without its body: what its request line and header fields say.
struct RequestHead {
  std::string method, path, query;  ///< path without "?" and the query
  HeaderList headers;
  std::string peer;
  std::string client = {};  ///< whom the request is counted for: equal for connections of one client address

  /// The value of the first header of this name, case aside; null if there is none.
  const std::string* header(std::string_view name) const {
    const auto lower = [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; };
    const auto same = [&](char a, char b) { return lower(a) == lower(b); };
    for (const auto& [key, value] : headers)
      if (std::equal(key.begin(), key.end(), name.begin(), name.end(), same)) return &value;
    return nullptr;
  }
};

/// A request that was read whole. Trailer fields of a chunked body are not kept: they come after the key was checked.
struct HttpRequest : RequestHead {
  RequestBody body;
};

struct HttpReply {
  int status = 200;
  std::string body, content_type = "application/json";
  HeaderList headers;
};

inline HttpReply error_reply(const ApiError& error) { return {error.status, error.body(), "application/json", {}}; }
/// A 503 that asks the client to come back.
inline HttpReply busy_reply(const std::string& message) {
  return {503, ApiError(503, "ServiceUnavailable", message).body(), "application/json", {{"Retry-After", "2"}}};
}
inline constexpr const char* leaving_message = "the server is shutting down";

/// The answer to one request; any thread may give it. Exactly one of reply() or begin_stream() ... end_stream(). One
/// that is dropped unanswered becomes status 500 (503 while the server ends), a stream dropped open a broken
/// connection.
class Exchange {
 public:
  virtual ~Exchange() = default;
  virtual void reply(HttpReply) = 0;
  /// Sends the head; its body is ignored.
  virtual void begin_stream(HttpReply head) = 0;
  virtual void write(std::string bytes) = 0;
  virtual void end_stream() = 0;
  /// Stops when the client has gone or the server ends: work on the answer may stop.
  virtual std::stop_token cancelled() const = 0;
};

/// What answers the requests of a server. Called on network threads, several at once; nothing here may block.
class HttpApplication {
 public:
  virtual ~HttpApplication() = default;
  /// Called when the header has been read and no byte of the body kept. A reply is sent at once, and if a body was
  /// announced the connection then closes without reading it. No reply: the body is read, then answer() is called.
  virtual std::optional<HttpReply> judge(const RequestHead&) = 0;
  /// Answers a request now or later, from any thread.
  virtual void answer(std::shared_ptr<Exchange>, HttpRequest) = 0;
  /// Adds to a reply what every answer to this request carries, and logs it. For replies of judge() and of the
  /// transport itself; answer() does it on its own.
  virtual void complete(const RequestHead&, HttpReply&) {}
  /// The server begins to stop: requests whose answer has not begun should be answered with 503 now.
  virtual void drain() {}
  /// The grace period is over: answers that are being made should end now.
  virtual void cancel() {}
};

}  // namespace lamina::serve
