#pragma once
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <lamina/grammar/compile.hpp>

#include "fuzz.hpp"

namespace fuzz {

/// Compiles a constraint of unknown origin, and follows the answer that takes the first token each time.
inline int follow(lamina::grammar::Constraint::Kind kind, std::string_view text) {
  using namespace lamina::grammar;
  static const auto vocabulary = [] {
    std::vector<std::string> texts;
    for (int byte = 0; byte < 256; ++byte) texts.emplace_back(1, static_cast<char>(byte));
    for (const char* more : {"ab", "\": ", "}]", "12", "\xe4\xb8"}) texts.emplace_back(more);
    texts.emplace_back();
    const int end = static_cast<int>(texts.size()) - 1;
    return std::make_shared<const Vocabulary>(std::move(texts), std::vector<int>{end});
  }();
  return run([&] {
    const GrammarLimits limits{.time = std::chrono::milliseconds(500)};
    const auto grammar = std::make_shared<CompiledGrammar>(
        read_constraint({.kind = kind, .text = std::string(text)}, "fuzz", limits), vocabulary, 1 << 20);
    Matcher matcher(grammar);
    std::vector<std::uint64_t> mask(5);
    for (int step = 0; step < 20 && matcher.mask(mask); ++step) {
      int token = (step * 7) % 262;
      while (!(mask[static_cast<std::size_t>(token / 64)] >> token % 64 & 1)) token = (token + 1) % 262;
      if (!matcher.accept(token)) __builtin_trap();  // the mask had it
    }
  });
}

}  // namespace fuzz
