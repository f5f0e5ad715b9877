#pragma once
#include <lamina/testing/deterministic_weights.hpp>
#include <lamina/vision/video/read_video.hpp>

#include <filesystem>
#include <fstream>
#include <iostream>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

/// The videos of tests/golden/video/ and what other libraries read of them: tests/reference/video_golden.py.
namespace lamina::testing {

inline std::filesystem::path video_folder() { return std::filesystem::path(LAMINA_GOLDEN_DIR) / "video"; }

inline const nlohmann::json& video_golden() {
  static const nlohmann::json json = [] {
    std::ifstream in(video_folder() / "video.json");
    return nlohmann::json::parse(in);
  }();
  return json;
}

/// Whether lamina-decode-video was built; else says so.
inline bool decodes_videos() {
  std::error_code none;
  const auto folder = std::filesystem::read_symlink("/proc/self/exe", none).parent_path();
  if (std::filesystem::exists(folder / "lamina-decode-video", none)) return true;
  std::cerr << "SKIPPED: built without FFmpeg's libraries\n";
  return false;
}

template <class T>
std::uint64_t digest(const std::vector<T>& values) {
  return fnv1a64({reinterpret_cast<const char*>(values.data()), values.size() * sizeof(T)});
}

}  // namespace lamina::testing
