#pragma once
#include <lamina/core/error.hpp>
#include <lamina/data/dataset.hpp>
#include <lamina/data/options.hpp>
#include <lamina/data/sample/sample_file.hpp>
#include <lamina/io/file.hpp>
#include <lamina/text/tokenizer.hpp>
#include <lamina/vision/processor.hpp>

#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>

/// tokenized_path: a run stores its samples, and later ones start from them.
namespace lamina::data {

namespace detail {

/// What samples follow from, the contents of the data sets and of their images apart.
inline nlohmann::ordered_json settings_of_samples(const DataOptions& o, const text::Tokenizer& tokenizer,
                                                  const vision::Processor& processor) {
  const auto limits = [](const ImageLimits& l) { return nlohmann::ordered_json{l.min_pixels, l.max_pixels}; };
  const auto or_null = [](const auto& value) {
    return value ? nlohmann::ordered_json(*value) : nlohmann::ordered_json();
  };
  return {{"template", o.template_name},
          {"stage", static_cast<int>(o.stage)},
          {"dataset", o.dataset},
          {"eval_dataset", o.eval_dataset},
          {"eval_on_each_dataset", o.eval_on_each_dataset},
          {"cutoff_len", o.cutoff_len},
          {"max_samples", or_null(o.max_samples)},
          {"val_size", o.val_size},
          {"seed", o.seed},
          {"mix_strategy", o.mix_strategy},
          {"interleave_probs", o.interleave_probs},
          {"train_on_prompt", o.train_on_prompt},
          {"mask_history", o.mask_history},
          {"packing", o.packs()},
          {"neat_packing", o.neat_packing},
          {"preprocessing_batch_size", o.preprocessing_batch_size},
          {"preprocessing_num_workers", o.preprocessing_num_workers},
          {"default_system", or_null(o.default_system)},
          {"enable_thinking", or_null(o.enable_thinking)},
          {"preserve_thinking", o.preserve_thinking},
          {"skip_bad_samples", o.skip_bad_samples},
          {"image pixels", limits(o.images)},
          {"do_eval", o.evaluate},
          {"predict_with_generate", o.predict},
          {"the model's tokenizer", tokenizer.encode("Tokens of 1,234 words: \u4e2d\u6587 <|im_start|>")},
          {"the model's patches", {processor.row_length(), processor.grid_for({640, 480}).patches()}}};
}

inline void require_same_settings(const nlohmann::ordered_json& stored, const nlohmann::ordered_json& now,
                                  const std::filesystem::path& folder) {
  for (const auto& [key, value] : now.items())
    if (!stored.contains(key) || stored[key] != value)
      fail("tokenized_path: ", folder.string(), " holds samples of other settings: ", key, " was ",
           stored.contains(key) ? stored[key].dump() : "not set", ", is ", value.dump(),
           ": name another folder, or remove that one");
}

/// Sets to evaluate on are numbered, so that names keep their order: "eval.1000000.identity".
inline constexpr int first_eval_number = 1'000'000;

inline NamedSets sets_of(const Datasets& datasets) {
  NamedSets sets{{"train", &datasets.train}, {"questions", &datasets.questions}};
  for (std::size_t i = 0; i < datasets.eval.size(); ++i)
    sets[cat("eval.", first_eval_number + i, ".", datasets.eval[i].name)] = &datasets.eval[i].samples;
  return sets;
}
inline Datasets datasets_of(SampleSets sets) {
  Datasets datasets;
  for (auto& [name, samples] : sets) {
    if (name == "train") datasets.train = std::move(samples);
    if (name == "questions") datasets.questions = std::move(samples);
    if (name.starts_with("eval."))
      datasets.eval.push_back({name.substr(cat("eval.", first_eval_number, ".").size()), std::move(samples)});
  }
  return datasets;
}

}  // namespace detail

/// The samples that `folder` holds, or those of load_datasets(), which are stored there then (writes: by this process).
/// Stored ones must be of the same settings; data sets and images are not looked at again. What LLaMA-Factory has saved
/// there, as Arrow files, is not read.
inline Datasets load_tokenized(const std::filesystem::path& folder, const DataOptions& options,
                               const text::Tokenizer& tokenizer, const vision::Processor& processor, bool writes) {
  const std::filesystem::path file = folder / "samples.safetensors";
  if (std::filesystem::exists(folder / "dataset_dict.json") || std::filesystem::exists(folder / "dataset_info.json"))
    fail("tokenized_path: ", folder.string(), " holds Arrow files of LLaMA-Factory, which are not read: name another ",
         "folder, where this run stores its samples");
  const auto settings = detail::settings_of_samples(options, tokenizer, processor);
  if (std::filesystem::exists(file)) {
    const SampleFile stored(file);
    detail::require_same_settings(stored.settings(), settings, folder);
    Datasets out = detail::datasets_of(stored.sets());
    out.notes.push_back(cat("samples were read from ", file.string(), ", as an earlier run stored them; data sets and ",
                            "images were not looked at"));
    return out;
  }
  Datasets out = load_datasets(options, tokenizer, processor);
  if (!writes) return out;
  std::filesystem::create_directories(folder);
  write_samples(file, detail::sets_of(out), settings);
  out.notes.push_back(cat("samples are stored in ", file.string()));
  return out;
}

}  // namespace lamina::data
