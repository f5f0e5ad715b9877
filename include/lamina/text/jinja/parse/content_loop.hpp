#pragma once
#include <lamina/text/jinja/parse/syntax.hpp>

#include <algorithm>
#include <string>
#include <vector>

namespace lamina::text::jinja {
namespace detail {

/// Looks for a {% for %} over a message's content, or over a name that stands for it.
class ContentLoopSearch {
 public:
  bool found_in(const Block& block) {
    return std::any_of(block.begin(), block.end(), [&](const Statement& s) { return found_in(s); });
  }

 private:
  bool found_in(const Statement& s) {
    if (s.kind == Statement::Kind::loop && is_content(s.expressions[0])) return true;
    if (s.kind == Statement::Kind::set && is_content(s.expressions[0])) aliases_.push_back(s.targets[0].names[0]);
    return std::any_of(s.blocks.begin(), s.blocks.end(), [&](const Block& block) { return found_in(block); });
  }
  bool is_content(const Expression& e) const {
    using Kind = Expression::Kind;
    const auto among = [&](std::size_t begin) {
      return std::any_of(e.children.begin() + static_cast<std::ptrdiff_t>(begin), e.children.end(),
                         [&](const Expression& child) { return is_content(child); });
    };
    switch (e.kind) {
      case Kind::name:
        return std::find(aliases_.begin(), aliases_.end(), e.text) != aliases_.end();
      case Kind::attribute:
        return e.text == "content";
      case Kind::item: {
        const auto* key = e.children[1].value.text();
        return (key && key->bytes() == "content") || (e.children[1].kind == Kind::slice && is_content(e.children[0]));
      }
      case Kind::filter:
        return is_content(e.children[0]);
      case Kind::conditional:
        return is_content(e.children[0]) || is_content(e.children[2]);
      case Kind::logical_or:
        return among(0);
      default:
        return false;
    }
  }

  std::vector<std::string> aliases_ = {"content"};  // also what macros call it
};

}  // namespace detail

/// Does the template read a message's content as a list of parts? Else it can write only strings.
/// source  vLLM, _detect_content_format, which follows fewer names
inline bool loops_over_content(const Block& block) { return detail::ContentLoopSearch().found_in(block); }

}  // namespace lamina::text::jinja
