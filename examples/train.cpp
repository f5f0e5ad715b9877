// lamina-train: fine-tunes a model with the settings of a LLaMA-Factory training file, and answers with it. See --help.
#include <memory>
#include <vector>

#include <lamina/core/threads.hpp>
#include <lamina/model/open_model.hpp>
#include <lamina/serve/token_source.hpp>
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

/// Answers with the tokens that the server would draw.
class Answers {
 public:
  Answers(std::unique_ptr<GenerateSession> session, const train::AnswerOptions& options,
          const text::Tokenizer& tokenizer)
      : session_(std::move(session)), options_(options), tokenizer_(tokenizer), params_(sampling(options)) {}

  std::vector<int> operator()(const Batch& prompt, const std::function<bool()>& stopped) {
    serve::TokenSource tokens(*session_, params_, prompt);
    ++params_.stream;  // another draw for each record, the same in each run
    std::vector<int> answer;
    const int room = most_tokens(static_cast<int>(prompt.ids.size()));
    for (engine::Sampled next = tokens.first();; next = tokens.following(answer.back())) {
      answer.push_back(next.token.id);
      const bool full = static_cast<int>(answer.size()) >= room;
      if (full || tokenizer_.is_special(answer.back()) || stopped()) return answer;
    }
  }

 private:
  int most_tokens(int prompt) const {
    const int wanted = options_.max_new_tokens > 0 ? options_.max_new_tokens : options_.max_length - prompt;
    return std::min(wanted, session_->max_model_len() - prompt);
  }

  std::shared_ptr<GenerateSession> session_;
  train::AnswerOptions options_;
  const text::Tokenizer& tokenizer_;
  engine::SamplingParams params_;
};

train::Answer open_answers(const std::filesystem::path& model_dir, const GenerateOptions& where,
                           const train::AnswerOptions& options, const text::Tokenizer& tokenizer) {
  std::unique_ptr<GenerateSession> session = open_for_generation(model_dir, where);
  if (session->on_device()) use_one_thread();
  return Answers(std::move(session), options, tokenizer);
}

}  // namespace

int main(int argc, char** argv) {
  return train::train_main(argc, argv, {.train = open_for_training, .answers = open_answers});
}
