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

#include <lamina/core/cancelled.hpp>
#include <lamina/core/log.hpp>
#include <lamina/core/resources.hpp>
#include <lamina/engine/engine.hpp>
#include <lamina/serve/bad_words.hpp>
#include <lamina/serve/http/transport.hpp>
#include <lamina/serve/metrics.hpp>
#include <lamina/serve/openai.hpp>
#include <lamina/serve/question.hpp>
#include <lamina/serve/random_id.hpp>
#include <lamina/serve/structures.hpp>
#include <lamina/serve/task_queue.hpp>

namespace lamina::serve {

/// What the operator chose, beyond where to listen.
struct ServiceOptions {
  std::vector<std::string> served_names;  ///< at least one; the first is what answers carry
  std::string root = {};                  ///< the model path as given
  std::string response_role = "assistant";
  MediaLimits media = {};
  std::int64_t media_bytes = 0;                     ///< see PromptMaker
  std::chrono::milliseconds media_patience{5'000};  ///< see PromptMaker
  int max_images = 999, max_logprobs = 20;
  std::int64_t seed = 0;
  std::optional<int> max_new_tokens = {};  ///< a cap on every answer
  AnswerLimits answers = {};
  int max_requests = 2048;  ///< waiting and running; more get status 503
  engine::EngineLimits engine = {};
  bool priorities = false;  ///< requests may say who is served first
  bool prompt_details = false, force_usage = false;
  bool log_requests = false;  ///< a line for each request whose prompt is ready
  RequestDefaults request_defaults = {};
};

/// The model behind the API: prepares requests on threads of its own, then submits their choices to the engine. A
/// request has one choice waiting there at a time, so that others come between, and those that follow find its prompt
/// read. Requests with images or long texts are prepared by other threads than short ones, which never wait for them
/// there.
class ChatService {
 public:
  ChatService(ModelFiles files, std::unique_ptr<engine::EngineSession> session, ServiceOptions options)
      : files_(std::move(files)),
        options_(std::move(options)),
        prompts_(files_, options_.media, options_.media_bytes, options_.media_patience),
        structures_(files_.tokenizer, files_.eos),
        engine_(std::move(session), options_.engine) {
    if (options_.served_names.empty()) fail("service: no served model name");
  }
  ~ChatService() { stop(); }

  /// The server will end: who comes from now on or waits (be it for the next of its choices) gets 503, or an error
  /// event in an open stream. Preparation is given up. Choices that are being made go on.
  void drain() {
    draining_.request_stop();
    preparing_.drop_waiting();
    preparing_slowly_.drop_waiting();
    engine_.cancel_waiting();
  }
  /// Ends the answers that have begun within a step: an error event in a stream, else 503.
  void cancel() { engine_.cancel_all(); }
  /// Both, and returns when no work is left and no exchange is held.
  void stop() {
    drain();
    cancel();
    preparing_.stop();
    preparing_slowly_.stop();
    engine_.stop();
  }

  /// stop(), if all work ends in time; else false, and the work goes on.
  bool stop_within(std::chrono::milliseconds time) {
    drain();
    cancel();
    const auto until = std::chrono::steady_clock::now() + time;
    while (load_ > 0 && std::chrono::steady_clock::now() < until)
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    if (load_ > 0) return false;
    stop();
    return true;
  }

  const ModelFiles& files() const { return files_; }
  const ServiceOptions& options() const { return options_; }
  /// Computed parts of prompts are not used again.
  void forget_prefixes() { engine_.forget_prefixes(); }
  int max_model_len() const { return engine_.context_tokens(); }
  /// False once drain() was called.
  bool admits() const { return !draining_.stop_requested(); }
  /// Requests that are waiting or running.
  int load() const { return load_; }
  engine::Statistics statistics() const { return engine_.statistics(); }
  EngineFacts engine_facts() const {
    return {.model_name = options_.served_names.front(),
            .page_tokens = engine_.sizes().page_tokens,
            .pages = engine_.sizes().pages,
            .prefix_cache = options_.engine.prefix_cache};
  }
  RequestLimits limits() const {
    return {.chat = &files_.family->chat,
            .vocab_size = engine_.vocab_size(),
            .max_model_len = engine_.context_tokens(),
            .eos = files_.eos,
            .max_images = options_.max_images,
            .max_logprobs = options_.max_logprobs,
            .defaults = options_.request_defaults,
            .priorities = options_.priorities};
  }

