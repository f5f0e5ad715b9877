#pragma once
#include <algorithm>
#include <cctype>
#include <string>
#include <string_view>

#include <lamina/core/error.hpp>
#include <lamina/io/lower_case.hpp>
#include <lamina/io/visible.hpp>

namespace lamina::hub {

/// Percent-encodes what RFC 3986 does not call unreserved; `keep` stays as well.
inline std::string quote(std::string_view text, std::string_view keep = "") {
  static constexpr char hex[] = "0123456789ABCDEF";
  std::string out;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    const bool unreserved = byte < 128 && (std::isalnum(byte) || std::string_view("-_.~").find(c) != text.npos);
    if (unreserved || keep.find(c) != keep.npos)
      out += c;
    else
      out.append({'%', hex[byte >> 4], hex[byte & 15]});
  }
  return out;
}

/// A text without the name and the password that a URL in it may have: "http://user:secret@host" is "http://***@host".
inline std::string without_password(std::string text) {
  for (std::size_t at = 0; (at = text.find("//", at)) != text.npos;) {
    at += 2;
    const std::size_t end = std::min(text.find_first_of("/ '\"\n", at), text.size()), name_end = text.rfind('@', end);
    if (name_end != text.npos && name_end >= at) text.replace(at, name_end - at, "***");
  }
  return text;
}

/// A URL as it may be shown: a query may hold a signature that opens the file to everybody.
inline std::string without_query(std::string_view url) { return std::string(url.substr(0, url.find('?'))); }

/// "https://host:port" of a URL, in lower case: who receives a request, and its credentials. Error if the URL is none
/// of http or https, or if it may hide its host: behind a user's name, or a \ that not everybody reads as a /.
inline std::string origin_of(std::string_view url) {
  const auto scheme = url.find("://");
  const std::string_view rest = scheme == url.npos ? "" : url.substr(scheme + 3);
  const std::string_view authority = rest.substr(0, std::min(rest.find_first_of("/?#"), rest.size()));
  std::string origin = io::lower_case(cat(url.substr(0, scheme == url.npos ? 0 : scheme + 3), authority));
  if (authority.empty() || authority.find_first_of("@\\") != authority.npos ||
      !(origin.starts_with("http://") || origin.starts_with("https://")))
    fail(io::visible(without_password(std::string(url.substr(0, 200)))),
         ": wanted a URL such as https://huggingface.co");
  return origin;
}

/// True if both URLs are of one server.
inline bool is_of_origin(std::string_view url, std::string_view other) {
  try {
    return origin_of(url) == origin_of(other);
  } catch (const Error&) {
    return false;
  }
}

}  // namespace lamina::hub
