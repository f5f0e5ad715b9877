#pragma once
#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <lamina/core/log.hpp>
#include <lamina/core/threads/cancelled.hpp>
#include <lamina/engine/engine.hpp>
#include <lamina/serve/adapters/named_adapters.hpp>
#include <lamina/serve/http/transport.hpp>
#include <lamina/serve/jobs/admission.hpp>
#include <lamina/serve/jobs/job.hpp>
#include <lamina/serve/jobs/question.hpp>
#include <lamina/serve/jobs/random_id.hpp>
#include <lamina/serve/openai.hpp>
#include <lamina/serve/prompt/structures.hpp>
#include <lamina/serve/service_options.hpp>
#include <lamina/serve/watch/metrics.hpp>

namespace lamina::serve {

/// The model behind the API: prepares requests on threads of its own, then submits their choices to the engine. A
/// request has one choice waiting there at a time, so that others come between, and those that follow find its prompt
/// read.
class ChatService {
 public:
  ChatService(ModelFiles files, std::unique_ptr<engine::EngineSession> session, ServiceOptions options)
      : files_(std::move(files)),
        options_(std::move(options)),
        prompts_(files_, options_.media, options_.media_bytes, options_.media_patience),
        structures_(files_.tokenizer, files_.eos),
        admission_(options_.max_requests),
        engine_(std::move(session), options_.engine),
        adapters_(engine_, files_.family->names, options_.served_names),
        counts_(engine_.context_tokens()) {
    if (options_.served_names.empty()) fail("service: no served model name");
  }
  ~ChatService() { stop(); }

  /// The server will end: who comes from now on or waits (be it for the next of its choices) gets 503, or an error
  /// event in an open stream. Preparation is given up. Choices that are being made go on.
  void drain() {
    admission_.drain();
    engine_.cancel_waiting();
  }
  /// Ends the answers that have begun within a step: an error event in a stream, else 503.
  void cancel() { engine_.cancel_all(); }
  /// Both, and returns when no work is left and no exchange is held.
  void stop() {
    drain();
    cancel();
    admission_.stop();
    engine_.stop();
  }

  /// stop(), if all work ends in time; else false, and the work goes on.
  bool stop_within(std::chrono::milliseconds time) {
    drain();
    cancel();
    const auto until = std::chrono::steady_clock::now() + time;
    while (load() > 0 && std::chrono::steady_clock::now() < until)
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    if (load() > 0) return false;
    stop();
    return true;
  }

  const ModelFiles& files() const { return files_; }
  const ServiceOptions& options() const { return options_; }
  /// Computed parts of prompts are not used again.
  void forget_prefixes() { engine_.forget_prefixes(); }
  int max_model_len() const { return engine_.context_tokens(); }
  /// False once drain() was called.
  bool admits() const { return admission_.admits(); }
  /// Requests that are waiting or running.
  int load() const { return admission_.load(); }
  engine::Statistics statistics() const { return engine_.statistics(); }
  PromptCounts::Counts prompt_counts() const { return counts_.snapshot(); }
  EngineFacts engine_facts() const {
    return {.model_name = options_.served_names.front(),
            .page_tokens = engine_.sizes().page_tokens,
            .pages = engine_.sizes().pages,
            .prefix_cache = options_.engine.prefix_cache,
            .adapter_slots = engine_.sizes().adapter_slots};
  }
  RequestLimits limits() const {
    return {.chat = &files_.family->chat,
            .chat_template = &files_.chat_template,
            .trust_chat_template = options_.trust_chat_template,
            .vocab_size = engine_.vocab_size(),
            .max_model_len = engine_.context_tokens(),
            .eos = files_.eos,
            .max_images = options_.max_images,
            .max_videos = options_.max_videos,
            .max_logprobs = options_.max_logprobs,
            .defaults = options_.request_defaults,
            .priorities = options_.priorities};
  }

