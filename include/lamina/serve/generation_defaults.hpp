#pragma once
#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <string_view>

#include <nlohmann/json.hpp>

#include <lamina/checkpoint/generation_fields.hpp>
#include <lamina/io/nearest_word.hpp>
#include <lamina/io/program/usage.hpp>

namespace lamina::serve {

/// Sampling that a checkpoint recommends; what is unset there stays unset here.
struct GenerationDefaults {
  std::optional<double> temperature, top_p, min_p, repetition_penalty, presence_penalty, frequency_penalty;
  std::optional<int> top_k, max_new_tokens;

  /// Takes the fields that `config`, a generation_config.json, has. Error if one is no number that vLLM would take.
  void read(const nlohmann::json& config, const std::string& source) {
    constexpr double above_0 = std::numeric_limits<double>::min();
    const io::JsonFields fields(config, source);
    io::check_fields(fields, checkpoint::generation_fields);
    const auto number = [&](const char* name, std::optional<double>& out, double least, double most) {
      if (const auto value = fields.maybe_number(name, least, most)) out = value;
    };
    const auto integer = [&](const char* name, std::optional<int>& out, int least) {
      const auto value = fields.maybe_integer(name, least, std::numeric_limits<int>::max());
      if (value) out = static_cast<int>(*value);
    };
    number("temperature", temperature, 0, 100);
    number("top_p", top_p, above_0, 1);
    number("min_p", min_p, 0, 1);
    number("repetition_penalty", repetition_penalty, above_0, 1e6);
    number("presence_penalty", presence_penalty, -2, 2);
    number("frequency_penalty", frequency_penalty, -2, 2);
    integer("top_k", top_k, -1);
    integer("max_new_tokens", max_new_tokens, 1);
  }

  /// The same for what a person typed as the value of a flag: UsageError, also for a field that is none of these.
  void override_with(const nlohmann::ordered_json& given, const std::string& flag) {
    static constexpr std::string_view names[] = {
        "temperature",       "top_p",         "min_p", "top_k", "repetition_penalty", "presence_penalty",
        "frequency_penalty", "max_new_tokens"};
    for (const auto& item : given.items())
      if (std::find(std::begin(names), std::end(names), item.key()) == std::end(names))
        io::usage(flag, ": has ", item.key(), ", which changes nothing here", io::did_you_mean(item.key(), names),
                  "; wanted ", io::listed(names));
    try {
      read(nlohmann::json(given), flag);
    } catch (const Error& e) {
      io::usage(e.what());
    }
  }
};

}  // namespace lamina::serve
