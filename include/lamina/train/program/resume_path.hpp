#pragma once
#include <filesystem>
#include <optional>
#include <string>

#include <lamina/core/error.hpp>
#include <lamina/io/program/usage.hpp>
#include <lamina/train/arguments.hpp>
#include <lamina/train/report/progress.hpp>
#include <lamina/train/save/checkpoints.hpp>

/// Where a run may write, and which checkpoint in there it goes on from.
namespace lamina::train {

/// UsageError if output_dir is the folder of the model: what is saved there would replace the model's own files.
inline void require_other_folder(const Arguments& a) {
  std::error_code ignored;
  if (a.do_train && std::filesystem::equivalent(a.output_dir, a.model_name_or_path, ignored))
    io::usage("output_dir: ", a.output_dir.string(), " is the folder of model_name_or_path: choose another output_dir");
}

/// Which checkpoint a run goes on from, after LLaMA-Factory's rules: a path; "true", the newest whole one of
/// output_dir; unset, the same as "true" if output_dir exists and overwrite_output_dir is false, said loudly.
inline std::optional<std::filesystem::path> resume_path(const Arguments& a, Console& console) {
  const auto say = [&](const std::string& text) { console.line(text); };
  if (a.resume_from_checkpoint && *a.resume_from_checkpoint != "true") return *a.resume_from_checkpoint;
  if (a.resume_from_checkpoint) {
    if (const auto newest = newest_checkpoint(a.output_dir, say)) return newest->path;
    fail("resume_from_checkpoint: true, but ", a.output_dir.string(),
         " holds no whole checkpoint: set it to null to start anew");
  }
  if (a.overwrite_output_dir) {
    if (const auto found = list_checkpoints(a.output_dir); !found.empty())
      console.line(cat("warning: ", found.back().path.string(),
                       " of an earlier run stays in place until this run saves that step: ",
                       "resume_from_checkpoint: true would take the highest step, so resume by path or remove it"));
    return std::nullopt;
  }
  if (const auto newest = newest_checkpoint(a.output_dir, say)) {
    console.line(cat("ATTENTION: output_dir holds checkpoints, so training goes on from ", newest->path.string(), "."));
    console.line("           To start anew, change output_dir or set overwrite_output_dir: true.");
    return newest->path;
  }
  for (const char* name : {"adapter_model.safetensors", "model.safetensors", "model.safetensors.index.json"})
    if (std::filesystem::exists(a.output_dir / name))
      fail("output_dir: ", a.output_dir.string(), " already holds ", name,
           " of an earlier run: choose another output_dir, or set overwrite_output_dir: true");
  return std::nullopt;
}

}  // namespace lamina::train
