#pragma once
#include <algorithm>
#include <cstdlib>
#include <optional>
#include <string>
#include <vector>

#include <lamina/checkpoint/safetensors/stacked.hpp>
#include <lamina/core/error.hpp>
#include <lamina/data/sample/encoded_sample.hpp>
#include <lamina/model/config/read.hpp>
#include <lamina/model/train_session.hpp>
#include <lamina/train/arguments.hpp>

/// Lines that a run prints about what it was asked for.
namespace lamina::train {

/// Of more layers than the model has all learn, as in LLaMA-Factory.
inline std::optional<std::string> layers_note(const Arguments& a, const ModelConfig& config) {
  const int layers = config.text_config.num_hidden_layers, wanted = a.freeze_trainable_layers;
  if (a.finetuning_type != "freeze" || std::abs(wanted) <= layers) return std::nullopt;
  return cat("note: freeze_trainable_layers: ", wanted, ": the model has ", layers, " layers, and all learn");
}

inline std::optional<std::string> cut_questions_note(const std::vector<data::EncodedSample>& questions,
                                                     int cutoff_len) {
  const auto cut = [](const data::EncodedSample& s) { return s.lost > 0; };
  const auto count = std::count_if(questions.begin(), questions.end(), cut);
  if (count == 0) return std::nullopt;
  return cat("note: cutoff_len: ", cutoff_len, " cuts the end off ", count, " of ", questions.size(),
             " prompts, the first of them ", std::find_if(questions.begin(), questions.end(), cut)->origin,
             ": the model does not see where the answer begins; a larger cutoff_len keeps them whole");
}

/// A line for each trained tensor (print_param_status).
inline std::vector<std::string> parameter_lines(TrainSession& session) {
  std::vector<std::string> lines;
  for (const TrainableTensor& t : session.trainable())
    lines.push_back(
        cat("name: ", t.name, ", shape: ", checkpoint::shape_text(t.shape), ", dtype: F32, trainable: True"));
  return lines;
}

}  // namespace lamina::train
