#pragma once
#include <algorithm>
#include <chrono>
#include <deque>
#include <filesystem>
#include <fstream>
#include <functional>
#include <limits>
#include <optional>
#include <string>
#include <vector>

#include <lamina/data/sample/encoded_sample.hpp>
#include <lamina/io/program/interrupt.hpp>
#include <lamina/parallel/group.hpp>
#include <lamina/text/python_json.hpp>
#include <lamina/text/tokenizer.hpp>
#include <lamina/train/predict/answers.hpp>
#include <lamina/train/predict/similarity.hpp>
#include <lamina/train/report/progress.hpp>
#include <lamina/train/report/results.hpp>
#include <lamina/train/step/source.hpp>

namespace lamina::train {

/// generated_predictions.jsonl, line by line under another name, so that a file of the final name is always whole.
class PredictionFile {
 public:
  explicit PredictionFile(const std::filesystem::path& output_dir)
      : final_(output_dir / "generated_predictions.jsonl"),
        partial_(output_dir / "generated_predictions.partial.jsonl"),
        out_(partial_, std::ios::binary) {
    if (!out_) fail(partial_.string(), ": cannot be written");
  }
  void write(const std::string& prompt, const std::string& predict, const std::string& label) {
    const OrderedJson line = {{"prompt", prompt}, {"predict", predict}, {"label", label}};
    if (!(out_ << text::python_json(line) << "\n" << std::flush)) fail(partial_.string(), ": is the disk full?");
  }
  void commit() {
    out_.close();
    std::filesystem::rename(partial_, final_);
  }
  const std::filesystem::path& partial() const { return partial_; }

 private:
  std::filesystem::path final_, partial_;
  std::ofstream out_;
};

/// The means of the answers' scores.
class PredictionScores {
 public:
  explicit PredictionScores(const std::filesystem::path& jieba_dictionary) : cut_(jieba_dictionary) {}

  void add(const std::string& predict, const std::string& label) {
    const Similarity s = similarity(predict, label, std::ref(cut_));
    bleu_4_ += s.bleu_4, rouge_1_ += s.rouge_1, rouge_2_ += s.rouge_2, rouge_l_ += s.rouge_l;
    exact_ += exact_match(predict, label) ? 100 : 0;
    ++count_;
  }
  /// "<prefix>_bleu-4" and so on. "<prefix>_rouge_units", if there was Chinese text, is what ROUGE counted of it.
  OrderedJson metrics(const std::string& prefix) const {
    const double n = std::max(1.0, count_);
    OrderedJson m = {{prefix + "_bleu-4", bleu_4_ / n},
                     {prefix + "_rouge-1", rouge_1_ / n},
                     {prefix + "_rouge-2", rouge_2_ / n},
                     {prefix + "_rouge-l", rouge_l_ / n},
                     {prefix + "_exact_match", exact_ / n}};
    if (cut_.units()) m[prefix + "_rouge_units"] = *cut_.units();
    return m;
  }
  /// A line for the user about those units; empty if there was no Chinese text.
  std::string units_note() const {
    if (!cut_.units()) return {};
    if (cut_.dictionary().empty())
      return "ROUGE of Chinese counts characters, so that it is not LLaMA-Factory's: no jieba dictionary was found; "
             "install python3-jieba, or set jieba_dictionary: /path/to/dict.txt";
    return cat("ROUGE of Chinese counts ", *cut_.units(), ", with ", cut_.dictionary().string(),
               cut_.units() == "words" ? "" : "; new words stay characters, as no finalseg folder lies next to it");
  }

 private:
  WordCutter cut_;
  double bleu_4_ = 0, rouge_1_ = 0, rouge_2_ = 0, rouge_l_ = 0, exact_ = 0, count_ = 0;
};

/// What predict_all works with; `prompts` gives the samples' batches, one sample each, of which each rank takes its
/// own.
struct PredictParts {
  const std::vector<data::EncodedSample>& samples;
  EvalSource& prompts;
  const text::Tokenizer& tokenizer;
  const AskModel& ask;
  Console& console;
  parallel::Group& group = parallel::alone();
  std::filesystem::path jieba_dictionary = {};
  std::function<void(std::int64_t)> answered = {};  ///< called after each answer with the number of answers so far
};

/// What predict_all found.
struct Predicted {
  PredictionScores scores;
  double seconds;
  std::int64_t rows;

