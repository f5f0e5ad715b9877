#pragma once
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <lamina/serve/jobs/random_id.hpp>
#include <lamina/serve/openai/answer/answer_text.hpp>
#include <lamina/serve/openai/answer/chat_response.hpp>

namespace lamina::serve {

/// One item of a response's output, while it is made and when it is done: a thought, a message or a function call.
class OutputItem {
 public:
  enum class Kind { reasoning, message, call };

  static OutputItem reasoning(const AnswerLimits& limits) { return {Kind::reasoning, "rs_", limits}; }
  static OutputItem message(const AnswerLimits& limits) { return {Kind::message, "msg_", limits}; }
  static OutputItem call(const AnswerLimits& limits, std::string name) {
    OutputItem out(Kind::call, "fc_", limits);
    out.name_ = std::move(name);
    return out;
  }

  Kind kind() const { return kind_; }
  const std::string& id() const { return id_; }
  const std::string& name() const { return name_; }
  /// The thought, the message's text, or the call's arguments.
  std::string_view text() const { return text_.view(); }
  void append(std::string_view text) { text_.append(text); }
  /// The entries of further tokens of a message, as JSON with commas between them.
  void append_logprobs(const std::string& entries) {
    if (!logprobs_.view().empty() && !entries.empty()) logprobs_.append(",");
    logprobs_.append(entries);
  }
  std::string_view logprobs() const { return logprobs_.view(); }

  /// The item as it was added to the output: without text.
  Json begun() const {
    Json out = head("in_progress");
    if (kind_ == Kind::call)
      out["arguments"] = "";
    else
      out["content"] = Json::array();
    return out;
  }
  /// The only part of its content before there is any text.
  Json begun_part() const {
    if (kind_ == Kind::reasoning) return {{"type", "reasoning_text"}, {"text", ""}};
    return {{"type", "output_text"}, {"text", ""}, {"annotations", Json::array()}, {"logprobs", Json::array()}};
  }
  /// The only part of its content, as JSON.
  std::string part() const {
    if (kind_ == Kind::reasoning) return compact({{"type", "reasoning_text"}, {"text", text()}});
    const Json open = {{"type", "output_text"}, {"text", text()}, {"annotations", Json::array()}};
    return cat(open_end(open), R"(,"logprobs":[)", logprobs(), "]}");
  }
  /// The whole item, as JSON. status: completed, or incomplete if the answer was cut in it
  std::string done(const char* status) const {
    Json out = head(status);
    if (kind_ == Kind::call) {
      out["arguments"] = text();
      return compact(out);
    }
    return cat(open_end(out), R"(,"content":[)", part(), "]}");
  }

 private:
  OutputItem(Kind kind, const char* prefix, const AnswerLimits& limits)
      : kind_(kind), id_(prefix + random_id()), call_id_("call_" + random_id()), text_(limits), logprobs_(limits) {}

  Json head(const char* status) const {
    switch (kind_) {
      case Kind::reasoning:
        return {{"id", id_}, {"type", "reasoning"}, {"summary", Json::array()}, {"status", status}};
      case Kind::message:
        return {{"id", id_}, {"type", "message"}, {"role", "assistant"}, {"status", status}};
      case Kind::call:
        break;
    }
    return {{"id", id_}, {"type", "function_call"}, {"call_id", call_id_}, {"name", name_}, {"status", status}};
  }

  Kind kind_;
  std::string id_, call_id_, name_;
  AnswerText text_, logprobs_;
};

}  // namespace lamina::serve
