#pragma once
#include <cmath>
#include <lamina/fuse.hpp>
#include <lamina/model/qwen2_5_vl/model.hpp>
#include <lamina/model/qwen3_vl/model.hpp>

#include "model/parity.hpp"

/// Models whose residual streams outgrow fp16, and what they answer.
namespace lamina::testing {

/// With heads of their own: a tied table that is grown would give logits beyond fp16.
struct OwnHead3
    : qwen3_vl::Qwen3VL<qwen3_vl::VisionTiny, qwen3_vl::TextTiny, qwen3_vl::UntiedHead<qwen3_vl::TextTiny>> {};
struct OwnHead2_5 : qwen2_5_vl::Qwen2_5VL<qwen2_5_vl::VisionTiny, qwen2_5_vl::TextTiny,
                                          qwen2_5_vl::UntiedHead<qwen2_5_vl::TextTiny>> {};
inline constexpr const char *file3 = "parity/qwen3_vl_tiny.safetensors",
                            *file2_5 = "parity/qwen2_5_vl_tiny.safetensors";

/// Whether a tensor's values go into a residual stream without another layer between.
inline bool writes_to_stream(std::string_view name) {
  for (std::string_view tag : {"embed_tokens", "patch_embed", "pos_embed", ".o_proj.", ".down_proj.", ".attn.proj.",
                               ".linear_fc2.", ".merger.mlp.2."})
    if (name.find(tag) != name.npos) return true;
  return false;
}

/// Weights by rule, those that write to a stream times 2^grown: the norms make of it what they made before. All are
/// numbers that fp16 has.
template <class Model, class T, Backend B>
std::unique_ptr<Weights<Model, T, B>> stream_weights(Device<B>& device, int grown) {
  using W = Weights<Model, T, B>;
  auto weights = std::make_unique<W>([](const TensorSpec&) { return typename W::Choice{dtype_of<T>, 0, false}; });
  weights->allocate(false, device.stream());
  for (const TensorSlot& slot : weights->slots()) {
    const std::vector<std::int64_t> shape(slot.spec.extents.begin(), slot.spec.extents.begin() + slot.spec.rank);
    std::vector<float> values(static_cast<std::size_t>(slot.spec.count()));
    fill_deterministic(slot.name(), shape, values);
    const float growth = power_of_two(writes_to_stream(slot.name()) ? grown : 0);
    weights->fill(slot, [&](std::span<std::byte> to) {
      for (std::size_t i = 0; i < values.size(); ++i) {
        const float value = to_f32(round_to<f16>(growth * values[i]));
        reinterpret_cast<T*>(to.data())[i] = round_to<T>(power_of_two(slot.spec.exponent) * value);
      }
    });
  }
  return weights;
}

/// The prompt's last logits, then greedy tokens and the logits after the last of them.
struct Answer {
  std::vector<float> first, last;
  std::vector<int> tokens;
  bool operator==(const Answer&) const = default;
  bool finite() const {
    for (const auto* logits : {&first, &last})
      for (float z : *logits)
        if (!std::isfinite(z)) return false;
    return true;
  }
};
template <class Model, class T, Backend B>
Answer answer_on(Device<B>& device, const Golden& golden, int grown, int count) {
  const auto weights = stream_weights<Model, T, B>(device, grown);
  engine::SingleSequence<Model, T, B> sequence(device, *weights, image_token_of<Model>(golden), 512);
  Batch prompt = golden_batch(golden, "A", Model::patch_width);
  prompt.labels.clear();
  Answer answer;
  std::vector<float> logits = sequence.prefill(prompt);
  answer.first = logits;
  for (int i = 0; i < count; ++i) {
    answer.tokens.push_back(static_cast<int>(std::max_element(logits.begin(), logits.end()) - logits.begin()));
    logits = sequence.decode(answer.tokens.back());
  }
  answer.last = logits;
  return answer;
}

/// Times 2^this the streams of the tiny models reach 0.5e6 to 2e6, while no weight reaches 65504.
inline constexpr int grown = 17;

/// At fp16 a stream that outgrows it is infinite, and held at 2^-8 gives fp32's tokens.
template <class Model, Backend B>
void check_grown_stream(Device<B>& device, const char* file) {
  struct Held : stream_for<f16, Model> {};
  struct Plain : fused_for<B, Model> {};
  struct Fused : fused_for<B, Held> {};
  const Golden golden(file);
  constexpr int count = 24;
  Device<Cpu> host;
  const Answer wanted = answer_on<Model, float>(host, golden, grown, count);
  REQUIRE(wanted.finite());
  CHECK(!answer_on<Plain, f16>(device, golden, grown, 1).finite());
  const Answer got = answer_on<Fused, f16>(device, golden, grown, count);
  CHECK(got.finite());
  CHECK(got.tokens == wanted.tokens);
}

}  // namespace lamina::testing
