// lamina-train: fine-tunes a model with the settings of a LLaMA-Factory training file, and answers with it. See --help.
#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <numeric>
#include <string>
#include <utility>
#include <vector>

#include <lamina/core/threads.hpp>
#include <lamina/engine/engine.hpp>
#include <lamina/engine/images/image_hash.hpp>
#include <lamina/engine/open.hpp>
#include <lamina/train/program.hpp>

namespace {
using namespace lamina;

engine::SamplingParams sampling(const train::AnswerOptions& options) {
  engine::SamplingParams params;
  params.temperature = options.do_sample ? options.temperature : 0;
  params.top_p = options.top_p;
  params.top_k = options.top_k;
  params.repetition_penalty = options.repetition_penalty;
  params.seed = options.seed;
  return params;
}

/// The tokens of one answer as they come.
class Tokens final : public engine::RequestListener {
 public:
  bool token(const engine::Chosen& chosen, engine::Last last) override {
    const std::lock_guard lock(mutex_);
    ids_.push_back(chosen.token);
    if (last != engine::Last::no) end();
    return true;
  }
  void cancelled() override {
    const std::lock_guard lock(mutex_);
    end();
  }
  void failed(const std::string& message) override {
    const std::lock_guard lock(mutex_);
    error_ = message;
    end();
  }
  /// All tokens, or those so far once `stopped` returns true.
  std::vector<int> wait(const std::function<bool()>& stopped) {
    std::unique_lock lock(mutex_);
    while (!ended_ && !stopped()) changed_.wait_for(lock, std::chrono::milliseconds(50));
    if (!error_.empty()) fail(error_);
    return ids_;
  }

 private:
  void end() {
    ended_ = true;
    changed_.notify_all();
  }
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<int> ids_;
  std::string error_;
  bool ended_ = false;
};

/// Answers with the tokens that the server would draw.
class Answers {
 public:
  Answers(std::unique_ptr<engine::EngineSession> session, const train::AnswerOptions& options,
          const text::Tokenizer& tokenizer, VisionTokens vision_tokens, VisualTokens visual_tokens)
      : engine_(std::make_shared<engine::Engine>(std::move(session))),
        options_(options),
        vision_tokens_(vision_tokens),
        visual_tokens_(visual_tokens),
        params_(sampling(options)) {
    for (int id = 0; id < engine_->vocab_size(); ++id)
      if (tokenizer.is_special(id)) params_.ends.push_back(id);
  }

  train::PendingAnswer operator()(Batch prompt, std::int64_t record) {
    params_.stream = static_cast<std::uint64_t>(record);  // another draw for each record, the same in each run
    const auto shared = std::make_shared<const Batch>(std::move(prompt));
    const auto tokens = std::make_shared<Tokens>();
    const int patches = std::accumulate(shared->grids.begin(), shared->grids.end(), 0,
                                        [](int sum, const Grid& grid) { return sum + grid.patches(); });
    const auto hashes = engine::hash_images(*shared, patches ? static_cast<int>(shared->patches.size()) / patches : 0);
    engine_->submit({.prompt = shared,
                     .images = engine::place_images(*shared, hashes, vision_tokens_, visual_tokens_),
                     .sampling = params_,
                     .max_tokens = most_tokens(static_cast<int>(shared->ids.size())),
                     .listener = tokens});
    return [engine = engine_, tokens](const std::function<bool()>& stopped) { return tokens->wait(stopped); };
  }

 private:
  int most_tokens(int prompt) const {
    const int wanted = options_.max_new_tokens > 0 ? options_.max_new_tokens : options_.max_length - prompt;
    return std::max(1, std::min(wanted, engine_->context_tokens() - prompt));
  }

  std::shared_ptr<engine::Engine> engine_;
  train::AnswerOptions options_;
  VisionTokens vision_tokens_;
  VisualTokens visual_tokens_;
  engine::SamplingParams params_;
};

train::AskModel open_answers(const train::AnsweringModel& model, const train::AnswerOptions& options,
                             const text::Tokenizer& tokenizer) {
  const ModelSource source = open_source(model.directory, model.adapters);
  engine::EngineOptions where;
  where.device = model.device;
  where.local_rank = model.local_rank;
  std::unique_ptr<engine::EngineSession> session = make_engine_session(source, where);
  if (session->on_device()) use_one_thread();
  return Answers(std::move(session), options, tokenizer, source.config.vision_tokens(),
                 visual_tokens_of(source.config, model.directory));
}

}  // namespace

int main(int argc, char** argv) {
  const auto visual_tokens = [](const std::filesystem::path& model) { return visual_tokens_of(model); };
  return train::train_main(argc, argv,
                           {.train = open_for_training,
                            .answers = open_answers,
                            .page = train::open_run_page,
                            .visual_tokens = visual_tokens});
}