  /// Runs `work` for a request, off the network threads; what it throws becomes the answer. 503 if too many requests
  /// are here. `work` may hold the request.
  void post(std::shared_ptr<Exchange> exchange, const HttpRequest& request, Admission::Preparation work) {
    if (auto guest = admission_.admit(std::move(exchange)))
      admission_.prepare(request, std::move(*guest), std::move(work));
  }
  /// post() of work that others should not wait for.
  void post_slowly(std::shared_ptr<Exchange> exchange, const HttpRequest& request, Admission::Preparation work) {
    if (auto guest = admission_.admit(std::move(exchange)))
      admission_.prepare_slowly(request, std::move(*guest), std::move(work));
  }
  /// Answers a chat request; the body is not looked at yet.
  void chat(std::shared_ptr<Exchange> exchange, HttpRequest request) {
    ask(std::move(exchange), std::move(request), [this](const Json& body) {
      return chat_question(read_chat_request(body, limits(), files_.defaults), prompts_, max_model_len());
    });
  }
  /// Answers a request of /v1/messages.
  void messages(std::shared_ptr<Exchange> exchange, HttpRequest request) {
    ask(std::move(exchange), std::move(request), [this](const Json& body) {
      return messages_question(read_messages_request(body, limits(), files_.defaults), prompts_, max_model_len());
    });
  }
  /// Answers a request of /v1/responses.
  void respond(std::shared_ptr<Exchange> exchange, HttpRequest request) {
    ask(std::move(exchange), std::move(request), [this](const Json& body) {
      return responses_question(read_responses_request(body, limits(), files_.defaults), prompts_, max_model_len());
    });
  }
  /// Answers a request of /v1/chat/completions/batch.
  void chat_batch(std::shared_ptr<Exchange> exchange, HttpRequest request) {
    ask(std::move(exchange), std::move(request), [this](const Json& body) {
      return batch_question(read_chat_batch(body, limits(), files_.defaults), prompts_, max_model_len());
    });
  }
  /// Answers a request of /v1/completions.
  void complete(std::shared_ptr<Exchange> exchange, HttpRequest request) {
    ask(std::move(exchange), std::move(request), [this](const Json& body) {
      return completion_question(read_completion_request(body, limits(), files_.defaults), prompts_, max_model_len());
    });
  }

  /// The ids of a text; see PromptMaker::tokenize.
  std::vector<int> tokenize(std::string_view text, const std::stop_token& cancelled) {
    return prompts_.tokenize(text, cancelled);
  }
  /// The ids of a conversation; no image is decoded, and none is fetched from the web. Throws ApiError and Cancelled.
  std::vector<int> tokenize(ChatRequest request, const std::stop_token& cancelled) {
    for (const auto* sources : {&request.chat.images, &request.chat.videos})
      for (const MediaSource& source : *sources)
        if (is_remote(source))
          throw bad_field(source.param, source.param + ": tokens of files on the web are not counted; send the file " +
                                            "itself as data:image/png;base64,<data> or data:video/mp4;base64,<data>");
    return prompts_.plan(request, {max_model_len(), 0, cancelled, {}}).plan.ids;
  }
  static ApiError unknown_model(const std::string& name) {
    return {404, "NotFoundError", "The model `" + clipped(name) + "` does not exist.", "model"};
  }
  /// The adapters that requests may name.
  NamedAdapters& adapters() { return adapters_; }
  /// The adapter that a request names; null for the model itself. ApiError if neither has this name.
  std::shared_ptr<const engine::LoadedAdapter> check_model(const std::optional<std::string>& name) const;

 private:
  /// Which requests a preparing thread takes: fetching, also those with images of the web.
  enum class Pace { short_only, any, fetching };
  /// What a body asks, or an ApiError.
  using Read = std::function<Question(const Json& body)>;
  void ask(std::shared_ptr<Exchange> exchange, HttpRequest request, Read read);
  void prepare_question(const Guest& guest, const std::shared_ptr<HttpRequest>& request, const Read& read, Pace pace,
                        const std::stop_token& cancelled);
  PreparedRequest prepare(const HttpRequest& http, Question question,
                          std::shared_ptr<const engine::LoadedAdapter> adapter, const std::stop_token& cancelled);
  static void log_unknown_fields(const PreparedRequest& prepared);

