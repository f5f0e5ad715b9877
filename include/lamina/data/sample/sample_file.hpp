#pragma once
#include <lamina/checkpoint/safetensors.hpp>
#include <lamina/checkpoint/safetensors/writer.hpp>
#include <lamina/core/error.hpp>
#include <lamina/data/read/json.hpp>
#include <lamina/data/sample/encoded_sample.hpp>

#include <cstddef>
#include <cstring>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

/// Encoded samples in a safetensors file: of each set "<set>.tokens", the ids, labels and answers of all samples one
/// after another (I32), and "<set>.samples", a JSON list with the rest of each (U8); "settings", of what the samples
/// follow from (U8, JSON).
namespace lamina::data {

/// Sets of samples by name, as they are written and as they are read.
using NamedSets = std::map<std::string, const std::vector<EncodedSample>*>;
using SampleSets = std::map<std::string, std::vector<EncodedSample>>;

namespace detail {

using SampleJson = nlohmann::ordered_json;

inline SampleJson sample_rest(const EncodedSample& sample) {
  if (!sample.videos.empty())
    fail(sample.origin, ": has a video, and samples with videos are not stored: leave tokenized_path out");
  SampleJson rest = {
      {"ids", sample.ids.size()},      {"labels", sample.labels.size()},   {"answer", sample.answer.size()},
      {"images", SampleJson::array()}, {"patches", sample.image_patches},  {"origin", sample.origin},
      {"lost", sample.lost},           {"sequences", SampleJson::array()}, {"roles", SampleJson::array()}};
  for (const auto& image : sample.images) rest["images"].push_back(image.string());
  for (const PackedSequence& packed : sample.sequences) rest["sequences"].push_back({packed.end, packed.origin});
  for (const SequenceRole role : sample.roles) rest["roles"].push_back(static_cast<int>(role));
  return rest;
}

/// Takes its tokens off the beginning of `tokens`.
inline EncodedSample sample_of(const SampleJson& rest, std::span<const int>& tokens) {
  const auto take = [&](const char* key) {
    const auto count = rest.at(key).get<std::size_t>();
    if (count > tokens.size()) fail("a sample has more tokens than are left");
    const auto part = tokens.first(count);
    tokens = tokens.subspan(count);
    return std::vector<int>(part.begin(), part.end());
  };
  EncodedSample sample;
  sample.ids = take("ids"), sample.labels = take("labels"), sample.answer = take("answer");
  for (const auto& image : rest.at("images")) sample.images.emplace_back(image.get<std::string>());
  sample.image_patches = rest.at("patches").get<std::vector<int>>();
  sample.origin = rest.at("origin").get<std::string>();
  sample.lost = rest.at("lost").get<int>();
  for (const auto& packed : rest.at("sequences"))
    sample.sequences.push_back({packed.at(0).get<int>(), packed.at(1).get<std::string>()});
  for (const auto& role : rest.at("roles")) sample.roles.push_back(static_cast<SequenceRole>(role.get<int>()));
  return sample;
}

}  // namespace detail

/// Writes sets, replacing an old file whole. Error if a sample has a video.
inline void write_samples(const std::filesystem::path& path, const NamedSets& sets,
                          const nlohmann::ordered_json& settings) {
  std::vector<std::vector<int>> tokens;
  std::vector<std::string> names, texts;
  for (const auto& [name, samples] : sets) {
    std::vector<int>& all = tokens.emplace_back();
    nlohmann::ordered_json list = nlohmann::ordered_json::array();
    for (const EncodedSample& sample : *samples) {
      for (const auto* part : {&sample.ids, &sample.labels, &sample.answer})
        all.insert(all.end(), part->begin(), part->end());
      list.push_back(detail::sample_rest(sample));
    }
    names.push_back(name), texts.push_back(list.dump());
  }
  const auto bytes = [](const std::string& text) { return std::as_bytes(std::span(text)); };
  const auto size = [](const auto& list) { return std::vector<std::int64_t>{std::ssize(list)}; };
  const std::string settings_text = settings.dump();
  std::vector<checkpoint::TensorData> tensors{{"settings", DType::U8, size(settings_text), bytes(settings_text)}};
  for (std::size_t i = 0; i < names.size(); ++i) {
    tensors.push_back({names[i] + ".tokens", DType::I32, size(tokens[i]), std::as_bytes(std::span(tokens[i]))});
    tensors.push_back({names[i] + ".samples", DType::U8, size(texts[i]), bytes(texts[i])});
  }
  checkpoint::write_safetensors(path, tensors);
}

/// A file of samples that is open.
class SampleFile {
 public:
  explicit SampleFile(const std::filesystem::path& path) : path_(path), file_(checkpoint::Checkpoint::open(path)) {}

  nlohmann::ordered_json settings() const { return json("settings"); }

  SampleSets sets() const {
    SampleSets sets;
    for (const auto& info : file_.tensors()) {
      if (!info.name.ends_with(".samples")) continue;
      const std::string name = info.name.substr(0, info.name.rfind('.'));
      sets.emplace(name, samples(name));
    }
    return sets;
  }

 private:
  std::vector<EncodedSample> samples(const std::string& name) const {
    const auto bytes = file_.data(name + ".tokens");
    std::vector<int> tokens(bytes.size() / sizeof(int));
    std::memcpy(tokens.data(), bytes.data(), tokens.size() * sizeof(int));
    std::span<const int> left(tokens);
    std::vector<EncodedSample> out;
    try {
      for (const auto& rest : json(name + ".samples")) out.push_back(detail::sample_of(rest, left));
    } catch (const nlohmann::json::exception& error) {
      fail(path_.string(), ": ", name, ": ", error.what());
    }
    return out;
  }
  nlohmann::ordered_json json(const std::string& name) const {
    const auto bytes = file_.data(name);
    return read_json_text({reinterpret_cast<const char*>(bytes.data()), bytes.size()});
  }

  std::filesystem::path path_;
  checkpoint::Checkpoint file_;
};

}  // namespace lamina::data
