#include <lamina/checkpoint/config.hpp>
#include <lamina/checkpoint/model_facts.hpp>
#include <lamina/checkpoint/safetensors.hpp>
#include "scratch.hpp"
#include "support/catch.hpp"

using namespace lamina::checkpoint;

TEST_CASE("tied_head: tied needs the flag and no head of its own in the weights") {
  const Checkpoint tied = Checkpoint::open(golden("tiny3")), untied = Checkpoint::open(golden("tiny2_5"));
  ModelConfig config = ModelConfig::load(golden("tiny3"));
  CHECK(config.tie_word_embeddings);
  CHECK(tied_head(config, tied));
  CHECK(!tied_head(config, untied));  // a flag that the weights contradict
  config.tie_word_embeddings = false;
  CHECK(!tied_head(config, tied));
}
