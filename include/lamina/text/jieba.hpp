#pragma once
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include <lamina/text/word_model.hpp>

namespace lamina::text {

inline bool is_ideograph(char32_t c) { return c >= 0x4e00 && c <= 0x9fd5; }

/// Cuts text into words as jieba.cut does: of all ways to cut a block into the dictionary's words, the one with the
/// largest product of their frequencies; ideographs that stay alone are given to the WordModel.
/// source  jieba 0.42, Tokenizer.cut
class Jieba {
 public:
  /// dictionary: lines "word frequency [tag]", in UTF-8. The WordModel is read from the folder finalseg next to it.
  static Jieba load(const std::filesystem::path& dictionary) {
    Jieba out;
    out.read_words(dictionary);
    out.model_ = WordModel::load(dictionary.parent_path() / "finalseg");
    return out;
  }
  /// Whether words that are not in the dictionary are found.
  bool finds_new_words() const { return model_.has_value(); }

  /// The words, white space and punctuation among them; joined they are the text.
  std::vector<std::u32string> cut(std::string_view utf8) const {
    const std::u32string text = code_points(utf8);
    std::vector<std::u32string> words;
    for (std::size_t at = 0; at < text.size();) {
      std::size_t end = at + 1;
      if (in_block(text[at])) {
        while (end < text.size() && in_block(text[end])) ++end;
        cut_block(std::u32string_view(text).substr(at, end - at), words);
      } else {
        if (text[at] == U'\r' && end < text.size() && text[end] == U'\n') ++end;
        words.push_back(text.substr(at, end - at));
      }
      at = end;
    }
    return words;
  }

 private:
  static bool in_block(char32_t c) { return is_ideograph(c) || detail::joins(c); }

  /// Every beginning of a word is an entry too, with frequency 0: a search may stop if there is none.
  void read_words(const std::filesystem::path& path) {
    const std::string text = io::read_text(path);
    int line_number = 0;
    for (std::size_t at = 0; at < text.size();) {
      const std::size_t end = std::min(text.find('\n', at), text.size());
      const std::string_view line = std::string_view(text).substr(at, end - at);
      at = end + 1, ++line_number;
      if (line.find_first_not_of(" \t\r") == line.npos) continue;
      const std::size_t space = line.find(' ');
      char* behind = nullptr;
      const std::string digits(space == line.npos ? std::string_view() : line.substr(space + 1));
      const long frequency = std::strtol(digits.c_str(), &behind, 10);
      if (behind == digits.c_str() || frequency < 0 || space == 0)
        fail(path.string(), " line ", line_number, ": wanted `word frequency`, as in jieba's dict.txt");
      const std::u32string word = code_points(line.substr(0, space));
      words_[word] = static_cast<double>(frequency);
      total_ += static_cast<double>(frequency);
      for (std::size_t n = 1; n < word.size(); ++n) words_.try_emplace(word.substr(0, n), 0);
    }
    if (total_ == 0) fail(path.string(), ": holds no word");
  }
  double frequency(std::u32string_view word) const {
    const auto at = words_.find(std::u32string(word));
    return at == words_.end() ? 0 : at->second;
  }

  /// For each place of a block, the end of the word that begins there on the most probable way to the block's end; of
  /// equally probable words the longer one.
  std::vector<std::size_t> best_ends(std::u32string_view block) const {
    const double log_total = std::log(total_);
    std::vector<double> best(block.size() + 1);
    std::vector<std::size_t> ends(block.size());
    for (std::size_t first = block.size(); first-- > 0;) {
      bool found = false;
      const auto consider = [&](std::size_t end, double times) {
        const double sum = std::log(times == 0 ? 1 : times) - log_total + best[end];
        if (!found || sum >= best[first]) best[first] = sum, ends[first] = end;
        found = true;
      };
      for (std::size_t end = first + 1; end <= block.size(); ++end) {
        const auto at = words_.find(std::u32string(block.substr(first, end - first)));
        if (at == words_.end()) break;
        if (at->second > 0) consider(end, at->second);
      }
      if (!found) consider(first + 1, 0);
    }
    return ends;
  }
  void cut_block(std::u32string_view block, std::vector<std::u32string>& words) const {
    const std::vector<std::size_t> ends = best_ends(block);
    std::size_t alone = 0, at = 0;  // block[alone, at) are characters that stayed alone
    while (at < block.size()) {
      if (ends[at] == at + 1) {
        ++at;
        continue;
      }
      cut_alone(block.substr(alone, at - alone), words);
      words.emplace_back(block.substr(at, ends[at] - at));
      alone = at = ends[at];
    }
    cut_alone(block.substr(alone), words);
  }
  void cut_alone(std::u32string_view run, std::vector<std::u32string>& words) const {
    if (run.size() > 1 && frequency(run) == 0) return cut_unknown(run, words);
    for (const char32_t c : run) words.emplace_back(1, c);
  }
  void cut_unknown(std::u32string_view run, std::vector<std::u32string>& words) const {
    for (std::size_t at = 0; at < run.size();) {
      std::size_t end = at;
      const bool ideographs = is_ideograph(run[at]);
      while (end < run.size() && is_ideograph(run[end]) == ideographs) ++end;
      const std::u32string_view part = run.substr(at, end - at);
      if (!ideographs)
        detail::split_run(part, words);
      else if (model_)
        model_->cut(part, words);
      else
        for (const char32_t c : part) words.emplace_back(1, c);
      at = end;
    }
  }

  std::unordered_map<std::u32string, double> words_;
  double total_ = 0;
  std::optional<WordModel> model_;
};

/// jieba's dict.txt in an installed package, the first of: the active virtual or conda environment ($VIRTUAL_ENV,
/// $CONDA_PREFIX), the user's packages (~/.local), /usr/local, and the distribution's python3-jieba. Nothing if there
/// is none.
inline std::optional<std::filesystem::path> find_jieba_dictionary() {
  namespace fs = std::filesystem;
  std::vector<fs::path> places;
  const auto add = [&](const fs::path& prefix) {  // prefix/lib/python3*/{site,dist}-packages
    std::error_code none;
    for (const auto& entry : fs::directory_iterator(prefix / "lib", none))
      if (entry.path().filename().string().starts_with("python3"))
        for (const char* packages : {"site-packages", "dist-packages"}) places.push_back(entry.path() / packages);
  };
  for (const char* name : {"VIRTUAL_ENV", "CONDA_PREFIX"})
    if (const char* prefix = std::getenv(name); prefix && *prefix) add(prefix);
  if (const char* home = std::getenv("HOME"); home && *home) add(fs::path(home) / ".local");
  add("/usr/local");
  add("/usr");
  for (const fs::path& place : places)
    if (fs::is_regular_file(place / "jieba/dict.txt")) return place / "jieba/dict.txt";
  return std::nullopt;
}

}  // namespace lamina::text
