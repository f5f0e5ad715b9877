#pragma once
#include <algorithm>
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <lamina/core/error.hpp>
#include <lamina/data/dataset.hpp>
#include <lamina/io/json.hpp>
#include <lamina/io/keys/setting.hpp>
#include <lamina/io/program/usage.hpp>
#include <lamina/parallel/group.hpp>
#include <lamina/train/loop/resume_notes.hpp>

/// Whether the processes of a run were started with the same settings, on the same records.
namespace lamina::train {

namespace detail {

/// Where a host has its files: another host may have the same ones elsewhere, and their contents are compared.
inline bool is_place(std::string_view key) {
  constexpr KeyName places[] = {"model_name_or_path", "adapter_name_or_path", "cache_dir", "dataset_dir",
                                "media_dir",          "output_dir",           "deepspeed", "local_rank"};
  return std::find(std::begin(places), std::end(places), key) != std::end(places);
}

/// The first of the texts that is not empty, as every rank finds it.
inline std::string first_said(const std::string& mine, parallel::Group& group) {
  for (const std::string& text : group.all_gather(mine))
    if (!text.empty()) return text;
  return {};
}

/// The first setting in which this rank differs from the first one; empty if there is none.
inline std::string other_setting(const io::Settings& given, const nlohmann::ordered_json& of_first, int rank) {
  std::map<std::string, std::pair<nlohmann::ordered_json, nlohmann::ordered_json>> both;
  for (const auto& [key, setting] : given) both[key].first = setting.value;
  for (const auto& [key, value] : of_first.items()) both[key].second = value;
  const auto text = [](const auto& value) { return value.is_null() ? "not set" : io::shown(value); };
  for (const auto& [key, values] : both)
    if (!is_place(key) && !same_setting(values.first, values.second))
      return cat(key, ": rank ", rank, " has ", text(values.first), ", rank 0 has ", text(values.second));
  return {};
}

/// Changes with any token of any sample, and with their order.
inline std::uint64_t hash_of(const std::vector<data::EncodedSample>& samples) {
  std::uint64_t hash = 14695981039346656037u;  // FNV-1a, by token
  const auto mix = [&](std::uint64_t value) { hash = (hash ^ value) * 1099511628211u; };
  for (const data::EncodedSample& sample : samples) {
    mix(sample.ids.size());
    for (const int id : sample.ids) mix(static_cast<std::uint64_t>(id));
    for (const int label : sample.labels) mix(static_cast<std::uint64_t>(label));
  }
  return hash;
}

}  // namespace detail

/// errors  io::UsageError, on every rank, if one was started with another setting than rank 0
inline void require_same_settings(const io::Settings& given, parallel::Group& group) {
  if (group.size() == 1) return;
  nlohmann::ordered_json mine = nlohmann::ordered_json::object();
  for (const auto& [key, setting] : given) mine[key] = setting.value;
  const auto of_first = nlohmann::ordered_json::parse(group.broadcast(mine.dump()));
  const std::string other = detail::first_said(detail::other_setting(given, of_first, group.rank()), group);
  if (!other.empty()) io::usage(other, ": all processes of a run read the same settings");
}

/// errors  lamina::Error, on every rank, if one has read other samples than rank 0
inline void require_same_samples(const std::vector<data::EncodedSample>& samples, parallel::Group& group) {
  if (group.size() == 1) return;
  const std::uint64_t mine[] = {samples.size(), detail::hash_of(samples)};
  std::uint64_t first[] = {mine[0], mine[1]};
  group.broadcast(std::as_writable_bytes(std::span(first)));
  std::string other;
  if (mine[0] != first[0])
    other = cat("rank ", group.rank(), " has ", mine[0], " records to train on, rank 0 has ", first[0]);
  else if (mine[1] != first[1])
    other = cat("rank ", group.rank(), " has other records to train on than rank 0, though as many");
  other = detail::first_said(other, group);
  if (!other.empty()) fail("dataset: ", other, ": all processes of a run read the same files");
}

}  // namespace lamina::train
