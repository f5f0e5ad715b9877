#include "data/support.hpp"
#include "support/catch.hpp"

#include <lamina/data/dataset.hpp>

using namespace lamina;
using namespace lamina::data;
using namespace lamina::data::test;

namespace {

/// The options of a golden run, under their YAML names.
EncodeOptions encode_options(const Json& keys) {
  EncodeOptions options;
  for (const auto& [key, value] : keys.items()) {
    if (key == "cutoff_len") options.cutoff_len = value.get<int>();
    if (key == "mask_history") options.mask_history = value.get<bool>();
    if (key == "train_on_prompt") options.train_on_prompt = value.get<bool>();
    if (key == "preserve_thinking") options.preserve_thinking = value.get<bool>();
    if (key == "enable_thinking") {
      options.enable_thinking = value.is_null() ? std::nullopt : std::optional(value.get<bool>());
    }
  }
  return options;
}

std::vector<std::string> words(const std::string& text) {
  std::istringstream in(text);
  return {std::istream_iterator<std::string>(in), {}};
}

/// Runs of <|image_pad|> in front of a <|vision_end|>: images that are whole at their end.
std::size_t image_runs(const EncodedSample& sample) {
  std::size_t runs = 0;
  for (std::size_t i = 0; i + 1 < sample.ids.size(); ++i)
    runs += sample.ids[i] == 151655 && sample.ids[i + 1] == 151653;
  return runs;
}

/// Encodes every row of a data set the way the run says, and gives a hash a row, "-" for dropped ones.
class GoldenRunner {
 public:
  explicit GoldenRunner(const std::filesystem::path& test_data)
      : test_data_(test_data),
        tokenizer_(text::Tokenizer::load(test_data / "qwen3-tokenizer", qwen_vl::control_tokens)) {}

  using Encode = Encoded (Encoder::*)(const Conversation&);
  std::vector<std::optional<EncodedSample>> run(const Json& run, const Json& options, const Json& limits,
                                                Encode how = &Encoder::encode) const {
    const auto dir = run["data"] == "demo" ? test_data_ / "llamafactory" / "data" : golden("cases");
    const vision::Processor processor = run["template"] == "qwen2_vl" ? qwen2_processor() : qwen3_processor();
    const ImageLimits pixels{limits["image_max_pixels"].get<std::int64_t>(),
                             limits["image_min_pixels"].get<std::int64_t>()};
    std::optional<std::string> system;
    if (options.contains("default_system")) system = options["default_system"].get<std::string>();
    Encoder encoder(tokenizer_, ChatLayout::named(run["template"].get<std::string>(), system), encode_options(options),
                    {processor, pixels}, dir);
    const DatasetInfo info = Registry::load(dir).find(run["dataset"].get<std::string>());
    std::vector<std::optional<EncodedSample>> samples;
    for (const Row& row : read_rows(dir / info.file_name).rows)
      samples.push_back(encode(encoder, how, convert(row, info, &qwen_vl::tools)));
    return samples;
  }

 private:
  static std::optional<EncodedSample> encode(Encoder& encoder, Encode how, const Converted& converted) {
    if (std::holds_alternative<Dropped>(converted)) return std::nullopt;
    Encoded result = (encoder.*how)(std::get<Conversation>(converted));
    return std::holds_alternative<EncodedSample>(result) ? std::optional(std::get<EncodedSample>(result))
                                                         : std::nullopt;
  }
  std::filesystem::path test_data_;
  text::Tokenizer tokenizer_;
};

/// How many rows were equal, dropped by both, and cut in two by LLaMA-Factory.
struct Counts {
  int equal = 0, dropped = 0, cut = 0;
};

/// Checks every row of every run of a golden file.
Counts check_runs(const GoldenRunner& runner, const Json& file, GoldenRunner::Encode how) {
  Counts counts;
  for (const Json& run : file["runs"]) {
    const std::vector<std::string> wanted = words(run["rows"].get<std::string>());
    const auto samples = runner.run(run, file["options"][run["options"].get<std::string>()], file["limits"], how);
    REQUIRE(samples.size() == wanted.size());
    for (std::size_t i = 0; i < wanted.size(); ++i) {
      INFO(run["template"] << " " << run["dataset"] << " " << run["options"] << " row " << i + 1);
      if (wanted[i] == "cut") {  // there an image was cut in two; here the turn is left out, or the sample
        if (samples[i]) CHECK(image_runs(*samples[i]) == samples[i]->images.size());
        ++counts.cut;
        continue;
      }
      REQUIRE(samples[i].has_value() == (wanted[i] != "-"));
      if (samples[i]) CHECK(hash_of(*samples[i]) == wanted[i]);
      ++(samples[i] ? counts.equal : counts.dropped);
    }
  }
  return counts;
}

}  // namespace

TEST_CASE("Encoder: token ids and labels are those of LLaMA-Factory, on its demo data and on hand-written cases") {
  const auto folder = test_data("the comparison with LLaMA-Factory");
  if (!folder) return;
  const GoldenRunner runner(*folder);
  const Json file = read_json(golden("encoded.json"));
  const Counts counts = check_runs(runner, file, &Encoder::encode);
  CHECK(counts.equal > 5000);
  CHECK(counts.dropped > 100);
  CHECK(counts.cut > 0);
  for (const Json& full : file["full"]) {
    Json run = full;
    run["data"] = "cases";
    const EncodedSample sample = runner.run(run, Json::object(), file["limits"])[full["row"].get<int>() - 1].value();
    CHECK(sample.ids == full["ids"].get<std::vector<int>>());
    CHECK(sample.labels == full["labels"].get<std::vector<int>>());
  }
}

TEST_CASE("Encoder: questions and their answers are those of LLaMA-Factory's prediction") {
  const auto folder = test_data("the comparison with LLaMA-Factory");
  if (!folder) return;
  const Counts counts =
      check_runs(GoldenRunner(*folder), read_json(golden("questions.json")), &Encoder::encode_question);
  CHECK(counts.equal > 300);
  CHECK(counts.cut > 0);
}
