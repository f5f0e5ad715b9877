#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "serve/running_server.hpp"
#include "support/catch.hpp"

using namespace lamina;
using namespace lamina::test;

namespace {

const std::filesystem::path images = std::filesystem::path(LAMINA_GOLDEN_DIR) / "images";

/// The patches that the model gets of one image file.
std::vector<float> patches_of(RunningServer& server, const std::string& file) {
  server.chat(R"({"messages":[{"role":"user","content":[{"type":"image_url","image_url":{"url":"file://)" +
              (images / file).string() + R"("}}]}]})");
  return {server.script.last.patches.begin(), server.script.last.patches.end()};
}

/// The patches of the image on a background; on none: alpha is dropped.
std::vector<float> expected(const std::string& file, std::optional<vision::Colour> background) {
  vision::Image image = vision::load_image(images / file);
  if (background) vision::put_on_background(image, *background);
  std::vector<float> patches;
  RunningServer::files().processor.append_patches(image, patches);
  return patches;
}

}  // namespace

TEST_CASE("chat: images with colour and alpha are put on white, or on the background that the server was given") {
  Setup setup;
  setup.service.media.allowed_folder = images;
  RunningServer white(setup);
  CHECK(patches_of(white, "rgba.png") == expected("rgba.png", vision::Colour{255, 255, 255}));
  CHECK(patches_of(white, "rgba.png") != expected("rgba.png", {}));
  setup.service.media.background = {0, 160, 0};
  RunningServer green(setup);
  CHECK(patches_of(green, "rgba.png") == expected("rgba.png", vision::Colour{0, 160, 0}));
  // vLLM converts the other kinds, which drops their alpha.
  for (const char* file : {"grey_alpha.png", "palette_alpha.png"}) CHECK(patches_of(green, file) == expected(file, {}));
}
