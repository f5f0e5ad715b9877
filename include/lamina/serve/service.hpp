#pragma once
#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <iostream>
#include <memory>
#include <optional>
#include <random>
#include <stop_token>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <lamina/core/cancelled.hpp>
#include <lamina/model/session.hpp>
#include <lamina/serve/http/transport.hpp>
#include <lamina/serve/openai.hpp>
#include <lamina/serve/openai/chat_answer.hpp>
#include <lamina/serve/prompt_maker.hpp>
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
  int max_requests = 256;  ///< waiting and running; more are told to come back
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

/// The model behind the API: prepares requests on threads of its own, then answers them in turns, one at a time in the
/// order in which they became ready. Each choice of a request (n) is a turn of its own, so that others come between.
/// Requests with images or long texts are prepared by other threads than short ones, which never wait for them there.
class ChatService {
 public:
  ChatService(ModelFiles files, std::unique_ptr<GenerateSession> session, ServiceOptions options)
      : files_(std::move(files)),
        session_(std::move(session)),
        options_(std::move(options)),
        prompts_(files_, options_.media, options_.media_bytes, options_.media_patience) {
    if (options_.served_names.empty()) fail("service: no served model name");
  }
  ~ChatService() { stop(); }

  /// The server will end: who comes from now on or waits (be it for the next of its choices) gets 503, or an error
  /// event in an open stream. Preparation is given up. The choice that is being made goes on.
  void drain() {
    draining_.request_stop();
    preparing_.drop_waiting();
    preparing_slowly_.drop_waiting();
    running_.drop_waiting();
  }
  /// Ends the answers that have begun at their next token: an error event in a stream, else 503.
  void cancel() { ending_.request_stop(); }
  /// Both, and returns when no work is left and no exchange is held.
  void stop() {
    drain();
    cancel();
    preparing_.stop();
    preparing_slowly_.stop();
    running_.stop();
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
  int max_model_len() const { return session_->max_model_len(); }
  /// False once drain() was called.
  bool admits() const { return !draining_.stop_requested(); }
  /// Requests that are waiting or running.
  int load() const { return load_; }
  RequestLimits limits() const {
    return {
        files_.family, session_->vocab_size(),   session_->max_model_len(), options_.max_images, options_.max_logprobs,
        128,           options_.request_defaults};
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
  void chat(std::shared_ptr<Exchange> exchange, HttpRequest request);

  /// The ids of a text; see PromptMaker::tokenize.
  std::vector<int> tokenize(std::string_view text, const std::stop_token& cancelled) {
    return prompts_.tokenize(text, cancelled);
  }
  /// The ids of a conversation; no image is decoded. Throws ApiError and Cancelled.
  std::vector<int> tokenize(ChatRequest request, const std::stop_token& cancelled) {
    return prompts_.plan(request, {max_model_len(), 0, cancelled}).plan.ids;
  }
  void check_model(const std::optional<std::string>& name) const;

 private:
  using Ticket = std::shared_ptr<void>;
  /// A request that was admitted.
  struct Guest {
    std::shared_ptr<Exchange> exchange;
    Ticket ticket;
  };
  struct Job {
    ChatRequest request;
    Batch prompt;
    ByteBudget::Share memory;  // of the prompt's patches
    ResponseHead head;
    std::uint64_t serial = 0;
    std::shared_ptr<Exchange> exchange = {};
    Ticket ticket = {};
    std::unique_ptr<ChatAnswer> answer = {};
    int next_choice = 0;
  };

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
  void prepare_chat(const Guest& guest, const std::shared_ptr<HttpRequest>& request, Pace pace,
                    const std::stop_token& cancelled);
  Job prepare(const HttpRequest& http, ChatRequest read, const std::stop_token& cancelled);
  static void log_unknown_fields(const Job& job);
  GenerationParams params_of(const Job& job, int choice) const;
  void queue_turn(std::shared_ptr<Job> job);
  void take_turn(const std::shared_ptr<Job>& job);

  ModelFiles files_;
  std::unique_ptr<GenerateSession> session_;  // used by running_ alone, but for its two sizes
  ServiceOptions options_;
  PromptMaker prompts_;
  std::atomic<int> load_{0};
  std::stop_source draining_, ending_;
  std::atomic<std::uint64_t> serial_{0};
  TaskQueue running_{1};
  TaskQueue preparing_{2};         // short requests, and none that waits for others
  TaskQueue preparing_slowly_{2};  // requests with images or long texts, clients in turns
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

inline void ChatService::chat(std::shared_ptr<Exchange> exchange, HttpRequest request) {
  auto ticket = admit(*exchange);
  if (!ticket) return;
  const Guest guest{std::move(exchange), std::move(ticket)};
  auto shared = std::make_shared<HttpRequest>(std::move(request));
  const Pace pace = is_short(*shared) ? Pace::short_only : Pace::any;
  prepare_later(line_of(*shared), guest, [this, guest, shared, pace](const std::stop_token& cancelled) {
    prepare_chat(guest, shared, pace, cancelled);
  });
}

/// A request that turns out to hold images is moved as it came, and read again: what was read is several times larger,
/// and counts against no budget while it waits.
inline void ChatService::prepare_chat(const Guest& guest, const std::shared_ptr<HttpRequest>& http, Pace pace,
                                      const std::stop_token& cancelled) {
  ChatRequest request;
  {
    const JsonTree tree = parse_body(http->body.text(), cancelled);
    const Json& body = *tree;
    if (pace == Pace::any) http->body.release();
    if (const auto it = body.find("model"); it != body.end() && it->is_string()) check_model(it->get<std::string>());
    request = read_chat_request(body, limits(), files_.defaults);
  }
  if (pace == Pace::short_only && !request.chat.images.empty())
    return prepare_later({preparing_slowly_, http->client}, guest, [this, guest, http](const std::stop_token& token) {
      prepare_chat(guest, http, Pace::any, token);
    });
  http->body.release();
  auto job = std::make_shared<Job>(prepare(*http, std::move(request), cancelled));
  throw_if_stopped(cancelled);
  job->exchange = guest.exchange;
  job->ticket = guest.ticket;
  AnswerContext context{files_.tokenizer, job->head,      options_.prompt_details,
                        job->prompt.ids,  guest.exchange, options_.answers};
  if (job->request.stream)
    job->answer = std::make_unique<StreamedAnswer>(std::move(context), job->request);
  else
    job->answer = std::make_unique<WholeAnswer>(std::move(context), job->request);
  queue_turn(std::move(job));
}

inline ChatService::Job ChatService::prepare(const HttpRequest& http, ChatRequest read,
                                             const std::stop_token& cancelled) {
  Job job;
  job.request = std::move(read);
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

inline void ChatService::queue_turn(std::shared_ptr<Job> job) {
  running_.add(
      {.run = [this, job] { take_turn(job); }, .drop = [job] { job->answer->fail(busy_reply(leaving_message)); }});
}

/// Makes one choice of a request, then goes to the end of the queue for the next.
inline void ChatService::take_turn(const std::shared_ptr<Job>& job) {
  if (job->exchange->cancelled().stop_requested()) return;
  if (job->next_choice == 0 && !admits()) return job->answer->fail(busy_reply(leaving_message));
  const Either either(job->exchange->cancelled(), ending_.get_token());
  guard(
      [&] {
        const int i = job->next_choice++;
        const bool made = job->answer->add(i, [&](const std::function<void(Delta)>& deliver) {
          return generate(*session_, files_.tokenizer, job->prompt, params_of(*job, i), deliver, either.token());
        });
        if (!made) throw Cancelled();
        if (job->next_choice < job->request.choices)
          queue_turn(job);
        else
          job->answer->finish();
      },
      [&](const HttpReply& error) { job->answer->fail(error); });
}

}  // namespace lamina::serve