  /// Work on a request before its answer begins. It should look at the token, and throws Cancelled or ApiError.
  using Preparation = std::function<void(const std::stop_token& cancelled)>;

  /// Runs `work` for a request, off the network threads; what it throws becomes the answer. 503 if too many requests
  /// are here. `work` may hold the request.
  void post(std::shared_ptr<Exchange> exchange, const HttpRequest& request, Preparation work) {
    if (auto ticket = admit(*exchange))
      prepare_later(line_of(request), {std::move(exchange), std::move(ticket)}, std::move(work));
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
  /// The ids of a conversation; no image is decoded. Throws ApiError and Cancelled.
  std::vector<int> tokenize(ChatRequest request, const std::stop_token& cancelled) {
    return prompts_.plan(request, {max_model_len(), 0, cancelled, {}}).plan.ids;
  }
  void check_model(const std::optional<std::string>& name) const;

 private:
  using Ticket = std::shared_ptr<void>;
  /// A request that was admitted.
  struct Guest {
    std::shared_ptr<Exchange> exchange;
    Ticket ticket;
    engine::RequestTimes::Clock::time_point arrived = engine::RequestTimes::Clock::now();
  };
  struct Job;
  class ChoiceSink;

  /// Stops as soon as one of two tokens does.
  class Either {
   public:
    Either(std::stop_token a, std::stop_token b) : a_(std::move(a), Stop{source_}), b_(std::move(b), Stop{source_}) {}
    std::stop_token token() const { return source_.get_token(); }

   private:
    struct Stop {
      std::stop_source source;
      void operator()() { source.request_stop(); }
    };
    std::stop_source source_;
    std::stop_callback<Stop> a_, b_;
  };

  /// A place among the requests that are here; null, and 503 was sent, if there is none.
  Ticket admit(Exchange& exchange) {
    if (!admits()) return exchange.reply(busy_reply(leaving_message)), nullptr;
    if (++load_ <= options_.max_requests) return Ticket(&load_, [](std::atomic<int>* load) { --*load; });
    --load_;
    return exchange.reply(busy_reply("too many requests are waiting; try again")), nullptr;
  }
  /// Where a request waits for a thread that prepares it.
  struct WaitingLine {
    TaskQueue& queue;
    std::string client = {};
  };
  WaitingLine line_of(const HttpRequest& request) {
    return is_short(request) ? WaitingLine{preparing_} : WaitingLine{preparing_slowly_, request.client};
  }
  /// Texts of such bodies are too short to need memory of the budget (see PromptMaker), even if they grow fourfold when
  /// tools are written out.
  static bool is_short(const HttpRequest& request) { return request.body.text().size() <= std::size_t{256} << 10; }
  void prepare_later(WaitingLine line, Guest guest, Preparation work);
  /// Runs f; an exception becomes the answer, through `send`.
  template <class F, class Send>
  void guard(const F& f, const Send& send) const {
    const auto send_error = [&](const ApiError& e) {
      send(e.status == 503 ? busy_reply(e.what()) : HttpReply{e.status, e.body(), "application/json", {}});
    };
    try {
      f();
    } catch (const ApiError& e) {
      send_error(e);
    } catch (const Cancelled&) {
      if (draining_.stop_requested()) send(busy_reply(leaving_message));  // else the client has gone
    } catch (const std::bad_alloc&) {
      send_error({500, "InternalServerError", "out of memory"});
    } catch (const std::exception& e) {
      send_error({500, "InternalServerError", clipped(e.what(), 400)});
    }
  }

  /// Which requests a preparing thread takes.
  enum class Pace { short_only, any };
  /// What a body asks, or an ApiError.
  using Read = std::function<Question(const Json& body)>;
  void ask(std::shared_ptr<Exchange> exchange, HttpRequest request, Read read);
  void prepare_question(const Guest& guest, const std::shared_ptr<HttpRequest>& request, const Read& read, Pace pace,
                        const std::stop_token& cancelled);
  std::shared_ptr<Job> prepare(const HttpRequest& http, Question question, const std::stop_token& cancelled);
  static void log_unknown_fields(const Job& job);
  void log_request(const Job& job) const;
  GenerationParams params_of(const Job& job, int choice) const;
  std::optional<int> thought_end_of(const Job& job) const;
  std::shared_ptr<engine::TokenMask> mask_of(const Job& job) const;
  void begin(const std::shared_ptr<Job>& job, const Guest& guest);
  void submit_next(const std::shared_ptr<Job>& job);
  void give_up(Job& job);
  void end_with(Job& job, const HttpReply& error);

  ModelFiles files_;
  ServiceOptions options_;
  PromptMaker prompts_;
  Structures structures_;
  std::atomic<int> load_{0};
  std::stop_source draining_;
  std::atomic<std::uint64_t> serial_{0};
  engine::Engine engine_;
  TaskQueue preparing_{2};  // short requests, and none that waits for others
  // Requests with images or long texts, clients in turns: half of the processors, so that a GPU does not wait for one.
  TaskQueue preparing_slowly_{std::clamp(available_processors() / 2, 2, 16)};
};

/// A request whose prompt is ready. It is held by its choices, and by nothing else once they have been submitted.
struct ChatService::Job {
  explicit Job(ChatService& service) : service(service) {}

