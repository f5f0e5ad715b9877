#pragma once
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <stop_token>
#include <string>
#include <utility>
#include <vector>

#include <lamina/core/log.hpp>
#include <lamina/engine/engine.hpp>
#include <lamina/serve/jobs/admission.hpp>
#include <lamina/serve/jobs/question.hpp>
#include <lamina/serve/model_files.hpp>
#include <lamina/serve/openai/request/context_length.hpp>
#include <lamina/serve/prompt/bad_words.hpp>
#include <lamina/serve/prompt/prompt_counts.hpp>
#include <lamina/serve/prompt/structures.hpp>
#include <lamina/serve/service_options.hpp>

namespace lamina::serve {

/// What the jobs of a service use; it outlives them.
struct JobContext {
  const ModelFiles& files;
  const ServiceOptions& options;
  const Admission& admission;
  engine::Engine& engine;
  PromptCounts& counts;
};

/// A request whose prompts are ready.
struct PreparedRequest {
  /// Choices of prompt p are the request.choices from p * request.choices on.
  struct Prompt {
    std::shared_ptr<const Batch> batch;
    std::vector<engine::ImageSpan> images;
    ByteBudget::Share memory;  ///< of its patches
  };
  Question question;
  std::shared_ptr<const engine::LoadedAdapter> adapter = {};  ///< null: the model itself
  std::vector<Prompt> prompts = {};
  std::shared_ptr<grammar::CompiledGrammar> grammar = {};  ///< of all choices; null: any text
  std::vector<std::vector<int>> bad_words = {};            ///< as tokens
  ResponseHead head = {};
  std::uint64_t serial = 0;  ///< of the first prompt; the others follow
};

/// Submits the choices of a request to the engine and ends them. It is held by its choices, and by nothing else once
/// they have been submitted.
class Job : public std::enable_shared_from_this<Job> {
 public:
  Job(const JobContext& context, PreparedRequest prepared)
      : context_(context), prepared_(std::move(prepared)), open_(prepared_.prompts.size(), {request().choices}) {}

  /// From here on the engine holds the job.
  void begin(const Guest& guest);

 private:
  class ChoiceSink;
  /// What happens if the client leaves.
  struct Leave {
    Job& job;
    void operator()() const { job.give_up(); }
  };

  const GenerationRequest& request() const { return prepared_.question.request; }
  int choices() const { return request().choices * static_cast<int>(prepared_.prompts.size()); }
  const PreparedRequest::Prompt& prompt_of(int choice) const {
    return prepared_.prompts[static_cast<std::size_t>(choice / request().choices)];
  }
  void log_request() const;
  GenerationParams params_of(int choice) const;
  std::optional<int> thought_end() const;
  std::shared_ptr<engine::TokenMask> mask() const;
  void submit_next();
  engine::RequestId submit(int choice);
  void count(int choice, int tokens);
  void give_up();
  void end_with(const HttpReply& error);

  JobContext context_;
  PreparedRequest prepared_;
  Guest guest_ = {};
  std::unique_ptr<AnswerWriter> answer_ = {};
  std::mutex mutex_;
  std::vector<engine::RequestId> ids_ = {};  ///< of the choices that were submitted
  std::vector<AnswersLeft> open_;            ///< of each prompt
  bool given_up_ = false;
  std::optional<std::stop_callback<Leave>> on_leave_ = {};  ///< last: it uses all of the above
};

/// Where the text of one choice goes.
class Job::ChoiceSink final : public engine::AnswerSink {
 public:
  ChoiceSink(std::shared_ptr<Job> job, int choice) : job_(std::move(job)), choice_(choice) {}
  void started(int cached) override {
    job_->answer_->started(choice_, cached);
    job_->submit_next();
  }
  void prompt(std::vector<engine::Sampled> tokens) override {
    guard([&] { job_->answer_->prompt(choice_, tokens); });
  }
  bool piece(Delta delta) override {
    bool more = false;
    guard([&] { more = job_->answer_->add(choice_, std::move(delta)); });
    return more;
  }
  void finished(const Completion& done) override {
    if (done.finish != engine::FinishReason::abort) {
      job_->count(choice_, done.completion_tokens);
      return guard([&] { job_->answer_->finish(choice_, done); });
    }
    if (!job_->context_.admission.admits()) job_->end_with(busy_reply(leaving_message));  // else the client has gone
  }
  void failed(const std::string& message) override {
    guard([&] { throw Error(message); });
  }

