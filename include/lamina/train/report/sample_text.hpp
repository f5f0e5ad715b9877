#pragma once
#include <lamina/core/batch.hpp>
#include <lamina/data/sample/encoded_sample.hpp>
#include <lamina/text/tokenizer.hpp>

#include <algorithm>
#include <iterator>
#include <ostream>
#include <span>
#include <string_view>
#include <vector>

namespace lamina::train {

/// Writes what a model is trained on: the ids of a sample and their text, its labels and the text that is learned.
/// Headings as LLaMA-Factory prints them for the first sample of a run.
inline void print_sample(std::ostream& out, const data::EncodedSample& sample, const text::Tokenizer& tokenizer) {
  const auto list = [&](std::string_view title, std::span<const int> ids) {
    out << title << ":\n[";
    for (std::size_t i = 0; i < ids.size(); ++i) out << (i > 0 ? ", " : "") << ids[i];
    out << "]\n";
  };
  std::vector<int> learned;
  std::copy_if(sample.labels.begin(), sample.labels.end(), std::back_inserter(learned),
               [](int label) { return label != ignored_label; });
  out << sample.origin << ", " << sample.ids.size() << " tokens, " << learned.size() << " of them learned\n";
  list("input_ids", sample.ids);
  out << "inputs:\n" << tokenizer.decode(sample.ids) << "\n";
  list("label_ids", sample.labels);
  out << "labels:\n" << tokenizer.decode(learned) << "\n";
}

}  // namespace lamina::train
