#include <lamina/model/qwen_vl/chat.hpp>
#include <lamina/train/report/sample_text.hpp>

#include <sstream>

#include "support/catch.hpp"

using namespace lamina;

TEST_CASE("Reports: a record is shown as training reads it, the learned part of its text apart", "[train]") {
  const auto tokenizer = text::Tokenizer::load(LAMINA_SOURCE_DIR "/data/qwen3_vl_tiny", qwen_vl::control_tokens);
  data::EncodedSample sample;
  sample.origin = "x.json row 3";
  sample.ids = tokenizer.encode("<|im_start|>user\nHi");
  sample.labels.assign(sample.ids.size(), ignored_label);
  for (const int id : tokenizer.encode("Yes.<|im_end|>")) sample.ids.push_back(id), sample.labels.push_back(id);
  std::ostringstream out;
  train::print_sample(out, sample, tokenizer);
  const std::string text = out.str();
  INFO(text);
  CHECK(text.starts_with("x.json row 3, "));
  CHECK(text.find("inputs:\n<|im_start|>user\nHiYes.<|im_end|>\n") != std::string::npos);
  CHECK(text.find("label_ids:\n[-100, -100") != std::string::npos);
  CHECK(text.find("labels:\nYes.<|im_end|>\n") != std::string::npos);
}

TEST_CASE("Reports: of a pair each answer is shown by itself", "[train]") {
  const auto tokenizer = text::Tokenizer::load(LAMINA_SOURCE_DIR "/data/qwen3_vl_tiny", qwen_vl::control_tokens);
  data::EncodedSample pair;
  for (const char* answer : {"Yes.", "No."}) {
    for (const int id : tokenizer.encode(answer)) pair.ids.push_back(id), pair.labels.push_back(id);
    pair.sequences.push_back({static_cast<int>(pair.ids.size()), "x"});
  }
  pair.roles = {SequenceRole::chosen, SequenceRole::rejected};
  std::ostringstream out;
  train::print_sample(out, pair, tokenizer);
  CHECK(out.str().find("chosen_labels:\nYes.\nrejected_input_ids:") != std::string::npos);
  CHECK(out.str().find("rejected_labels:\nNo.\n") != std::string::npos);
}
