#pragma once
#include <lamina/io/keys/settings.hpp>
#include <lamina/merge/keys.hpp>

/// lamina-merge's command line: LLaMA-Factory's merge YAML (or JSON), overrides, flags.
namespace lamina::merge {

/// Turns settings into a merge's options; Error on a key that is unknown, with the nearest known one, and on a value
/// that cannot be honoured.
inline MergeArguments make_arguments(const io::Settings& settings) {
  MergeArguments arguments;
  io::check_keys(all_keys(), settings, arguments.notes);
  io::fill(all_keys(), settings, arguments);
  if (!arguments.adapter_folder.empty() && arguments.options.adapter_name_or_path.empty())
    arguments.notes.push_back("adapter_folder has no effect without adapter_name_or_path");
  if (arguments.options.model_name_or_path.empty())
    fail("model_name_or_path is missing: name the folder of the base model");
  return arguments;
}

}  // namespace lamina::merge
