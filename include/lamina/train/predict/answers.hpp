#pragma once
#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include <lamina/core/batch.hpp>

namespace lamina::text {
class Tokenizer;
}

/// The seam to what generates: a program joins it with the server's sampler (examples/train.cpp).
namespace lamina::train {

/// What answers.
struct AnsweringModel {
  std::filesystem::path directory;
  std::vector<std::filesystem::path> adapters;  ///< folded into the weights, in order
  std::string device = "auto";                  ///< as in TrainableOptions
  int local_rank = 0;                           ///< of this process on its host: which GPU answers
};

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

/// Waits for the tokens that a model answers to a prompt; a special token ends an answer and is its last one. If
/// `stopped` returns true, looked at some times a second, returns those so far.
using PendingAnswer = std::function<std::vector<int>(const std::function<bool()>& stopped)>;

/// Asks a model for the answer to a prompt of one sequence. Many may be under way. What is drawn depends on the
/// record's number, not on who else is asked.
using AskModel = std::function<PendingAnswer(Batch prompt, std::int64_t record)>;

/// Opens a model to answer. The tokenizer outlives the answers.
using OpenAnswers = std::function<AskModel(const AnsweringModel&, const AnswerOptions&, const text::Tokenizer&)>;

}  // namespace lamina::train
