#pragma once
#include <algorithm>
#include <array>
#include <cstddef>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include <lamina/core/error.hpp>
#include <lamina/io/file.hpp>
#include <lamina/io/json.hpp>
#include <lamina/text/segment.hpp>

namespace lamina::text {

/// The hidden Markov model that finds words which a dictionary does not hold: each ideograph begins a word (B), is
/// inside one (M), ends it (E), or is a word (S). Its parameters are logarithms of probabilities, read from the files
/// of an installed jieba.
/// source  jieba 0.42, finalseg
class WordModel {
 public:
  /// folder: jieba/finalseg, with prob_start.py, prob_trans.py and prob_emit.py. Nothing if one of them is missing.
  static std::optional<WordModel> load(const std::filesystem::path& folder) {
    for (const char* name : {"prob_start.py", "prob_trans.py", "prob_emit.py"})
      if (!std::filesystem::is_regular_file(folder / name)) return std::nullopt;
    WordModel model;
    try {
      const auto start = read(folder / "prob_start.py"), change = read(folder / "prob_trans.py"),
                 emit = read(folder / "prob_emit.py");
      for (std::size_t s = 0; s < names.size(); ++s) {
        const std::string name(1, names[s]);
        model.start_[s] = start.at(name).get<double>();
        for (std::size_t to = 0; to < names.size(); ++to)
          model.change_[s][to] = change.at(name).value(std::string(1, names[to]), impossible);
        for (const auto& [character, value] : emit.at(name).items())
          model.emit_[s][code_points(character).at(0)] = value.get<double>();
      }
    } catch (const std::exception&) {  // a name or a number that is not there, or no JSON
      fail(folder.string(), ": its prob_*.py are not those of jieba 0.42");
    }
    return model;
  }

  /// Appends the words of a run of ideographs.
  void cut(std::u32string_view run, std::vector<std::u32string>& words) const {
    const std::vector<int> path = best_path(run);
    std::size_t first = 0;
    for (std::size_t i = 0; i < run.size(); ++i)
      if (path[i] == E || path[i] == S || i + 1 == run.size()) {
        words.emplace_back(run.substr(first, i + 1 - first));
        first = i + 1;
      }
  }

 private:
  enum State { B, E, M, S };  // in the order of their letters, which decides between equal paths
  static constexpr std::string_view names = "BEMS";
  static constexpr double impossible = -3.14e100;
  static constexpr std::array<std::array<State, 2>, 4> before = {{{E, S}, {B, M}, {B, M}, {E, S}}};

  /// A file `P={...}`, a Python dictionary of words and numbers: JSON but for the quotes.
  static nlohmann::json read(const std::filesystem::path& path) {
    std::string text = io::read_text(path);
    std::replace(text.begin(), text.end(), '\'', '"');
    const std::size_t first = std::min(text.find('{'), text.size()), last = text.rfind('}');
    return io::parse_json<nlohmann::json>(std::string_view(text).substr(first, last + 1 - first));
  }
  double emit(int state, char32_t c) const {
    const auto& known = emit_[static_cast<std::size_t>(state)];
    const auto at = known.find(c);
    return at == known.end() ? impossible : at->second;
  }
  /// The most probable states (Viterbi); of equally probable ones the later letter.
  std::vector<int> best_path(std::u32string_view run) const {
    std::vector<std::array<double, 4>> best(run.size());
    std::vector<std::array<int, 4>> from(run.size());
    for (int s : {B, E, M, S}) best[0][s] = start_[s] + emit(s, run[0]);
    for (std::size_t i = 1; i < run.size(); ++i)
      for (int s : {B, E, M, S}) {
        const double here = emit(s, run[i]);
        std::pair<double, int> most{};
        for (int previous : before[s]) {
          const std::pair<double, int> one{best[i - 1][previous] + change_[previous][s] + here, previous};
          if (previous == before[s][0] || one > most) most = one;
        }
        best[i][s] = most.first, from[i][s] = most.second;
      }
    std::vector<int> path(run.size());
    path.back() = best.back()[S] >= best.back()[E] ? S : E;
    for (std::size_t i = run.size() - 1; i > 0; --i) path[i - 1] = from[i][path[i]];
    return path;
  }

  std::array<double, 4> start_{};
  std::array<std::array<double, 4>, 4> change_{};
  std::array<std::unordered_map<char32_t, double>, 4> emit_;
};

}  // namespace lamina::text
