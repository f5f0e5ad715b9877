#pragma once
#include <algorithm>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <lamina/serve/flags/support.hpp>
#include <lamina/serve/openai/answer/chat_response.hpp>
#include <lamina/serve/openai/request/request_fields.hpp>

/// /openapi.json and /docs, made of the tables of routes and fields.
namespace lamina::serve {

struct DescribedRoute {
  std::string method, path;
};

namespace detail {

inline Json field_properties(std::span<const RequestField> own, bool chat) {
  Json properties = Json::object();
  const auto add = [&](const RequestField& field) {
    if (!properties.contains(std::string(field.name)))
      properties[std::string(field.name)] = {{"description", support_text(field)}};
  };
  for (const auto& field : own) add(field);
  for (const auto& field : request_fields())
    if (chat || (field.name != "messages" && field.name.find("tool") == std::string_view::npos)) add(field);
  return {{"type", "object"}, {"properties", std::move(properties)}};
}

}  // namespace detail

/// The routes, and the fields of chats and completions, as OpenAPI 3.1.
inline std::string openapi_text(std::span<const DescribedRoute> routes, const std::string& version) {
  Json paths = Json::object();
  for (const auto& route : routes) {
    std::string method = route.method;
    std::transform(method.begin(), method.end(), method.begin(), [](char c) { return static_cast<char>(c | 0x20); });
    Json operation = {
        {"responses", {{"200", {{"description", "the answer"}}}, {"400", {{"description", "what is wrong"}}}}}};
    const bool chat = route.path.starts_with("/v1/chat/");
    if (chat || route.path == "/v1/completions")
      operation["requestBody"]["content"]["application/json"]["schema"] =
          detail::field_properties(chat ? std::span<const RequestField>() : completion_fields(), chat);
    paths[route.path][method] = std::move(operation);
  }
  return compact({{"openapi", "3.1.0"}, {"info", {{"title", "lamina-serve"}, {"version", version}}}, {"paths", paths}});
}

/// A page with the routes and the fields of chats. Nothing is fetched from elsewhere.
inline std::string docs_page(std::span<const DescribedRoute> routes) {
  const auto escaped = [](std::string_view text) {
    std::string out;
    for (const char c : text) out += c == '<' ? "&lt;" : c == '&' ? "&amp;" : std::string(1, c);
    return out;
  };
  std::string page =
      "<!doctype html><html lang=en><meta charset=utf-8><title>lamina-serve</title>"
      "<style>body{font:16px sans-serif;max-width:60em;margin:2em auto}td{padding:.2em .8em .2em 0;vertical-align:top}"
      "</style><h1>lamina-serve</h1><p>Described for programs in <a "
      "href=openapi.json>openapi.json</a>.<h2>Routes</h2><table>";
  for (const auto& route : routes) page += cat("<tr><td>", route.method, "<td><code>", escaped(route.path), "</code>");
  page += "</table><h2>Fields of POST /v1/chat/completions</h2><table>";
  for (const auto& field : request_fields())
    page += cat("<tr><td><code>", escaped(field.name), "</code><td>", escaped(support_text(field)));
  return page + "</table></html>\n";
}

}  // namespace lamina::serve
