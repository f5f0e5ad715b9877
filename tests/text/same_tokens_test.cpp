#include <lamina/model/config/read.hpp>
#include <lamina/text/same_tokens.hpp>

#include "support/catch.hpp"
#include "support/error_of.hpp"

using namespace lamina;

TEST_CASE("same tokens: config.json and the tokenizer are of one model, or it is refused") {
  const std::filesystem::path folder = LAMINA_SOURCE_DIR "/data/qwen3_vl_tiny";
  const ModelConfig config = ModelConfig::load(folder);
  const auto tokenizer = text::Tokenizer::load(folder, config.family->chat.control_tokens);
  CHECK_NOTHROW(text::require_same_tokens(config, tokenizer, folder));
  for (int ModelConfig::*field : {&ModelConfig::image_token_id, &ModelConfig::video_token_id,
                                  &ModelConfig::vision_start_token_id, &ModelConfig::vision_end_token_id}) {
    ModelConfig other = config;
    other.*field = 5;
    CHECK_THROWS_AS(text::require_same_tokens(other, tokenizer, folder), Error);
    other.*field = -1;  // the file names none
    CHECK_NOTHROW(text::require_same_tokens(other, tokenizer, folder));
  }
  ModelConfig other = config;
  other.text_config.vocab_size = tokenizer.size() - 1;
  CHECK_THROWS_AS(text::require_same_tokens(other, tokenizer, folder), Error);
  other = config;
  other.image_token_id = 5;
  CHECK(testing::contains(testing::error_of([&] { text::require_same_tokens(other, tokenizer, "model"); }),
                          cat("model/config.json: image_token_id is 5, and the tokenizer's <|image_pad|> is ",
                              config.image_token_id, ": the two are of different models")));
}
