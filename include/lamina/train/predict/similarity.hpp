#pragma once
#include <algorithm>
#include <cmath>
#include <filesystem>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <lamina/text/jieba.hpp>
#include <lamina/text/segment.hpp>
#include <lamina/train/report/log.hpp>

namespace lamina::train {

/// How near an answer is to the one that was wanted, each 0 to 100, rounded to 4 decimals.
struct Similarity {
  double bleu_4 = 0, rouge_1 = 0, rouge_2 = 0, rouge_l = 0;
};

namespace detail {

inline std::map<std::u32string_view, int> count_ngrams(std::u32string_view text, std::size_t n) {
  std::map<std::u32string_view, int> counts;
  for (std::size_t i = 0; i + n <= text.size(); ++i) ++counts[text.substr(i, n)];
  return counts;
}

/// BLEU-4 of characters: brevity penalty times the geometric mean of the clipped precisions of 1- to 4-grams, in which
/// the k-th precision without a match counts as half of ... half (k times) of one match. source  nltk, sentence_bleu
/// with SmoothingFunction().method3 (NIST mteval-v13a)
inline double bleu_4(std::u32string_view predicted, std::u32string_view label) {
  double log_sum = 0, missing = 1;
  for (std::size_t n = 1; n <= 4; ++n) {
    const auto wanted = count_ngrams(label, n);
    double matches = 0, all = 0;
    for (const auto& [ngram, count] : count_ngrams(predicted, n)) {
      const auto at = wanted.find(ngram);
      matches += std::min(count, at == wanted.end() ? 0 : at->second);
      all += count;
    }
    if (n == 1 && matches == 0) return 0;
    if (matches == 0) matches = missing /= 2;
    log_sum += 0.25 * std::log(matches / std::max(1.0, all));
  }
  const double p = static_cast<double>(predicted.size()), l = static_cast<double>(label.size());
  return (p > l ? 1 : std::exp(1 - l / p)) * std::exp(log_sum);
}

/// The words joined by spaces, with a new line after each end of a sentence and after six dots.
inline std::u32string sentences_of(const std::vector<std::u32string>& words) {
  std::u32string joined, out;
  for (const std::u32string& word : words) joined += (joined.empty() ? U"" : U" ") + word;
  for (std::size_t at = 0; at < joined.size();) {
    const bool dots = joined.compare(at, 6, U"......") == 0;
    const bool mark = std::u32string_view(U"。！？?").find(joined[at]) != std::u32string_view::npos;
    const std::size_t size = dots ? 6 : 1;
    out += joined.substr(at, size);
    at += size;
    if ((dots || mark) && at < joined.size()) {
      out += U'\n';
      out += joined[at++];  // never begins another end
    }
  }
  while (!out.empty() && text::is_python_space(out.back())) out.pop_back();
  return out;
}

/// The words that ROUGE counts: those of each line; a line of nothing but white space is one empty word.
/// source  rouge_chinese 1.0.3, Rouge.cut_sent and get_scores
inline std::vector<std::u32string> rouge_words(const std::vector<std::u32string>& cut) {
  const std::u32string text = sentences_of(cut);
  std::vector<std::u32string> words;
  for (std::size_t first = 0; first < text.size();) {
    const std::size_t end = std::min(text.find(U'\n', first), text.size()), before = words.size();
    for (std::size_t at = first; at < end;) {
      const std::size_t start = at;
      while (at < end && !text::is_python_space(text[at])) ++at;
      if (at > start) words.push_back(text.substr(start, at - start));
      if (at == start) ++at;
    }
    if (words.size() == before && end > first) words.emplace_back();
    first = end + 1;
  }
  return words;
}

/// 2 P R / (P + R) with rouge_chinese's guard against 0 / 0; a count of 0 means 0.
inline double f1(std::size_t matches, std::size_t predicted, std::size_t label) {
  const auto share = [&](std::size_t of) { return of ? static_cast<double>(matches) / static_cast<double>(of) : 0.0; };
  const double precision = share(predicted), recall = share(label);
  return 2.0 * ((precision * recall) / (precision + recall + 1e-8));
}

/// F1 of the sets of n-grams: how often one occurs does not matter.
inline double rouge_n(const std::vector<std::u32string>& predicted, const std::vector<std::u32string>& label,
                      std::size_t n) {
  const auto ngrams = [n](const std::vector<std::u32string>& words) {
    std::set<std::vector<std::u32string>> set;
    for (auto at = words.begin(); words.end() - at >= static_cast<std::ptrdiff_t>(n); ++at)
      set.emplace(at, at + static_cast<std::ptrdiff_t>(n));
    return set;
  };
  const auto ours = ngrams(predicted), theirs = ngrams(label);
  const auto matches = static_cast<std::size_t>(
      std::count_if(ours.begin(), ours.end(), [&](const auto& ngram) { return theirs.contains(ngram); }));
  return f1(matches, ours.size(), theirs.size());
}

/// F1 of the longest common subsequence.
inline double rouge_l(const std::vector<std::u32string>& predicted, const std::vector<std::u32string>& label) {
  std::vector<std::size_t> row(predicted.size() + 1);  // [j]: of label's words so far and the first j predicted ones
  for (const std::u32string& word : label) {
    std::size_t diagonal = 0;
    for (std::size_t j = 1; j < row.size(); ++j) {
      const std::size_t above = row[j];
      row[j] = word == predicted[j - 1] ? diagonal + 1 : std::max(above, row[j - 1]);
      diagonal = above;
    }
  }
  return f1(row.back(), predicted.size(), label.size());
}

}  // namespace detail

/// How a text becomes words. Without a dictionary, text::cut_words.
using CutWords = std::function<std::vector<std::u32string>(std::string_view)>;

/// BLEU-4 by character and ROUGE by word; white space and punctuation are words.
/// source  LLaMA-Factory, train/sft/metric.py, ComputeSimilarity
inline Similarity similarity(std::string_view predicted, std::string_view label,
                             const CutWords& cut = text::cut_words) {
  const auto percent = [](double share) { return rounded(share * 100, 4); };
  Similarity out{.bleu_4 = percent(detail::bleu_4(text::code_points(predicted), text::code_points(label)))};
  const auto visible = [](const std::vector<std::u32string>& words) {
    return std::any_of(words.begin(), words.end(), [](const auto& word) { return !text::is_python_space(word[0]); });
  };
  const auto ours = cut(predicted), theirs = cut(label);
  if (!visible(ours) || !visible(theirs)) return out;
  const auto p = detail::rouge_words(ours), l = detail::rouge_words(theirs);
  out.rouge_1 = percent(detail::rouge_n(p, l, 1));
  out.rouge_2 = percent(detail::rouge_n(p, l, 2));
  out.rouge_l = percent(detail::rouge_l(p, l));
  return out;
}

/// Cuts as jieba does, and knows what its units are. Text without ideographs needs no dictionary; for the first one
/// with some it is loaded: the given file, else the one that text::find_jieba_dictionary finds, else each ideograph is
/// a word, and scores are not those of LLaMA-Factory.
class WordCutter {
 public:
  /// dictionary: a file, or empty.
  explicit WordCutter(std::filesystem::path dictionary) : dictionary_(std::move(dictionary)) {}
  std::vector<std::u32string> operator()(std::string_view utf8) {
    if (!units_) {
      const std::u32string text = text::code_points(utf8);
      if (std::none_of(text.begin(), text.end(), text::is_ideograph)) return text::cut_words(utf8);
      load();
    }
    return jieba_ ? jieba_->cut(utf8) : text::cut_words(utf8);
  }
  /// What ROUGE counted of ideographs; nothing if no text had any.
  const std::optional<std::string>& units() const { return units_; }
  /// The dictionary that was used; empty: none.
  const std::filesystem::path& dictionary() const { return dictionary_; }

 private:
  void load() {
    if (dictionary_.empty()) dictionary_ = text::find_jieba_dictionary().value_or("");
    if (!dictionary_.empty()) jieba_ = text::Jieba::load(dictionary_);
    units_ = !jieba_ ? "characters" : jieba_->finds_new_words() ? "words" : "words of the dictionary";
  }

  std::filesystem::path dictionary_;
  std::optional<text::Jieba> jieba_;
  std::optional<std::string> units_;
};

/// Whether the answer is the wanted one, white space around both aside.
inline bool exact_match(std::string_view predicted, std::string_view label) {
  const auto trimmed = [](std::string_view s) {
    constexpr std::string_view blank = " \t\r\n\v\f";
    const std::size_t first = std::min(s.find_first_not_of(blank), s.size());
    return s.substr(first, s.find_last_not_of(blank) + 1 - first);
  };
  return trimmed(predicted) == trimmed(label);
}

}  // namespace lamina::train
