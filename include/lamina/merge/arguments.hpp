#pragma once
#include <span>
#include <string>

#include <lamina/io/keys/settings.hpp>
#include <lamina/merge/keys.hpp>

/// lamina-merge's command line: LLaMA-Factory's merge YAML (or JSON), overrides, flags.
namespace lamina::merge {

/// A merge's options of the words of a command line, or of the file that they name; Error on a key that is unknown,
/// with the nearest known one, and on a value that cannot be honoured.
inline MergeArguments make_arguments(std::span<const std::string> words) {
  MergeArguments arguments;
  const io::Settings settings = io::read_settings(words, arguments.notes);
  io::check_keys(all_keys(), settings, arguments.notes, {"help", "version"});
  io::fill(all_keys(), settings, arguments);
  if (!arguments.adapter_folder.empty() && arguments.options.adapter_name_or_path.empty())
    arguments.notes.push_back("adapter_folder has no effect without adapter_name_or_path");
  if (arguments.options.model_name_or_path.empty())
    fail("model_name_or_path is missing: name the folder of the base model");
  if (arguments.options.export_dir.empty()) fail("export_dir is missing: name the folder to write the merged model to");
  return arguments;
}

}  // namespace lamina::merge
