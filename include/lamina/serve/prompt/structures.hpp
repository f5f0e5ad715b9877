#pragma once
#include <algorithm>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <lamina/engine/request/token_mask.hpp>
#include <lamina/grammar/compile.hpp>
#include <lamina/serve/openai/request/structured_fields.hpp>
#include <lamina/text/tokenizer.hpp>

namespace lamina::serve {

/// Binds an answer to a grammar.
class GrammarMask final : public engine::TokenMask {
 public:
  /// after: the grammar begins behind this token; nothing: at once
  GrammarMask(std::shared_ptr<grammar::CompiledGrammar> grammar, std::optional<int> after)
      : matcher_(std::move(grammar)), after_(after) {}
  void fill(std::span<std::uint64_t> bits) override {
    if (after_) return std::fill(bits.begin(), bits.end(), ~std::uint64_t{0});
    if (!matcher_.mask(bits)) fail("structured output: no token of the vocabulary goes on as the grammar asks");
  }
  void drawn(int token) override {
    if (after_) {
      if (token == *after_) after_.reset();
      return;
    }
    if (!matcher_.accept(token)) fail("structured output: token ", token, " does not go on as the grammar asks");
  }

 private:
  grammar::Matcher matcher_;
  std::optional<int> after_;
};

/// The grammars of requests, compiled for one tokenizer. Any thread may use it.
class Structures {
 public:
  Structures(text::Tokenizer tokenizer, std::vector<int> ends)
      : tokenizer_(std::move(tokenizer)), ends_(std::move(ends)) {}

  /// Whether compile() returns at once.
  bool is_known(const Structure& structure) { return cache_.find(structure.constraint) != nullptr; }
  /// Takes up to two seconds. errors  ApiError 400 that names the field and the place in it
  std::shared_ptr<grammar::CompiledGrammar> compile(const Structure& structure) {
    try {
      return grammar::compile(structure.constraint, structure.field, vocabulary(), cache_);
    } catch (const grammar::GrammarError& e) {
      const std::string message = e.what();
      throw bad_field(
          structure.field,
          clipped(message.starts_with(structure.field) ? message : cat(structure.field, ": ", message), 400));
    }
  }

 private:
  /// Made when a request first needs it: it takes some megabytes, and a tenth of a second.
  std::shared_ptr<const grammar::Vocabulary> vocabulary() {
    const std::lock_guard lock(mutex_);
    if (vocabulary_) return vocabulary_;
    std::vector<std::string> texts(static_cast<std::size_t>(tokenizer_.size()));
    for (int id = 0; id < tokenizer_.size(); ++id)
      if (!tokenizer_.is_special(id)) texts[static_cast<std::size_t>(id)] = tokenizer_.bytes_of(id);
    return vocabulary_ = std::make_shared<const grammar::Vocabulary>(std::move(texts), ends_);
  }

  text::Tokenizer tokenizer_;
  std::vector<int> ends_;
  grammar::GrammarCache cache_;
  std::mutex mutex_;
  std::shared_ptr<const grammar::Vocabulary> vocabulary_;
};

}  // namespace lamina::serve
