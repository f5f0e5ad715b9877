#pragma once
#include <atomic>
#include <chrono>
#include <cstdint>
#include <iostream>
#include <memory>
#include <optional>
#include <random>
#include <stop_token>
#include <string>
#include <utility>
#include <vector>

#include <lamina/model/session.hpp>
#include <lamina/serve/chunk_batch.hpp>
#include <lamina/serve/openai.hpp>
#include <lamina/serve/prompt_maker.hpp>
#include <lamina/serve/task_queue.hpp>
#include <lamina/serve/transport.hpp>

namespace lamina::serve {

/// What the operator chose, beyond where to listen.
struct ServiceOptions {
  std::vector<std::string> served_names;  ///< at least one; the first is what answers carry
  std::string root = {};                  ///< the model path as given
  std::string response_role = "assistant";
  MediaLimits media = {};
  std::int64_t media_bytes = 0;  ///< see PromptMaker
  int max_images = 999, max_logprobs = 20;
  std::int64_t seed = 0;
  std::optional<int> max_new_tokens = {};  ///< a cap on every answer
  int max_requests = 256;                  ///< waiting and running; more are told to come back
  bool prompt_details = false, force_usage = false;
  RequestDefaults request_defaults = {};
};

/// 24 random hexadecimal digits.
inline std::string random_id() {
  static thread_local std::mt19937_64 generator{std::random_device{}()};
  static constexpr char digits[] = "0123456789abcdef";
  std::string id(24, '0');
  for (char& c : id) c = digits[generator() & 15];
  return id;
}

class EventWriter;

/// The model behind the API: prepares requests on threads of its own, answers them one at a time in the order in which
/// they became ready.
class ChatService {
 public:
  ChatService(ModelFiles files, std::unique_ptr<GenerateSession> session, ServiceOptions options)
      : files_(std::move(files)),
        session_(std::move(session)),
        options_(std::move(options)),
        prompts_(files_, options_.media, options_.media_bytes) {
    if (options_.served_names.empty()) fail("service: no served model name");
  }
  ~ChatService() { stop(); }

  /// Ends running work at its next token and drops what waits; their exchanges are let go of.
  void stop() {
    stopping_.request_stop();
    preparing_.stop();
    running_.stop();
  }

  const ModelFiles& files() const { return files_; }
  const ServiceOptions& options() const { return options_; }
  int max_model_len() const { return session_->max_model_len(); }
  /// Requests that are waiting or running.
  int load() const { return load_; }
  RequestLimits limits() const {
    return {
        files_.family, session_->vocab_size(),   session_->max_model_len(), options_.max_images, options_.max_logprobs,
        128,           options_.request_defaults};
  }

  /// Runs `work` off the network threads; what it throws becomes the answer. 503 when too many requests are here.
  void post(std::shared_ptr<Exchange> exchange, std::function<void()> work) {
    auto ticket = admit();
    if (!ticket) return send_busy(*exchange);
    preparing_.add([exchange, ticket, work = std::move(work)] { guard(*exchange, work); });
  }

  /// Answers a chat request; the body is not looked at yet.
  void chat(std::shared_ptr<Exchange> exchange, HttpRequest request) {
    auto ticket = admit();
    if (!ticket) return send_busy(*exchange);
    auto shared = std::make_shared<HttpRequest>(std::move(request));
    preparing_.add([this, exchange, ticket, shared] {
      guard(*exchange, [&] {
        auto job = std::make_shared<Job>(prepare(*shared, exchange->cancelled()));
        *shared = {};  // the body may be large
        running_.add([this, exchange, ticket, job] {
          if (!exchange->cancelled().stop_requested())
            guard(*exchange, [&] { job->request.stream ? stream(*exchange, *job) : answer(*exchange, *job); });
        });
      });
    });
  }

  /// The ids of a text; see PromptMaker::tokenize.
  std::vector<int> tokenize(std::string_view text, const std::stop_token& cancelled) {
    return prompts_.tokenize(text, cancelled);
  }
  /// The ids of a conversation; no image is decoded. Throws ApiError and Cancelled.
  std::vector<int> tokenize(ChatRequest request, const std::stop_token& cancelled) {
    return prompts_.plan(request, {max_model_len(), 0, cancelled}).plan.ids;
  }
  void check_model(const std::optional<std::string>& name) const;

  static void send_error(Exchange& exchange, const ApiError& error) {
    exchange.reply({error.status, error.body(), "application/json", {}});
  }

 private:
  struct Job {
    ChatRequest request;
    Batch prompt;
    ByteBudget::Share memory;  // of the prompt's patches
    ResponseHead head;
    std::uint64_t serial = 0;
  };
  using Ticket = std::shared_ptr<void>;

