#pragma once
#include <memory>
#include <string>
#include <utility>

#include <lamina/grammar/constraint.hpp>
#include <lamina/grammar/notation/structural_tag.hpp>

namespace lamina::grammar {

namespace detail {
inline Json json_of(const Constraint& constraint, const std::string& subject) {
  try {
    return io::parse_json<Json>(constraint.text, {.subject = subject, .depth = 128, .unique_keys = false});
  } catch (const Error& e) {
    refuse(e.what());
  }
}
}  // namespace detail

/// The grammar of a constraint. errors  GrammarError
inline Grammar read_constraint(const Constraint& constraint, const std::string& subject,
                               const GrammarLimits& limits = {}) {
  using Kind = Constraint::Kind;
  if (constraint.text.size() > limits.text_bytes)
    refuse(subject, ": has ", constraint.text.size(), " bytes, wanted at most ", limits.text_bytes);
  JsonLayout layout{.compact = constraint.compact, .whitespace = {}};
  if (!constraint.whitespace.empty()) layout.whitespace = constraint.whitespace;
  switch (constraint.kind) {
    case Kind::json_schema:
      return json_schema_grammar(detail::json_of(constraint, subject), layout, limits, subject);
    case Kind::json_object:
      return json_object_grammar(layout, limits);
    case Kind::regex:
      return regex_grammar(constraint.text, limits);
    case Kind::choice:
      return choice_grammar(constraint.choices, limits);
    case Kind::ebnf:
      return ebnf_grammar(constraint.text, limits);
    default:
      return structural_tag_grammar(detail::json_of(constraint, subject), layout, limits, subject);
  }
}

/// The compiled grammar, from the cache if it is there. Takes up to limits.time: not for the engine's thread.
/// errors  GrammarError: what is wrong, where; or that it is too large
inline std::shared_ptr<CompiledGrammar> compile(const Constraint& constraint, const std::string& subject,
                                                std::shared_ptr<const Vocabulary> vocabulary, GrammarCache& cache,
                                                const GrammarLimits& limits = {}) {
  if (auto known = cache.find(constraint)) return known;
  auto compiled =
      std::make_shared<CompiledGrammar>(read_constraint(constraint, subject, limits), std::move(vocabulary));
  cache.add(constraint, compiled);
  return compiled;
}

}  // namespace lamina::grammar
