#pragma once
#include <iostream>
#include <sstream>
#include <string>

namespace lamina::testing {

/// What f() says on std::clog.
template <class F>
std::string notes_of(F f) {
  std::ostringstream text;
  std::streambuf* const before = std::clog.rdbuf(text.rdbuf());
  try {
    f();
  } catch (...) {
    std::clog.rdbuf(before);
    throw;
  }
  std::clog.rdbuf(before);
  return text.str();
}

}  // namespace lamina::testing