  Ticket admit() {
    if (++load_ > options_.max_requests || stopping_.stop_requested()) {
      --load_;
      return {};
    }
    return Ticket(&load_, [](std::atomic<int>* load) { --*load; });
  }
  static void send_busy(Exchange& exchange) {
    const ApiError error(503, "ServiceUnavailable", "too many requests are waiting; try again");
    exchange.reply({503, error.body(), "application/json", {{"Retry-After", "2"}}});
  }
  /// Runs f; an exception becomes the answer.
  template <class F>
  static void guard(Exchange& exchange, const F& f) {
    try {
      f();
    } catch (const ApiError& e) {
      send_error(exchange, e);
    } catch (const Cancelled&) {  // nobody waits
    } catch (const std::bad_alloc&) {
      send_error(exchange, {500, "InternalServerError", "out of memory"});
    } catch (const std::exception& e) {
      send_error(exchange, {500, "InternalServerError", clipped(e.what(), 400)});
    }
  }

  Job prepare(const HttpRequest& request, const std::stop_token& cancelled);
  static void log_unknown_fields(const Job& job);
  GenerationParams params_of(const Job& job, int choice) const;
  void answer(Exchange& exchange, const Job& job);
  void stream(Exchange& exchange, const Job& job);
  Completion stream_choice(Exchange& exchange, EventWriter& events, const Job& job, int index, Usage& usage);
  Completion run(Exchange& exchange, const Job& job, int choice, const std::function<void(Delta)>& deliver);

  ModelFiles files_;
  std::unique_ptr<GenerateSession> session_;  // used by running_ alone, but for its two sizes
  ServiceOptions options_;
  PromptMaker prompts_;
  std::atomic<int> load_{0};
  std::stop_source stopping_;
  std::atomic<std::uint64_t> serial_{0};
  TaskQueue running_{1};
  TaskQueue preparing_{2};
};

inline void ChatService::check_model(const std::optional<std::string>& name) const {
  const auto& names = options_.served_names;
  if (name && std::find(names.begin(), names.end(), *name) == names.end())
    throw ApiError(404, "NotFoundError", "The model `" + clipped(*name) + "` does not exist.", "model");
}

inline ChatService::Job ChatService::prepare(const HttpRequest& http, const std::stop_token& cancelled) {
  Job job;
  const Json body = parse_body(http.body, cancelled);
  if (const auto it = body.find("model"); it != body.end() && it->is_string()) check_model(it->get<std::string>());
  job.request = read_chat_request(body, limits(), files_.defaults);
  auto& request = job.request;
  auto planned = prompts_.plan(request, {max_model_len(), request.max_tokens.value_or(1), cancelled});
  auto prepared = prompts_.read_images(std::move(planned), cancelled);
  job.prompt = std::move(prepared.batch);
  job.memory = std::move(prepared.memory);
  const int room = max_model_len() - static_cast<int>(job.prompt.ids.size());
  request.params.max_tokens = std::min(request.max_tokens.value_or(room), options_.max_new_tokens.value_or(room));
  request.params.eos = files_.eos;
  if (options_.force_usage) request.include_usage = true;
  const std::string* header = http.header("X-Request-Id");
  const std::string id = header ? *header : request.request_id.value_or(random_id());
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  job.head = {"chatcmpl-" + clipped(id), std::chrono::duration_cast<std::chrono::seconds>(now).count(),
              options_.served_names.front(), options_.response_role};
  job.serial = serial_++;
  log_unknown_fields(job);
  return job;
}

inline void ChatService::log_unknown_fields(const Job& job) {
  std::string names;
  for (const auto& name : job.request.unknown_fields) names += (names.empty() ? "" : ", ") + name;
  if (!names.empty()) std::clog << cat(printable(job.head.id), ": ignores unknown fields: ", names, "\n");
}

inline GenerationParams ChatService::params_of(const Job& job, int choice) const {
  auto params = job.request.params;
  auto& sampling = params.sampling;
  // Requests with a seed repeat themselves whatever else is served; the others share the server's seed, each its
  // stream.
  sampling.seed = static_cast<std::uint64_t>(job.request.seed.value_or(options_.seed));
  sampling.stream = job.request.seed ? static_cast<std::uint64_t>(choice)
                                     : (std::uint64_t{1} << 63 | job.serial << 8 | static_cast<std::uint64_t>(choice));
  return params;
}

inline Completion ChatService::run(Exchange& exchange, const Job& job, int choice,
                                   const std::function<void(Delta)>& deliver) {
  std::stop_source stop;
  const auto request_stop = [&] { stop.request_stop(); };
  const std::stop_callback gone(exchange.cancelled(), request_stop), ending(stopping_.get_token(), request_stop);
  return generate(*session_, files_.tokenizer, job.prompt, params_of(job, choice), deliver, stop.get_token());
}

inline void ChatService::answer(Exchange& exchange, const Job& job) {
  std::vector<Choice> choices;
  std::vector<Json> logprobs;
  Usage usage{.prompt_details = options_.prompt_details};
  for (int i = 0; i < job.request.choices; ++i) {
    Choice choice{.index = i, .text = {}, .tokens = {}, .ids = {}, .done = {}};
    choice.done = run(exchange, job, i, [&](Delta delta) {
      choice.text += delta.text;
      choice.ids.insert(choice.ids.end(), delta.ids.begin(), delta.ids.end());
      for (auto& token : delta.tokens) choice.tokens.push_back(std::move(token));
    });
    if (choice.done.finish == FinishReason::abort) return;
    usage.prompt_tokens = choice.done.prompt_tokens;
    usage.completion_tokens += choice.done.completion_tokens;
    const bool wanted = job.request.params.sampling.logprobs;
    logprobs.push_back(wanted ? logprobs_json(files_.tokenizer, choice.tokens, job.request.return_tokens_as_ids)
                              : Json());
    choices.push_back(std::move(choice));
  }
  const auto* prompt_ids = job.request.return_token_ids ? &job.prompt.ids : nullptr;
  exchange.reply(
      {200, compact(chat_completion_json(job.head, choices, logprobs, usage, prompt_ids)), "application/json", {}});
}

/// One answer as server-sent events. The head is sent with the first token, so that what fails before it is still an
/// HTTP error; what fails later is an event.
class EventWriter {
 public:
  EventWriter(Exchange& exchange) : exchange_(exchange) {}
  void send(const Json& json) {
    if (!open_) exchange_.begin_stream({200, {}, "text/event-stream; charset=utf-8", {{"Cache-Control", "no-cache"}}});
    open_ = true;
    exchange_.write(sse_event(compact(json)));
  }
  bool open() const { return open_; }
  void done() {
    exchange_.write(sse_event("[DONE]"));
    exchange_.end_stream();
  }

