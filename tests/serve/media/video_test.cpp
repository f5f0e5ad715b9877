// Requests with videos, against a whole server with a model that recites.
#include "serve/running_server.hpp"
#include "support/catch.hpp"
#include "support/made/videos.hpp"

using namespace lamina;
using namespace lamina::test;

namespace {

Setup reads_videos() {
  Setup setup;
  setup.service.media.allowed_folder = testing::video_folder();
  return setup;
}

std::string video_part(const std::string& url) {
  return R"({"type":"video_url","video_url":{"url":")" + url + R"("}})";
}
std::string file_part(const std::string& name) {
  return video_part("file://" + (testing::video_folder() / name).string());
}
std::string asks(const std::string& parts, const std::string& more = "") {
  return R"({"max_tokens":2,"messages":[{"role":"user","content":[)" + parts + "]}]" + more + "}";
}

/// The prompt's text without pads.
std::string shown(RunningServer& server) {
  const auto& files = RunningServer::files();
  std::string text = files.tokenizer.decode(server.script.last.ids);
  for (std::size_t at; (at = text.find("<|video_pad|>")) != text.npos;) text.erase(at, 13);
  return text;
}

}  // namespace

TEST_CASE("chat: a video's frames, times and patches are those of the model's processor") {
  if (!testing::decodes_videos()) return;
  RunningServer server(reads_videos());
  const auto& wanted = testing::video_golden().at("videos").at("moving.mp4").at("answering").at("qwen3_vl");
  const auto check = [&](const std::string& more, const nlohmann::json& want) {
    server.chat(asks(R"({"type":"text","text":"Look: "},)" + file_part("moving.mp4"), more));
    const auto& last = server.script.last;
    CHECK(shown(server) ==
          "<|im_start|>user\nLook: " + want.at("text").get<std::string>() + "<|im_end|>\n<|im_start|>assistant\n");
    const std::vector<float> patches{last.patches.begin(), last.patches.end()};
    CHECK(testing::digest(patches) == want.at("patches").get<std::uint64_t>());
    CHECK(std::ssize(last.grids) == want.at("grid")[0].get<int>());
  };
  check("", wanted[0]);
  check(R"(,"mm_processor_kwargs":{"fps":5})", wanted[1]);
  check(R"(,"mm_processor_kwargs":{"num_frames":6})", wanted[2]);
}

TEST_CASE("chat: videos and images stand in the order of their parts, and --media-io-kwargs chooses frames") {
  if (!testing::decodes_videos()) return;
  Setup setup = reads_videos();
  setup.service.media.frames.num_frames = 4;
  RunningServer server(setup);
  const std::string image = R"({"type":"image_url","image_url":{"url":"file://)" +
                            (testing::video_folder() / "frame_0.png").string() + R"("}})";
  server.chat(asks(file_part("moving.mkv") + "," + image + "," + file_part("wide.ts")));
  const auto& last = server.script.last;
  REQUIRE(last.grids.size() == 2 + 1 + 2);
  CHECK((last.grids[0] == Grid{1, 4, 4} && last.grids[3] == Grid{1, 2, 10}));
  CHECK(last.grids[2] == RunningServer::files().processor.grid_for({96, 64}));
  CHECK(shown(server).find("user\n<0.4 seconds>") != std::string::npos);  // of frames 0, 7, 14 and 22
}

TEST_CASE("chat: what is no video, too many of them, and what a video cannot have, are refused") {
  if (!testing::decodes_videos()) return;
  Setup setup = reads_videos();
  setup.service.max_videos = 1;
  RunningServer server(setup);
  const auto refusal = [&](const std::string& body) {
    const auto reply = server.ask(body);
    CHECK(reply.status == 400);
    return reply.body;
  };
  const auto has = [](const std::string& text, const std::string& words) { return text.find(words) != text.npos; };
  CHECK(has(refusal(asks(file_part("moving.mp4") + "," + file_part("moving.mp4"))),
            "At most 1 video(s) may be provided in one prompt."));
  CHECK(has(refusal(asks(file_part("frame_0.png"))), "failed to load video"));
  CHECK(has(refusal(asks(video_part("data:video/mp4;base64,AAAA"))), "failed to load video"));
  CHECK(has(refusal(asks(video_part("http://127.0.0.1/x.mp4"))), "does not fetch images or videos from the web"));
  CHECK(has(refusal(asks(file_part("../images/rgba.png"))), "no such file below --allowed-local-media-path"));
  CHECK(has(refusal(asks(file_part("moving.mp4"), R"(,"mm_processor_kwargs":{"min_pixels":4})")), "are of images"));
  CHECK(has(refusal(asks(file_part("moving.mp4"), R"(,"mm_processor_kwargs":{"fps":1,"num_frames":4})")),
            "wanted one of them"));
}
