#include <unistd.h>

#include <cstdio>

#include <lamina/model/qwen3_vl/model.hpp>

#include "cuda/gpu_run.hpp"
#include "support/error_of.hpp"

using namespace lamina;
using namespace lamina::testing;

namespace {
struct Adapted
    : fused_for<Cuda, LoRA<qwen3_vl::Qwen3VL_Tiny, Rank<Dyn>, Alpha<Dyn>, Within<qwen3_vl::language_model>>> {};
}  // namespace

TEST_CASE("a step that does not fit says what it needs, what is free and what lowers it, and takes nothing") {
  const auto weights = gpu_weights<Adapted, bf16>([](std::string_view) { return true; });
  train::Step<Adapted, bf16, Cuda> step(gpu_device());
  Batch batch;
  batch.ids.assign(20000, 1);
  batch.labels = batch.ids;
  batch.loss_weights.assign(batch.ids.size(), 1.0f);
  batch.cu_seqlens = {0, 10000, 20000};
  const auto free = static_cast<std::size_t>(gpu_device().free_bytes());
  const Arena most(free - (std::size_t{128} << 20), Memory<Cuda>{});
  const std::int64_t rest = gpu_device().free_bytes();
  const std::string why = error_of([&] { step.accumulate(*weights, batch, 7, 0); });
  INFO(why);
  CHECK(testing::contains(
      why, "the GPU is out of memory: a step of 20000 tokens in 2 sequences and 0 image patches needs "));
  CHECK(testing::contains(why, " saved for backward, "));
  CHECK(testing::contains(why, " are free. What lowers it: per_device_train_batch_size, "));
  CHECK(gpu_device().free_bytes() == rest);
}

TEST_CASE("memory that a GPU lacks is an Error with what was asked for and what is free") {
  const std::string why = error_of([] { Arena(std::size_t{1} << 44, Memory<Cuda>{}); });
  INFO(why);
  CHECK(testing::contains(why, "the GPU is out of memory: 16384 GiB were asked for, "));
  CHECK(testing::contains(why, " are free. Lower per_device_train_batch_size, "));
}

TEST_CASE("without a visible GPU the message names CUDA_VISIBLE_DEVICES and device: cpu") {
  char self[4096] = {};
  REQUIRE(::readlink("/proc/self/exe", self, sizeof self - 1) > 0);
  std::FILE* const other = ::popen(("CUDA_VISIBLE_DEVICES= '" + std::string(self) + "'").c_str(), "r");
  REQUIRE(other);
  std::string said;
  for (int c; (c = std::fgetc(other)) != EOF;) said += static_cast<char>(c);
  ::pclose(other);
  INFO(said);
  CHECK(testing::contains(said, "skipped: no GPU was found ("));
  CHECK(testing::contains(said, "look at nvidia-smi and CUDA_VISIBLE_DEVICES, or use device: cpu"));
}
