#pragma once
#include <algorithm>
#include <cstddef>
#include <iterator>
#include <optional>
#include <string>
#include <string_view>

#include <boost/beast/core/string.hpp>
#include <boost/beast/http/field.hpp>
#include <boost/beast/http/fields.hpp>
#include <boost/beast/http/message.hpp>

#include <lamina/core/error.hpp>
#include <lamina/serve/http/limits.hpp>
#include <lamina/serve/openai/api_error.hpp>

/// What a request's header may look like. Two programs that read the same bytes differently (a proxy and this server)
/// are how one request is smuggled inside another, so that whatever RFC 9112 leaves open or forbids is refused with 400
/// and the connection closed.
namespace lamina::serve::detail {

using RequestHeader = boost::beast::http::request_header<>;

[[noreturn]] inline void refuse_request(const std::string& message) {
  throw ApiError(400, "Bad Request", "request: " + message);
}

/// Finds the end of a header as its bytes arrive, each looked at once. Refuses what Boost.Beast's parser would repair
/// (folded lines) or wait for (lines that end in LF alone): RFC 9112 sections 2.2 and 5.2.
class HeaderScan {
 public:
  explicit HeaderScan(const HttpLimits& limits) : limits_(limits) {}

  /// `received` begins with the same bytes in each call. Returns the header's size once it is whole, the empty line
  /// included. Throws ApiError with status 400 or 431.
  std::optional<std::size_t> find_end(std::string_view received) {
    for (; seen_ < received.size(); ++seen_) {
      if (seen_ >= limits_.header_bytes)
        throw ApiError(431, too_large, cat("headers: larger than ", limits_.header_bytes, " bytes"));
      const char c = received[seen_];
      check(c);
      if (c == '\n') {
        if (line_length_ == 0) return seen_ + 1;
        if (++lines_ > limits_.header_count + 1)  // the request line is the first
          throw ApiError(431, too_large, cat("headers: more than ", limits_.header_count, " of them"));
        line_length_ = 0;
      } else if (c != '\r') {
        ++line_length_;
      }
      last_ = c;
    }
    return std::nullopt;
  }

 private:
  static constexpr const char* too_large = "Request Header Fields Too Large";
  void check(char c) const {
    const auto byte = static_cast<unsigned char>(c);
    if ((last_ == '\r') != (c == '\n')) refuse_request("a line ends in CR or LF alone, wanted CR LF");
    if ((byte < ' ' && c != '\t' && c != '\r' && c != '\n') || byte == 0x7f)
      refuse_request("holds a control character");
    if (line_length_ == 0 && lines_ > 0 && (c == ' ' || c == '\t'))
      refuse_request("a header line begins with a space or tab (obsolete line folding)");
  }

  const HttpLimits& limits_;
  std::size_t seen_ = 0, line_length_ = 0;
  int lines_ = 0;
  char last_ = 0;
};

/// host [":" port] of RFC 3986 section 3.2.2: a bracketed address or letters, digits, "%41" and the marks that a name
/// may have. Empty is allowed.
inline bool is_host(std::string_view text) {
  if (text.starts_with('[')) {
    const auto close = text.find(']');
    if (close == std::string_view::npos) return false;
    const auto address = text.substr(1, close - 1);
    if (address.empty() || address.find_first_not_of("0123456789abcdefABCDEF:.") != std::string_view::npos)
      return false;
    text.remove_prefix(close + 1);
    if (!text.empty() && text[0] != ':') return false;
  }
  const auto colon = text.find(':');
  const auto name = text.substr(0, colon);
  static constexpr std::string_view allowed =
      "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~!$&'()*+,;=%";
  if (name.find_first_not_of(allowed) != std::string_view::npos) return false;
  return colon == std::string_view::npos ||
         text.substr(colon + 1).find_first_not_of("0123456789") == std::string_view::npos;
}

/// How the end of the body is found must be beyond doubt: RFC 9112 section 6.3, and 6.1 for Transfer-Encoding in
/// HTTP/1.0.
inline void check_framing(const RequestHeader& header) {
  using boost::beast::http::field;
  const auto lengths = header.count(field::content_length), codings = header.count(field::transfer_encoding);
  if (codings > 0) {
    if (header.version() < 11) refuse_request("Transfer-Encoding is not part of HTTP/1.0");
    if (lengths > 0) refuse_request("has both Transfer-Encoding and Content-Length");
    if (codings > 1) refuse_request("has more than one Transfer-Encoding");
    if (!boost::beast::iequals(header[field::transfer_encoding], "chunked"))
      refuse_request("Transfer-Encoding: wanted chunked and nothing else");
  }
  if (lengths > 1) refuse_request("has more than one Content-Length");
  if (lengths == 1) {
    const auto text = header[field::content_length];
    if (text.empty() || text.size() > 18 || text.find_first_not_of("0123456789") != text.npos)
      refuse_request("Content-Length: wanted a number of bytes");
  }
}

/// One Host, and a valid one: RFC 9112 section 3.2.
inline void check_host(const RequestHeader& header) {
  using boost::beast::http::field;
  const auto hosts = header.count(field::host);
  if (hosts > 1) refuse_request("has more than one Host");
  if (hosts == 0 && header.version() >= 11) refuse_request("has no Host");
  const auto host = header[field::host];
  if (!is_host({host.data(), host.size()})) refuse_request("Host: is not a host name with an optional port");
}

/// The path and query of a request target (RFC 9112 section 3.2): "/path?query", the same behind "http://host", or "*"
/// for OPTIONS.
inline std::string path_of(std::string_view method, std::string_view target) {
  if (target.find_first_of("\\#\"<>") != target.npos ||
      std::any_of(target.begin(), target.end(), [](char c) { return c <= ' ' || c >= '\x7f' || c < 0; }))
    refuse_request("the target holds a character that must be written as %xx");
  if (target.starts_with('/') || (target == "*" && method == "OPTIONS")) return std::string(target);
  const auto scheme = target.find("://");
  const std::string_view name = target.substr(0, scheme == target.npos ? 0 : scheme);
  if (!boost::beast::iequals({name.data(), name.size()}, "http") &&
      !boost::beast::iequals({name.data(), name.size()}, "https"))
    refuse_request("the target is neither a path that begins with / nor an http URL");
  target.remove_prefix(scheme + 3);
  const auto end = std::min(target.find_first_of("/?"), target.size());
  if (end == 0 || !is_host(target.substr(0, end))) refuse_request("the target's host is not valid");
  target.remove_prefix(end);
  return target.starts_with('/') ? std::string(target) : "/" + std::string(target);
}

}  // namespace lamina::serve::detail
