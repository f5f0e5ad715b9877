#pragma once
#include <optional>
#include <string_view>

#include <lamina/core/tensor/dtype.hpp>

namespace lamina::checkpoint {

/// The element type that config.json calls "bfloat16" and so on.
inline std::optional<DType> dtype_from_torch_name(std::string_view name) {
  if (name.starts_with("torch.")) name.remove_prefix(6);
  if (name == "bfloat16") return DType::BF16;
  if (name == "float16" || name == "half") return DType::F16;
  if (name == "float32" || name == "float") return DType::F32;
  if (name == "float64" || name == "double") return DType::F64;
  return std::nullopt;
}

/// PyTorch's name of a floating element type: "bfloat16".
inline std::string_view torch_name_of(DType t) {
  switch (t) {
    case DType::BF16:
      return "bfloat16";
    case DType::F16:
      return "float16";
    case DType::F64:
      return "float64";
    default:
      return "float32";
  }
}

}  // namespace lamina::checkpoint
