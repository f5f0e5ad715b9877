#pragma once
#include <optional>
#include <string>

#include <lamina/core/quantization/format.hpp>

namespace lamina::train {

/// How the frozen decoder is stored while adapters learn: QLoRA.
struct QuantizationOptions {
  std::optional<int> bit;  ///< 4 or 8; unset: the checkpoint's own weights
  std::string type = "nf4";
  bool double_quantization = true;
  std::string method = "bnb";

  Quantization format() const {
    if (!bit) return {};
    if (*bit == 8) return Quantization::llm_int8();
    return Quantization::four_bit(type == "fp4" ? Quantization::Code::fp4 : Quantization::Code::nf4,
                                  double_quantization);
  }
};

}  // namespace lamina::train
