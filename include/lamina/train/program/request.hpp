#pragma once
#include <charconv>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

#include <lamina/io/file.hpp>
#include <lamina/io/program/usage.hpp>
#include <lamina/train/arguments/parse.hpp>
#include <lamina/train/program/run_page.hpp>

/// The command line of lamina-train.
namespace lamina::train {

inline constexpr std::string_view help =
    "Fine-tunes a Qwen2.5-VL or Qwen3-VL model with the settings of a LLaMA-Factory training file, in YAML or JSON.\n"
    "With predict_with_generate, do_eval and do_predict answer the records of eval_dataset, and score the answers:\n"
    "BLEU-4 and ROUGE. ROUGE of Chinese needs the words of jieba's dict.txt: set jieba_dictionary, or install jieba\n"
    "(looked for in $VIRTUAL_ENV, $CONDA_PREFIX, ~/.local, /usr/local, /usr); without it characters are counted.\n"
    "On a CPU everything is computed in fp32. LAMINA_CPU_BF16=1 lets an AMD CPU with AVX512-BF16 round activations\n"
    "to bf16 in products of bf16 weights, which is faster and less exact.\n"
    "  --dry-run   read settings, data and model, print the plan and the memory it needs, and stop\n"
    "  --describe  with --dry-run: also each module's shapes, parameters, costs and kernels\n"
    "  --show-prompt N\n"
    "              print the Nth record as training reads it, text, ids and labels, and stop\n"
    "  --watch [ADDRESS:]PORT\n"
    "              serve a page with the run's curves while it trains; port 0 takes a free one. In place of settings "
    "a\n"
    "              run's folder: the page of that run, under way elsewhere or ended, until Ctrl-C. The address is\n"
    "              127.0.0.1; any other shows the page to whom it can be reached from\n"
    "  --keys      list every key: its default and its meaning, or why it has no effect or is refused\n"
    "  --version   print the version\n"
    "  --help      this text\n";

/// What a command line of lamina-train asks for.
struct TrainRequest {
  bool keys = false, dry_run = false, describe = false;
  std::int64_t show_prompt = 0;  ///< the number of a record, from 1; 0: none
  std::optional<PageAddress> watch;
  std::filesystem::path watched_folder;  ///< the page of that run alone; empty: of the run that the arguments describe
  Arguments arguments;
};

inline std::int64_t record_number(const std::string& word) {
  std::int64_t number = 0;
  const auto end = word.data() + word.size();
  const auto [at, error] = std::from_chars(word.data(), end, number);
  if (error != std::errc() || at != end || number < 1)
    io::usage("--show-prompt \"", word, "\": wanted the number of a record, from 1");
  return number;
}

/// The one word that is left next to --watch names a folder, unless it is a setting or a file of settings.
inline bool names_folder(const std::vector<std::string>& words) {
  if (words.size() != 1 || words[0].starts_with("-") || words[0].find('=') != std::string::npos) return false;
  const std::string kind = std::filesystem::path(words[0]).extension().string();
  return kind != ".yaml" && kind != ".yml" && kind != ".json";
}

inline TrainRequest read_train_request(const std::vector<std::string>& words) {
  TrainRequest request;
  std::vector<std::string> settings;
  for (std::size_t i = 0; i < words.size(); ++i)
    if (words[i] == "--keys")
      request.keys = true;
    else if (words[i] == "--dry-run")
      request.dry_run = true;
    else if (words[i] == "--describe")
      request.describe = true;
    else if (words[i] == "--show-prompt" && request.show_prompt > 0)
      io::usage("--show-prompt: is given twice: keep one");
    else if (words[i] == "--show-prompt")
      request.show_prompt = record_number(++i < words.size() ? words[i] : "");
    else if (words[i] == "--watch" && request.watch)
      io::usage("--watch: is given twice: keep one");
    else if (words[i] == "--watch")
      request.watch = read_page_address(++i < words.size() ? words[i] : "");
    else
      settings.push_back(words[i]);
  if (request.keys && words.size() > 1)
    io::usage("--keys: is answered alone: leave out ", words[words[0] == "--keys" ? 1 : 0]);
  if (request.keys) return request;
  if (request.describe && !request.dry_run) io::usage("--describe goes with --dry-run");
  if (request.dry_run && request.show_prompt > 0)
    io::usage("--dry-run and --show-prompt: each stops after what it prints: keep one");
  if (request.watch && (request.dry_run || request.show_prompt > 0))
    io::usage("--watch: ", request.dry_run ? "--dry-run" : "--show-prompt",
              " stops before anything is to be seen: ", "keep one");
  if (request.watch && names_folder(settings)) {
    request.watched_folder = settings[0];
    if (!std::filesystem::is_directory(request.watched_folder))
      io::fail_file(request.watched_folder, "is no folder of a run: --watch wants one, or the settings of a run");
    return request;
  }
  if (settings.empty()) io::usage("no settings are given: name a .yaml or .json file first");
  request.arguments = parse_arguments(settings);
  return request;
}

}  // namespace lamina::train
