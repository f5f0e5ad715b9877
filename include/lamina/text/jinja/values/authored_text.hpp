#pragma once
#include <lamina/text/prompt_segment.hpp>

#include <algorithm>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace lamina::text::jinja {

/// A string that remembers for each byte who wrote it: the template, or the values that it is given. Slicing and
/// appending keep this exactly, so that a prompt can be cut into its PromptSegments however a template took its
/// content apart. Bytes are UTF-8.
class AuthoredText {
 public:
  AuthoredText() = default;
  AuthoredText(std::string bytes, bool from_input) : bytes_(std::move(bytes)), uniform_(from_input) {}

  const std::string& bytes() const { return bytes_; }
  std::size_t size() const { return bytes_.size(); }
  bool empty() const { return bytes_.empty(); }

  /// Did the inputs write any of it?
  bool any_input() const {
    return !bytes_.empty() && (authors_.empty() ? uniform_ : authors_.find('\1') != std::string::npos);
  }

  AuthoredText slice(std::size_t begin, std::size_t size) const {
    AuthoredText out(bytes_.substr(begin, size), uniform_);
    if (!authors_.empty()) out.authors_ = authors_.substr(begin, size);
    return out;
  }

  void append(const AuthoredText& other) {
    if (other.empty()) return;
    if (empty()) {
      *this = other;
      return;
    }
    if (authors_.empty() && other.authors_.empty() && uniform_ == other.uniform_) {
      bytes_ += other.bytes_;
      return;
    }
    if (authors_.empty()) authors_.assign(bytes_.size(), static_cast<char>(uniform_));
    bytes_ += other.bytes_;
    other.authors_.empty() ? authors_.append(other.bytes_.size(), static_cast<char>(other.uniform_))
                           : authors_.append(other.authors_);
  }
  void append(std::string_view bytes) { append(AuthoredText(std::string(bytes), false)); }

  /// The text cut where its author changes.
  std::vector<PromptSegment> segments() const {
    std::vector<PromptSegment> out;
    if (authors_.empty()) {
      append_segment(out, bytes_, !uniform_);
      return out;
    }
    for (std::size_t begin = 0; begin < bytes_.size();) {
      const std::size_t end = std::min(authors_.find_first_not_of(authors_[begin], begin), bytes_.size());
      append_segment(out, std::string_view(bytes_).substr(begin, end - begin), authors_[begin] == 0);
      begin = end;
    }
    return out;
  }

 private:
  std::string bytes_;
  std::string authors_;   // 1 for each byte that the inputs wrote, else 0; empty if all have one author
  bool uniform_ = false;  // whether that one is the inputs
};

}  // namespace lamina::text::jinja
