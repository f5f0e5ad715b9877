#include "grammar.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  return fuzz::follow(lamina::grammar::Constraint::Kind::ebnf, fuzz::text(data, size));
}
