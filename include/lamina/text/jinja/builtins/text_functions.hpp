#pragma once
#include <lamina/text/jinja/values/indexing.hpp>
#include <lamina/text/segment.hpp>
#include <lamina/text/tokenizer/unicode.hpp>

#include <utf8proc.h>

#include <algorithm>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

/// What methods and filters do to texts. Each keeps the authors of the bytes that it takes over.
namespace lamina::text::jinja {

inline bool is_cased_letter(char32_t c) {
  const auto category = utf8proc_category(static_cast<utf8proc_int32_t>(c));
  return category >= UTF8PROC_CATEGORY_LU && category <= UTF8PROC_CATEGORY_LT;
}
inline char32_t upper(char32_t c) { return static_cast<char32_t>(utf8proc_toupper(static_cast<utf8proc_int32_t>(c))); }
inline char32_t lower(char32_t c) { return static_cast<char32_t>(utf8proc_tolower(static_cast<utf8proc_int32_t>(c))); }

/// Each code point through f(char32_t), one for one: Python's letters that become several (ß) stay as they are.
template <class F>
AuthoredText mapped(const AuthoredText& text, Budget& budget, F&& f) {
  budget.take_text(text.size());
  AuthoredText out;
  for (const PromptSegment& segment : text.segments()) {
    std::string bytes;
    for (std::size_t at = 0; at < segment.text.size();) {
      const io::Utf8Step step = io::read_utf8(segment.text, at);
      at += static_cast<std::size_t>(step.size);
      io::append_utf8(bytes, f(step.value));
    }
    out.append(AuthoredText(std::move(bytes), !segment.is_template));
  }
  return out;
}

inline AuthoredText upper(const AuthoredText& text, Budget& budget) {
  return mapped(text, budget, [](char32_t c) { return upper(c); });
}
inline AuthoredText lower(const AuthoredText& text, Budget& budget) {
  return mapped(text, budget, [](char32_t c) { return lower(c); });
}
inline AuthoredText capitalized(const AuthoredText& text, Budget& budget) {
  bool first = true;
  return mapped(text, budget, [&](char32_t c) { return std::exchange(first, false) ? upper(c) : lower(c); });
}
/// Upper case at the begin of each word; begins(c): does a word begin behind c?
template <class F>
AuthoredText titled(const AuthoredText& text, Budget& budget, F&& begins) {
  bool first = true;
  return mapped(text, budget, [&](char32_t c) {
    const char32_t out = first ? upper(c) : lower(c);
    first = begins(c);
    return out;
  });
}

enum class Side { left = 1, right = 2, both = 3 };

/// str.strip(): white space, or the code points of `which`.
inline AuthoredText stripped(const AuthoredText& text, const std::optional<AuthoredText>& which, Side side,
                             Budget& budget) {
  budget.take(static_cast<std::int64_t>(1 + text.size() / 16));
  const std::string_view all = text.bytes();
  const std::u32string set = which ? code_points(which->bytes()) : std::u32string();
  const auto goes = [&](std::size_t at) {
    const char32_t c = io::read_utf8(all, at).value;
    return which ? set.find(c) != set.npos : is_python_space(c);
  };
  std::size_t begin = 0, end = all.size();
  if (side != Side::right)
    while (begin < end && goes(begin)) begin += static_cast<std::size_t>(io::read_utf8(all, begin).size);
  while (side != Side::left && end > begin) {
    std::size_t last = end - 1;
    while (last > begin && (static_cast<unsigned char>(all[last]) & 0xc0) == 0x80) --last;
    if (!goes(last)) break;
    end = last;
  }
  return text.slice(begin, end - begin);
}

/// str.replace(): the first `count` places of `old`, all if it is negative.
inline AuthoredText replaced(const AuthoredText& text, const AuthoredText& old, const AuthoredText& by,
                             std::int64_t count, Budget& budget) {
  budget.take_text(text.size());
  AuthoredText out;
  std::size_t at = 0;
  const std::string_view all = text.bytes();
  while (count != 0) {
    // An empty `old` is found before each code point and at the end.
    const std::size_t found = all.find(old.bytes(), at);
    if (found == all.npos) break;
    budget.take_text(by.size());
    const std::size_t next =
        old.empty() && found < all.size() ? static_cast<std::size_t>(io::read_utf8(all, found).size) : 0;
    out.append(text.slice(at, found - at));
    out.append(by);
    out.append(text.slice(found + old.size(), next));
    at = found + old.size() + next;
    if (count > 0) --count;
    if (old.empty() && found == all.size()) break;
  }
  out.append(text.slice(std::min(at, all.size()), all.npos));
  budget.take_text(out.size());
  return out;
}

/// str.split(separator, most): at most so many cuts, all if it is negative.
inline std::vector<Value> split(const AuthoredText& text, const AuthoredText& separator, std::int64_t most,
                                Budget& budget) {
  if (separator.empty()) fail("split: the separator is empty");
  budget.take_text(text.size());
  std::vector<Value> out;
  std::size_t at = 0;
  for (; most != 0; --most) {
    const std::size_t found = text.bytes().find(separator.bytes(), at);
    if (found == std::string::npos) break;
    budget.take();
    out.push_back(text.slice(at, found - at));
    at = found + separator.size();
  }
  out.push_back(text.slice(at, std::string::npos));
  return out;
}

/// str.rsplit(separator, most): the cuts from the end.
inline std::vector<Value> split_from_end(const AuthoredText& text, const AuthoredText& separator, std::int64_t most,
                                         Budget& budget) {
  if (separator.empty()) fail("rsplit: the separator is empty");
  budget.take_text(text.size());
  std::vector<Value> out;
  std::size_t end = text.size();
  for (; most != 0 && end >= separator.size(); --most) {
    const std::size_t found = text.bytes().rfind(separator.bytes(), end - separator.size());
    if (found == std::string::npos) break;
    budget.take();
    out.push_back(text.slice(found + separator.size(), end - found - separator.size()));
    end = found;
  }
  out.push_back(text.slice(0, end));
  std::reverse(out.begin(), out.end());
  return out;
}

/// str.split() without a separator: words between white space; `most` cuts, then the rest as it is.
inline std::vector<Value> split_at_space(const AuthoredText& text, std::int64_t most, Budget& budget) {
  budget.take_text(text.size());
  std::vector<Value> out;
  AuthoredText rest = stripped(text, {}, Side::left, budget);
  std::size_t begin = text.size() - rest.size();
  const std::string_view all = text.bytes();
  for (std::size_t at = begin; at < all.size() && most != 0;) {
    const io::Utf8Step step = io::read_utf8(all, at);
    if (!is_python_space(step.value)) {
      at += static_cast<std::size_t>(step.size);
      continue;
    }
    budget.take();
    out.push_back(text.slice(begin, at - begin));
    --most;
    while (at < all.size() && is_python_space(io::read_utf8(all, at).value))
      at += static_cast<std::size_t>(io::read_utf8(all, at).size);
    begin = at;
  }
  if (begin < all.size()) out.push_back(text.slice(begin, all.npos));
  return out;
}

/// str.splitlines()
inline std::vector<Value> split_lines(const AuthoredText& text, bool keep_ends, Budget& budget) {
  budget.take_text(text.size());
  std::vector<Value> out;
  const std::string_view all = text.bytes();
  std::size_t begin = 0;
  for (std::size_t at = 0; at < all.size();) {
    const io::Utf8Step step = io::read_utf8(all, at);
    const char32_t c = step.value;
    std::size_t end = at + static_cast<std::size_t>(step.size);
    const bool line_end =
        (c >= 0x0a && c <= 0x0d) || (c >= 0x1c && c <= 0x1e) || c == 0x85 || c == 0x2028 || c == 0x2029;
    if (line_end) {
      if (c == U'\r' && all.substr(end).starts_with('\n')) ++end;
      budget.take();
      out.push_back(text.slice(begin, (keep_ends ? end : at) - begin));
      begin = end;
    }
    at = end;
  }
  if (begin < all.size()) out.push_back(text.slice(begin, all.npos));
  return out;
}

/// The texts of `items` with `separator` between them.
inline AuthoredText joined(const std::vector<Value>& items, const AuthoredText& separator, Budget& budget) {
  AuthoredText out;
  for (std::size_t i = 0; i < items.size(); ++i) {
    const AuthoredText next = to_text(items[i], budget);
    budget.take_text(separator.size() + next.size());
    if (i > 0) out.append(separator);
    out.append(next);
  }
  budget.take_text(out.size());
  return out;
}

}  // namespace lamina::text::jinja
