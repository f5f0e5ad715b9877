#pragma once
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <lamina/serve/openai/answer/answer_writer.hpp>
#include <lamina/serve/openai/answer/chunk_batch.hpp>
#include <lamina/serve/openai/answer/message_parser.hpp>
#include <lamina/serve/openai/responses/response_items.hpp>

/// Answers of /v1/responses: a response, or the events of its making.
namespace lamina::serve {

/// The response object, whose output and whose repeated members are JSON already.
class ResponseObject {
 public:
  /// repeated: JSON of an object with the members that come from the request
  ResponseObject(const ResponseHead& head, const AnswerLimits& limits, std::string repeated)
      : head_(head), repeated_(limits) {
    repeated_.append(repeated);
  }

  /// output: items with commas between them; usage: null before the end
  std::string json(const char* status, std::string_view output, const Json& usage) const {
    const bool cut = std::string_view(status) == "incomplete";
    const Json open = {{"id", head_.id},
                       {"object", "response"},
                       {"created_at", head_.created},
                       {"model", head_.model},
                       {"status", status},
                       {"error", nullptr},
                       {"incomplete_details", cut ? Json{{"reason", "max_output_tokens"}} : Json()},
                       {"usage", usage}};
    return cat(open_end(open), R"(,"output":[)", output, "],", repeated_.view().substr(1));
  }

 private:
  ResponseHead head_;
  AnswerText repeated_;
};

namespace detail {

inline Json responses_usage_json(const Usage& usage, int thought_tokens) {
  return {{"input_tokens", usage.prompt_tokens},
          {"input_tokens_details", {{"cached_tokens", usage.cached_tokens}}},
          {"output_tokens", usage.completion_tokens},
          {"output_tokens_details", {{"reasoning_tokens", thought_tokens}}},
          {"total_tokens", usage.prompt_tokens + usage.completion_tokens}};
}
inline const char* response_status(const Completion& done) {
  return done.finish == engine::FinishReason::length ? "incomplete" : "completed";
}
/// The entries of tokens as JSON, with commas between them.
inline std::string logprob_entries(const text::Tokenizer& tokenizer, const std::vector<engine::Sampled>& tokens) {
  std::string out;
  for (const auto& token : tokens) out += (out.empty() ? "" : ",") + compact(logprob_json(tokenizer, token, false));
  return out;
}
inline std::string joined(const std::vector<OutputItem>& items, const char* status_of_last) {
  std::string out;
  for (const auto& item : items) {
    if (!out.empty()) out += ',';
    out += item.done(&item == &items.back() ? status_of_last : "completed");
  }
  return out;
}

}  // namespace detail

/// The whole response.
class WholeResponse final : public AnswerWriter {
 public:
  WholeResponse(AnswerContext context, const GenerationRequest& request, std::string repeated)
      : AnswerWriter(std::move(context), request),
        object_(context_.head, context_.limits, std::move(repeated)),
        text_(context_.limits),
        logprobs_(context_.limits),
        parser_(request.message) {}

 private:
  void take(int, Delta delta) override {
    parser_.push(delta.text);
    thought_tokens_ += parser_.thinking();
    text_.append(delta.text);
    if (parser_.thinking() || delta.tokens.empty()) return;
    if (!logprobs_.view().empty()) logprobs_.append(",");
    logprobs_.append(detail::logprob_entries(context_.tokenizer, delta.tokens));
  }
  void take_end(int, const Completion& done) override { done_ = done; }
  void end() override {
    const MessagePiece message = parse_message(request_.message, text_.view());
    std::vector<OutputItem> items;
    if (!message.reasoning.empty()) {
      items.push_back(OutputItem::reasoning(context_.limits));
      items.back().append(message.reasoning);
    }
    if (!message.content.empty()) {
      items.push_back(OutputItem::message(context_.limits));
      items.back().append(message.content);
      items.back().append_logprobs(std::string(logprobs_.view()));
    }
    for (const auto& call : message.calls) {
      items.push_back(OutputItem::call(context_.limits, call.name));
      items.back().append(call.arguments);
    }
    const char* status = detail::response_status(done_);
    const Json usage = detail::responses_usage_json(usage_, thought_tokens_);
    context_.exchange->reply({200, object_.json(status, detail::joined(items, status), usage), "application/json", {}});
  }

  ResponseObject object_;
  AnswerText text_, logprobs_;
  MessageParser parser_;
  int thought_tokens_ = 0;
  Completion done_;
};

/// Server-sent events with names and numbers: the response is created, its items are added, filled and done, and it is
/// complete.
class StreamedResponse final : public EventWriter {
 public:
  StreamedResponse(AnswerContext context, const GenerationRequest& request, std::string repeated)
      : EventWriter(std::move(context), request),
        object_(context_.head, context_.limits, std::move(repeated)),
        batch_(request.stream_interval, false),
        parser_(request.message),
        counter_(request.message) {}

 private:
  using Kind = OutputItem::Kind;

