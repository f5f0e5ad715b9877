#pragma once
#include <lamina/core/error.hpp>
#include <lamina/core/threads/cancelled.hpp>

#include <cstddef>
#include <cstdint>
#include <stop_token>
#include <string>

namespace lamina::text::jinja {

/// A template that cannot be read or rendered; the message begins "chat template line 12: ".
struct TemplateError : Error {
  using Error::Error;
};
/// A template called raise_exception: what() is the text that it gave, nothing else.
struct RaisedByTemplate : Error {
  using Error::Error;
};

/// How much a template may do. What depends on the conversation grows with it, so that a long one is never too long for
/// a template that looks at each part of it a few times.
struct TemplateLimits {
  std::size_t template_bytes = std::size_t{1} << 20;
  int nesting = 200;                       ///< of expressions and blocks in a template's text
  int calls = 600;                         ///< of evaluations inside each other, over macros
  std::int64_t steps = 1'000'000;          ///< a step: a statement, an operation, an item, 16 bytes of new text
  std::int64_t steps_per_input_byte = 32;  ///< and so many more
  std::int64_t output_bytes = 1 << 20;
  std::int64_t output_per_input_byte = 8;
};

/// Counts what one rendering does.
class Budget {
 public:
  /// input_bytes: of all values that the template is given.
  Budget(const TemplateLimits& limits, std::int64_t input_bytes, std::stop_token cancelled)
      : limits_(limits),
        steps_(limits.steps + limits.steps_per_input_byte * input_bytes),
        output_(limits.output_bytes + limits.output_per_input_byte * input_bytes),
        left_(steps_),
        cancelled_(std::move(cancelled)) {}

  /// Error if no steps are left; throws Cancelled.
  void take(std::int64_t steps = 1) {
    left_ -= steps;
    if (left_ < 0) fail("takes more than ", steps_, " steps, all that a conversation of this size gets");
    if ((unchecked_ += steps) < check_interval) return;
    unchecked_ = 0;
    throw_if_stopped(cancelled_);
  }
  /// For text that is made.
  void take_text(std::size_t bytes) {
    check_length(bytes);
    take(1 + static_cast<std::int64_t>(bytes / 16));
  }
  /// Error if a text is longer than the whole prompt may be.
  void check_length(std::size_t bytes) const {
    if (bytes > static_cast<std::size_t>(output_))
      fail("writes a text of ", bytes, " bytes, more than the ", output_, " that a conversation of this size gets");
  }

  const TemplateLimits& limits() const { return limits_; }

 private:
  static constexpr std::int64_t check_interval = 4096;
  TemplateLimits limits_;
  std::int64_t steps_, output_, left_, unchecked_ = 0;
  std::stop_token cancelled_;
};

}  // namespace lamina::text::jinja