  /// Scores and speed, as predict_results.json and eval_results.json hold them under their prefixes.
  OrderedJson metrics(const std::string& prefix, std::int64_t batch_size) const {
    OrderedJson m = scores.metrics(prefix);
    const std::int64_t steps = (rows + batch_size - 1) / batch_size;
    m.update(speed_metrics(prefix, seconds, static_cast<double>(rows), static_cast<double>(steps)));
    return m;
  }
};

/// Records whose answers are asked for at once: their images are in memory.
inline constexpr std::int64_t answers_under_way = 64;

/// The owner's answer on every rank; nothing if the owner was interrupted.
inline std::optional<std::vector<int>> shared_answer(parallel::Group& group, int owner,
                                                     const std::optional<std::vector<int>>& mine) {
  std::int64_t length = mine ? std::ssize(*mine) : -1;
  group.broadcast(std::as_writable_bytes(std::span(&length, 1)), owner);
  if (length < 0) return std::nullopt;
  std::vector<int> answer = group.rank() == owner ? *mine : std::vector<int>(static_cast<std::size_t>(length));
  group.broadcast(std::as_writable_bytes(std::span(answer)), owner);
  return answer;
}

/// Answers the records side by side, scores the answers, and writes output_dir/generated_predictions.jsonl if there is
/// an output_dir. Returns nothing after Ctrl-C: then the answers so far stay in generated_predictions.partial.jsonl.
/// Ranks answer the records in turn, and the first one writes.
///
/// A line is {"prompt", "predict", "label"}, in the records' order: the prompt with all its special tokens, the answer
/// and the wanted answer without (skip_special_tokens). As in LLaMA-Factory, a label keeps the newline that its
/// template puts behind <|im_end|>, which no answer has: BLEU-4 of a perfect answer is a little below 100. Scores are
/// of texts without special tokens; exact_match (per cent; our own) takes no notice of white space at the ends.
/// source  LLaMA-Factory, train/sft/trainer.py, save_predictions
inline std::optional<Predicted> predict_all(PredictParts parts, const std::optional<std::filesystem::path>& output_dir,
                                            bool skip_special_tokens) {
  io::InterruptGuard interrupt;
  const auto start = std::chrono::steady_clock::now();
  const auto elapsed_s = [&] {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  };
  const auto rows = static_cast<std::int64_t>(parts.samples.size());
  std::optional<PredictionFile> file;
  if (output_dir && parts.group.first()) file.emplace(*output_dir);
  PredictionScores scores(parts.jieba_dictionary);
  std::deque<PendingAnswer> under_way;
  const std::int64_t ranks = parts.group.size();
  for (std::int64_t i = 0, asked = parts.group.rank(); i < rows; ++i) {
    for (; asked < std::min(rows, i + answers_under_way * ranks); asked += ranks)
      under_way.push_back(parts.ask(parts.prompts.batch(asked).batch, asked));
    const data::EncodedSample& sample = parts.samples[static_cast<std::size_t>(i)];
    const int owner = static_cast<int>(i % ranks);
    std::optional<std::vector<int>> mine;
    if (owner == parts.group.rank()) {
      mine = under_way.front()([&] { return interrupt.requested(); });
      under_way.pop_front();
      if (interrupt.requested()) mine.reset();
    }
    const auto answer = shared_answer(parts.group, owner, mine);
    if (!answer) {
      parts.console.finish();
      parts.console.line(cat("Interrupted after ", i, " of ", rows, " answers",
                             file ? cat(", which are in ", file->partial().string()) : ""));
      return std::nullopt;
    }
    const text::Tokenizer& t = parts.tokenizer;
    if (file)
      file->write(t.decode(sample.ids), t.decode(*answer, skip_special_tokens),
                  t.decode(sample.answer, skip_special_tokens));
    scores.add(t.decode(*answer, true), t.decode(sample.answer, true));
    parts.console.step({.step = i + 1, .total_steps = rows, .first_step = 0, .elapsed_s = elapsed_s()},
                       std::numeric_limits<double>::quiet_NaN());
    if (parts.answered) parts.answered(i + 1);
  }
  if (file) file->commit();
  parts.console.finish();
  if (const std::string note = scores.units_note(); !note.empty()) parts.console.line("note: " + note);
  return Predicted{std::move(scores), elapsed_s(), rows};
}

}  // namespace lamina::train