 private:
  template <class F>
  void guard(const F& f) {
    job_->context_.admission.guard(f, [this](const HttpReply& error) { job_->end_with(error); });
  }
  std::shared_ptr<Job> job_;
  int choice_;
};

inline GenerationParams Job::params_of(int choice) const {
  const GenerationRequest& request = prepared_.question.request;
  auto params = request.params;
  const int room = context_.engine.context_tokens() - static_cast<int>(prompt_of(choice).batch->ids.size());
  const int asked = std::min(request.max_tokens.value_or(room), context_.options.max_new_tokens.value_or(room));
  params.max_tokens = std::max(asked, 1);  // of max_tokens 0 the answer is not shown
  auto& sampling = params.sampling;
  // Requests with a seed repeat themselves whatever else is served; the others share the server's seed, each its
  // stream.
  const auto sample = static_cast<std::uint64_t>(choice % request.choices),
             prompt = prepared_.serial + static_cast<std::uint64_t>(choice / request.choices);
  sampling.seed = static_cast<std::uint64_t>(request.seed.value_or(context_.options.seed));
  sampling.stream = request.seed ? sample : (std::uint64_t{1} << 63 | prompt << 8 | sample);
  return params;
}

/// Sizes and settings, as vLLM names them; what clients write stays out of logs.
inline void Job::log_request() const {
  const GenerationParams params = params_of(0);
  const engine::SamplingParams& p = params.sampling;
  std::size_t tokens = 0, images = 0;
  for (const auto& prompt : prepared_.prompts) tokens += prompt.batch->ids.size(), images += prompt.batch->grids.size();
  log_info("Received request ", prepared_.head.id, ": prompt_tokens: ", tokens, ", images: ", images,
           ", n=", request().choices, ", temperature=", p.temperature, ", top_p=", p.top_p, ", top_k=", p.top_k,
           ", min_p=", p.min_p, ", max_tokens=", params.max_tokens, ", stream=", request().stream ? "True" : "False");
}

inline void Job::begin(const Guest& guest) {
  guest_ = guest;
  AnswerContext context{context_.files.tokenizer, prepared_.head,          context_.options.prompt_details, {},
                        guest.exchange,           context_.options.answers};
  for (const auto& prompt : prepared_.prompts) context.prompts.push_back(prompt.batch);
  answer_ = prepared_.question.writer(std::move(context), request());
  on_leave_.emplace(guest.exchange->cancelled(), Leave{*this});
  if (context_.options.log_requests) log_request();
  // Choices of one prompt come one by one, so that those that follow find it read; prompts do not wait for each other.
  constexpr std::size_t most_waiting = 16;
  for (std::size_t i = std::min(prepared_.prompts.size(), most_waiting); i > 0; --i) submit_next();
}

/// Submits the next choice, if there is one. What keeps it from running ends the whole answer.
inline void Job::submit_next() {
  const auto submit_one = [this] {
    const std::lock_guard lock(mutex_);
    const int choice = static_cast<int>(ids_.size());
    if (given_up_ || choice >= choices()) return;
    if (!context_.admission.admits()) throw engine::Overloaded(leaving_message);
    ids_.push_back(submit(choice));
  };
  context_.admission.guard(
      [&] {
        try {
          submit_one();
        } catch (const engine::Overloaded& e) {
          throw ApiError(503, "ServiceUnavailable", e.what());
        } catch (const Error& e) {
          throw bad_field(prepared_.question.prompt_field, e.what());
        }
      },
      [this](const HttpReply& error) { end_with(error); });
}

inline engine::RequestId Job::submit(int choice) {
  const PreparedRequest::Prompt& prompt = prompt_of(choice);
  GenerationParams params = params_of(choice);
  params.sampling.mask = mask();
  auto sink = std::make_shared<ChoiceSink>(shared_from_this(), choice);
  auto listener = std::make_shared<engine::AnswerListener>(context_.files.tokenizer, params,
                                                           static_cast<int>(prompt.batch->ids.size()), std::move(sink));
  return context_.engine.submit({.prompt = prompt.batch,
                                 .images = prompt.images,
                                 .sampling = params.with_ends(),
                                 .max_tokens = params.max_tokens,
                                 .priority = request().priority,
                                 .scope = request().cache_salt,
                                 .adapter = prepared_.adapter,
                                 .listener = std::move(listener),
                                 .admitted = choice > 0,
                                 .arrived = guest_.arrived});
}

/// The token that ends a thought which the answer shows: a thought follows no grammar.
inline std::optional<int> Job::thought_end() const {
  const MessageForm& form = request().message;
  if (!form.reasoning || !form.show_reasoning) return {};
  return context_.files.tokenizer.id_of(ReasoningParser::end_word);
}

/// What binds one choice; null: nothing does.
inline std::shared_ptr<engine::TokenMask> Job::mask() const {
  std::shared_ptr<engine::TokenMask> mask;
  if (prepared_.grammar) mask = std::make_shared<GrammarMask>(prepared_.grammar, thought_end());
  if (!prepared_.bad_words.empty()) mask = std::make_shared<BadWordsMask>(prepared_.bad_words, std::move(mask));
  return mask;
}

/// A choice was answered.
inline void Job::count(int choice, int tokens) {
  const std::lock_guard lock(mutex_);
  AnswersLeft& open = open_[static_cast<std::size_t>(choice / request().choices)];
  open.longest_tokens = std::max(open.longest_tokens, tokens);
  if (--open.left == 0) context_.counts.add(request().choices, open.longest_tokens);
}

/// No more choices are submitted, and those that were end within a step.
inline void Job::give_up() {
  const std::lock_guard lock(mutex_);
  given_up_ = true;
  for (const engine::RequestId id : ids_) context_.engine.cancel(id);
}

inline void Job::end_with(const HttpReply& error) {
  answer_->fail(error);
  give_up();
}

}  // namespace lamina::serve
