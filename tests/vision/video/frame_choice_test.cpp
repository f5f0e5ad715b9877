#include "support/made/videos.hpp"
#include "vision/golden.hpp"

#include <lamina/model/qwen2_5_vl/processor.hpp>
#include <lamina/model/qwen3_vl/processor.hpp>
#include <lamina/vision/video/clip.hpp>

using namespace lamina;
using namespace lamina::vision;

namespace {

Processor tiny(const std::string& family) {
  const auto& format = family == "qwen3_vl" ? qwen3_vl::processor : qwen2_5_vl::processor;
  return Processor::load(LAMINA_SOURCE_DIR "/data/" + family + "_tiny", format);
}

}  // namespace

TEST_CASE("Videos: the model's processor picks the frames that transformers' picks") {
  for (const auto& row : testing::video_golden().at("choices")) {
    CAPTURE(row.dump());
    const Processor p = tiny(row[0]);
    VideoFacts facts;
    facts.frames = row[1], facts.fps = row[2];
    const FrameChoice choice = frames_to_answer_about(facts, p.video, 2, {.fps = row[3]});
    CHECK(choice.frames.size() == row[4].get<std::size_t>());
    CHECK(testing::digest(choice.frames) == row[5].get<std::uint64_t>());
  }
}

TEST_CASE("Videos: frames are resized as transformers resizes them") {
  for (const auto& row : testing::video_golden().at("sizes")) {
    CAPTURE(row.dump());
    const Processor p = tiny(row[0]);
    const Grid grid = clip_grid(p, row[1], {row[2], row[3]});
    CHECK(grid.h * p.patch_size == row[4]);
    CHECK(grid.w * p.patch_size == row[5]);
    CHECK(grid.t == (row[1].get<int>() + 1) / 2);
  }
  // A side below the factor is scaled up first; a ratio above 200 is refused.
  CHECK(clip_grid(tiny("qwen3_vl"), 4, {101, 28}) == Grid{2, 2, 8});
  CHECK(golden::contains(golden::error_of([] { clip_grid(tiny("qwen3_vl"), 4, {10000, 40}); }), "over 200 times"));
}

TEST_CASE("Videos: patches, seconds and time stamps to answer about are those of transformers' processors") {
  if (!testing::decodes_videos()) return;
  for (const auto& [name, video] : testing::video_golden().at("videos").items())
    for (const auto& [family, rows] : video.at("answering").items())
      for (const auto& want : rows) {
        CAPTURE(name, family, want.dump());
        const Processor p = tiny(family);
        const VideoFile file(testing::video_folder() / name);
        VideoFacts facts = read_video_facts(file);
        facts.frames = std::ssize(video.at("frames"));
        const auto& wanted = want.at("wanted");
        const FrameWish wish{.fps = wanted.at("fps").is_null() ? -1 : wanted.at("fps").get<double>(),
                             .num_frames = wanted.value("num_frames", -1)};
        const FrameChoice choice = frames_to_answer_about(facts, p.video, p.temporal_patch_size, wish);
        CHECK(choice.frames == want.at("indices").get<std::vector<std::int64_t>>());
        const auto count = std::ssize(choice.frames);
        const Grid grid = clip_grid(p, count, facts.size());
        REQUIRE(nlohmann::json{grid.t, grid.h, grid.w} == want.at("grid"));
        if (!want.at("second_per_grid").is_null())
          CHECK(static_cast<float>(choice.second_per_grid(2)) == want.at("second_per_grid").get<float>());
        std::vector<float> rows_of(static_cast<std::size_t>(grid.patches()) * static_cast<std::size_t>(p.row_length()));
        read_frames(file, choice.frames, [&](std::size_t i, const Image& image) {
          write_clip_frame(p, image, grid, static_cast<std::int64_t>(i), count, rows_of);
        });
        CHECK(testing::digest(rows_of) == want.at("patches").get<std::uint64_t>());
      }
}

TEST_CASE("Videos: a clip of few frames is seen whole, and one without a rate counts 24 frames a second") {
  const Processor two = tiny("qwen2_5_vl"), three = tiny("qwen3_vl");
  VideoFacts facts;
  facts.frames = 1, facts.fps = 0;
  CHECK(frames_to_answer_about(facts, two.video, 2).frames == std::vector<std::int64_t>{0});
  CHECK(frames_to_answer_about(facts, three.video, 2).frames == std::vector<std::int64_t>{0});
  facts.frames = 48;
  CHECK(frames_to_answer_about(facts, three.video, 2).group_seconds(2) ==
        std::vector<double>{8.0 / 24, (31.0 + 47) / 48});
  CHECK(frames_to_answer_about(facts, three.video, 2, {.num_frames = 100}).frames.size() == 48);
}
