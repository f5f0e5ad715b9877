#pragma once
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <lamina/hub/retry.hpp>
#include <lamina/hub/transport.hpp>
#include <lamina/hub/url.hpp>

namespace lamina::hub {

/// An answer that another attempt would not change: 401, 403, 404 and their like.
struct HttpError : Error {
  HttpError(const std::string& message, int status, std::string code) : Error(message), status(status), code(code) {}
  int status;
  std::string code;  ///< X-Error-Code, which tells a repository that is missing from a file or a revision
};

/// Talks to one hub. Its credentials go to the hub's own origin, never to the host of a redirect.
class Client {
 public:
  /// credentials: headers, "Authorization: Bearer ...".
  Client(Transport& transport, const std::string& endpoint, std::vector<std::string> credentials, RetryPolicy retry)
      : transport_(transport), origin_(origin_of(endpoint)), credentials_(std::move(credentials)), retry_(retry) {}

  const RetryPolicy& retry() const { return retry_; }

  /// One attempt, which follows redirects. The receiver gets the heads of redirects too, because the hub's own says
  /// what the file is; the body of 2xx; and of 416, the answer to a range that the file does not have, the head.
  HttpHead get(const std::string& url, std::uint64_t from, const HttpReceiver& receiver) const {
    std::string at = url;
    for (int hop = 0; hop <= most_redirects; ++hop) {
      HttpHead head = transport_.get(request_for(at, from), without_errors(receiver, from));
      if (head.redirect.empty()) {
        if (!is_success(head.status) && !(head.status == 416 && from > 0)) refuse(url, at, head);
        return head;
      }
      if (origin_of(at).starts_with("https:") && !origin_of(head.redirect).starts_with("https:"))
        fail(url, ": is redirected from https to ", origin_of(head.redirect), ": refused");
      at = head.redirect;
    }
    fail(url, ": more than ", most_redirects, " redirects");
  }

  /// The body of an answer as text, and its head. Error beyond limit_bytes.
  std::pair<std::string, HttpHead> text(const std::string& url, std::size_t limit_bytes = 64u << 20) const {
    return with_retries(retry_, [&] {
      std::string body;
      HttpHead head = get(url, 0, {.head = {}, .body = [&](std::span<const std::byte> bytes) {
                                     if (body.size() + bytes.size() > limit_bytes)
                                       fail(url, ": an answer of more than ", limit_bytes, " bytes: refused");
                                     body.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
                                   }});
      return std::pair(std::move(body), std::move(head));
    });
  }

 private:
  static constexpr int most_redirects = 5;

  static bool is_success(int status) { return status >= 200 && status < 300; }
  HttpRequest request_for(const std::string& url, std::uint64_t from) const {
    return {url, origin_of(url) == origin_ ? credentials_ : std::vector<std::string>{}, from};
  }
  static HttpReceiver without_errors(const HttpReceiver& receiver, std::uint64_t from) {
    const auto success = std::make_shared<bool>(false);
    return {.head =
                [&receiver, success, from](const HttpHead& head) {
                  *success = is_success(head.status);
                  if (receiver.head && (head.status < 400 || (head.status == 416 && from > 0))) receiver.head(head);
                },
            .body =
                [&receiver, success](std::span<const std::byte> bytes) {
                  if (*success && receiver.body) receiver.body(bytes);
                }};
  }
  /// asked: the hub's URL, for messages; the one that a redirect named may hold a signature.
  [[noreturn]] static void refuse(const std::string& asked, const std::string& at, const HttpHead& head) {
    const std::string elsewhere = origin_of(at) == origin_of(asked) ? "" : cat(" from ", origin_of(at));
    const std::string said = head.field("x-error-message");
    const std::string message = cat(asked, ": status ", head.status, elsewhere, said.empty() ? "" : ": ", said);
    const int s = head.status;
    if (s == 408 || s == 429 || s == 500 || s == 502 || s == 503 || s == 504)
      throw Temporary(message, head.retry_after_s);
    throw HttpError(message, s, head.field("x-error-code"));
  }

  Transport& transport_;
  std::string origin_;
  std::vector<std::string> credentials_;
  RetryPolicy retry_;
};

}  // namespace lamina::hub
