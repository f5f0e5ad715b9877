#pragma once
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>

#include <nlohmann/json.hpp>

#include "support/catch.hpp"

/// What programs have written.
namespace lamina::testing {

inline std::string content_of(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}
inline nlohmann::ordered_json read_json(const std::filesystem::path& path) {
  INFO(path);
  std::ifstream in(path);
  REQUIRE(in);
  return nlohmann::ordered_json::parse(in);
}

}  // namespace lamina::testing
