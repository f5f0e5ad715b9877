#include "grammar.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  return fuzz::follow(lamina::grammar::Constraint::Kind::structural_tag, fuzz::text(data, size));
}
