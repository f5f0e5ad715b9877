#include "support/made/videos.hpp"
#include "vision/golden.hpp"

#include <numeric>

#include <lamina/core/threads/cancelled.hpp>

using namespace lamina;
using namespace lamina::vision;
using testing::video_folder;

namespace {

std::vector<std::int64_t> first(std::size_t count) {
  std::vector<std::int64_t> frames(count);
  std::iota(frames.begin(), frames.end(), std::int64_t{0});
  return frames;
}

std::string refusal(const std::filesystem::path& path, const VideoLimits& limits = {}) {
  return golden::error_of([&] {
    const VideoFile file(path);
    read_video_facts(file, limits);
    read_frames(
        file, first(20), [](std::size_t, const Image&) {}, limits);
  });
}

}  // namespace

TEST_CASE("Videos: facts and pixels are PyAV's, from a file and from memory") {
  if (!testing::decodes_videos()) return;
  for (const auto& [name, wanted] : testing::video_golden().at("videos").items()) {
    CAPTURE(name);
    std::ifstream in(video_folder() / name, std::ios::binary);
    const std::vector<char> bytes{std::istreambuf_iterator<char>(in), {}};
    const VideoFile on_disk(video_folder() / name),
        in_memory({reinterpret_cast<const std::uint8_t*>(bytes.data()), bytes.size()}, name);
    for (const VideoFile* file : {&on_disk, &in_memory}) {
      const VideoFacts facts = read_video_facts(*file);
      const auto& theirs = wanted.at("facts");
      CHECK(facts.frames == theirs.at("frames").get<std::int64_t>());
      CHECK(facts.fps == theirs.at("fps").get<double>());
      CHECK((facts.width == theirs.at("width") && facts.height == theirs.at("height")));
      if (theirs.at("seconds").is_null())
        CHECK(facts.seconds < 0);
      else
        CHECK(facts.seconds == theirs.at("seconds").get<double>());
      const auto& frames = wanted.at("frames");
      CHECK(count_video_frames(*file, 1000).frames == std::ssize(frames));
      CHECK(count_video_frames(*file, 1).frames == 1);
      std::size_t seen = 0;
      read_frames(*file, first(frames.size()), [&](std::size_t i, const Image& image) {
        CHECK(i == seen++);
        CHECK(testing::digest(image.rgb) == frames[i].get<std::uint64_t>());
      });
      CHECK(seen == frames.size());
    }
  }
}

TEST_CASE("Videos: what is no video, or ends early, is an error that names it") {
  if (!testing::decodes_videos()) return;
  const auto folder = std::filesystem::temp_directory_path() / ("lamina_videos_" + std::to_string(::getpid()));
  std::filesystem::create_directories(folder);
  const auto write = [&](const std::string& name, const std::string& bytes) {
    std::ofstream(folder / name, std::ios::binary) << bytes;
    return folder / name;
  };
  const auto whole = [] {
    std::ifstream in(video_folder() / "wide.ts", std::ios::binary);
    return std::string{std::istreambuf_iterator<char>(in), {}};
  }();
  using golden::contains;
  CHECK(contains(refusal(folder / "none.mp4"), "none.mp4: no such file"));
  CHECK(contains(refusal(folder), "not a file"));
  CHECK(contains(refusal(write("empty.mp4", "")), "empty.mp4: it is no video"));
  CHECK(contains(
      refusal(write("text.mp4", std::string(5000, 'a'))),
      "text.mp4: it is no video, or of a kind that is not read, or its beginning is broken (FFmpeg: Invalid data"));
  CHECK(contains(refusal(write("list.txt", "ffconcat version 1.0\nfile /etc/passwd\n")), "it is no video"));
  CHECK(contains(refusal(write("list.m3u8", "#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\nfile:///etc/passwd\n")),
                 "it is no video"));
  CHECK(contains(refusal(write("half.ts", whole.substr(0, whole.size() / 2))), "half.ts: it ends after"));
  CHECK(contains(refusal(video_folder() / "frame_0.png"), "it is no video"));
  std::filesystem::remove_all(folder);
}

TEST_CASE("Videos: a decoder stays within limits of pixels, memory and time, and ends when it is told to") {
  if (!testing::decodes_videos()) return;
  const auto video = video_folder() / "moving.mp4";
  using golden::contains;
  CHECK(refusal(video, {.max_pixels = 96 * 64}).find("ends after") == std::string::npos);
  CHECK(contains(refusal(video, {.max_pixels = 96 * 64 - 1}), "moving.mp4: "));
  CHECK(contains(refusal(video, {.max_memory_bytes = 16 << 20}), "moving.mp4: "));
  CHECK(contains(refusal(video, {.max_time = std::chrono::seconds(0)}), "decoding takes more than 0 s"));
  std::stop_source stop;
  stop.request_stop();
  const VideoFile file(video);
  CHECK_THROWS_AS(read_video_facts(file, {.stop = stop.get_token()}), Cancelled);
}
