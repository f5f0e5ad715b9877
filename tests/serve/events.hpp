#pragma once
#include <string>
#include <vector>

#include <lamina/serve/openai/request/json_fields.hpp>

#include "support/catch.hpp"

namespace lamina::test {

/// The JSON of each event of a stream; the last must be [DONE].
inline std::vector<serve::Json> events(const std::string& body) {
  std::vector<serve::Json> out;
  std::size_t at = 0;
  bool done = false;
  while (at < body.size()) {
    REQUIRE(body.substr(at, 6) == "data: ");
    const auto end = body.find("\n\n", at);
    REQUIRE(end != std::string::npos);
    const auto data = body.substr(at + 6, end - at - 6);
    REQUIRE_FALSE(done);
    if (data == "[DONE]")
      done = true;
    else
      out.push_back(serve::Json::parse(data));
    at = end + 2;
  }
  REQUIRE(done);
  return out;
}

/// The text of one choice of a stream.
inline std::string content_of(const std::vector<serve::Json>& chunks, int index = 0) {
  std::string text;
  for (const auto& chunk : chunks)
    if (!chunk["choices"].empty() && chunk["choices"][0]["index"] == index)
      text += chunk["choices"][0]["delta"].value("content", "");
  return text;
}

}  // namespace lamina::test