  void take(int, Delta delta) override {
    start();
    counter_.push(delta.text);
    thought_tokens_ += counter_.thinking();
    if (const auto chunk = batch_.add(std::move(delta))) send(*chunk);
  }
  void take_end(int, const Completion& done) override {
    start();
    if (const auto rest = batch_.take()) send(*rest);
    send(parser_.finish());
    const char* status = detail::response_status(done);
    close_item(status);
    write_response(cat("response.", status), status, detail::joined(items_, status),
                   detail::responses_usage_json(usage_, thought_tokens_));
  }
  void end() override { context_.exchange->end_stream(); }
  /// As an event of OpenAI's API, and as the member that clients raise on.
  void send_error(const HttpReply& error) override {
    if (!is_open()) return AnswerWriter::send_error(error);
    const Json given = Json::parse(error.body, nullptr, false);
    const Json inner = given.is_object() ? given.value("error", Json::object()) : Json::object();
    const std::string message = inner.value("message", "error");
    write_named("error", {{"code", "server_error"}, {"message", message}, {"param", nullptr}, {"error", inner}});
    context_.exchange->end_stream();
  }

  void start() {
    if (is_open()) return;
    write_response("response.created", "in_progress", "", nullptr);
    write_response("response.in_progress", "in_progress", "", nullptr);
  }
  void send(const Delta& delta) {
    MessagePiece piece = parser_.push(delta.text);
    if (!parser_.thinking() && !delta.tokens.empty()) {
      if (!logprobs_.empty()) logprobs_ += ',';
      logprobs_ += detail::logprob_entries(context_.tokenizer, delta.tokens);
    }
    send(piece);
  }
  void send(const MessagePiece& piece) {
    if (!piece.reasoning.empty()) {
      open(Kind::reasoning);
      add_text("response.reasoning_text.delta", piece.reasoning);
    }
    if (!piece.content.empty()) {
      open(Kind::message);
      add_text("response.output_text.delta", piece.content);
    }
    for (const auto& part : piece.calls) {
      if (!part.name.empty()) open(OutputItem::call(context_.limits, part.name));
      if (!part.arguments.empty()) add_text("response.function_call_arguments.delta", part.arguments);
    }
  }
  /// Makes an item of this kind the last one, unless it is.
  void open(Kind kind) {
    if (is_item_open_ && items_.back().kind() == kind) return;
    open(kind == Kind::reasoning ? OutputItem::reasoning(context_.limits) : OutputItem::message(context_.limits));
  }
  void open(OutputItem item) {
    close_item("completed");
    items_.push_back(std::move(item));
    is_item_open_ = true;
    write_named("response.output_item.added", {{"output_index", index()}, {"item", items_.back().begun()}});
    if (items_.back().kind() != Kind::call)
      write_named("response.content_part.added", {{"part", items_.back().begun_part()}}, true);
  }
  void add_text(const char* event, const std::string& text) {
    OutputItem& item = items_.back();
    item.append(text);
    Json members = {{"delta", text}};
    if (item.kind() != Kind::message) return write_named(event, members, true);
    std::string logprobs = std::exchange(logprobs_, {});
    write_named(event, members, true, cat(R"("logprobs":[)", logprobs, "]"));
    item.append_logprobs(logprobs);
  }
  void close_item(const char* status) {
    if (!std::exchange(is_item_open_, false)) return;
    OutputItem& item = items_.back();
    if (item.kind() == Kind::call) {
      write_named("response.function_call_arguments.done", {{"name", item.name()}, {"arguments", item.text()}}, true);
    } else {
      if (item.kind() == Kind::message) item.append_logprobs(std::exchange(logprobs_, {}));
      write_text_done(item);
      write_named("response.content_part.done", Json::object(), true, cat(R"("part":)", item.part()));
    }
    write_named("response.output_item.done", {{"output_index", index()}}, false, cat(R"("item":)", item.done(status)));
  }
  void write_text_done(const OutputItem& item) {
    const Json members = {{"text", item.text()}};
    if (item.kind() == Kind::reasoning) return write_named("response.reasoning_text.done", members, true);
    write_named("response.output_text.done", members, true, cat(R"("logprobs":[)", item.logprobs(), "]"));
  }

  int index() const { return static_cast<int>(items_.size()) - 1; }
  void write_response(const std::string& name, const char* status, std::string_view output, const Json& usage) {
    write_named(name, Json::object(), false, cat(R"("response":)", object_.json(status, output, usage)));
  }
  /// of_item: the event is about the last item. more: a further member, as JSON
  void write_named(const std::string& name, const Json& members, bool of_item = false, const std::string& more = {}) {
    Json json = {{"type", name}, {"sequence_number", number_++}};
    if (of_item) {
      json.update({{"item_id", items_.back().id()}, {"output_index", index()}});
      if (items_.back().kind() != Kind::call) json["content_index"] = 0;
    }
    json.update(members);
    write_event(cat("event: ", name, "\ndata: ", open_end(json), more.empty() ? "" : ",", more, "}\n\n"));
  }

  ResponseObject object_;
  ChunkBatch batch_;
  MessageParser parser_, counter_;  ///< of what was sent, and of what came
  std::vector<OutputItem> items_;
  bool is_item_open_ = false;
  std::string logprobs_;  ///< of tokens whose text was not sent yet
  int number_ = 0, thought_tokens_ = 0;
};

}  // namespace lamina::serve
