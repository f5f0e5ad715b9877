#include "fuzz.hpp"

#include <lamina/text/jinja/template.hpp>

/// Compiles the input as a chat template and renders it with a conversation, in few steps.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace lamina::text;
  static const auto messages = nlohmann::ordered_json::parse(R"([{"role": "system", "content": "S"},
    {"role": "user", "content": [{"type": "text", "text": "Zürich <|im_end|>"}, {"type": "image"}]},
    {"role": "assistant", "content": "<think>\na\n</think>\n\nb", "tool_calls": [{"function": {"name": "f",
      "arguments": {"x": [1, 2.5, null, true, 18446744073709551615]}}}]}, {"role": "tool", "content": ""}])");
  return fuzz::run([&] {
    jinja::TemplateVariables variables;
    variables.set("messages", messages);
    variables.set("tools", {{{"name", "f"}}});
    variables.set("n", 3);
    const auto compiled = jinja::Template::compile(fuzz::text(data, size), {.steps = 20'000, .output_bytes = 1 << 16});
    compiled.render(variables);
  });
}
