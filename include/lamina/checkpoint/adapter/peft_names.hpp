#pragma once
#include <string>
#include <string_view>

#include <lamina/core/error.hpp>

/// How PEFT spells the tensors of an adapter.
namespace lamina::checkpoint {

/// Before the names of the model's tensors.
inline constexpr std::string_view peft_prefix = "base_model.model.";

/// The name that PEFT gives a layer's tensor under transformers >= 4.52: which is "lora_A" or "lora_B".
inline std::string peft_tensor_name(std::string_view canonical_module, std::string_view which) {
  return cat(peft_prefix, canonical_module, ".", which, ".weight");
}

}  // namespace lamina::checkpoint
