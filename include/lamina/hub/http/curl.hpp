#pragma once
#include <curl/curl.h>
#include <sys/socket.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <exception>
#include <filesystem>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <lamina/core/threads/cancelled.hpp>
#include <lamina/hub/http/transport.hpp>
#include <lamina/hub/http/url.hpp>
#include <lamina/io/lower_case.hpp>
#include <lamina/io/program/interrupt.hpp>
#include <lamina/io/program/version.hpp>
#include <lamina/io/visible.hpp>

namespace lamina::hub {

struct CurlOptions {
  Certificates certificates = {};
  long connect_s = 10;                        ///< until a connection is made
  long slow_bytes_per_s = 1000, slow_s = 30;  ///< slower for so long, a connection counts as broken
  bool proxies = true;                        ///< those of the environment
  /// Asked for each address in the moment in which it would be connected to; null: all may be.
  bool (*may_connect)(const sockaddr&) = nullptr;
};

namespace detail {

struct CurlDelete {
  void operator()(CURL* handle) const { curl_easy_cleanup(handle); }
  void operator()(curl_slist* list) const { curl_slist_free_all(list); }
};
using CurlHandle = std::unique_ptr<CURL, CurlDelete>;
using CurlList = std::unique_ptr<curl_slist, CurlDelete>;

/// The state of one exchange: libcurl is C, so an exception of the receiver waits here until libcurl has returned.
struct CurlExchange {
  static constexpr std::size_t most_header_bytes = 256 << 10;
  // Of a body that nobody reads: as much as costs less than a new connection.
  static constexpr std::size_t most_unread_bytes = 64 << 10;
  static constexpr std::chrono::seconds longest_unread{5};

  CURL* handle;
  const GetRequest& request;
  const HttpReceiver& receiver;
  bool (*may_connect)(const sockaddr&);
  bool refused_address = false;
  HttpHead head = {};
  std::size_t header_bytes = 0, unread_bytes = 0;
  std::optional<std::chrono::steady_clock::time_point> head_came = {};
  std::exception_ptr thrown = nullptr;

  /// True if the answer says all that it will without the rest of its body.
  bool is_refusal() const { return head_came && !head.is_success(); }

  template <class F>
  std::size_t guarded(std::size_t bytes, F f) {
    try {
      f();
      return bytes;
    } catch (...) {
      thrown = std::current_exception();
      return 0;  // makes libcurl stop
    }
  }
  void header(std::string_view line) {
    if ((header_bytes += line.size()) > most_header_bytes)
      throw BadAnswer(origin_of(request.url),
                      cat("the headers of its answer have more than ", most_header_bytes, " bytes: refused"));
    while (!line.empty() && (line.back() == '\r' || line.back() == '\n')) line.remove_suffix(1);
    if (line.starts_with("HTTP/")) head.fields.clear();  // of the answer that counts, not of "100 Continue"
    if (line.empty()) {
      long status = 0;
      curl_easy_getinfo(handle, CURLINFO_RESPONSE_CODE, &status);
      head.status = static_cast<int>(status);
      if (status < 200) return;
      head_came = std::chrono::steady_clock::now();
      if (receiver.head) receiver.head(head);
      return;
    }
    const auto colon = line.find(':');
    if (colon == line.npos) return;
    const std::string name = io::lower_case(std::string(line.substr(0, colon)));
    std::string_view value = line.substr(colon + 1);
    while (!value.empty() && value.front() == ' ') value.remove_prefix(1);
    head.fields[name] = value;
  }
  /// False if the rest of the body is not worth its time.
  bool pass_over(std::size_t bytes) {
    return (unread_bytes += bytes) <= most_unread_bytes &&
           std::chrono::steady_clock::now() - *head_came < longest_unread;
  }
  static std::size_t on_header(char* data, std::size_t size, std::size_t count, void* self) {
    auto& exchange = *static_cast<CurlExchange*>(self);
    return exchange.guarded(size * count, [&] { exchange.header({data, size * count}); });
  }
  static std::size_t on_body(char* data, std::size_t size, std::size_t count, void* self) {
    auto& exchange = *static_cast<CurlExchange*>(self);
    if (exchange.is_refusal()) return exchange.pass_over(size * count) ? size * count : 0;
    return exchange.guarded(size * count, [&] {
      if (exchange.receiver.body) exchange.receiver.body(std::as_bytes(std::span(data, size * count)));
    });
  }
  static int on_progress(void* self, curl_off_t, curl_off_t, curl_off_t, curl_off_t) {
    return io::InterruptGuard::requested() || static_cast<CurlExchange*>(self)->request.cancelled.stop_requested();
  }
  static curl_socket_t on_connect(void* self, curlsocktype, curl_sockaddr* at) {
    auto& exchange = *static_cast<CurlExchange*>(self);
    if (exchange.may_connect(at->addr)) return ::socket(at->family, at->socktype | SOCK_CLOEXEC, at->protocol);
    exchange.refused_address = true;
    return CURL_SOCKET_BAD;
  }
};

/// The absolute URL that a Location field of this URL's answer means.
inline std::string redirect_of(const std::string& url, const std::string& location) {
  const std::unique_ptr<CURLU, decltype(&curl_url_cleanup)> parts(curl_url(), &curl_url_cleanup);
  const unsigned how = CURLU_NON_SUPPORT_SCHEME | CURLU_URLENCODE | CURLU_ALLOW_SPACE;
  char* text = nullptr;
  if (!parts || curl_url_set(parts.get(), CURLUPART_URL, url.c_str(), how) != CURLUE_OK ||
      curl_url_set(parts.get(), CURLUPART_URL, location.c_str(), how) != CURLUE_OK ||
      curl_url_get(parts.get(), CURLUPART_URL, &text, 0) != CURLUE_OK)
    throw BadAnswer(origin_of(url),
                    cat("redirects to \"", io::visible(without_query(location).substr(0, 200)), "\", which is no URL"));
  const std::unique_ptr<char, decltype(&curl_free)> owned(text, &curl_free);
  return text;
}

}  // namespace detail

/// libcurl: HTTP/1.1 and HTTP/2, TLS with the certificate and the host's name verified, proxies from the environment
/// (https_proxy, no_proxy). Connections stay open between exchanges.
class CurlTransport final : public Transport {
 public:
  explicit CurlTransport(CurlOptions options = {}) : options_(std::move(options)) {
    static const CURLcode ready = curl_global_init(CURL_GLOBAL_DEFAULT);
    if (ready != CURLE_OK) fail("libcurl cannot start: ", curl_easy_strerror(ready));
  }