  ModelFiles files_;
  ServiceOptions options_;
  PromptMaker prompts_;
  Structures structures_;
  Admission admission_;
  std::atomic<std::uint64_t> serial_{0};
  engine::Engine engine_;
  NamedAdapters adapters_;
  PromptCounts counts_;
};

inline std::shared_ptr<const engine::LoadedAdapter> ChatService::check_model(
    const std::optional<std::string>& name) const {
  const auto& names = options_.served_names;
  if (!name || std::find(names.begin(), names.end(), *name) != names.end()) return nullptr;
  auto adapter = adapters_.find(*name);
  if (!adapter) throw unknown_model(*name);
  return adapter;
}

inline void ChatService::ask(std::shared_ptr<Exchange> exchange, HttpRequest request, Read read) {
  const auto guest = admission_.admit(std::move(exchange));
  if (!guest) return;
  auto shared = std::make_shared<HttpRequest>(std::move(request));
  const Pace pace = Admission::is_short(*shared) ? Pace::short_only : Pace::any;
  admission_.prepare(*shared, *guest,
                     [this, guest = *guest, shared, read = std::move(read), pace](const std::stop_token& cancelled) {
                       prepare_question(guest, shared, read, pace, cancelled);
                     });
}

/// A request that turns out to hold images or a new grammar is moved as it came, and read again: what was read is
/// several times larger, and counts against no budget while it waits.
inline void ChatService::prepare_question(const Guest& guest, const std::shared_ptr<HttpRequest>& http,
                                          const Read& read, Pace pace, const std::stop_token& cancelled) {
  const bool may_move = pace != Pace::fetching && options_.media.fetch;
  Question question;
  std::shared_ptr<const engine::LoadedAdapter> adapter;
  {
    const JsonTree tree = parse_body(http->body.text(), cancelled);
    const Json& body = *tree;
    if (pace != Pace::short_only && !may_move) http->body.release();
    if (const auto it = body.find("model"); it != body.end() && it->is_string())
      adapter = check_model(it->get<std::string>());
    question = read(body);
  }
  const bool compiles = question.request.structure && !structures_.is_known(*question.request.structure);
  const auto again = [&](Pace next) {
    return [this, guest, http, read, next](const std::stop_token& token) {
      prepare_question(guest, http, read, next, token);
    };
  };
  if (may_move && question.has_remote_images) return admission_.prepare_fetching(*http, guest, again(Pace::fetching));
  if (pace == Pace::short_only && (compiles || question.has_images))
    return admission_.prepare_slowly(*http, guest, again(Pace::any));
  http->body.release();
  auto prepared = prepare(*http, std::move(question), std::move(adapter), cancelled);
  throw_if_stopped(cancelled);
  const JobContext context{files_, options_, admission_, engine_, counts_};
  std::make_shared<Job>(context, std::move(prepared))->begin(guest);
}

inline PreparedRequest ChatService::prepare(const HttpRequest& http, Question question,
                                            std::shared_ptr<const engine::LoadedAdapter> adapter,
                                            const std::stop_token& cancelled) {
  PreparedRequest out{.question = std::move(question), .adapter = std::move(adapter)};
  auto& request = out.question.request;
  if (request.structure) out.grammar = structures_.compile(*request.structure);
  for (const auto& word : request.bad_words)
    for (auto& ids : spellings_of(files_.tokenizer, word)) out.bad_words.push_back(std::move(ids));
  for (auto& prompt : out.question.prompts(cancelled))
    out.prompts.push_back(
        {std::make_shared<const Batch>(std::move(prompt.batch)), std::move(prompt.images), std::move(prompt.memory)});
  out.question.prompts = {};
  if (options_.force_usage) request.include_usage = true;
  const std::string* header = http.header("X-Request-Id");
  const std::string id = header ? *header : request.request_id.value_or(random_id());
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  out.head = {out.question.id_prefix + clipped(id), std::chrono::duration_cast<std::chrono::seconds>(now).count(),
              out.adapter ? out.adapter->name : options_.served_names.front(), options_.response_role};
  out.serial = serial_.fetch_add(out.prompts.size());
  log_unknown_fields(out);
  return out;
}

inline void ChatService::log_unknown_fields(const PreparedRequest& prepared) {
  std::string names;
  for (const auto& name : prepared.question.request.unknown_fields) names += (names.empty() ? "" : ", ") + name;
  if (!names.empty()) log_warning(printable(prepared.head.id), ": ignores unknown fields: ", names);
}

}  // namespace lamina::serve
