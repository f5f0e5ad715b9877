#pragma once
#include <cstddef>
#include <cstdint>
#include <list>
#include <memory>
#include <mutex>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include <lamina/grammar/automaton/matcher.hpp>

/// What an answer is bound to, as a request says it. No JSON here: compile.hpp reads it.
namespace lamina::grammar {

struct Constraint {
  enum class Kind { json_schema, json_object, regex, choice, ebnf, structural_tag };
  Kind kind = Kind::json_object;
  std::string text = {};  ///< of the schema or tag, as JSON; the regular expression; EBNF
  std::vector<std::string> choices = {};
  bool compact = false;         ///< see JsonLayout
  std::string whitespace = {};  ///< see JsonLayout; empty: none is given

  /// Equal for constraints that mean the same.
  std::string key() const {
    std::string out(1, static_cast<char>('0' + static_cast<int>(kind)));
    out += compact ? 'c' : ' ';
    const auto add = [&](const std::string& part) { out += std::to_string(part.size()) + ':' + part; };
    add(text), add(whitespace);
    for (const std::string& choice : choices) add(choice);
    return out;
  }
};

/// Compiled grammars, so that requests with the same one share it; those that were asked for last are kept.
class GrammarCache {
 public:
  static constexpr std::size_t most = 64;
  static constexpr std::size_t bytes = std::size_t{256} << 20;  ///< of all that are kept

  /// The grammar of a constraint; null if it is not here.
  std::shared_ptr<CompiledGrammar> find(const Constraint& constraint) {
    const std::lock_guard lock(mutex_);
    const auto found = by_key_.find(constraint.key());
    if (found == by_key_.end()) return nullptr;
    recent_.splice(recent_.begin(), recent_, found->second);
    return found->second->second;
  }
  void add(const Constraint& constraint, std::shared_ptr<CompiledGrammar> grammar) {
    const std::lock_guard lock(mutex_);
    std::string key = constraint.key();
    if (by_key_.count(key) > 0) return;
    recent_.emplace_front(key, std::move(grammar));
    by_key_.emplace(std::move(key), recent_.begin());
    std::size_t total = 0, kept = 0;
    for (auto entry = recent_.begin(); entry != recent_.end(); ++entry, ++kept) {
      total += entry->second->bytes();
      if (kept > 0 && (kept >= most || total > bytes)) return drop_from(entry);
    }
  }

 private:
  using Entry = std::pair<std::string, std::shared_ptr<CompiledGrammar>>;
  void drop_from(std::list<Entry>::iterator entry) {
    for (auto at = entry; at != recent_.end(); ++at) by_key_.erase(at->first);
    recent_.erase(entry, recent_.end());
  }

  std::mutex mutex_;
  std::list<Entry> recent_;  // the newest first
  std::unordered_map<std::string, std::list<Entry>::iterator> by_key_;
};

}  // namespace lamina::grammar
