#pragma once
#include <algorithm>
#include <array>
#include <string>
#include <string_view>

#include <lamina/core/error.hpp>

/// The Modelfile with which Ollama runs a merged model; the text is LLaMA-Factory's, but for its first line.
namespace lamina::merge {

/// The templates that Qwen-VL models are trained with.
inline constexpr std::array<std::string_view, 3> templates = {"qwen3_vl", "qwen3_vl_nothink", "qwen2_vl"};

/// Error on an unknown template. No tools and no images, as in LLaMA-Factory's own.
inline std::string modelfile_text(std::string_view template_name) {
  if (std::find(templates.begin(), templates.end(), template_name) == templates.end())
    fail("template: got \"", template_name,
         "\", known are qwen3_vl, qwen3_vl_nothink (Qwen3-VL) and qwen2_vl (Qwen2.5-VL)");
  std::string text =
      "# ollama modelfile written by lamina-merge\n\nFROM .\n\n"
      "TEMPLATE \"\"\"{{ if .System }}<|im_start|>system\n{{ .System }}<|im_end|>\n{{ end }}{{ range .Messages }}"
      "{{ if eq .Role \"user\" }}<|im_start|>user\n{{ .Content }}<|im_end|>\n<|im_start|>assistant\n"
      "{{ else if eq .Role \"assistant\" }}{{ .Content }}<|im_end|>\n{{ end }}{{ end }}\"\"\"\n\n";
  if (template_name == "qwen2_vl") text += "SYSTEM \"\"\"You are a helpful assistant.\"\"\"\n\n";
  return text + "PARAMETER stop \"<|im_end|>\"\nPARAMETER num_ctx 4096\n";
}

}  // namespace lamina::merge
