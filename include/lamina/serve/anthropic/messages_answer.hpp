#pragma once
#include <memory>
#include <stop_token>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include <lamina/serve/openai/answer/answer_text.hpp>
#include <lamina/serve/openai/answer/answer_writer.hpp>
#include <lamina/serve/openai/answer/chat_response.hpp>
#include <lamina/serve/openai/answer/chunk_batch.hpp>
#include <lamina/serve/openai/answer/message_parser.hpp>

/// The answers of Anthropic's /v1/messages.
namespace lamina::serve {

/// Why an answer ended, and the stop sequence if it was one.
inline Json messages_end_json(int calls, const Completion& done) {
  const auto* stop = std::get_if<std::string>(&done.stop_reason);
  const char* reason = done.finish == engine::FinishReason::length ? "max_tokens"
                       : stop                                      ? "stop_sequence"
                       : calls > 0                                 ? "tool_use"
                                                                   : "end_turn";
  return {{"stop_reason", reason}, {"stop_sequence", stop ? Json(*stop) : Json()}};
}
/// What a message has before its content is there.
inline Json message_head_json(const ResponseHead& head) {
  return {{"id", head.id}, {"type", "message"}, {"role", "assistant"}, {"model", head.model}};
}
inline Json messages_error_json(const HttpReply& error) {
  const Json given = Json::parse(error.body, nullptr, false);
  const bool known = given.is_object() && given.contains("error");
  const char* type = error.status == 503  ? "overloaded_error"
                     : error.status < 500 ? "invalid_request_error"
                                          : "api_error";
  return {{"type", "error"},
          {"error", {{"type", type}, {"message", known ? given["error"].value("message", "") : "error"}}}};
}

/// Errors in the form that clients of this API read.
class MessagesExchange final : public Exchange {
 public:
  explicit MessagesExchange(std::shared_ptr<Exchange> inner) : inner_(std::move(inner)) {}
  void reply(HttpReply reply) override {
    if (reply.status >= 400) reply.body = compact(messages_error_json(reply));
    inner_->reply(std::move(reply));
  }
  void begin_stream(HttpReply head) override { inner_->begin_stream(std::move(head)); }
  void write(std::string bytes) override { inner_->write(std::move(bytes)); }
  void end_stream() override { inner_->end_stream(); }
  std::stop_token cancelled() const override { return inner_->cancelled(); }

 private:
  std::shared_ptr<Exchange> inner_;
};

/// The whole message.
class WholeMessage final : public AnswerWriter {
 public:
  WholeMessage(AnswerContext context, const GenerationRequest& request)
      : AnswerWriter(std::move(context), request), text_(context_.limits) {}

 private:
  void take(int, Delta delta) override { text_.append(delta.text); }
  void take_end(int, const Completion& done) override { done_ = done; }
  void end() override {
    const MessagePiece message = parse_message(request_.message, text_.view());
    Json content = Json::array();
    if (!message.reasoning.empty())
      content.push_back({{"type", "thinking"}, {"thinking", message.reasoning}, {"signature", ""}});
    if (!message.content.empty()) content.push_back({{"type", "text"}, {"text", message.content}});
    for (const auto& call : message.calls) {
      Json input = Json::parse(call.arguments, nullptr, false);
      content.push_back({{"type", "tool_use"}, {"id", "toolu_" + random_id()}, {"name", call.name}, {"input", input}});
    }
    Json out = message_head_json(context_.head);
    out["content"] = std::move(content);
    out.update(messages_end_json(static_cast<int>(message.calls.size()), done_));
    out["usage"] = {{"input_tokens", usage_.prompt_tokens}, {"output_tokens", usage_.completion_tokens}};
    context_.exchange->reply({200, compact(out), "application/json", {}});
  }

  AnswerText text_;
  Completion done_;
};

/// Server-sent events with names: a message, its blocks with their deltas, its end.
class StreamedMessage final : public EventWriter {
 public:
  StreamedMessage(AnswerContext context, const GenerationRequest& request)
      : EventWriter(std::move(context), request), batch_(request.stream_interval, false), parser_(request.message) {}

 private:
  enum class Block { none, thinking, text, call };

  void take(int, Delta delta) override {
    start();
    if (const auto chunk = batch_.add(std::move(delta))) send(parser_.push(chunk->text));
  }
  void take_end(int, const Completion& done) override {
    start();
    if (const auto rest = batch_.take()) send(parser_.push(rest->text));
    send(parser_.finish());
    close_block();
    write_named("message_delta", {{"delta", messages_end_json(parser_.calls(), done)},
                                  {"usage", {{"output_tokens", usage_.completion_tokens}}}});
  }
  void end() override {
    write_named("message_stop", Json::object());
    context_.exchange->end_stream();
  }
  void send_error(const HttpReply& error) override {
    if (!is_open()) return AnswerWriter::send_error(error);
    write_named("error", messages_error_json(error));
    context_.exchange->end_stream();
  }

  void start() {
    if (is_open()) return;
    Json message = message_head_json(context_.head);
    message.update({{"content", Json::array()}, {"stop_reason", nullptr}, {"stop_sequence", nullptr}});
    message["usage"] = {{"input_tokens", usage_.prompt_tokens}, {"output_tokens", 0}};
    write_named("message_start", {{"message", std::move(message)}});
  }
  void send(const MessagePiece& piece) {
    if (!piece.reasoning.empty()) {
      open(Block::thinking, {{"type", "thinking"}, {"thinking", ""}, {"signature", ""}});
      write_delta({{"type", "thinking_delta"}, {"thinking", piece.reasoning}});
    }
    if (!piece.content.empty()) {
      open(Block::text, {{"type", "text"}, {"text", ""}});
      write_delta({{"type", "text_delta"}, {"text", piece.content}});
    }
    for (const auto& part : piece.calls) {
      if (!part.name.empty()) {
        close_block();
        open(Block::call,
             {{"type", "tool_use"}, {"id", "toolu_" + random_id()}, {"name", part.name}, {"input", Json::object()}});
      }
      if (!part.arguments.empty()) write_delta({{"type", "input_json_delta"}, {"partial_json", part.arguments}});
    }
  }
  void open(Block block, Json content) {
    if (block_ == block) return;
    close_block();
    block_ = block;
    write_named("content_block_start", {{"index", index_}, {"content_block", std::move(content)}});
  }
  void close_block() {
    if (std::exchange(block_, Block::none) == Block::none) return;
    write_named("content_block_stop", {{"index", index_++}});
  }
  void write_delta(Json delta) { write_named("content_block_delta", {{"index", index_}, {"delta", std::move(delta)}}); }
  void write_named(const std::string& name, const Json& members) {
    Json json = {{"type", name}};
    json.update(members);
    write_event(cat("event: ", name, "\ndata: ", compact(json), "\n\n"));
  }

  ChunkBatch batch_;
  MessageParser parser_;
  Block block_ = Block::none;
  int index_ = 0;
};

}  // namespace lamina::serve