  HttpHead get(const GetRequest& request, const HttpReceiver& receiver) override {
    detail::CurlHandle handle = take();
    detail::CurlExchange exchange{handle.get(), request, receiver, options_.may_connect};
    char reason[CURL_ERROR_SIZE] = "";
    const detail::CurlList headers = set(handle.get(), request, exchange, reason);
    const CURLcode code = curl_easy_perform(handle.get());
    if (exchange.thrown) std::rethrow_exception(exchange.thrown);  // the handle goes too: its connection is half read
    io::stop_if_interrupted();
    throw_if_stopped(request.cancelled);
    if (code == CURLE_COULDNT_CONNECT && exchange.refused_address)
      throw AddressRefused(cat(origin_of(request.url), ": has no address that may be connected to"));
    if (code != CURLE_OK && !exchange.is_refusal())
      refuse(handle.get(), code, request.url, *reason ? reason : curl_easy_strerror(code));
    HttpHead& head = exchange.head;
    if (const std::string location = head.field("location"); head.status / 100 == 3 && !location.empty())
      head.redirect = detail::redirect_of(request.url, location);
    curl_off_t wait_s = 0;
    curl_easy_getinfo(handle.get(), CURLINFO_RETRY_AFTER, &wait_s);
    head.retry_after_s = std::max<std::int64_t>(0, wait_s);  // some servers say a negative one
    if (code == CURLE_OK) give_back(std::move(handle));
    return head;
  }

