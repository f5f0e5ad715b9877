#pragma once
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <span>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

#include <lamina/core/error.hpp>

/// HTTP as the hub needs it: one GET, answered in pieces; or a POST. lamina/hub/http/curl.hpp implements it; this page
/// needs no library.
namespace lamina::hub {

/// Certificates to trust in place of the system's.
struct Certificates {
  std::string path = {};      ///< a file of them or a folder; "": the system's
  std::string variable = {};  ///< that named it, for messages
};

/// What to ask of which server.
struct GetRequest {
  std::string url;
  std::vector<std::string> headers = {};   ///< "Name: value"
  std::uint64_t from = 0;                  ///< above 0: asks for the bytes from there to the end
  std::chrono::milliseconds longest = {};  ///< for the whole exchange; 0: as long as bytes come fast enough
  std::stop_token cancelled = {};          ///< Cancelled is thrown within a second
  const std::string* post = nullptr;       ///< the body of a POST; null: a GET
  std::string password = {};               ///< "USER:PASSWORD" for Basic authentication; "": none
};

/// What an answer says before its body.
struct HttpHead {
  int status = 0;
  std::map<std::string, std::string> fields;  ///< names in lower case; of a repeated field, the last
  std::string redirect;                       ///< absolute URL that a 3xx answer names; known after the exchange
  std::int64_t retry_after_s = 0;             ///< 0: not said; known after the exchange

  std::string field(const std::string& name) const {
    const auto at = fields.find(name);
    return at == fields.end() ? "" : at->second;
  }
  bool is_success() const { return status >= 200 && status < 300; }
};

/// Takes an answer. An exception that either function throws ends the exchange and leaves Transport::get().
struct HttpReceiver {
  std::function<void(const HttpHead&)> head;
  std::function<void(std::span<const std::byte>)> body;  ///< of 2xx; nobody reads that of an error or of a redirect
};

/// Another attempt may succeed: a broken connection, a busy server, an answer that was cut off.
struct Temporary : Error {
  explicit Temporary(const std::string& message, std::int64_t wait_s = 0, int status = 0)
      : Error(message), wait_s(wait_s), status(status) {}
  std::int64_t wait_s;  ///< that the server asks for; 0: it does not say
  int status;           ///< of the answer; 0: there was none
};

/// A connection that broke, or was slower than is waited for. The message names the server, not what was asked of it.
struct Broken : Temporary {
  Broken(const std::string& origin, const std::string& reason) : Temporary(cat(origin, ": ", reason)), reason(reason) {}
  std::string reason;
};

/// An answer that nobody can take: no HTTP, endless headers, a certificate that is not trusted. As Broken names it.
struct BadAnswer : Error {
  BadAnswer(const std::string& origin, const std::string& reason) : Error(cat(origin, ": ", reason)), reason(reason) {}
  std::string reason;
};

/// What to do about status 407.
inline constexpr std::string_view proxy_wants_password =
    "the proxy wants a user and a password: write them into its URL, https_proxy=http://USER:PASSWORD@HOST:PORT";

/// No server was reached: no such host, or nobody listens there.
struct Unreachable : Error {
  using Error::Error;
};

/// No address of the host may be connected to.
struct AddressRefused : Unreachable {
  using Unreachable::Unreachable;
};

/// Makes one exchange at a time for each caller; threads may share it.
class Transport {
 public:
  virtual ~Transport() = default;
  /// Redirects are not followed. Ends, whatever the server does, unless the receiver takes a body that comes fast
  /// enough. Throws Broken or Unreachable; BadAnswer if no attempt can succeed.
  virtual HttpHead get(const GetRequest& request, const HttpReceiver& receiver) = 0;
};

}  // namespace lamina::hub
