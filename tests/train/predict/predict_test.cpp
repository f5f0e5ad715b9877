#include <csignal>
#include <fstream>
#include <sstream>

#include <lamina/train/predict.hpp>

#include "data/support.hpp"
#include "support/catch.hpp"

using namespace lamina;
using namespace lamina::data::test;
using namespace lamina::train;

namespace {

std::string read(const std::filesystem::path& path) {
  std::ifstream in(path);
  return {std::istreambuf_iterator<char>(in), {}};
}

/// Three records, their prompts "q0" to "q2" in batches of one; what they are answered is given.
struct Exam : EvalSource {
  Folder folder;
  text::Tokenizer tokenizer = byte_tokenizer();
  std::vector<data::EncodedSample> samples{3};
  std::ostringstream text;
  Console console{text, false};
  std::vector<std::string> replies = {"yes<|im_end|>", "caf\u00e9<|im_end|>", "no"};

  explicit Exam(std::vector<std::string> labels = {"yes<|im_end|>\n", "tea<|im_end|>\n", "no<|im_end|>\n"}) {
    for (std::size_t i = 0; i < samples.size(); ++i) {
      samples[i].ids = tokenizer.encode("<|im_start|>q" + std::to_string(i));
      samples[i].answer = tokenizer.encode(labels[i]);
    }
  }
  std::int64_t rows() const override { return 3; }
  std::int64_t batches() const override { return 3; }
  Window batch(std::int64_t i) override {
    Window window;
    window.batch.ids = samples[static_cast<std::size_t>(i)].ids;
    return window;
  }
  /// Raises SIGINT while it answers record `interrupt_at`.
  std::optional<OrderedJson> run(bool skip_special_tokens = true, std::size_t interrupt_at = 3,
                                 const std::string& dictionary = {}) {
    const AskModel ask = [&, asked = std::size_t{0}](const Batch& prompt,
                                                     std::int64_t record) mutable -> PendingAnswer {
      CHECK(record == static_cast<std::int64_t>(asked));
      CHECK(prompt.ids == samples[asked].ids);
      return [&, i = asked++](const std::function<bool()>&) {
        CHECK(asked == samples.size());  // all were asked for before the first was waited for
        if (i == interrupt_at) ::raise(SIGINT);
        return tokenizer.encode(replies[i]);
      };
    };
    const auto predicted = predict_all({.samples = samples,
                                        .prompts = *this,
                                        .tokenizer = tokenizer,
                                        .ask = ask,
                                        .console = console,
                                        .jieba_dictionary = dictionary},
                                       folder.path(), skip_special_tokens);
    return predicted ? std::optional(predicted->metrics("predict", 2)) : std::nullopt;
  }
};

}  // namespace

TEST_CASE("predict_all: writes LLaMA-Factory's lines and metrics") {
  Exam exam;
  const auto metrics = exam.run();
  REQUIRE(metrics);
  CHECK(read(exam.folder.path() / "generated_predictions.jsonl") ==
        "{\"prompt\": \"<|im_start|>q0\", \"predict\": \"yes\", \"label\": \"yes\\n\"}\n"
        "{\"prompt\": \"<|im_start|>q1\", \"predict\": \"caf\u00e9\", \"label\": \"tea\\n\"}\n"
        "{\"prompt\": \"<|im_start|>q2\", \"predict\": \"no\", \"label\": \"no\\n\"}\n");
  CHECK_FALSE(std::filesystem::exists(exam.folder.path() / "generated_predictions.partial.jsonl"));
  std::vector<std::string> keys;
  for (const auto& [key, value] : metrics->items()) keys.push_back(key);
  CHECK(keys == std::vector<std::string>{"predict_bleu-4", "predict_rouge-1", "predict_rouge-2", "predict_rouge-l",
                                         "predict_exact_match", "predict_runtime", "predict_samples_per_second",
                                         "predict_steps_per_second"});
  CHECK(metrics->at("predict_exact_match").get<double>() == Approx(200.0 / 3));
  CHECK(metrics->at("predict_rouge-1").get<double>() == Approx(200.0 / 3).epsilon(1e-6));
}

TEST_CASE("predict_all: special tokens are written where they are asked for, and never scored") {
  Exam exam;
  const auto with = exam.run(false);
  CHECK(data::test::contains(read(exam.folder.path() / "generated_predictions.jsonl"),
                             R"("predict": "yes<|im_end|>", "label": "yes<|im_end|>\n")"));
  CHECK(with->at("predict_bleu-4") == Exam().run()->at("predict_bleu-4"));
}

TEST_CASE("predict_all: ROUGE of Chinese counts words if there is a dictionary, and says what it counts") {
  const auto scores = [](const std::string& dictionary, std::string& said) {
    Exam exam({"\u7814\u7a76\u751f\u547d<|im_end|>\n", "tea<|im_end|>\n", "no<|im_end|>\n"});
    exam.replies[0] = "\u7814\u7a76\u547d\u751f<|im_end|>";
    const auto metrics = exam.run(true, 3, dictionary);
    said = exam.text.str();
    return *metrics;
  };
  std::string said;
  const OrderedJson words = scores(LAMINA_GOLDEN_DIR "/text/jieba/dict.txt", said);
  CHECK(words.at("predict_rouge_units") == "words");
  CHECK(data::test::contains(said, "note: ROUGE of Chinese counts words, with "));
  // Two words each, of which one is in both; four characters each, all in both.
  CHECK(words.at("predict_rouge-1").get<double>() == Approx(100 * (0.5 + 0 + 1) / 3).epsilon(1e-5));
  ::setenv("HOME", "/nonexistent", 1), ::unsetenv("VIRTUAL_ENV"), ::unsetenv("CONDA_PREFIX");
  if (text::find_jieba_dictionary()) return;  // python3-jieba is installed here
  const OrderedJson characters = scores("", said);
  CHECK(characters.at("predict_rouge_units") == "characters");
  CHECK(data::test::contains(said, "ROUGE of Chinese counts characters, so that it is not LLaMA-Factory's"));
  CHECK(characters.at("predict_rouge-1").get<double>() == Approx(100 * (1.0 + 0 + 1) / 3).epsilon(1e-6));
}

TEST_CASE("predict_all: an interruption keeps the answers so far under another name") {
  Exam exam;
  CHECK_FALSE(exam.run(true, 1));
  CHECK_FALSE(std::filesystem::exists(exam.folder.path() / "generated_predictions.jsonl"));
  const std::string kept = read(exam.folder.path() / "generated_predictions.partial.jsonl");
  CHECK(std::count(kept.begin(), kept.end(), '\n') == 1);
  CHECK(data::test::contains(exam.text.str(), "Interrupted after 1 of 3 answers"));
}
