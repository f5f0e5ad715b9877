#pragma once
#include <lamina/core/error.hpp>

#include <string>
#include <string_view>

namespace lamina::testing {

/// The message of the lamina::Error that f() throws; empty if it throws none. Any other exception passes through.
template <class F>
std::string error_of(F f) {
  try {
    f();
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

inline bool contains(std::string_view text, std::string_view part) { return text.find(part) != text.npos; }

}  // namespace lamina::testing
