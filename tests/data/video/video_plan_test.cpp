#include "data/support.hpp"
#include "support/made/videos.hpp"

#include <lamina/data/order/collate.hpp>
#include <lamina/data/sample/encode.hpp>
#include <lamina/data/sample/media_check.hpp>

using namespace lamina;
using namespace lamina::data;
using namespace lamina::data::test;
using testing::video_folder;

namespace {

const ChatFormat& chat_of(const std::string& family) {
  return family == "qwen3_vl" ? qwen3_vl::chat : qwen2_5_vl::chat;
}
vision::Processor tiny(const std::string& family) {
  return vision::Processor::load(LAMINA_SOURCE_DIR "/data/" + family + "_tiny",
                                 family == "qwen3_vl" ? qwen3_vl::processor : qwen2_5_vl::processor);
}

std::string without_pads(std::string text) {
  for (std::size_t at; (at = text.find("<|video_pad|>")) != std::string::npos;) text.erase(at, 13);
  return text;
}

VideoOptions options_of(const nlohmann::json& settings) {
  VideoOptions options;
  options.frames.max_pixels = settings.value("video_max_pixels", options.frames.max_pixels);
  options.frames.min_pixels = settings.value("video_min_pixels", options.frames.min_pixels);
  options.fps = settings.value("video_fps", options.fps);
  options.maxlen = settings.value("video_maxlen", options.maxlen);
  options.tokens_per_second = 2;
  return options;
}

/// One record of a user's text and an answer, encoded by an encoder over bytes.
EncodedSample encoded(const std::string& text, std::vector<std::string> images, std::vector<ListedVideo> videos,
                      const std::string& family = "qwen3_vl", EncodeOptions how = {}) {
  const text::Tokenizer tokenizer = byte_tokenizer();
  const vision::Processor processor = tiny(family);
  Conversation c;
  c.turns = {{Role::user, text}, {Role::assistant, "a"}};
  c.images = std::move(images), c.videos = std::move(videos), c.origin = "x.json row 1";
  how.cutoff_len = how.cutoff_len == 2048 ? 100000 : how.cutoff_len;
  Encoder encoder(tokenizer, ChatLayout::named(family == "qwen3_vl" ? "qwen3_vl_nothink" : "qwen2_vl"), how,
                  {processor, {}, options_of(nlohmann::json::object())}, video_folder());
  auto result = encoder.encode(c);
  if (const auto* dropped = std::get_if<Dropped>(&result)) fail(dropped->reason);
  return std::get<EncodedSample>(std::move(result));
}

const VisionTokens pads{261, 262};

}  // namespace

TEST_CASE("Videos: frames, times, sizes and patches to train on are LLaMA-Factory's") {
  if (!testing::decodes_videos()) return;
  for (const auto& [name, video] : testing::video_golden().at("videos").items())
    for (const auto& [family, rows] : video.at("training").items())
      for (const auto& want : rows) {
        CAPTURE(name, family, want.dump());
        if (want.contains("refused")) continue;
        const vision::Processor processor = tiny(family);
        VideoPlans plans(processor, options_of(want.at("settings")), chat_of(family));
        const auto plan = plans.plan({name, {}}, video_folder());
        const Grid clip = plan->clip();
        REQUIRE(nlohmann::json{clip.t, clip.h, clip.w} == want.at("grid"));
        CHECK(without_pads(video_text(*plan, processor.visual_tokens(), chat_of(family))) == want.at("text"));
        if (!want.at("second_per_grid").is_null()) {
          const double seconds = want.at("second_per_grid");
          CHECK(plan->choice.second_per_grid(2) == seconds);
          CHECK(plan->grids[0].time_step == static_cast<float>(seconds) * 2);
        }
        std::vector<float> patches(static_cast<std::size_t>(clip.patches()) *
                                   static_cast<std::size_t>(processor.row_length()));
        write_video(*plan, processor, patches);
        CHECK(testing::digest(patches) == want.at("patches").get<std::uint64_t>());
      }
}

