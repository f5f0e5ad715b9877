#pragma once
#include <algorithm>
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include <lamina/grammar/automaton/matcher.hpp>

#include "support/catch.hpp"

namespace lamina::test {
using namespace lamina::grammar;

/// All bytes, and tokens that join words, signs of JSON, halves of characters, and what is on both sides of them.
inline std::shared_ptr<const Vocabulary> small_vocabulary() {
  static const auto vocabulary = [] {
    std::vector<std::string> texts;
    for (int byte = 0; byte < 256; ++byte) texts.emplace_back(1, static_cast<char>(byte));
    for (const char* text :
         {"ab",         "abc",     "ab",       "name",     "\"name",   "\":",      "\": ", "\",",      "\", \"",
          "{\"",        "\"}",     "\"]",      "}]",       "[1",       "[[",       "]]",   "{}",       "[]",
          "true",       "false",   "null",     "nu",       "ll",       "12",       "123",  "0.",       ".5",
          "e1",         "-1",      ", ",       ": ",       "  ",       "\n  ",     " \n",  "\\n",      "\\u",
          "\\u00",      "0a",      "\xc3",     "\xa9",     "\xc3\xa9", "\xe4\xb8", "\xad", "a\xe4",    "\xb8\xad",
          "\xb8\xad\"", "\xad\",", "\xf0\x9f", "\x98\x80", "2024-",    "-0",       "aaaa", "aaaaaaaa", "yes",
          "no",         "<tool",   ">{"})
      texts.emplace_back(text);
    texts.emplace_back();  // a special token
    const int end = static_cast<int>(texts.size()) - 1;
    return std::make_shared<const Vocabulary>(std::move(texts), std::vector<int>{end});
  }();
  return vocabulary;
}

/// Whether a message has all of these parts.
inline bool says(const std::string& message, std::initializer_list<std::string_view> parts) {
  UNSCOPED_INFO("message: " << message);
  return std::all_of(parts.begin(), parts.end(),
                     [&](std::string_view part) { return message.find(part) != message.npos; });
}

/// A grammar, and texts held against it.
class Answers {
 public:
  explicit Answers(const Grammar& grammar, std::size_t bytes = CompiledGrammar::default_bytes)
      : compiled_(std::make_shared<CompiledGrammar>(grammar, small_vocabulary(), bytes)) {}

  /// Byte by byte; and by tokens, at random, each of which must be in the mask. Both must agree.
  bool accept(std::string_view text) {
    Matcher bytes(compiled_);
    bool by_bytes = true;
    for (const char c : text) by_bytes = by_bytes && bytes.accept(std::string_view(&c, 1));
    by_bytes = by_bytes && bytes.can_end();
    for (int round = 0; round < 3; ++round) CHECK(by_tokens(text) == by_bytes);
    return by_bytes;
  }
  /// Compares the mask after a text with every token tried for itself.
  void check_mask(std::string_view before) {
    Matcher matcher(compiled_);
    REQUIRE((before.empty() || matcher.accept(before)));
    std::vector<std::uint64_t> mask = mask_of(matcher);
    std::string differing;
    for (int token = 0; token < compiled_->vocabulary().size(); ++token) {
      Matcher other = matcher.fork();
      if (other.accept(token) != has(mask, token)) differing += std::to_string(token) + " ";
    }
    INFO("after " << before);
    CHECK(differing == "");
  }
  void check_masks_along(std::string_view text) {
    for (std::size_t length = 0; length <= text.size(); ++length) check_mask(text.substr(0, length));
  }
  const std::shared_ptr<CompiledGrammar>& compiled() const { return compiled_; }

  static std::vector<std::uint64_t> mask_of(Matcher& matcher) {
    std::vector<std::uint64_t> mask(static_cast<std::size_t>(small_vocabulary()->size() + 63) / 64);
    matcher.mask(mask);
    return mask;
  }
  static bool has(const std::vector<std::uint64_t>& mask, int token) {
    return mask[static_cast<std::size_t>(token / 64)] >> token % 64 & 1;
  }

 private:
  bool by_tokens(std::string_view text) {
    const Vocabulary& vocabulary = compiled_->vocabulary();
    Matcher matcher(compiled_);
    while (!text.empty()) {
      std::vector<int> fitting;
      for (int token = 0; token < vocabulary.size(); ++token)
        if (!vocabulary.text(token).empty() && text.starts_with(vocabulary.text(token))) fitting.push_back(token);
      const int token = fitting[random_() % fitting.size()];
      if (!has(mask_of(matcher), token)) return false;
      REQUIRE(matcher.accept(token));
      text.remove_prefix(vocabulary.text(token).size());
    }
    const int end = vocabulary.ends().front();
    const bool may_end = matcher.can_end();
    CHECK(has(mask_of(matcher), end) == may_end);
    CHECK(matcher.accept(end) == may_end);
    return may_end;
  }

  std::shared_ptr<CompiledGrammar> compiled_;
  std::mt19937 random_{7};
};

}  // namespace lamina::test
