#include "grammar.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  return fuzz::follow(lamina::grammar::Constraint::Kind::json_schema, fuzz::text(data, size));
}
