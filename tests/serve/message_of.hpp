#pragma once
#include <exception>
#include <string>

namespace lamina::test {

/// What f throws says; empty if it throws nothing.
template <class F>
std::string message_of(F f) {
  try {
    f();
  } catch (const std::exception& e) {
    return e.what();
  }
  return {};
}

}  // namespace lamina::test
