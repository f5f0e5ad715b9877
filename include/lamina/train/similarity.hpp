#pragma once
#include <algorithm>
#include <cmath>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <lamina/text/segment.hpp>
#include <lamina/train/log.hpp>

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

/// BLEU-4 of characters: brevity penalty times the geometric mean of the clipped precisions of 1- to 4-grams, where the
/// k-th precision without a match counts as half of ... half (k times) of one match.
/// source  nltk, sentence_bleu with SmoothingFunction().method3 (NIST mteval-v13a)
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

/// The words that ROUGE counts: rouge_chinese ends a line after . ! ? of Chinese, after ? and after six dots, leaves
/// white space out, and takes a line of nothing but white space for one empty word.
inline std::vector<std::u32string> rouge_words(const std::vector<std::u32string>& cut) {
  std::u32string text;
  for (const std::u32string& word : cut) {
    const bool ends = word == U"。" || word == U"！" || word == U"？" || word == U"?";
    text += word + (ends ? U"\n " : U" ");
    if (word.size() < 6 || word.find(U"......") == std::u32string::npos) continue;
    text.resize(text.size() - word.size() - 1);
    for (std::size_t at = 0; at <= word.size();) {  // six dots and the character after them, which may be the space
      const bool dots = word.compare(at, 6, U"......") == 0;
      text += word.substr(at, dots ? 6 : 1);
      if (dots) text += U'\n';
      at += dots ? 6 : 1;
      if (at > word.size() || (dots && at == word.size())) break;
      if (dots) text += word[at++];
    }
    text += U' ';
  }
  while (!text.empty() && text::is_python_space(text.back())) text.pop_back();
  std::vector<std::u32string> words;
  for (std::size_t first = 0; first <= text.size();) {
    const std::size_t end = std::min(text.find(U'\n', first), text.size()), before = words.size();
    std::u32string word;
    for (std::size_t i = first; i < end; ++i) {
      if (!text::is_python_space(text[i])) {
        word += text[i];
      } else if (!word.empty()) {
        words.push_back(std::move(word));
        word.clear();
      }
    }
    if (!word.empty()) words.push_back(std::move(word));
    if (words.size() == before && end > first) words.emplace_back();
    first = end + 1;
  }
  return words;
}

/// 2 P R / (P + R) with rouge_chinese's guard against 0 / 0; a count of 0 gives 0.
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

/// BLEU-4 by character and ROUGE by word. Equal to what LLaMA-Factory reports for text without Chinese characters; of
/// those each is a word here (text/segment.hpp), so that ROUGE of Chinese text differs from LLaMA-Factory's.
/// source  LLaMA-Factory, train/sft/metric.py, ComputeSimilarity
inline Similarity similarity(std::string_view predicted, std::string_view label) {
  const auto percent = [](double share) { return rounded(share * 100, 4); };
  Similarity out{.bleu_4 = percent(detail::bleu_4(text::code_points(predicted), text::code_points(label)))};
  const auto visible = [](const std::vector<std::u32string>& cut) {
    return std::any_of(cut.begin(), cut.end(), [](const auto& word) { return !text::is_python_space(word[0]); });
  };
  const auto ours = text::cut_words(predicted), theirs = text::cut_words(label);
  if (!visible(ours) || !visible(theirs)) return out;
  const auto p = detail::rouge_words(ours), l = detail::rouge_words(theirs);
  out.rouge_1 = percent(detail::rouge_n(p, l, 1));
  out.rouge_2 = percent(detail::rouge_n(p, l, 2));
  out.rouge_l = percent(detail::rouge_l(p, l));
  return out;
}

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
