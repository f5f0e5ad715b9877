#pragma once
#include <curl/curl.h>

#include <algorithm>
#include <cctype>
#include <memory>
#include <string>
#include <string_view>

#include <lamina/core/error.hpp>
#include <lamina/io/lower_case.hpp>
#include <lamina/io/visible.hpp>

namespace lamina::serve {

/// The address of an image on the web, as it is checked and as it is asked for: what reads the URL twice in two ways
/// can be made to check one host and to ask another.
struct MediaUrl {
  std::string text;  ///< normalised, without a fragment
  std::string host;  ///< lower case, without the brackets of an IPv6 address and without a dot at the end
  bool is_tls = false;
};

namespace detail {

inline std::string url_part(CURLU* url, CURLUPart part, unsigned flags = 0) {
  char* text = nullptr;
  if (curl_url_get(url, part, &text, flags) != CURLUE_OK) return "";
  const std::unique_ptr<char, decltype(&curl_free)> owned(text, &curl_free);
  return text;
}

/// Letters, digits, - . and _, or an IPv6 address without a zone.
inline bool is_plain_host(std::string_view host) {
  const bool v6 = host.starts_with('[') && host.ends_with(']') && host.size() > 2;
  if (v6) host = host.substr(1, host.size() - 2);
  return !host.empty() && host.size() <= 253 && std::all_of(host.begin(), host.end(), [&](unsigned char c) {
    return v6 ? std::isxdigit(c) || c == ':' || c == '.' : std::isalnum(c) || c == '-' || c == '.' || c == '_';
  });
}

}  // namespace detail

/// Reads an http:// or https:// URL, or one that is relative to `base`, as the Location field of a redirect may be.
/// Error for what hides its host: a user's name, \, spaces and control characters, a host beyond ASCII.
inline MediaUrl parse_media_url(std::string_view text, const std::string& base = "") {
  constexpr std::size_t most_bytes = 8192;
  const std::string shown = io::visible(text.substr(0, 100));
  if (text.size() > most_bytes) fail("a URL of ", text.size(), " bytes, at most ", most_bytes, " are read");
  const bool is_clean = std::all_of(text.begin(), text.end(), [](unsigned char c) { return c > 0x20 && c != 0x7f; });
  if (text.empty() || !is_clean || text.find('\\') != text.npos)
    fail("\"", shown, "\" is no URL: it is empty or has spaces, control characters or \\");
  const std::unique_ptr<CURLU, decltype(&curl_url_cleanup)> url(curl_url(), &curl_url_cleanup);
  constexpr unsigned flags = CURLU_NON_SUPPORT_SCHEME | CURLU_URLENCODE | CURLU_DISALLOW_USER;
  if (!url || (!base.empty() && curl_url_set(url.get(), CURLUPART_URL, base.c_str(), flags) != CURLUE_OK) ||
      curl_url_set(url.get(), CURLUPART_URL, std::string(text).c_str(), flags) != CURLUE_OK)
    fail("\"", shown, "\" is no URL that is fetched");
  const std::string scheme = detail::url_part(url.get(), CURLUPART_SCHEME);
  std::string host = detail::url_part(url.get(), CURLUPART_HOST);
  if (scheme != "http" && scheme != "https") fail("\"", shown, "\": only http and https are fetched");
  if (!detail::is_plain_host(host) || !detail::url_part(url.get(), CURLUPART_ZONEID).empty())
    fail("\"", shown, "\": its host is not written in plain ASCII");
  curl_url_set(url.get(), CURLUPART_FRAGMENT, nullptr, 0);
  MediaUrl out{detail::url_part(url.get(), CURLUPART_URL), {}, scheme == "https"};
  if (host.front() == '[') host = host.substr(1, host.size() - 2);
  if (host.ends_with('.')) host.pop_back();
  out.host = io::lower_case(std::move(host));
  return out;
}

}  // namespace lamina::serve
