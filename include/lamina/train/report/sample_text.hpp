#pragma once
#include <lamina/core/batch.hpp>
#include <lamina/data/sample/encoded_sample.hpp>
#include <lamina/data/sample/video_plan.hpp>
#include <lamina/text/tokenizer.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <cstdint>
#include <iterator>
#include <ostream>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace lamina::train {

/// What is seen of a video: "video a.mp4: 6 frames (0 6 12 18 24 30) in groups at 0.3 1.5 2.7 s, each a grid of 4 x 6
/// patches".
inline std::string video_line(const data::VideoPlan& video) {
  const Grid clip = video.clip();
  std::string frames, seconds;
  for (const std::int64_t frame : video.choice.frames) frames += cat(frames.empty() ? "" : " ", frame);
  const auto size = static_cast<int>((std::ssize(video.choice.frames) + clip.t - 1) / clip.t);
  for (const double second : video.choice.group_seconds(size)) seconds += fmt::format(" {:.1f}", second);
  return cat("video ", video.name(), ": ", video.choice.frames.size(), " frames (", frames, ") in groups at", seconds,
             " s, each a grid of ", clip.h, " x ", clip.w, " patches\n");
}

namespace detail {

inline std::vector<int> learned_of(std::span<const int> labels) {
  std::vector<int> learned;
  std::copy_if(labels.begin(), labels.end(), std::back_inserter(learned),
               [](int label) { return label != ignored_label; });
  return learned;
}

/// prefix: "chosen_" and the like, or "".
inline void print_sequence(std::ostream& out, std::string_view prefix, std::span<const int> ids,
                           std::span<const int> labels, const text::Tokenizer& tokenizer) {
  const auto list = [&](std::string_view title, std::span<const int> values) {
    out << prefix << title << ":\n[";
    for (std::size_t i = 0; i < values.size(); ++i) out << (i > 0 ? ", " : "") << values[i];
    out << "]\n";
  };
  list("input_ids", ids);
  out << prefix << "inputs:\n" << tokenizer.decode({ids.begin(), ids.end()}) << "\n";
  list("label_ids", labels);
  out << prefix << "labels:\n" << tokenizer.decode(learned_of(labels)) << "\n";
}

inline std::string_view prefix_of(SequenceRole role) {
  return role == SequenceRole::chosen ? "chosen_" : role == SequenceRole::rejected ? "rejected_" : "kl_";
}

}  // namespace detail

/// Writes what a model is trained on: the ids of a sample and their text, its labels and the text that is learned; of
/// preference data for each answer. Headings as LLaMA-Factory prints them for the first sample of a run.
inline void print_sample(std::ostream& out, const data::EncodedSample& sample, const text::Tokenizer& tokenizer) {
  out << sample.origin << ", " << sample.ids.size() << " tokens, " << detail::learned_of(sample.labels).size()
      << " of them learned\n";
  for (const auto& video : sample.videos) out << video_line(*video);
  const std::span<const int> ids(sample.ids), labels(sample.labels);
  std::size_t begin = 0;
  for (std::size_t i = 0; i < sample.roles.size(); ++i) {
    const std::size_t length = static_cast<std::size_t>(sample.sequences[i].end) - begin;
    detail::print_sequence(out, detail::prefix_of(sample.roles[i]), ids.subspan(begin, length),
                           labels.subspan(begin, length), tokenizer);
    begin += length;
  }
  if (sample.roles.empty()) detail::print_sequence(out, "", ids, labels, tokenizer);
}

}  // namespace lamina::train
