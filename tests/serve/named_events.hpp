#pragma once
#include <string>
#include <vector>

#include <lamina/serve/openai/request/json_fields.hpp>

#include "support/catch.hpp"

namespace lamina::test {

/// The data of a stream's events, whose names must be their types.
inline std::vector<serve::Json> named_events(const std::string& body) {
  std::vector<serve::Json> out;
  for (std::size_t at = 0; at < body.size();) {
    const auto line = body.find('\n', at), end = body.find("\n\n", at);
    REQUIRE(body.substr(at, 7) == "event: ");
    REQUIRE(body.substr(line + 1, 6) == "data: ");
    out.push_back(serve::Json::parse(body.substr(line + 7, end - line - 7)));
    CHECK(out.back()["type"] == body.substr(at + 7, line - at - 7));
    at = end + 2;
  }
  return out;
}

}  // namespace lamina::test
