#pragma once
#include <algorithm>
#include <charconv>
#include <chrono>
#include <cstdint>
#include <span>
#include <stop_token>
#include <string>
#include <utility>
#include <vector>

#include <lamina/hub/http/curl.hpp>
#include <lamina/io/lower_case.hpp>
#include <lamina/serve/openai/request/media.hpp>
#include <lamina/serve/remote/fetch_options.hpp>
#include <lamina/serve/remote/media_url.hpp>
#include <lamina/serve/remote/public_address.hpp>

namespace lamina::serve {

/// Fetches images of requests from the web. A host's name is resolved once, by libcurl, and each of its addresses is
/// checked in the moment in which it would be connected to: no second look-up can lead elsewhere. Proxies of the
/// environment are not used, since they would connect in place of this check. Thread-safe.
class MediaFetcher {
 public:
  explicit MediaFetcher(FetchOptions options)
      : options_(with_lower_case(std::move(options))),
        budget_(options_.all_bytes),
        transport_({.certificates = options_.certificates,
                    .proxies = false,
                    .may_connect = options_.private_addresses ? nullptr : &is_public_address}) {}

  /// The file behind a URL, of at most most_bytes. Every failure is an ApiError 400 that names param; 503 if the memory
  /// for it is not free in time. Throws Cancelled.
  FetchedMedia operator()(const std::string& url, const std::string& param, std::uint64_t most_bytes,
                          const std::stop_token& cancelled) {
    const auto until = Clock::now() + options_.longest;
    try {
      MediaUrl at = parse_media_url(url);
      for (int hop = 0; hop <= most_redirects; ++hop) {
        require_allowed(at);
        FetchedMedia file;
        const hub::HttpHead head = get(at, most_bytes, until, cancelled, file);
        if (head.is_success()) return file;
        if (head.status / 100 != 3 || head.field("location").empty())
          fail(at.host, " answered with status ", head.status);
        if (!options_.redirects) fail(at.host, " redirects, which VLLM_MEDIA_URL_ALLOW_REDIRECTS=0 forbids");
        const MediaUrl next = parse_media_url(head.field("location"), at.text);
        if (at.is_tls && !next.is_tls) fail(at.host, " redirects from https to http");
        at = next;
      }
      fail("more than ", most_redirects, " redirects");
    } catch (const Error& e) {
      throw bad_field(param, cat(param, ": failed to fetch the image: ", clipped(e.what(), 300)));
    }
  }

 private:
  using Clock = std::chrono::steady_clock;
  static constexpr int most_redirects = 3;

  static FetchOptions with_lower_case(FetchOptions options) {
    for (std::string& domain : options.domains) domain = io::lower_case(std::move(domain));
    return options;
  }
  static bool is_public_address(const sockaddr& address) { return is_public(address); }

  void require_allowed(const MediaUrl& url) const {
    const auto& domains = options_.domains;
    if (!domains.empty() && std::find(domains.begin(), domains.end(), url.host) == domains.end())
      fail("the host ", url.host, " is not among those of --allowed-media-domains");
  }

  /// One request. The file is empty unless the answer is a success.
  hub::HttpHead get(const MediaUrl& url, std::uint64_t most_bytes, Clock::time_point until,
                    const std::stop_token& cancelled, FetchedMedia& file) {
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(until - Clock::now());
    if (left.count() <= 0) fail("took more than ", seconds_text(options_.longest));
    const hub::GetRequest request{.url = url.text, .longest = left, .cancelled = cancelled};
    const auto head = [&](const hub::HttpHead& answer) {
      if (answer.is_success()) file.memory = take(answer, most_bytes, cancelled, until);
    };
    const auto body = [&](std::span<const std::byte> bytes) {
      if (file.bytes.size() + bytes.size() > static_cast<std::uint64_t>(file.memory.bytes()))
        fail(url.host, " sends more than ", file.memory.bytes(), " bytes");
      const auto* const begin = reinterpret_cast<const std::uint8_t*>(bytes.data());
      file.bytes.insert(file.bytes.end(), begin, begin + bytes.size());
    };
    try {
      hub::HttpHead answer = transport_.get(request, {.head = head, .body = body});
      file.bytes.shrink_to_fit();
      file.memory.shrink_to(std::ssize(file.bytes));
      return answer;
    } catch (const hub::AddressRefused&) {
      fail("the host ", url.host, " has no public address");
    } catch (const hub::Unreachable&) {
      fail("the host ", url.host, " cannot be reached");
    }
  }

  /// Memory for the body that an answer announces; for all that it may have if it does not say.
  ByteBudget::Share take(const hub::HttpHead& head, std::uint64_t most_bytes, const std::stop_token& cancelled,
                         Clock::time_point until) {
    const std::string length = head.field("content-length");
    std::uint64_t bytes = most_bytes;
    if (!length.empty()) {
      const auto end = std::from_chars(length.data(), length.data() + length.size(), bytes);
      if (end.ec != std::errc() || bytes > most_bytes)
        fail("a file of ", clipped(io::visible(length), 40), " bytes, ", most_bytes,
             " are left for the files of this request");
    }
    const auto total = static_cast<std::uint64_t>(budget_.total());
    const auto patience = std::chrono::duration_cast<std::chrono::milliseconds>(until - Clock::now());
    return budget_.take(static_cast<std::int64_t>(std::min(bytes, total)), cancelled,
                        std::max(patience, std::chrono::milliseconds(0)));
  }
  static std::string seconds_text(std::chrono::milliseconds time) {
    return cat(std::chrono::duration<double>(time).count(), " s");
  }

  const FetchOptions options_;
  ByteBudget budget_;
  hub::CurlTransport transport_;
};

}  // namespace lamina::serve
