#pragma once
#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <lamina/engine/request/stop.hpp>
#include <lamina/io/json.hpp>
#include <lamina/model/chat_format.hpp>
#include <lamina/serve/openai/request/json_fields.hpp>

namespace lamina::serve {

/// What became certain of a function call. The first part of a call has its name, the pieces of all parts are its
/// arguments: JSON, spelt as the model wrote it.
struct ToolCallPart {
  int call = 0;
  std::string name = {}, arguments = {};
};

/// What became certain of an answer that may call functions.
struct ToolPiece {
  std::string content;
  std::vector<ToolCallPart> calls;
};

namespace detail {

/// One call while it is written, byte by byte: {"name": "...", "arguments": {...}}.
class ToolCallText {
 public:
  /// Takes a byte. Returns true if the object is complete with it, or can be none.
  bool push(char c) {
    text_ += c;
    if (string_) return push_in_string(c), false;
    if (c == ' ' || c == '\n' || c == '\r' || c == '\t') return false;
    if (depth_ == 0 && c != '{') return true;
    if (value_at_ == awaited && c != ':') value_at_ = text_.size() - 1;
    if (c == '"') string_ = true, string_at_ = text_.size() - 1;
    if (c == '{' || c == '[') ++depth_;
    if (c == '}' || c == ']') --depth_;
    if (depth_ == 1 && c == ':') key_ = last_string_, value_at_ = awaited;
    if (depth_ == 0 || (depth_ == 1 && c == ',')) end_value(text_.size() - 1);
    if (depth_ == 1 && (c == '}' || c == ']')) end_value(text_.size());
    return depth_ == 0;
  }
  /// The name as JSON, once it is known.
  const std::string& name() const { return name_; }
  /// Bytes of the arguments that are there, and certain to be of them.
  std::string_view arguments() const {
    if (arguments_end_) return std::string_view(text_).substr(arguments_at_, *arguments_end_ - arguments_at_);
    if (value_at_ == awaited || value_at_ == none || key_ != R"("arguments")") return {};
    // Blanks behind a number may be behind the arguments.
    const std::string_view begun = std::string_view(text_).substr(value_at_);
    return depth_ > 1 || string_ ? begun : begun.substr(0, begun.find_last_not_of(" \n\r\t") + 1);
  }
  const std::string& text() const { return text_; }
  /// It has two names, or arguments twice: what was reported may be wrong.
  bool twice() const { return twice_; }

 private:
  static constexpr std::size_t none = std::string::npos, awaited = none - 1;

  void push_in_string(char c) {
    if (escaped_ || c == '\\') {
      escaped_ = !escaped_;
      return;
    }
    if (c != '"') return;
    string_ = false;
    if (depth_ == 1) last_string_ = text_.substr(string_at_);
  }
  /// The value of a member ends before byte `at`.
  void end_value(std::size_t at) {
    if (value_at_ == none || value_at_ == awaited) return;
    const std::size_t end = text_.find_last_not_of(" \n\r\t", at - 1) + 1;
    if (key_ == R"("name")") {
      twice_ = twice_ || !name_.empty();
      name_ = text_.substr(value_at_, end - value_at_);
    } else if (key_ == R"("arguments")") {
      twice_ = twice_ || arguments_end_;
      if (!arguments_end_) arguments_at_ = value_at_, arguments_end_ = end;
    }
    value_at_ = none;
  }

  std::string text_, key_, last_string_, name_;  ///< strings with their quotes
  std::size_t string_at_ = 0, value_at_ = none, arguments_at_ = 0;
  std::optional<std::size_t> arguments_end_;
  int depth_ = 0;
  bool string_ = false, escaped_ = false, twice_ = false;
};

}  // namespace detail

/// Finds the calls in an answer of Hermes' format, which Qwen's templates ask for: each a JSON object between two
/// words, here <tool_call> and </tool_call>. Text before the first call is content, text behind it is dropped. The
/// answer may come in pieces of any lengths: what is returned depends on them only in how it is cut.
class ToolParser {
 public:
  /// most_calls: those that follow are dropped
  ToolParser(const ToolMarks& marks, int most_calls)
      : marks_(&marks), most_calls_(most_calls), begin_({std::string(marks.call_begin)}) {}

  ToolPiece push(std::string_view text) {
    ToolPiece out;
    for (const char c : text) {
      if (inside_)
        push_in_call(c, out);
      else
        push_outside(c, out);
    }
    if (inside_) report_arguments(out);
    return out;
  }
  /// The answer has ended.
  ToolPiece finish() {
    ToolPiece out;
    if (inside_) return break_off(out), out;
    if (calls_ == 0) out.content = begin_.finish();
    return out;
  }
  /// Calls that were reported.
  int calls() const { return calls_; }
  /// Something that began as a call was none. Of a whole answer all text is content then, as in vLLM.
  bool broken() const { return broken_; }

 private:
  void push_outside(char c, ToolPiece& out) {
    const std::string certain = begin_.push(std::string_view(&c, 1));
    if (calls_ == 0) out.content += certain;
    if (!begin_.matched()) return;
    begin_ = engine::StopMatcher({std::string(marks_->call_begin)});
    inside_.emplace();
    reported_ = 0;
    named_ = false;
  }
  void push_in_call(char c, ToolPiece& out) {
    if (!inside_->push(c)) return;
    if (const auto call = read_call()) {
      report_name(call->first, out);
      report_arguments(out);
      inside_.reset();
    } else {
      break_off(out);
    }
  }
  /// Name and arguments of the complete object; nothing if it is no call.
  std::optional<std::pair<std::string, std::string>> read_call() const {
    if (inside_->twice()) return {};
    try {
      const Json call = io::parse_json<Json>(inside_->text(), client_json_limits("tool call"));
      if (!call.is_object() || !call.contains("arguments") || !call.contains("name")) return {};
      if (!call["name"].is_string() || call["name"].get_ref<const std::string&>().empty()) return {};
      return std::pair(call["name"].get<std::string>(), std::string(inside_->arguments()));
    } catch (const std::exception&) {
      return {};
    }
  }
  void report_name(const std::string& name, ToolPiece& out) {
    if (named_ || calls_ == most_calls_) return;
    named_ = true;
    out.calls.push_back({calls_++, name, {}});
  }
  /// Those that are certain, once the name is.
  void report_arguments(ToolPiece& out) {
    const std::string_view arguments = inside_->arguments();
    if (!named_ && arguments.empty()) return;
    if (!named_ && !name_so_far(out)) return;
    if (arguments.size() == reported_) return;
    if (out.calls.empty() || out.calls.back().call != calls_ - 1) out.calls.push_back({calls_ - 1, {}, {}});
    out.calls.back().arguments += arguments.substr(reported_);
    reported_ = arguments.size();
  }
  bool name_so_far(ToolPiece& out) {
    const Json name = Json::parse(inside_->name(), nullptr, false);
    if (!name.is_string() || name.get_ref<const std::string&>().empty()) return false;
    report_name(name.get<std::string>(), out);
    return named_;
  }
  /// What began as a call is none: its text is content, unless a part of the call was reported.
  void break_off(ToolPiece& out) {
    broken_ = true;
    if (calls_ == 0) out.content += std::string(marks_->call_begin) + inside_->text();
    inside_.reset();
  }

  const ToolMarks* marks_;
  int most_calls_, calls_ = 0;
  engine::StopMatcher begin_;
  std::optional<detail::ToolCallText> inside_;  ///< the call that is being written
  std::size_t reported_ = 0;                    ///< bytes of its arguments
  bool named_ = false, broken_ = false;
};

}  // namespace lamina::serve
