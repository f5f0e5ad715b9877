#pragma once
#include <algorithm>
#include <charconv>
#include <cstdint>
#include <cstdlib>
#include <optional>
#include <string_view>

#include <lamina/core/error.hpp>

/// Numbers and switches among the variables of the environment. A variable that is empty counts as not set.
namespace lamina {

/// A whole number in decimal digits, nothing around it.
inline std::optional<std::int64_t> whole_number(std::string_view text) {
  std::int64_t out = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), out);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return out;
}

namespace detail {

/// What OMP_NUM_THREADS asks for, as OpenMP reads it: "4", or "4,2", whose further numbers are for loops inside loops.
/// 0: nothing. Error for another text.
inline std::int64_t threads_asked_for(const char* value) {
  std::string_view rest = value ? value : "";
  if (rest.empty()) return 0;
  const auto next = [&] {
    const std::size_t comma = std::min(rest.find(','), rest.size());
    const auto number = whole_number(rest.substr(0, comma));
    if (!number || *number < 1) fail("OMP_NUM_THREADS (environment): is ", value, ", wanted a number of threads");
    rest.remove_prefix(comma);
    return *number;
  };
  const std::int64_t first = next();
  while (!rest.empty()) rest.remove_prefix(1), next();
  return first;
}

/// Whether a variable's value is 1. Error for another one than 0 and 1.
inline bool switched_on(std::string_view name, const char* value) {
  const std::string_view text = value ? value : "";
  if (!text.empty() && text != "0" && text != "1") fail(name, " (environment): is ", text, ", wanted 0 or 1");
  return text == "1";
}

}  // namespace detail

/// OMP_NUM_THREADS; 0: not set. Error if it is no number.
inline std::int64_t threads_variable() { return detail::threads_asked_for(std::getenv("OMP_NUM_THREADS")); }
/// LAMINA_CPU_BF16: whether products of bf16 pairs are asked for (kernel/cpu/matmul/matmul.hpp).
inline bool cpu_bf16_variable() { return detail::switched_on("LAMINA_CPU_BF16", std::getenv("LAMINA_CPU_BF16")); }

/// For a program's start, since kernels read these variables late. Error that names the one that cannot be read.
inline void check_environment() {
  threads_variable();
  cpu_bf16_variable();
}

}  // namespace lamina
