#pragma once
#include <random>
#include <string>

namespace lamina::serve {

/// 24 random hexadecimal digits.
inline std::string random_id() {
  static thread_local std::mt19937_64 generator{std::random_device{}()};
  static constexpr char digits[] = "0123456789abcdef";
  std::string id(24, '0');
  for (char& c : id) c = digits[generator() & 15];
  return id;
}

}  // namespace lamina::serve