  ChatService& service;
  Question question;
  /// Choices of prompt p are the request.choices from p * request.choices on.
  struct Prompt {
    std::shared_ptr<const Batch> batch;
    std::vector<engine::ImageSpan> images;
    ByteBudget::Share memory;  ///< of its patches
  };
  std::vector<Prompt> prompts = {};
  std::shared_ptr<grammar::CompiledGrammar> grammar = {};  ///< of all choices; null: any text
  std::vector<std::vector<int>> bad_words = {};            ///< as tokens
  ResponseHead head = {};
  std::uint64_t serial = 0;  ///< of the first prompt; the others follow
  Guest guest = {};
  std::unique_ptr<AnswerWriter> answer = {};

  const GenerationRequest& request() const { return question.request; }
  int choices() const { return request().choices * static_cast<int>(prompts.size()); }
  const Prompt& prompt_of(int choice) const { return prompts[static_cast<std::size_t>(choice / request().choices)]; }

  std::mutex mutex;
  std::vector<engine::RequestId> ids = {};  ///< of the choices that were submitted
  bool given_up = false;

  /// What happens if the client leaves.
  struct Leave {
    Job& job;
    void operator()() const { job.service.give_up(job); }
  };
  std::optional<std::stop_callback<Leave>> on_leave = {};  ///< last: it uses all of the above
};

/// Where the text of one choice goes.
class ChatService::ChoiceSink final : public engine::AnswerSink {
 public:
  ChoiceSink(std::shared_ptr<Job> job, int choice) : job_(std::move(job)), choice_(choice) {}
  void started(int cached) override {
    job_->answer->started(choice_, cached);
    job_->service.submit_next(job_);
  }
  void prompt(std::vector<engine::Sampled> tokens) override {
    guard([&] { job_->answer->prompt(choice_, tokens); });
  }
  bool piece(Delta delta) override {
    bool more = false;
    guard([&] { more = job_->answer->add(choice_, std::move(delta)); });
    return more;
  }
  void finished(const Completion& done) override {
    if (done.finish != engine::FinishReason::abort) return guard([&] { job_->answer->finish(choice_, done); });
    if (!job_->service.admits())
      job_->service.end_with(*job_, busy_reply(leaving_message));  // else the client has gone
  }
  void failed(const std::string& message) override {
    guard([&] { throw Error(message); });
  }

