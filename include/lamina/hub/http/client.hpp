#pragma once
#include <algorithm>
#include <chrono>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <lamina/hub/http/retry.hpp>
#include <lamina/hub/http/transport.hpp>
#include <lamina/hub/http/url.hpp>
#include <lamina/io/visible.hpp>

namespace lamina::hub {

/// An answer that another attempt would not change: 401, 403, 404 and their like.
struct HttpError : Error {
  HttpError(const std::string& message, int status, std::string code, bool is_of_hub, bool is_page)
      : Error(message), status(status), code(std::move(code)), is_of_hub(is_of_hub), is_page(is_page) {}
  int status;
  std::string code;  ///< X-Error-Code, which tells a repository that is missing from a file or a revision
  bool is_of_hub;    ///< not of a server to which it redirects
  bool is_page;      ///< text for a browser without the fields of a hub: the answer of a proxy, it may be
};

/// Talks to one hub. Its credentials go to the hub's own origin, never to the host of a redirect.
class Client {
 public:
  /// credentials: headers, "Authorization: Bearer ...".
  Client(Transport& transport, const std::string& endpoint, std::vector<std::string> credentials, RetryPolicy retry)
      : transport_(transport), origin_(origin_of(endpoint)), credentials_(std::move(credentials)), retry_(retry) {}

  const RetryPolicy& retry() const { return retry_; }

  /// One attempt, which follows redirects. The receiver gets the heads of redirects too, because the hub's own says
  /// what the file is; and of 416, the answer to a range that the file does not have. longest: see GetRequest.
  HttpHead get(const std::string& url, std::uint64_t from, const HttpReceiver& receiver,
               std::chrono::milliseconds longest = {}) const {
    const auto begin = std::chrono::steady_clock::now();
    std::string at = url;
    for (int hop = 0; hop <= most_redirects; ++hop) {
      GetRequest request{at, origin_of(at) == origin_ ? credentials_ : std::vector<std::string>{}, from, longest};
      if (longest.count() > 0) {
        request.longest -=
            std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::steady_clock::now() - begin);
        if (request.longest.count() <= 0) throw Temporary(cat(url, ": took more than ", longest.count() / 1000, " s"));
      }
      HttpHead head = get_once(url, request, checked(url, receiver, from));
      if (head.redirect.empty()) {
        if (!head.is_success() && !(head.status == 416 && from > 0)) refuse(url, at, head);
        return head;
      }
      require_redirect(url, at, head.redirect);
      at = head.redirect;
    }
    fail(url, ": more than ", most_redirects, " redirects");
  }

  /// The body of an answer as text, and its head. Error beyond limit_bytes.
  std::pair<std::string, HttpHead> text(const std::string& url, std::size_t limit_bytes = 16u << 20) const {
    return with_retries(retry_, [&] {
      std::string body;
      const auto append = [&](std::span<const std::byte> bytes) {
        if (body.size() + bytes.size() > limit_bytes)
          fail(url, ": an answer of more than ", limit_bytes, " bytes: refused");
        body.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
      };
      HttpHead head = get(url, 0, {.head = {}, .body = append}, retry_.longest_answer);
      return std::pair(std::move(body), std::move(head));
    });
  }

 private:
  static constexpr int most_redirects = 5;

  /// asked: the hub's URL, for messages.
  HttpHead get_once(const std::string& asked, const GetRequest& request, const HttpReceiver& receiver) const {
    try {
      return transport_.get(request, receiver);
    } catch (const Broken& error) {
      throw Temporary(cat(asked, elsewhere(asked, request.url), ": ", error.reason));
    } catch (const BadAnswer& error) {
      fail(asked, elsewhere(asked, request.url), ": ", error.reason);
    }
  }
  /// " from https://cdn.test" if a redirect has led to another server; "" if not.
  static std::string elsewhere(const std::string& asked, const std::string& at) {
    return is_of_origin(at, asked) ? "" : cat(" from ", origin_of(at));
  }

  /// Without the heads of errors. Error if the content is compressed: lengths, ranges and hashes count its own bytes.
  static HttpReceiver checked(const std::string& url, const HttpReceiver& receiver, std::uint64_t from) {
    return {.head =
                [&url, &receiver, from](const HttpHead& head) {
                  const std::string encoding = head.field("content-encoding");
                  if (head.is_success() && !encoding.empty() && encoding != "identity")
                    fail(url, ": comes with Content-Encoding ", io::visible(encoding.substr(0, 100)),
                         ", which nobody asked for: refused; is a proxy in between?");
                  if (receiver.head && (head.status < 400 || (head.status == 416 && from > 0))) receiver.head(head);
                },
            .body = receiver.body};
  }
  static void require_redirect(const std::string& asked, const std::string& at, const std::string& to) {
    std::string origin;
    try {
      origin = origin_of(to);
    } catch (const Error&) {
      fail(asked, ": is redirected to ", io::visible(without_query(to).substr(0, 200)),
           ", which is no address of a web server: refused");
    }
    if (origin_of(at).starts_with("https:") && !origin.starts_with("https:"))
      fail(asked, ": is redirected from https to ", origin, ": refused");
  }
  /// asked: the hub's URL, for messages; the one that a redirect named may hold a signature.
  [[noreturn]] static void refuse(const std::string& asked, const std::string& at, const HttpHead& head) {
    const std::string said = io::visible(head.field("x-error-message").substr(0, 500));
    const std::string message =
        cat(asked, ": status ", head.status, elsewhere(asked, at), said.empty() ? "" : ": ", said);
    const int s = head.status;
    if (s == 407) fail(proxy_wants_password, " (", message, ")");
    if (s == 408 || s == 429 || s == 500 || s == 502 || s == 503 || s == 504)
      throw Temporary(message, head.retry_after_s, s);
    const std::string code = head.field("x-error-code");
    const bool is_page = code.empty() && said.empty() && head.field("content-type").starts_with("text/");
    throw HttpError(message, s, code, is_of_origin(at, asked), is_page);
  }

  Transport& transport_;
  std::string origin_;
  std::vector<std::string> credentials_;
  RetryPolicy retry_;
};

}  // namespace lamina::hub
