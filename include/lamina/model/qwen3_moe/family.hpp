#pragma once
#include <lamina/model/qwen3/family.hpp>
#include <lamina/model/qwen3_moe/config.hpp>

namespace lamina::qwen3_moe {

inline constexpr Family family = [] {
  Family f = qwen3::family;
  f.model_type = "qwen3_moe";
  f.title = "Qwen3-MoE";
  f.config = config;
  return f;
}();

}  // namespace lamina::qwen3_moe
