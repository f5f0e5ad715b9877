#pragma once
#include <filesystem>
#include <string>

#include <lamina/model/family.hpp>
#include <lamina/train/arguments/key_name.hpp>
#include <lamina/train/report/log.hpp>

namespace lamina::train {

namespace detail {

inline std::string joined(const std::vector<std::string>& items) {
  std::string out;
  for (const std::string& item : items) out += (out.empty() ? "" : ", ") + item;
  return out;
}

inline std::string hyper_parameters(const Arguments& a) {
  const auto number = [](double v) { return OrderedJson(v).dump(); };
  std::string out = "The following hyperparameters were used during training:\n";
  out += cat("- learning_rate: ", number(a.optimizer.learning_rate),
             "\n- train_batch_size: ", a.per_device_train_batch_size,
             "\n- eval_batch_size: ", a.per_device_eval_batch_size, "\n- seed: ", a.seed, "\n");
  if (a.gradient_accumulation_steps > 1)
    out += cat("- gradient_accumulation_steps: ", a.gradient_accumulation_steps,
               "\n- total_train_batch_size: ", a.per_device_train_batch_size * a.gradient_accumulation_steps, "\n");
  const io::Setting* optim = setting_of(a, "optim");
  out += cat("- optimizer: ", a.use_muon ? "muon" : optim ? io::shown(optim->value) : "adamw_torch");
  if (has_betas(a.optimizer_kind))
    out += cat(" with betas=(", number(a.optimizer.beta1), ",", number(a.optimizer.beta2),
               ") and epsilon=", number(a.optimizer.epsilon));
  out += cat("\n- lr_scheduler_type: ", schedule_names()[static_cast<std::size_t>(a.schedule.type)], "\n");
  if (a.schedule.warmup_steps > 0) out += cat("- lr_scheduler_warmup_steps: ", number(a.schedule.warmup_steps), "\n");
  out += a.max_steps > 0 ? cat("- training_steps: ", a.max_steps, "\n")
                         : cat("- num_epochs: ", number(a.num_train_epochs), "\n");
  return out;
}

inline std::string evaluation_table(const OrderedJson& log_history) {
  std::string rows;
  OrderedJson loss = "No log";
  for (const auto& entry : log_history) {
    if (entry.contains("loss")) loss = entry["loss"];
    if (!entry.contains("eval_loss")) continue;
    const auto cell = [](const OrderedJson& v) {
      return v.is_string() ? v.get<std::string>() : OrderedJson(rounded(v.get<double>(), 4)).dump();
    };
    rows += cat("| ", cell(loss), " | ", cell(entry["epoch"]), " | ", entry["step"].dump(), " | ",
                cell(entry["eval_loss"]), " |\n");
  }
  if (rows.empty()) return rows;
  return "| Training Loss | Epoch | Step | Validation Loss |\n|:-------------:|:-----:|:----:|:---------------:|\n" +
         rows;
}

}  // namespace detail

/// README.md of a trained model: the hub's front matter, the hyper-parameters and the evaluation results.
inline std::string model_card(const Arguments& a, const Family& family, const OrderedJson& log_history,
                              const std::string& version) {
  const std::string base = named_model(a);
  const std::string name = a.output_dir.lexically_normal().filename().string();
  const bool lora = a.finetuning_type == "lora";
  std::string card = "---\n";
  card += cat("library_name: ", lora ? "peft" : "transformers",
              "\nlicense: other\nbase_model: ", OrderedJson(base).dump(), "\ntags:\n");
  if (lora) card += cat("- ", OrderedJson("base_model:adapter:" + base).dump(), "\n- lora\n");
  card += cat("- llama-factory\n- lamina\n- ", lora ? "transformers" : a.finetuning_type,
              "\npipeline_tag: ", hub_task(family), "\nmodel-index:\n- name: ", OrderedJson(name).dump(),
              "\n  results: []\n---\n\n");
  card += cat("# ", name, "\n\nThis model is a fine-tuned version of ", base);
  if (!a.dataset.empty())
    card += cat(" on the ", detail::joined(a.dataset), " dataset", a.dataset.size() > 1 ? "s" : "");
  card +=
      ".\n\n## Model description\n\nMore information needed\n\n## Intended uses & limitations\n\nMore information "
      "needed\n\n"
      "## Training and evaluation data\n\nMore information needed\n\n## Training procedure\n\n### Training "
      "hyperparameters\n\n";
  card += cat(detail::hyper_parameters(a), "\n### Training results\n\n", detail::evaluation_table(log_history),
              "\n### Framework versions\n\n- lamina ", version, "\n");
  return card;
}

}  // namespace lamina::train