 private:
  detail::CurlList set(CURL* handle, const GetRequest& request, detail::CurlExchange& exchange, char* reason) const {
    detail::CurlList headers;
    const auto add = [&](const std::string& line) {
      curl_slist* longer = curl_slist_append(headers.get(), line.c_str());
      if (!longer) fail("out of memory for the headers of a request");
      static_cast<void>(headers.release()), headers.reset(longer);
    };
    for (const std::string& line : request.headers) add(line);
    add("Accept-Encoding: identity");  // lengths and ranges count the file's own bytes
    curl_easy_setopt(handle, CURLOPT_URL, request.url.c_str());
    curl_easy_setopt(handle, CURLOPT_HTTPHEADER, headers.get());
    curl_easy_setopt(handle, CURLOPT_RANGE, request.from ? cat(request.from, "-").c_str() : nullptr);
    if (request.post) {
      curl_easy_setopt(handle, CURLOPT_POSTFIELDSIZE, static_cast<long>(request.post->size()));
      curl_easy_setopt(handle, CURLOPT_POSTFIELDS, request.post->c_str());
    }
    if (!request.password.empty()) curl_easy_setopt(handle, CURLOPT_USERPWD, request.password.c_str());
    curl_easy_setopt(handle, CURLOPT_USERAGENT, cat("lamina/", version).c_str());
    curl_easy_setopt(handle, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(handle, CURLOPT_NOSIGNAL, 1L);  // other threads are at work
    curl_easy_setopt(handle, CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
    curl_easy_setopt(handle, CURLOPT_CONNECTTIMEOUT, options_.connect_s);
    curl_easy_setopt(handle, CURLOPT_LOW_SPEED_LIMIT, options_.slow_bytes_per_s);
    curl_easy_setopt(handle, CURLOPT_LOW_SPEED_TIME, options_.slow_s);
    curl_easy_setopt(handle, CURLOPT_TIMEOUT_MS, static_cast<long>(request.longest.count()));
    curl_easy_setopt(handle, CURLOPT_NOPROGRESS, 0L);
    curl_easy_setopt(handle, CURLOPT_XFERINFOFUNCTION, &detail::CurlExchange::on_progress);
    curl_easy_setopt(handle, CURLOPT_XFERINFODATA, &exchange);
    if (!options_.proxies) curl_easy_setopt(handle, CURLOPT_PROXY, "");
    if (options_.may_connect) {
      curl_easy_setopt(handle, CURLOPT_OPENSOCKETFUNCTION, &detail::CurlExchange::on_connect);
      curl_easy_setopt(handle, CURLOPT_OPENSOCKETDATA, &exchange);
    }
    trust(handle);
    curl_easy_setopt(handle, CURLOPT_ERRORBUFFER, reason);
    curl_easy_setopt(handle, CURLOPT_HEADERDATA, &exchange);
    curl_easy_setopt(handle, CURLOPT_HEADERFUNCTION, &detail::CurlExchange::on_header);
    curl_easy_setopt(handle, CURLOPT_WRITEDATA, &exchange);
    curl_easy_setopt(handle, CURLOPT_WRITEFUNCTION, &detail::CurlExchange::on_body);
    return headers;
  }

  void trust(CURL* handle) const {
    const std::string& path = options_.certificates.path;
    if (path.empty()) return;
    std::error_code ignored;
    const bool folder = std::filesystem::is_directory(path, ignored);
    for (const CURLoption option : {CURLOPT_CAINFO, CURLOPT_PROXY_CAINFO})
      curl_easy_setopt(handle, option, folder ? nullptr : path.c_str());
    for (const CURLoption option : {CURLOPT_CAPATH, CURLOPT_PROXY_CAPATH})
      curl_easy_setopt(handle, option, folder ? path.c_str() : nullptr);
  }

  [[noreturn]] void refuse(CURL* handle, CURLcode code, const std::string& url, std::string_view reason) const {
    const std::string origin = origin_of(url), shown = io::visible(without_password(std::string(reason)));
    long proxy_status = 0;
    curl_easy_getinfo(handle, CURLINFO_HTTP_CONNECTCODE, &proxy_status);
    if (proxy_status == 407) throw BadAnswer(origin, cat(proxy_wants_password, " (", shown, ")"));
    const Certificates& trusted = options_.certificates;
    std::string more;
    switch (code) {
      case CURLE_COULDNT_RESOLVE_HOST:
      case CURLE_COULDNT_RESOLVE_PROXY:
      case CURLE_COULDNT_CONNECT:
        throw Unreachable(cat(origin, ": ", shown));
      case CURLE_PEER_FAILED_VERIFICATION:
        more = trusted.path.empty() ? ": if a proxy of yours signs connections, name its certificate with SSL_CERT_FILE"
                                    : cat(": trusted are the certificates that ", trusted.variable, " names (",
                                          trusted.path, "), and no others");
        break;
      case CURLE_SSL_CACERT_BADFILE:
        more = cat(": ", trusted.variable, " names ", trusted.path);
        break;
      case CURLE_OUT_OF_MEMORY:  // libcurl says so of long lines too
        more = ", or a line of the answer's head is too long";
        break;
      case CURLE_UNSUPPORTED_PROTOCOL:
      case CURLE_URL_MALFORMAT:
      case CURLE_WEIRD_SERVER_REPLY:
        break;
      default:
        throw Broken(origin, shown);
    }
    throw BadAnswer(origin, shown + more);
  }

  detail::CurlHandle take() {
    {
      const std::lock_guard lock(mutex_);
      if (!idle_.empty()) {
        detail::CurlHandle handle = std::move(idle_.back());
        idle_.pop_back();
        curl_easy_reset(handle.get());  // keeps the connections
        return handle;
      }
    }
    detail::CurlHandle handle(curl_easy_init());
    if (!handle) fail("libcurl cannot start: out of memory");
    return handle;
  }
  void give_back(detail::CurlHandle handle) {
    const std::lock_guard lock(mutex_);
    idle_.push_back(std::move(handle));
  }

  const CurlOptions options_;
  std::mutex mutex_;
  std::vector<detail::CurlHandle> idle_;
};

}  // namespace lamina::hub
