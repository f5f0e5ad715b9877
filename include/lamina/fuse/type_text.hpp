#pragma once
#include <string_view>

namespace lamina::detail {

template <class M>
constexpr std::string_view whole_type_text() {
  return __PRETTY_FUNCTION__;
}

/// The name of a type without its namespace and arguments: "RMSNorm" of lamina::RMSNorm<128>.
template <class M>
constexpr std::string_view type_text() {
  std::string_view text = whole_type_text<M>();
  text.remove_prefix(text.find("M = ") + 4);  // "... [with M = lamina::RMSNorm<128>; ...]" or "... [M = ...]"
  text = text.substr(0, text.find_first_of("<;]"));
  return text.substr(text.rfind(':') + 1);
}
static_assert(type_text<int>() == "int");

}  // namespace lamina::detail
