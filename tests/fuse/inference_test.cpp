#include "fuse/fused_run.hpp"
#include "fuse/stream_run.hpp"

#include <lamina/kernel/attention/paged_attention.hpp>
#include <lamina/kernel/plan.hpp>

using namespace lamina;
using namespace lamina::testing;

namespace {
struct Qwen3VL : qwen3_vl::Qwen3VL_Tiny {};
struct Qwen2_5VL : qwen2_5_vl::Qwen2_5VL_Tiny {};

template <class Model>
void check_same_answers(const char* file) {
  struct Fused : fused_for<Cpu, Model> {};
  Device<Cpu> host;
  const Golden golden(file);
  const Answer plain = answer_on<Model, float>(host, golden, 0, 4), fused = answer_on<Fused, float>(host, golden, 0, 4);
  CHECK(fused.tokens == plain.tokens);
  CHECK(relative_error(fused.first, plain.first) < fused_tolerance);
  CHECK(relative_error(fused.last, plain.last) < fused_tolerance);
}

/// Launches of one decoder layer that reads a token of each of three sequences, in order.
template <class Model>
std::vector<std::string> decoding_launches() {
  using Layer = at<typename Model::Stack_::children, 0>;
  using Inference = Mode<bf16, false, false>;
  Arena scratch;
  PlanRecord record;
  kernel::PagedCache<bf16> pages;
  pages.singles = 3;
  Context<bf16> context;
  context.rows = 3;
  context.pages = &pages;
  const Run<Plan, Inference> run{Stream<Plan>{&record}, &scratch, &context};
  Weights<Model, bf16, Cuda> weights([](const TensorSpec&) {
    return typename Weights<Model, bf16, Cuda>::Choice{DType::BF16, 0, false};
  });
  const auto parameters = weights.parameters_at(reinterpret_cast<std::byte*>(4096), nullptr, nullptr);  // nobody reads
  constexpr int first = tensor_count<typename Model::Visual> + tensor_count<typename Model::Embed>;
  typename Layer::template Saved<Inference> saved{};
  const auto rows = [&] { return scratch.matrix<bf16>(3, Model::hidden_size); };
  const Matrix<bf16> x = rows(), y = rows();
  Layer::forward(run, parameters.data() + first, saved, Matrix<const bf16>(x), y);
  std::vector<std::string> kernels;
  for (const auto& launch : record.launches) kernels.push_back(launch.kernel);
  return kernels;
}
}  // namespace

TEST_CASE("fusion: inference gives the plain model's logits and tokens") {
  SECTION("qwen3_vl") { check_same_answers<Qwen3VL>(file3); }
  SECTION("qwen2_5_vl") { check_same_answers<Qwen2_5VL>(file2_5); }
}

TEST_CASE("fusion: a decoder layer that generates is eight launches") {
  struct Fused : fused_for<Cuda, Qwen3VL> {};
  CHECK(decoding_launches<Fused>() == std::vector<std::string>{"rms_norm_fwd", "matmul_fwd", "rotate_and_write",
                                                               "paged_attention_decode", "matmul_fwd",
                                                               "add_rms_norm_fwd", "gated_product", "matmul_fwd"});
}

TEST_CASE("fusion: a layer of one of two ranks sums its branches before anything reads them, residual included") {
  struct Part : fused_for<Cuda, Sharded<Qwen3VL, 2>> {};
  CHECK(decoding_launches<Part>() ==
        std::vector<std::string>{"rms_norm_fwd", "matmul_fwd", "rotate_and_write", "paged_attention_decode",
                                 "matmul_fwd", "all_reduce_add_norm", "gated_product", "matmul_fwd", "all_reduce"});
}
