#pragma once
#include <algorithm>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <lamina/serve/flags/support.hpp>
#include <lamina/serve/openai/answer/chat_response.hpp>
#include <lamina/serve/openai/request/request_fields.hpp>
#include <lamina/serve/openai/responses/responses_fields.hpp>

/// /openapi.json and /docs, made of the tables of routes and fields.
namespace lamina::serve {

struct DescribedRoute {
  std::string method, path;
};

namespace detail {

/// The fields of a route's body; none for routes that are not described so.
inline std::vector<RequestField> fields_of(std::string_view path) {
  std::vector<RequestField> out;
  const auto add = [&](std::span<const RequestField> table, const auto& wanted) {
    for (const auto& field : table)
      if (wanted(field) && !io::find_key(std::span<const RequestField>(out), field.name)) out.push_back(field);
  };
  const auto any = [](const RequestField&) { return true; };
  if (path.starts_with("/v1/responses")) add(responses_fields(), any);
  if (path.starts_with("/v1/chat/")) add(request_fields(), any);
  if (path != "/v1/completions") return out;
  add(completion_fields(), any);
  add(request_fields(), [](const RequestField& field) {
    return field.name != "messages" && field.name.find("tool") == std::string_view::npos;
  });
  return out;
}
inline Json schema_of(const std::vector<RequestField>& fields) {
  Json properties = Json::object();
  for (const auto& field : fields) properties[std::string(field.name)] = {{"description", support_text(field)}};
  return {{"type", "object"}, {"properties", std::move(properties)}};
}

}  // namespace detail

/// The routes, and the fields of those that generate text, as OpenAPI 3.1.
inline std::string openapi_text(std::span<const DescribedRoute> routes, const std::string& version) {
  Json paths = Json::object();
  for (const auto& route : routes) {
    std::string method = route.method;
    std::transform(method.begin(), method.end(), method.begin(), [](char c) { return static_cast<char>(c | 0x20); });
    Json operation = {
        {"responses", {{"200", {{"description", "the answer"}}}, {"400", {{"description", "what is wrong"}}}}}};
    const auto fields = detail::fields_of(route.path);
    if (route.method == "POST" && !fields.empty())
      operation["requestBody"]["content"]["application/json"]["schema"] = detail::schema_of(fields);
    if (route.path.find("{id}") != std::string::npos)
      operation["parameters"] =
          Json::array({{{"name", "id"}, {"in", "path"}, {"required", true}, {"schema", {{"type", "string"}}}}});
    paths[route.path][method] = std::move(operation);
  }
  return compact({{"openapi", "3.1.0"}, {"info", {{"title", "lamina-serve"}, {"version", version}}}, {"paths", paths}});
}

/// A page with the routes and the fields of chats and responses. Nothing is fetched from elsewhere.
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
  for (const char* path : {"/v1/chat/completions", "/v1/responses"}) {
    page += cat("</table><h2>Fields of POST ", path, "</h2><table>");
    for (const auto& field : detail::fields_of(path))
      page += cat("<tr><td><code>", escaped(field.name), "</code><td>", escaped(support_text(field)));
  }
  return page + "</table></html>\n";
}

}  // namespace lamina::serve
