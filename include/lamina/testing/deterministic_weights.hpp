#pragma once
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

/// Weights by rule: any program that knows a tensor's name and shape makes the same bytes, so that tests and references
/// in other languages share a model without sharing files. tests/reference/deterministic_weights.py is the same rule.
///
///     h    = splitmix64(fnv1a64(name) + i * 0x9E3779B97F4A7C15)      i = row-major index, all arithmetic mod 2^64
///     t    = (h >> 40) * 2^-24 - 0.5                                 in [-0.5, 0.5), exact in fp32
///     x[i] = offset + scale * t                                      one fp32 rounding
///
/// name is the checkpoint's own (transformers >= 4.52 modules: model.language_model.layers.0.mlp.up_proj.weight), or
/// PEFT's for adapters (base_model.model.model.language_model.layers.0.mlp.up_proj.lora_A.weight).
namespace lamina::testing {

constexpr std::uint64_t fnv1a64(std::string_view bytes) {
  std::uint64_t h = 0xCBF29CE484222325u;
  for (const char c : bytes) h = (h ^ static_cast<unsigned char>(c)) * 0x100000001B3u;
  return h;
}

constexpr std::uint64_t splitmix64(std::uint64_t z) {
  z += 0x9E3779B97F4A7C15u;
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
  return z ^ (z >> 31);
}

/// Element i of the stream that a name starts, uniform in [-0.5, 0.5).
constexpr float deterministic_unit(std::uint64_t name_hash, std::size_t i) {
  const std::uint64_t h = splitmix64(name_hash + i * 0x9E3779B97F4A7C15u);
  return static_cast<float>(static_cast<std::int32_t>(h >> 40) - (1 << 23)) * 0x1p-24f;
}

struct DeterministicRange {
  float offset = 0, scale = 0;
};

/// How a tensor's kind, known from its name and rank, spreads its values. The first rule that fits:
///
///     pixel*                                2 t      patches made up for a test
///     *.bias                                0.2 t
///     *.lora_B.weight                       0.1 t
///     *embed_tokens.weight, *pos_embed.weight, *lm_head.weight   0.5 t
///     rank 1: the gain of a norm            1 + 0.5 t
///     (out, ...): other matrices            float(3.4641016 / sqrt(fan_in)) t, fan_in = product of all but out: unit
///                                           gain, so that activations stay lively
///
/// No product with an offset rounds, so fused multiply-add changes nothing.
inline DeterministicRange deterministic_range(std::string_view name, std::span<const std::int64_t> shape) {
  const auto ends_with = [name](std::string_view tail) { return name.ends_with(tail); };
  if (name.starts_with("pixel")) return {0, 2};
  if (ends_with(".bias")) return {0, 0.2f};
  if (ends_with(".lora_B.weight")) return {0, 0.1f};
  if (ends_with("embed_tokens.weight") || ends_with("lm_head.weight") || ends_with("pos_embed.weight"))
    return {0, 0.5f};
  if (shape.size() < 2) return {1, 0.5f};
  std::int64_t fan_in = 1;
  for (const std::int64_t extent : shape.subspan(1)) fan_in *= extent;
  return {0, 3.4641016f / std::sqrt(static_cast<float>(fan_in))};
}

/// Element i of tensor `name`.
inline float deterministic_value(std::string_view name, std::span<const std::int64_t> shape, std::size_t i) {
  const DeterministicRange range = deterministic_range(name, shape);
  return range.offset + range.scale * deterministic_unit(fnv1a64(name), i);
}

/// The whole tensor, row-major; out has as many elements as shape.
inline void fill_deterministic(std::string_view name, std::span<const std::int64_t> shape, std::span<float> out) {
  const DeterministicRange range = deterministic_range(name, shape);
  const std::uint64_t hash = fnv1a64(name);
  for (std::size_t i = 0; i < out.size(); ++i) out[i] = range.offset + range.scale * deterministic_unit(hash, i);
}

}  // namespace lamina::testing
