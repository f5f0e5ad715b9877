#pragma once
#include <curl/curl.h>

#include <algorithm>
#include <cctype>
#include <exception>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <lamina/hub/transport.hpp>
#include <lamina/hub/url.hpp>
#include <lamina/io/version.hpp>

namespace lamina::hub {

struct CurlOptions {
  std::string ca_bundle;  ///< file of the certificates to trust; "": the system's
  long connect_s = 10;    ///< until a connection stands
  long silence_s = 30;    ///< without a byte, after which a connection counts as broken
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
  CURL* handle;
  const HttpReceiver& receiver;
  HttpHead head = {};
  std::exception_ptr thrown = nullptr;

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
    while (!line.empty() && (line.back() == '\r' || line.back() == '\n')) line.remove_suffix(1);
    if (line.starts_with("HTTP/")) head.fields.clear();  // of the answer that counts, not of "100 Continue"
    if (line.empty()) {
      long status = 0;
      curl_easy_getinfo(handle, CURLINFO_RESPONSE_CODE, &status);
      head.status = static_cast<int>(status);
      if (status >= 200 && receiver.head) receiver.head(head);
      return;
    }
    const auto colon = line.find(':');
    if (colon == line.npos) return;
    std::string name(line.substr(0, colon));
    std::transform(name.begin(), name.end(), name.begin(), [](unsigned char c) { return std::tolower(c); });
    std::string_view value = line.substr(colon + 1);
    while (!value.empty() && value.front() == ' ') value.remove_prefix(1);
    head.fields[name] = value;
  }
  static std::size_t on_header(char* data, std::size_t size, std::size_t count, void* self) {
    auto& exchange = *static_cast<CurlExchange*>(self);
    return exchange.guarded(size * count, [&] { exchange.header({data, size * count}); });
  }
  static std::size_t on_body(char* data, std::size_t size, std::size_t count, void* self) {
    auto& exchange = *static_cast<CurlExchange*>(self);
    return exchange.guarded(size * count, [&] {
      if (exchange.receiver.body) exchange.receiver.body(std::as_bytes(std::span(data, size * count)));
    });
  }
};

}  // namespace detail

/// libcurl: HTTP/1.1 and HTTP/2, TLS with the certificate and the host's name verified, proxies from the environment
/// (https_proxy, no_proxy). Connections stay open between exchanges.
class CurlTransport final : public Transport {
 public:
  explicit CurlTransport(CurlOptions options = {}) : options_(std::move(options)) {
    static const CURLcode ready = curl_global_init(CURL_GLOBAL_DEFAULT);
    if (ready != CURLE_OK) fail("libcurl cannot start: ", curl_easy_strerror(ready));
  }

  HttpHead get(const HttpRequest& request, const HttpReceiver& receiver) override {
    detail::CurlHandle handle = take();
    detail::CurlExchange exchange{handle.get(), receiver};
    char reason[CURL_ERROR_SIZE] = "";
    const detail::CurlList headers = set(handle.get(), request, exchange, reason);
    const CURLcode code = curl_easy_perform(handle.get());
    if (exchange.thrown) std::rethrow_exception(exchange.thrown);  // the handle goes too: its connection is half read
    if (code != CURLE_OK) refuse(code, request.url, *reason ? reason : curl_easy_strerror(code));
    char* redirect = nullptr;
    curl_off_t wait_s = 0;
    curl_easy_getinfo(handle.get(), CURLINFO_REDIRECT_URL, &redirect);
    curl_easy_getinfo(handle.get(), CURLINFO_RETRY_AFTER, &wait_s);
    if (redirect) exchange.head.redirect = redirect;
    exchange.head.retry_after_s = wait_s;
    give_back(std::move(handle));
    return exchange.head;
  }

 private:
  detail::CurlList set(CURL* handle, const HttpRequest& request, detail::CurlExchange& exchange, char* reason) const {
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
    curl_easy_setopt(handle, CURLOPT_USERAGENT, cat("lamina/", version).c_str());
    curl_easy_setopt(handle, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(handle, CURLOPT_NOSIGNAL, 1L);  // other threads are at work
    curl_easy_setopt(handle, CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
    curl_easy_setopt(handle, CURLOPT_CONNECTTIMEOUT, options_.connect_s);
    curl_easy_setopt(handle, CURLOPT_LOW_SPEED_LIMIT, 1L);
    curl_easy_setopt(handle, CURLOPT_LOW_SPEED_TIME, options_.silence_s);
    if (!options_.ca_bundle.empty()) curl_easy_setopt(handle, CURLOPT_CAINFO, options_.ca_bundle.c_str());
    curl_easy_setopt(handle, CURLOPT_ERRORBUFFER, reason);
    curl_easy_setopt(handle, CURLOPT_HEADERDATA, &exchange);
    curl_easy_setopt(handle, CURLOPT_HEADERFUNCTION, &detail::CurlExchange::on_header);
    curl_easy_setopt(handle, CURLOPT_WRITEDATA, &exchange);
    curl_easy_setopt(handle, CURLOPT_WRITEFUNCTION, &detail::CurlExchange::on_body);
    return headers;
  }

  [[noreturn]] void refuse(CURLcode code, const std::string& url, std::string_view reason) const {
    const std::string subject = cat(origin_of(url), ": ", reason);
    switch (code) {
      case CURLE_COULDNT_RESOLVE_HOST:
      case CURLE_COULDNT_RESOLVE_PROXY:
      case CURLE_COULDNT_CONNECT:
        throw Unreachable(subject);
      case CURLE_PEER_FAILED_VERIFICATION:
        fail(subject, ": if a proxy of yours signs connections, name its certificate with SSL_CERT_FILE");
      case CURLE_SSL_CACERT_BADFILE:
        fail(subject, ": SSL_CERT_FILE names ", options_.ca_bundle);
      case CURLE_UNSUPPORTED_PROTOCOL:
      case CURLE_URL_MALFORMAT:
        fail(subject);
      default:
        throw Temporary(subject);
    }
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
