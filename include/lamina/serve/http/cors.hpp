#pragma once
#include <algorithm>
#include <string>
#include <vector>

#include <lamina/serve/http/transport.hpp>

namespace lamina::serve {

/// Which pages of other origins may use the API; "*": any.
struct CorsOptions {
  std::vector<std::string> allowed_origins = {"*"}, allowed_methods = {"*"}, allowed_headers = {"*"};
  bool allow_credentials = false;
};

namespace detail {
inline bool contains(const std::vector<std::string>& list, const std::string& word) {
  return std::find(list.begin(), list.end(), word) != list.end();
}
}  // namespace detail

/// CORS: the origin is echoed only if credentials or a list make "*" wrong.
inline HeaderList origin_headers(const RequestHead& head, const CorsOptions& options) {
  const std::string* origin = head.header("Origin");
  if (!origin) return {};
  const bool any = detail::contains(options.allowed_origins, "*");
  if (!any && !detail::contains(options.allowed_origins, *origin)) return {};
  HeaderList out{{"Access-Control-Allow-Origin", any && !options.allow_credentials ? "*" : *origin}};
  if (!any || options.allow_credentials) out.push_back({"Vary", "Origin"});
  if (options.allow_credentials) out.push_back({"Access-Control-Allow-Credentials", "true"});
  return out;
}
/// Whether a browser asks what it may send. Other requests OPTIONS only ask for methods.
inline bool is_preflight(const RequestHead& head) {
  return head.header("Origin") && head.header("Access-Control-Request-Method");
}
inline HttpReply preflight_reply(const RequestHead& head, const CorsOptions& options) {
  if (origin_headers(head, options).empty())
    return error_reply({400, "BadRequestError", "CORS: this origin is not allowed"});
  const auto joined = [](const std::vector<std::string>& list) {
    std::string out;
    for (const auto& word : list) out += (out.empty() ? "" : ", ") + word;
    return out;
  };
  const std::string* wanted = head.header("Access-Control-Request-Headers");
  const bool any_header = detail::contains(options.allowed_headers, "*");
  return {
      200,
      {},
      {},
      {{"Access-Control-Allow-Methods",
        detail::contains(options.allowed_methods, "*") ? "GET, POST, HEAD, OPTIONS" : joined(options.allowed_methods)},
       {"Access-Control-Allow-Headers", any_header && wanted ? *wanted : joined(options.allowed_headers)},
       {"Access-Control-Max-Age", "600"}}};
}

}  // namespace lamina::serve
