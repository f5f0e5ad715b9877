#pragma once
#include <lamina/model/families.hpp>
// What the tests of tests/data share: a folder of their own, a tiny tokenizer, the golden files.
#include "support/catch.hpp"
#include "support/error_of.hpp"

#include <lamina/data/sample/encoded_sample.hpp>
#include <lamina/text/tokenizer.hpp>
#include <lamina/text/tokenizer/byte_alphabet.hpp>
#include <lamina/vision/processor.hpp>

#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iomanip>
#include <iostream>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include <unistd.h>

namespace lamina::data::test {

using Json = nlohmann::ordered_json;

/// A folder that is removed at the end.
class Folder {
 public:
  Folder() {
    static int count = 0;
    path_ = std::filesystem::temp_directory_path() / cat("lamina_data_", ::getpid(), "_", count++);
    std::filesystem::create_directories(path_);
  }
  ~Folder() {
    std::error_code none;
    std::filesystem::remove_all(path_, none);
  }
  Folder(const Folder&) = delete;
  const std::filesystem::path& path() const { return path_; }
  std::string file(const std::string& name) const { return (path_ / name).string(); }
  /// Writes a file (folders are made), and returns its path.
  std::filesystem::path write(const std::string& name, const std::string& text) const {
    std::filesystem::create_directories((path_ / name).parent_path());
    std::ofstream(path_ / name, std::ios::binary) << text;
    return path_ / name;
  }

 private:
  std::filesystem::path path_;
};

/// An image of one colour as an uncompressed 24-bit file; `shade` fills all channels.
inline std::string bmp(int width, int height, int shade = 200) {
  const int row_bytes = (width * 3 + 3) / 4 * 4, pixel_bytes = row_bytes * height;
  std::string out = "BM";
  const auto put = [&](std::uint32_t value, int bytes) {
    for (int i = 0; i < bytes; ++i) out += static_cast<char>(value >> (8 * i) & 0xff);
  };
  put(54 + pixel_bytes, 4), put(0, 4), put(54, 4), put(40, 4), put(width, 4), put(height, 4), put(1, 2), put(24, 2);
  put(0, 4), put(pixel_bytes, 4), put(2835, 4), put(2835, 4), put(0, 4), put(0, 4);
  return out + std::string(pixel_bytes, static_cast<char>(shade));
}

using testing::error_of, testing::contains;

/// One token a byte, 256 and up: the special tokens of these models.
inline text::Tokenizer byte_tokenizer() {
  const Folder folder;
  const text::ByteAlphabet alphabet;
  Json vocab = Json::object(), added = Json::array();
  for (int byte = 0; byte < 256; ++byte) vocab[alphabet.sign(static_cast<unsigned char>(byte))] = byte;
  int id = 256;
  for (const char* token : {"<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>",
                            "<|image_pad|>", "<|video_pad|>"}) {
    added.push_back({{"id", id++},
                     {"content", token},
                     {"single_word", false},
                     {"lstrip", false},
                     {"rstrip", false},
                     {"normalized", false},
                     {"special", true}});
  }
  // The normalizer and the pre-tokenizer are spelt as in the files of Qwen.
  const Json file = {
      {"version", "1.0"},
      {"added_tokens", added},
      {"normalizer", {{"type", "NFC"}}},
      {"pre_tokenizer",
       {{"type", "Sequence"},
        {"pretokenizers",
         Json::array(
             {{{"type", "Split"},
               {"pattern", {{"Regex", std::string(text::split_pattern)}}},
               {"behavior", "Isolated"},
               {"invert", false}},
              {{"type", "ByteLevel"}, {"add_prefix_space", false}, {"trim_offsets", false}, {"use_regex", false}}})}}},
      {"decoder", {{"type", "ByteLevel"}, {"add_prefix_space", false}, {"trim_offsets", false}, {"use_regex", false}}},
      {"model", {{"type", "BPE"}, {"vocab", vocab}, {"merges", Json::array()}}}};
  folder.write("tokenizer.json", file.dump());
  return text::Tokenizer::load(folder.path(), qwen_vl::control_tokens);
}
inline constexpr int image_pad_id = 261;

/// The processors of the released checkpoints.
inline vision::Processor qwen3_processor() {
  vision::Processor processor{qwen_vl::processor};
  processor.patch_size = 16;
  processor.min_pixels = 65536;
  processor.max_pixels = 16777216;
  processor.mean = processor.std = {0.5f, 0.5f, 0.5f};
  return processor;
}
inline vision::Processor qwen2_processor() {
  vision::Processor processor{qwen_vl::processor};
  processor.patch_size = 14, processor.min_pixels = 3136, processor.max_pixels = 12845056;
  return processor;
}

inline std::filesystem::path golden(const std::string& name) {
  return std::filesystem::path(LAMINA_GOLDEN_DIR) / "data" / name;
}

inline Json read_json(const std::filesystem::path& path) {
  std::ifstream in(path);
  return Json::parse(in);
}

/// The folder of larger inputs that are not part of the project; says so if it is not given.
inline std::optional<std::filesystem::path> test_data(const char* test) {
  if (const char* path = std::getenv("LAMINA_TEST_DATA")) return path;
  std::cout << "SKIPPED " << test << ": LAMINA_TEST_DATA names no folder with qwen3-tokenizer/ and llamafactory/\n";
  return std::nullopt;
}

/// 64-bit FNV-1a over the little-endian 32-bit ids, then labels; as tests/reference/data_golden.py.
inline std::string hash_of(const EncodedSample& sample) {
  std::uint64_t hash = 0xcbf29ce484222325u;
  const auto add = [&](const std::vector<int>& values) {
    for (const int value : values) {
      for (int shift = 0; shift < 32; shift += 8) {
        hash = (hash ^ (static_cast<std::uint32_t>(value) >> shift & 0xff)) * 0x100000001b3u;
      }
    }
  };
  add(sample.ids), add(sample.labels), add(sample.answer);
  std::ostringstream out;
  out << std::hex << std::setw(16) << std::setfill('0') << hash;
  return out.str();
}

}  // namespace lamina::data::test
