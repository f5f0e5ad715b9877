#pragma once
#include <algorithm>
#include <functional>
#include <memory>
#include <stop_token>
#include <string>
#include <utility>
#include <vector>

#include <lamina/serve/anthropic/messages_answer.hpp>
#include <lamina/serve/anthropic/messages_request.hpp>
#include <lamina/serve/openai/answer/answer_writer.hpp>
#include <lamina/serve/openai/answer/chat_answer.hpp>
#include <lamina/serve/openai/answer/completion_answer.hpp>
#include <lamina/serve/openai/request/chat/chat_batch.hpp>
#include <lamina/serve/openai/request/completion_request.hpp>
#include <lamina/serve/openai/responses/responses_answer.hpp>
#include <lamina/serve/openai/responses/responses_request.hpp>
#include <lamina/serve/prompt/prompt_maker.hpp>

namespace lamina::serve {

/// A request that was read, whatever API it came by.
struct Question {
  GenerationRequest request;
  bool has_images = false, has_remote_images = false;  ///< or videos; remote: on the web
  const char* id_prefix = "chatcmpl-";
  const char* prompt_field = "messages";  ///< what errors of its prompts name
  /// Makes its prompts, once. Throws ApiError and Cancelled.
  std::function<std::vector<PreparedPrompt>(const std::stop_token& cancelled)> prompts = {};
  /// Makes what writes its answer; the request is that of the question.
  std::function<std::unique_ptr<AnswerWriter>(AnswerContext, const GenerationRequest&)> writer = {};
};

/// The forms of one answer: a JSON object, or server-sent events.
template <class Whole, class Streamed, class... More>
std::unique_ptr<AnswerWriter> make_writer(AnswerContext context, const GenerationRequest& request, More... more) {
  if (request.stream) return std::make_unique<Streamed>(std::move(context), request, std::move(more)...);
  return std::make_unique<Whole>(std::move(context), request, std::move(more)...);
}

inline Question chat_question(ChatRequest request, PromptMaker& maker, int max_model_len) {
  const auto &images = request.chat.images, &videos = request.chat.videos;
  Question out{.request = request,
               .has_images = !images.empty() || !videos.empty(),
               .has_remote_images = std::any_of(images.begin(), images.end(), is_remote) ||
                                    std::any_of(videos.begin(), videos.end(), is_remote)};
  const int output_tokens = request.max_tokens.value_or(1);
  out.prompts = [&maker, max_model_len, output_tokens,
                 shared = std::make_shared<ChatRequest>(std::move(request))](const std::stop_token& cancelled) {
    std::vector<PreparedPrompt> prompts;
    auto planned = maker.plan(*shared, {max_model_len, output_tokens, cancelled, shared->truncation});
    prompts.push_back(maker.read_media(std::move(planned), cancelled));
    return prompts;
  };
  out.writer = [](AnswerContext context, const GenerationRequest& asked) {
    return make_writer<WholeAnswer, StreamedAnswer>(std::move(context), asked);
  };
  return out;
}

/// A chat as Anthropic's API asks for it and reads its answer.
inline Question messages_question(ChatRequest request, PromptMaker& maker, int max_model_len) {
  Question out = chat_question(std::move(request), maker, max_model_len);
  out.id_prefix = "msg_";
  out.writer = [](AnswerContext context, const GenerationRequest& asked) {
    return make_writer<WholeMessage, StreamedMessage>(std::move(context), asked);
  };
  return out;
}

/// A chat as /v1/responses asks for it.
inline Question responses_question(ResponsesRequest request, PromptMaker& maker, int max_model_len) {
  const auto places = request.places;
  const auto repeated = std::make_shared<std::string>(compact(request.repeated));
  Question out = chat_question(std::move(request), maker, max_model_len);
  out.id_prefix = "resp_";
  out.prompt_field = "input";
  out.prompts = [places, chat = std::move(out.prompts)](const std::stop_token& cancelled) {
    return places->guard([&] { return chat(cancelled); });
  };
  out.writer = [repeated](AnswerContext context, const GenerationRequest& asked) {
    return make_writer<WholeResponse, StreamedResponse>(std::move(context), asked, std::exchange(*repeated, {}));
  };
  return out;
}

/// Conversations of equal settings, answered together: one choice for each.
inline Question batch_question(std::vector<ChatRequest> requests, PromptMaker& maker, int max_model_len) {
  Question out{.request = requests.front()};
  std::vector<Question> each;
  for (auto& request : requests) {
    each.push_back(chat_question(std::move(request), maker, max_model_len));
    out.has_images = out.has_images || each.back().has_images;
    out.has_remote_images = out.has_remote_images || each.back().has_remote_images;
  }
  out.prompts = [each = std::move(each)](const std::stop_token& cancelled) {
    std::vector<PreparedPrompt> prompts;
    for (const auto& one : each) prompts.push_back(std::move(one.prompts(cancelled).front()));
    return prompts;
  };
  out.writer = [](AnswerContext context, const GenerationRequest& asked) {
    return make_writer<WholeAnswer, StreamedAnswer>(std::move(context), asked);
  };
  return out;
}

inline Question completion_question(CompletionRequest request, PromptMaker& maker, int max_model_len) {
  Question out{.request = request, .id_prefix = "cmpl-", .prompt_field = "prompt"};
  const auto shared = std::make_shared<CompletionRequest>(std::move(request));
  out.prompts = [&maker, max_model_len, shared](const std::stop_token& cancelled) {
    std::vector<PreparedPrompt> prompts;
    const int output_tokens = std::max(shared->max_tokens.value_or(1), 1);
    for (const auto& prompt : shared->prompts)
      prompts.push_back(maker.completion(prompt, {max_model_len, output_tokens, cancelled, shared->truncation}));
    return prompts;
  };
  out.writer = [shared](AnswerContext context, const GenerationRequest& asked) {
    std::vector<std::string> echoed;
    for (std::size_t i = 0; shared->echo && i < shared->prompts.size(); ++i) {
      const auto* text = std::get_if<std::string>(&shared->prompts[i]);
      const bool cut = shared->truncation.tokens != 0;
      if (asked.return_token_ids)
        echoed.emplace_back();  // as vLLM: the ids stand for the text
      else
        echoed.push_back(text && !cut ? *text : context.tokenizer.decode(context.prompts[i]->ids));
    }
    return make_writer<WholeCompletion, StreamedCompletion>(std::move(context), asked, echoed);
  };
  return out;
}

}  // namespace lamina::serve