 private:
  template <class F>
  void guard(const F& f) {
    job_->service.guard(f, [this](const HttpReply& error) { job_->service.end_with(*job_, error); });
  }
  std::shared_ptr<Job> job_;
  int choice_;
};

inline void ChatService::check_model(const std::optional<std::string>& name) const {
  const auto& names = options_.served_names;
  if (name && std::find(names.begin(), names.end(), *name) == names.end())
    throw ApiError(404, "NotFoundError", "The model `" + clipped(*name) + "` does not exist.", "model");
}

inline void ChatService::prepare_later(WaitingLine line, Guest guest, Preparation work) {
  line.queue.add({.run =
                      [this, guest, work = std::move(work)] {
                        const Either either(guest.exchange->cancelled(), draining_.get_token());
                        guard(
                            [&] {
                              throw_if_stopped(either.token());
                              work(either.token());
                            },
                            [&](const HttpReply& reply) { guest.exchange->reply(reply); });
                      },
                  .drop = [guest] { guest.exchange->reply(busy_reply(leaving_message)); },
                  .client = std::move(line.client)});
}

inline void ChatService::ask(std::shared_ptr<Exchange> exchange, HttpRequest request, Read read) {
  auto ticket = admit(*exchange);
  if (!ticket) return;
  const Guest guest{std::move(exchange), std::move(ticket)};
  auto shared = std::make_shared<HttpRequest>(std::move(request));
  const Pace pace = is_short(*shared) ? Pace::short_only : Pace::any;
  prepare_later(line_of(*shared), guest,
                [this, guest, shared, read = std::move(read), pace](const std::stop_token& cancelled) {
                  prepare_question(guest, shared, read, pace, cancelled);
                });
}

/// A request that turns out to hold images or a new grammar is moved as it came, and read again: what was read is
/// several times larger, and counts against no budget while it waits.
inline void ChatService::prepare_question(const Guest& guest, const std::shared_ptr<HttpRequest>& http,
                                          const Read& read, Pace pace, const std::stop_token& cancelled) {
  Question question;
  {
    const JsonTree tree = parse_body(http->body.text(), cancelled);
    const Json& body = *tree;
    if (pace == Pace::any) http->body.release();
    if (const auto it = body.find("model"); it != body.end() && it->is_string()) check_model(it->get<std::string>());
    question = read(body);
  }
  const bool compiles = question.request.structure && !structures_.is_known(*question.request.structure);
  if (pace == Pace::short_only && (compiles || question.has_images))
    return prepare_later({preparing_slowly_, http->client}, guest,
                         [this, guest, http, read](const std::stop_token& token) {
                           prepare_question(guest, http, read, Pace::any, token);
                         });
  http->body.release();
  const auto job = prepare(*http, std::move(question), cancelled);
  throw_if_stopped(cancelled);
  begin(job, guest);
}

inline std::shared_ptr<ChatService::Job> ChatService::prepare(const HttpRequest& http, Question question,
                                                              const std::stop_token& cancelled) {
  auto job = std::make_shared<Job>(*this);
  job->question = std::move(question);
  auto& request = job->question.request;
  if (request.structure) job->grammar = structures_.compile(*request.structure);
  for (const auto& word : request.bad_words)
    for (auto& ids : spellings_of(files_.tokenizer, word)) job->bad_words.push_back(std::move(ids));
  for (auto& prompt : job->question.prompts(cancelled))
    job->prompts.push_back(
        {std::make_shared<const Batch>(std::move(prompt.batch)), std::move(prompt.images), std::move(prompt.memory)});
  job->question.prompts = {};
  if (options_.force_usage) request.include_usage = true;
  const std::string* header = http.header("X-Request-Id");
  const std::string id = header ? *header : request.request_id.value_or(random_id());
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  job->head = {job->question.id_prefix + clipped(id), std::chrono::duration_cast<std::chrono::seconds>(now).count(),
               options_.served_names.front(), options_.response_role};
  job->serial = serial_.fetch_add(job->prompts.size());
  log_unknown_fields(*job);
  return job;
}

inline void ChatService::log_unknown_fields(const Job& job) {
  std::string names;
  for (const auto& name : job.request().unknown_fields) names += (names.empty() ? "" : ", ") + name;
  if (!names.empty()) log_warning(printable(job.head.id), ": ignores unknown fields: ", names);
}

inline GenerationParams ChatService::params_of(const Job& job, int choice) const {
  const GenerationRequest& request = job.request();
  auto params = request.params;
  const int room = max_model_len() - static_cast<int>(job.prompt_of(choice).batch->ids.size());
  const int asked = std::min(request.max_tokens.value_or(room), options_.max_new_tokens.value_or(room));
  params.max_tokens = std::max(asked, 1);  // of max_tokens 0 the answer is not shown
  auto& sampling = params.sampling;
  // Requests with a seed repeat themselves whatever else is served; the others share the server's seed, each its
  // stream.
  const auto sample = static_cast<std::uint64_t>(choice % request.choices),
             prompt = job.serial + static_cast<std::uint64_t>(choice / request.choices);
  sampling.seed = static_cast<std::uint64_t>(request.seed.value_or(options_.seed));
  sampling.stream = request.seed ? sample : (std::uint64_t{1} << 63 | prompt << 8 | sample);
  return params;
}

/// Sizes and settings, as vLLM names them; what clients write stays out of logs.
inline void ChatService::log_request(const Job& job) const {
  const GenerationParams params = params_of(job, 0);
  const engine::SamplingParams& p = params.sampling;
  std::size_t tokens = 0, images = 0;
  for (const auto& prompt : job.prompts) tokens += prompt.batch->ids.size(), images += prompt.batch->grids.size();
  log_info("Received request ", job.head.id, ": prompt_tokens: ", tokens, ", images: ", images,
           ", n=", job.request().choices, ", temperature=", p.temperature, ", top_p=", p.top_p, ", top_k=", p.top_k,
           ", min_p=", p.min_p, ", max_tokens=", params.max_tokens,
           ", stream=", job.request().stream ? "True" : "False");
}

/// From here on the engine holds the job.
inline void ChatService::begin(const std::shared_ptr<Job>& job, const Guest& guest) {
  job->guest = guest;
  AnswerContext context{files_.tokenizer, job->head, options_.prompt_details, {}, guest.exchange, options_.answers};
  for (const auto& prompt : job->prompts) context.prompts.push_back(prompt.batch);
  job->answer = job->question.writer(std::move(context), job->request());
  job->on_leave.emplace(guest.exchange->cancelled(), Job::Leave{*job});
  if (options_.log_requests) log_request(*job);
  // Choices of one prompt come one by one, so that those that follow find it read; prompts do not wait for each other.
  constexpr std::size_t most_waiting = 16;
  for (std::size_t i = std::min(job->prompts.size(), most_waiting); i > 0; --i) submit_next(job);
}

/// Submits the next choice, if there is one. What keeps it from running ends the whole answer.
inline void ChatService::submit_next(const std::shared_ptr<Job>& job) {
  const auto submit = [&] {
    const std::lock_guard lock(job->mutex);
    const int choice = static_cast<int>(job->ids.size());
    if (job->given_up || choice >= job->choices()) return;
    if (!admits()) throw engine::Overloaded(leaving_message);
    const Job::Prompt& prompt = job->prompt_of(choice);
    GenerationParams params = params_of(*job, choice);
    params.sampling.mask = mask_of(*job);
    auto sink = std::make_shared<ChoiceSink>(job, choice);
    auto listener = std::make_shared<engine::AnswerListener>(
        files_.tokenizer, params, static_cast<int>(prompt.batch->ids.size()), std::move(sink));
    job->ids.push_back(engine_.submit({.prompt = prompt.batch,
                                       .images = prompt.images,
                                       .sampling = params.with_ends(),
                                       .max_tokens = params.max_tokens,
                                       .priority = job->request().priority,
                                       .scope = job->request().cache_salt,
                                       .listener = std::move(listener),
                                       .admitted = choice > 0,
                                       .arrived = job->guest.arrived}));
  };
  guard(
      [&] {
        try {
          submit();
        } catch (const engine::Overloaded& e) {
          throw ApiError(503, "ServiceUnavailable", e.what());
        } catch (const Error& e) {
          throw bad_field(job->question.prompt_field, e.what());
        }
      },
      [&](const HttpReply& error) { end_with(*job, error); });
}

/// The token that ends a thought which the answer shows: a thought follows no grammar.
inline std::optional<int> ChatService::thought_end_of(const Job& job) const {
  const MessageForm& form = job.request().message;
  if (!form.reasoning || !form.show_reasoning) return {};
  return files_.tokenizer.id_of(ReasoningParser::end_word);
}

/// What binds one choice; null: nothing does.
inline std::shared_ptr<engine::TokenMask> ChatService::mask_of(const Job& job) const {
  std::shared_ptr<engine::TokenMask> mask;
  if (job.grammar) mask = std::make_shared<GrammarMask>(job.grammar, thought_end_of(job));
  if (!job.bad_words.empty()) mask = std::make_shared<BadWordsMask>(job.bad_words, std::move(mask));
  return mask;
}

/// No more choices are submitted, and those that were end within a step.
inline void ChatService::give_up(Job& job) {
  const std::lock_guard lock(job.mutex);
  job.given_up = true;
  for (const engine::RequestId id : job.ids) engine_.cancel(id);
}

inline void ChatService::end_with(Job& job, const HttpReply& error) {
  job.answer->fail(error);
  give_up(job);
}

}  // namespace lamina::serve
