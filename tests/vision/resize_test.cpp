#include "vision/golden.hpp"

using namespace lamina::vision;

TEST_CASE("resize_bicubic: equals Pillow's and torchvision's resize of noise to the last bit") {
  REQUIRE(golden::values()["resizes"].size() == 20);
  for (const auto& want : golden::values()["resizes"]) {
    const ImageSize from{want["width"], want["height"]}, to{want["to_width"], want["to_height"]};
    CAPTURE(from.width, from.height, to.width, to.height);
    const Image image = golden::noise(from.width, from.height);
    const auto pillow = resize_bicubic<3>(image.rgb, from, to, Resampler::pillow);
    const auto torch = resize_bicubic<3>(image.rgb, from, to, Resampler::torch);
    CHECK(golden::crc(pillow) == want["pillow"].get<std::uint32_t>());
    CHECK(golden::crc(torch) == want["torch"].get<std::uint32_t>());
    std::size_t differing = 0;
    for (std::size_t i = 0; i < pillow.size(); ++i) differing += pillow[i] != torch[i];
    CHECK(differing == want["differing"].get<std::size_t>());
  }
}

TEST_CASE("resize_bicubic: a flat image stays flat and an equal size is a copy") {
  for (Resampler resampler : {Resampler::pillow, Resampler::torch}) {
    const std::vector<std::uint8_t> flat(40 * 30 * 3, 173);
    CHECK(resize_bicubic<3>(flat, {40, 30}, {97, 11}, resampler) == std::vector<std::uint8_t>(97 * 11 * 3, 173));
    const auto image = golden::noise(40, 30);
    CHECK(resize_bicubic<3>(image.rgb, {40, 30}, {40, 30}, resampler) == image.rgb);
  }
}
