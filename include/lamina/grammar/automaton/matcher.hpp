#pragma once
#include <algorithm>
#include <chrono>
#include <cstdint>
#include <memory>
#include <mutex>
#include <set>
#include <utility>

#include <lamina/grammar/automaton/masks.hpp>

namespace lamina::grammar {

class Matcher;

/// A grammar ready to be followed by any number of answers, which share what they learn about it. Any thread may use
/// it; one at a time does.
class CompiledGrammar {
 public:
  static constexpr std::size_t default_bytes = 32 << 20;
  static constexpr std::chrono::milliseconds preparation{300};  ///< at most, for what answers will need

  /// bytes: that what is learnt may take; it is learnt anew beyond.
  CompiledGrammar(const Grammar& grammar, std::shared_ptr<const Vocabulary> vocabulary,
                  std::size_t bytes = default_bytes)
      : vocabulary_(std::move(vocabulary)),
        automaton_(grammar),
        most_bytes_(bytes),
        masks_(std::make_unique<Masks>(automaton_, *vocabulary_)) {
    masks_->of(masks_->steps().start());  // where every answer begins
    masks_->prepare(preparation);
  }

  const Vocabulary& vocabulary() const { return *vocabulary_; }
  const Automaton& automaton() const { return automaton_; }
  std::size_t bytes() const {
    const std::lock_guard lock(mutex_);
    return masks_->bytes();
  }

 private:
  friend Matcher;
  void keep_small();

  std::shared_ptr<const Vocabulary> vocabulary_;
  Automaton automaton_;
  std::size_t most_bytes_;
  mutable std::mutex mutex_;
  std::unique_ptr<Masks> masks_;
  std::set<Matcher*> matchers_;  // whose sets must be moved when masks_ is made anew
};

/// Follows one answer. A copy goes on by itself from there: one for each of several answers.
class Matcher {
 public:
  explicit Matcher(std::shared_ptr<CompiledGrammar> grammar) : grammar_(std::move(grammar)) {
    const std::lock_guard lock(grammar_->mutex_);
    grammar_->matchers_.insert(this);
    at_ = grammar_->masks_->steps().start();
  }
  Matcher(const Matcher& other) : grammar_(other.grammar_) {
    const std::lock_guard lock(grammar_->mutex_);
    grammar_->matchers_.insert(this);
    at_ = other.at_, ended_ = other.ended_;
  }
  Matcher& operator=(const Matcher&) = delete;
  ~Matcher() {
    const std::lock_guard lock(grammar_->mutex_);
    grammar_->matchers_.erase(this);
  }
  Matcher fork() const { return Matcher(*this); }

  /// Sets the bits of the tokens that may come next, those that end the answer among them if it may end here; the
  /// others are cleared. Returns whether there is any.
  /// errors  GrammarError if the grammar is so ambiguous that finding them takes too long.
  bool mask(TokenBits bits) {
    const auto [tokens, can_end] = next();
    tokens ? tokens->copy_to(bits) : std::fill(bits.begin(), bits.end(), 0);
    if (!can_end) return tokens && !tokens->empty();
    for (const int end : grammar_->vocabulary_->ends())
      if (const auto word = static_cast<std::size_t>(end / 64); word < bits.size())
        bits[word] |= std::uint64_t{1} << end % 64;
    return std::any_of(bits.begin(), bits.end(), [](std::uint64_t word) { return word != 0; });
  }
  /// The next token of the answer. False, and nothing changes, if it may not come here.
  /// errors  as mask()
  bool accept(int token) {
    const Vocabulary& vocabulary = grammar_->vocabulary();
    if (vocabulary.is_end(token)) return can_end() && (ended_ = true);
    const std::string_view text = vocabulary.text(token);
    return !text.empty() && accept(text);
  }
  bool accept(std::string_view text) {
    if (ended_) return false;
    const std::lock_guard lock(grammar_->mutex_);
    grammar_->keep_small();
    Steps& steps = grammar_->masks_->steps();
    steps.renew_budget();
    const StackId next = steps.step(at_, text);
    if (next == StackSets::none) return false;
    at_ = next;
    return true;
  }
  /// Whether the answer is complete as it is.
  bool can_end() const {
    const std::lock_guard lock(grammar_->mutex_);
    return ended_ || grammar_->masks_->steps().sets()[at_].bottom;
  }

 private:
  friend CompiledGrammar;
  /// The tokens that may come next, null if none may, and whether the answer may end. The lock is held to look them up,
  /// not while bits are written: the answers of a step share it.
  std::pair<std::shared_ptr<const TokenSet>, bool> next() {
    if (ended_) return {nullptr, true};
    const std::lock_guard lock(grammar_->mutex_);
    grammar_->keep_small();
    Masks& masks = *grammar_->masks_;
    masks.steps().renew_budget();
    auto tokens = masks.of(at_);
    return {std::move(tokens), masks.steps().sets()[at_].bottom};
  }

  std::shared_ptr<CompiledGrammar> grammar_;
  StackId at_ = StackSets::none;
  bool ended_ = false;
};

/// The mutex is held.
inline void CompiledGrammar::keep_small() {
  if (masks_->bytes() <= most_bytes_) return;
  masks_->forget();
  if (masks_->bytes() <= most_bytes_ / 2) return;
  auto fresh = std::make_unique<Masks>(automaton_, *vocabulary_);
  for (Matcher* matcher : matchers_) matcher->at_ = fresh->steps().copy(masks_->steps().sets(), matcher->at_);
  masks_ = std::move(fresh);
}

}  // namespace lamina::grammar
