#pragma once
#include <filesystem>
#include <string>
#include <string_view>
#include <utility>

#include <lamina/core/error.hpp>
#include <lamina/serve/api_error.hpp>
#include <lamina/serve/base64.hpp>
#include <lamina/vision/image.hpp>

namespace lamina::serve {

/// A picture as a request gives it, and the path of the field that did.
struct ImageSource {
  std::string url, param;
};

namespace detail {

inline vision::Image load_data_uri(std::string_view url, const std::string& param) {
  const std::size_t comma = url.find(',');
  const std::string_view head = url.substr(0, comma);
  if (comma == std::string_view::npos || !head.ends_with(";base64"))
    throw bad_field(param, param + ": a data: URL must be data:image/<type>;base64,<data>");
  const auto bytes = decode_base64(url.substr(comma + 1));
  if (!bytes) throw bad_field(param, param + ": the data: URL does not hold valid base64");
  try {
    return vision::decode_image(*bytes, param);
  } catch (const Error& e) {
    throw bad_field(param, "failed to load image: " + clipped(e.what(), 400));
  }
}

/// Decodes %41; anything else stands for itself.
inline std::string percent_decoded(std::string_view text) {
  const auto digit = [](char c) {
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
  };
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '%' && i + 2 < text.size() && digit(text[i + 1]) >= 0 && digit(text[i + 2]) >= 0) {
      out += static_cast<char>(digit(text[i + 1]) * 16 + digit(text[i + 2]));
      i += 2;
    } else {
      out += text[i];
    }
  }
  return out;
}

/// Is `file` strictly below `folder`, both without links?
inline bool is_below(const std::filesystem::path& file, const std::filesystem::path& folder) {
  auto at = file.begin();
  for (const auto& part : folder) {
    if (part.empty()) continue;
    if (at == file.end() || *at != part) return false;
    ++at;
  }
  return at != file.end();
}

inline vision::Image load_file_url(std::string_view url, const std::string& param,
                                   const std::filesystem::path& allowed) {
  if (allowed.empty())
    throw bad_field(param, param + ": file:// needs the server to be started with --allowed-local-media-path");
  // One message for what is outside and what does not exist: files cannot be probed for.
  const auto refused = [&] { return bad_field(param, param + ": no such picture below --allowed-local-media-path"); };
  url.remove_prefix(std::string_view("file://").size());
  if (url.starts_with("localhost/")) url.remove_prefix(std::string_view("localhost").size());
  const std::string decoded = percent_decoded(url);
  if (!decoded.starts_with('/') || decoded.find('\0') != std::string::npos) throw refused();
  std::error_code error;
  const auto folder = std::filesystem::canonical(allowed, error);
  if (error) throw refused();
  const auto file = std::filesystem::canonical(decoded, error);
  if (error || !is_below(file, folder) || !std::filesystem::is_regular_file(file, error)) throw refused();
  try {
    return vision::load_image(file);
  } catch (const Error&) {
    throw bad_field(param, "failed to load image: " + param + " is not a picture that can be read");
  }
}

}  // namespace detail

/// Decodes a picture from a data: URL, or from a file:// URL below `allowed`. ApiError 400 for anything else.
inline vision::Image load_image_source(const ImageSource& source, const std::filesystem::path& allowed) {
  const std::string_view url = source.url;
  if (url.starts_with("data:")) return detail::load_data_uri(url, source.param);
  if (url.starts_with("file://")) return detail::load_file_url(url, source.param, allowed);
  if (url.starts_with("http://") || url.starts_with("https://"))
    throw bad_field("image_url", source.param +
                                     ": this server does not fetch remote pictures; send the picture itself "
                                     "as data:image/png;base64,<data>");
  throw bad_field(source.param, source.param + ": the URL " + clipped(url, 40) + " is not a data: URL");
}

}  // namespace lamina::serve
