#pragma once
#include <fmt/format.h>
#include <filesystem>
#include <ostream>
#include <string>
#include <vector>

#include <lamina/io/json.hpp>
#include <lamina/train/report/log.hpp>

namespace lamina::train {

/// The speed fields of a phase: "<prefix>_runtime", "..._samples_per_second", "..._steps_per_second", rounded as
/// transformers rounds them.
inline OrderedJson speed_metrics(const std::string& prefix, double seconds, double samples, double steps) {
  OrderedJson m = {{prefix + "_runtime", rounded(seconds, 4)}};
  if (seconds > 0) {
    m[prefix + "_samples_per_second"] = rounded(samples / seconds, 3);
    m[prefix + "_steps_per_second"] = rounded(steps / seconds, 3);
  }
  return m;
}

/// Writes <split>_results.json, and merges it into all_results.json, in which later values win. Sorted keys, indent 4.
inline void save_metrics(const std::filesystem::path& output_dir, const std::string& split,
                         const OrderedJson& metrics) {
  nlohmann::json sorted = metrics;
  io::write_text(output_dir / (split + "_results.json"), sorted.dump(4, ' ', true));
  nlohmann::json all = nlohmann::json::object();
  if (const auto path = output_dir / "all_results.json"; std::filesystem::is_regular_file(path))
    all = io::try_parse_json<nlohmann::json>(io::read_text(path));
  if (!all.is_object()) all = nlohmann::json::object();
  all.update(sorted);
  io::write_text(output_dir / "all_results.json", all.dump(4, ' ', true));
}

/// Prints "***** train metrics *****" and aligned lines, sorted by key: times as H:MM:SS.cc, total_flos in GF.
inline void print_metrics(std::ostream& out, const std::string& split, const OrderedJson& metrics) {
  std::vector<std::pair<std::string, std::string>> lines;
  std::size_t key_width = 0, value_width = 0;
  const nlohmann::json sorted = metrics;
  for (const auto& [key, value] : sorted.items()) {
    std::string text;
    const double number = value.is_number() ? value.get<double>() : 0;
    if (key.ends_with("_runtime"))
      text = fmt::format("{}.{:02}", clock_text(number), static_cast<int>(number * 100) % 100);
    else if (key == "total_flos")
      text = fmt::format("{}GF", static_cast<std::int64_t>(number) >> 30);
    else
      text = value.is_number_float() ? OrderedJson(rounded(number, 4)).dump() : value.dump();
    lines.emplace_back(key, text);
    key_width = std::max(key_width, key.size());
    value_width = std::max(value_width, lines.back().second.size());
  }
  out << "***** " << split << " metrics *****\n";
  for (const auto& [key, value] : lines)
    out << "  " << key << std::string(key_width - key.size(), ' ') << " = "
        << std::string(value_width - value.size(), ' ') << value << "\n";
  out << std::flush;
}

}  // namespace lamina::train