TEST_CASE("Encoder: videos of files and of images stand beside images, each with its runs of tokens") {
  if (!testing::decodes_videos()) return;
  const ListedVideo file{"moving.mp4", {}}, list{"", {"frame_0.png", "frame_1.png", "frame_2.png"}};
  for (const std::string family : {"qwen3_vl", "qwen2_5_vl"}) {
    CAPTURE(family);
    const EncodedSample s = encoded("<video>x<image>y<video>", {"frame_3.png"}, {file, list}, family);
    REQUIRE((s.videos.size() == 2 && s.images.size() == 1));
    const std::string text = byte_tokenizer().decode(s.ids);
    if (family == "qwen3_vl") {
      CHECK(contains(text, "user\n<0.3 seconds><|vision_start|><|video_pad|>"));
      CHECK(contains(text, "<|vision_end|>y<0.2 seconds><|vision_start|><|video_pad|>"));  // images at 0 and 0.5 s
      CHECK(contains(text, "<|vision_end|><1.0 seconds><|vision_start|><|video_pad|>"));   // the last stands alone
    } else {
      CHECK(contains(text, "<|vision_end|>x<|vision_start|><|image_pad|>"));
      CHECK(s.videos[1]->grids[0].time_step == 2);  // two frames a second, two positions a second
    }
    const std::vector<std::vector<const EncodedSample*>> window{{&s}};
    const vision::Processor processor = tiny(family);
    const Collated made = collate(window, {processor, {}, pads});
    CHECK(made.batch.grids.size() == (family == "qwen3_vl" ? 3 + 1 + 2 : 3));
    CHECK_NOTHROW(expect_patches(made.batch, processor.row_length()));
    // The frames of the list are those images, resized alike.
    const Grid clip = s.videos[1]->clip();
    std::vector<float> alone(static_cast<std::size_t>(clip.patches()) *
                             static_cast<std::size_t>(processor.row_length()));
    write_video(*s.videos[1], processor, alone);
    CHECK(std::equal(alone.rbegin(), alone.rend(), made.batch.patches.rbegin()));
  }
}

TEST_CASE("Encoder: a video that does not fit into cutoff_len is dropped whole, and wrong ones are named") {
  if (!testing::decodes_videos()) return;
  const ListedVideo file{"moving.mp4", {}};
  EncodeOptions short_one;
  short_one.cutoff_len = 60;
  CHECK(contains(error_of([&] { encoded("<video>", {}, {file}, "qwen3_vl", short_one); }),
                 "an image or a video does not fit into cutoff_len 60"));
  CHECK(contains(error_of([&] { encoded("<video><video>", {}, {file}); }),
                 "hold 2 <video> and the record lists 1 video:"));
  CHECK(contains(error_of([&] { encoded("<video>", {}, {{"frame_0.png", {}}}); }), "frame_0.png: it is no video"));
  CHECK(contains(error_of([&] { encoded("<video>", {}, {{"", {"frame_0.png", "moving.mp4"}}}); }), "moving.mp4"));
}

TEST_CASE("check_media_files: a video that breaks off is found before training, and takes its samples out") {
  if (!testing::decodes_videos()) return;
  const Folder folder;
  std::ifstream in(video_folder() / "moving.mp4", std::ios::binary);
  std::string bytes{std::istreambuf_iterator<char>(in), {}};
  // The frames' bytes come before the index that counts them.
  for (std::size_t i = 2000; i < 2600; ++i) bytes[i] = static_cast<char>(i * 37);
  folder.write("broken.mp4", bytes);
  auto plan = std::make_shared<VideoPlan>();
  plan->file = folder.file("broken.mp4");
  plan->choice = vision::listed_frames(40, 10);
  std::vector<EncodedSample> samples(2);
  samples[0].videos = {plan}, samples[0].origin = "row 1", samples[1].origin = "row 2";
  const MediaCheck check = check_media_files({&samples});
  std::string wrong;
  remove_broken(samples, check, [&](const std::string& origin, const std::string& why) { wrong = origin + why; });
  CHECK((samples.size() == 1 && samples[0].origin == "row 2"));
  CHECK(contains(wrong, "row 1video "));
}
