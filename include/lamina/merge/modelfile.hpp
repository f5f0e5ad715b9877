#pragma once
#include <string>
#include <string_view>

#include <lamina/core/error.hpp>
#include <lamina/io/program/usage.hpp>
#include <lamina/model/families.hpp>

/// The Modelfile with which Ollama runs a merged model; the text is LLaMA-Factory's, but for its first line.
namespace lamina::merge {

/// UsageError on an unknown template. No tools and no images, as in LLaMA-Factory's own.
inline std::string modelfile_text(std::string_view template_name) {
  const auto [family, settings] = find_template(template_name);
  if (!settings) io::usage("template: got \"", template_name, "\", known are ", templates_text());
  const ChatFormat& chat = family->chat;
  const auto begin = [&](std::string_view role) { return cat(chat.turn_begin, role, chat.role_end); };
  const std::string end = cat(chat.turn_end, chat.turn_break);
  std::string text = cat("# ollama modelfile written by lamina-merge\n\nFROM .\n\nTEMPLATE \"\"\"{{ if .System }}",
                         begin(chat.system), "{{ .System }}", end, "{{ end }}{{ range .Messages }}",
                         "{{ if eq .Role \"user\" }}", begin(chat.user), "{{ .Content }}", end, begin(chat.assistant),
                         "{{ else if eq .Role \"assistant\" }}{{ .Content }}", end, "{{ end }}{{ end }}\"\"\"\n\n");
  if (!settings->default_system.empty()) text += cat("SYSTEM \"\"\"", settings->default_system, "\"\"\"\n\n");
  return text + cat("PARAMETER stop \"", chat.turn_end, "\"\nPARAMETER num_ctx 4096\n");
}

}  // namespace lamina::merge
