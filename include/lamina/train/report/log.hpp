#pragma once
#include <fmt/format.h>
#include <cmath>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>

#include <lamina/core/error.hpp>
#include <lamina/io/file.hpp>
#include <lamina/io/json.hpp>
#include <lamina/io/program/progress_bar.hpp>

namespace lamina::train {

using OrderedJson = nlohmann::ordered_json;

using io::clock_text;

/// Rounded to that many decimals, as Python's round: what is written next to it in reports.
inline double rounded(double value, int decimals) {
  return std::strtod(fmt::format("{:.{}f}", value, decimals).c_str(), nullptr);
}

/// A flat object on one line with Python's separators, ", " and ": ".
inline std::string python_line(const OrderedJson& object) {
  std::string line = "{";
  for (const auto& [key, value] : object.items())
    line += cat(line.size() > 1 ? ", " : "", OrderedJson(key).dump(-1, ' ', true), ": ", value.dump(-1, ' ', true));
  return line + "}";
}

/// A log entry as the console shows it: a Python dict, numbers with four significant digits in quotes.
inline std::string console_line(const OrderedJson& object) {
  std::string line = "{";
  for (const auto& [key, value] : object.items()) {
    if (key == "step") continue;
    line += cat(line.size() > 1 ? ", '" : "'", key,
                "': ", value.is_number_float() ? fmt::format("'{:.4g}'", value.get<double>()) : value.dump());
  }
  return line + "}";
}

/// How far a run is: what every line of trainer_log.jsonl says besides its values.
struct Progress {
  std::int64_t step = 0, total_steps = 0;
  std::int64_t first_step = 0;    ///< steps that a resumed run found done: they cost this process nothing
  double elapsed_s = 0;           ///< in this process
  double samples_per_s = 0;       ///< since the last line with a loss; 0: not known
  std::int64_t memory_bytes = 0;  ///< in use (TrainSession::memory_bytes()); 0: not known

  double seconds_per_step() const { return step > first_step ? elapsed_s / static_cast<double>(step - first_step) : 0; }
  double remaining_s() const { return seconds_per_step() * static_cast<double>(total_steps - step); }
};

/// Tokens of a run: in all, as num_input_tokens_seen counts, and those of this process. 0 seen: they are not counted.
struct TokenCount {
  std::int64_t seen = 0, in_process = 0;
};

/// trainer_log.jsonl: one object per log event, appended and flushed line by line. LLaMA-Factory's fields come first,
/// in its order; grad_norm, samples_per_second and memory_gib are ours, for the page of a run.
class TrainerLog {
 public:
  /// Keeps the lines of steps up to first_step (none for a fresh run), drops those of a run that got further and died.
  TrainerLog(const std::filesystem::path& output_dir, std::int64_t first_step) : path_(path_in(output_dir)) {
    std::string kept, line;
    const bool goes_on = first_step > 0 && std::filesystem::is_regular_file(path_);
    for (std::istringstream before(goes_on ? io::read_text(path_) : ""); std::getline(before, line);) {
      const auto entry = io::try_parse_json<OrderedJson>(line);
      if (entry.is_object() && entry.contains("current_steps") && entry["current_steps"].is_number_integer() &&
          entry["current_steps"].get<std::int64_t>() <= first_step)
        kept += line + "\n";
    }
    io::write_text(path_, kept);
  }

  /// Adds to what is there.
  explicit TrainerLog(const std::filesystem::path& output_dir) : path_(path_in(output_dir)) {}
  static std::filesystem::path path_in(const std::filesystem::path& output_dir) {
    return output_dir / "trainer_log.jsonl";
  }

  /// Writes one event; `logged` is the entry of log_history.
  void write(const OrderedJson& logged, const Progress& at, TokenCount tokens) {
    OrderedJson line = {{"current_steps", at.step}, {"total_steps", at.total_steps}};
    if (logged.contains("loss")) line["loss"] = logged["loss"];
    if (logged.contains("eval_loss")) line["eval_loss"] = logged["eval_loss"];
    if (logged.contains("rewards/accuracies")) line["accuracy"] = logged["rewards/accuracies"];
    if (logged.contains("learning_rate")) line["lr"] = logged["learning_rate"];
    if (logged.contains("epoch")) line["epoch"] = logged["epoch"];
    line["percentage"] = at.total_steps > 0
                             ? rounded(100.0 * static_cast<double>(at.step) / static_cast<double>(at.total_steps), 2)
                             : 100.0;
    line["elapsed_time"] = clock_text(at.elapsed_s);
    line["remaining_time"] = clock_text(at.remaining_s());
    if (tokens.seen > 0) {
      line["throughput"] = rounded(at.elapsed_s > 0 ? static_cast<double>(tokens.in_process) / at.elapsed_s : 0, 2);
      line["total_tokens"] = tokens.seen;
    }
    if (logged.contains("grad_norm")) line["grad_norm"] = logged["grad_norm"];
    if (at.samples_per_s > 0) line["samples_per_second"] = rounded(at.samples_per_s, 3);
    if (at.memory_bytes > 0) line["memory_gib"] = rounded(static_cast<double>(at.memory_bytes) / (1 << 30), 2);
    std::ofstream out(path_, std::ios::app);
    out << python_line(line) << "\n" << std::flush;
    if (!out) fail(path_.string(), ": cannot be written: is the disk full?");
  }

 private:
  std::filesystem::path path_;
};

}  // namespace lamina::train
