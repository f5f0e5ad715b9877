#pragma once
#include <cstdint>
#include <filesystem>
#include <functional>
#include <vector>

#include <lamina/model/session.hpp>

namespace lamina::text {
class Tokenizer;
}

/// The seam to what generates: a program joins it with the server's sampler (examples/train.cpp).
namespace lamina::train {

/// How an answer is drawn (LLaMA-Factory's generating_args.py, with its defaults).
struct AnswerOptions {
  bool do_sample = true;  ///< false: the most probable token each time
  double temperature = 0.95, top_p = 0.7;
  int top_k = 50;             ///< 0: all tokens
  int max_new_tokens = 1024;  ///< 0: max_length less the prompt
  int max_length = 1024;      ///< of prompt and answer; used if max_new_tokens is 0
  double repetition_penalty = 1;
  bool skip_special_tokens = true;
  std::uint64_t seed = 42;
};

/// The tokens that a model answers to a prompt of one sequence; a special token ends an answer and is its last one.
/// Where `stopped` gives true, looked at after each token, the answer ends there.
using Answer = std::function<std::vector<int>(const Batch& prompt, const std::function<bool()>& stopped)>;

/// Opens a model to answer. The tokenizer outlives the answers.
using OpenAnswers = std::function<Answer(const std::filesystem::path& model_dir, const GenerateOptions&,
                                         const AnswerOptions&, const text::Tokenizer&)>;

}  // namespace lamina::train