 private:
  Exchange& exchange_;
  bool open_ = false;
};

/// One choice of a stream; usage counts along.
inline Completion ChatService::stream_choice(Exchange& exchange, EventWriter& events, const Job& job, int index,
                                             Usage& usage) {
  const auto& request = job.request;
  const auto send = [&](Json chunk) {
    if (request.continuous_usage) chunk["usage"] = usage_json(usage);
    events.send(chunk);
  };
  bool started = false;
  const auto start = [&] {
    if (std::exchange(started, true)) return;
    Json chunk = chunk_json(job.head, index, {{"role", job.head.role}, {"content", ""}}, nullptr, nullptr);
    if (request.return_token_ids && !events.open()) chunk["prompt_token_ids"] = job.prompt.ids;
    send(std::move(chunk));
  };
  const auto send_delta = [&](const std::optional<Delta>& delta) {
    if (!delta) return;
    start();
    Json logprobs =
        delta->tokens.empty() ? Json() : logprobs_json(files_.tokenizer, delta->tokens, request.return_tokens_as_ids);
    Json chunk = chunk_json(job.head, index, {{"content", delta->text}}, std::move(logprobs), nullptr);
    if (request.return_token_ids) chunk["choices"][0]["token_ids"] = delta->ids;
    send(std::move(chunk));
  };
  ChunkBatch batch(request.stream_interval, request.return_token_ids);
  const int before = usage.completion_tokens;
  const Completion done = run(exchange, job, index, [&](Delta delta) {
    usage.completion_tokens = before + delta.completion_tokens;
    send_delta(batch.add(std::move(delta)));
  });
  if (done.finish == FinishReason::abort) return done;
  send_delta(batch.take());
  start();
  send(chunk_json(job.head, index, Json::object(), nullptr, &done));
  return done;
}

inline void ChatService::stream(Exchange& exchange, const Job& job) {
  EventWriter events(exchange);
  Usage usage{.prompt_tokens = static_cast<int>(job.prompt.ids.size()), .prompt_details = options_.prompt_details};
  try {
    for (int i = 0; i < job.request.choices; ++i)
      if (stream_choice(exchange, events, job, i, usage).finish == FinishReason::abort) return;
    if (job.request.include_usage) {
      Json last = chunk_json(job.head);
      last["usage"] = usage_json(usage);
      events.send(last);
    }
  } catch (const std::exception& e) {
    if (!events.open()) throw;
    events.send(ApiError(500, "InternalServerError", clipped(e.what(), 400)).json());
  }
  events.done();
}

}  // namespace lamina::serve
