#include "vision/golden.hpp"

using namespace lamina::vision;

namespace {

/// The plain loops alone.
template <int C>
std::vector<std::uint8_t> plain_resize(const std::vector<std::uint8_t>& in, ImageSize from, ImageSize to, Resampler r) {
  const auto rows = detail::bicubic_filter(from.width, to.width, r),
             columns = detail::bicubic_filter(from.height, to.height, r);
  std::vector<std::uint8_t> narrow(static_cast<std::size_t>(from.height) * to.width * C),
      out(static_cast<std::size_t>(to.pixels()) * C);
  const std::size_t row = static_cast<std::size_t>(to.width) * C;
  for (int y = 0; y < from.height; ++y)
    detail::resize_row<C>(&in[static_cast<std::size_t>(y) * from.width * C], rows, 0, to.width, &narrow[y * row]);
  for (int y = 0; y < to.height; ++y)
    detail::resize_column(&narrow[columns.first[y] * row], row,
                          &columns.weight[static_cast<std::size_t>(y) * columns.width], columns.count[y], columns.bits,
                          &out[y * row]);
  return out;
}

template <int C>
void check_resize(ImageSize from, ImageSize to) {
  std::vector<std::uint8_t> in = golden::noise(from.width, from.height).rgb;
  in.resize(static_cast<std::size_t>(from.pixels()) * C, 77);
  for (std::size_t i = 0; i < in.size(); i += 3) in[i] = in[i] < 128 ? 0 : 255;  // overshoot at hard edges
  for (const Resampler r : {Resampler::pillow, Resampler::torch}) {
    CAPTURE(C, from.width, from.height, to.width, to.height, r == Resampler::torch);
    CHECK(resize_bicubic<C>(in, from, to, r) == plain_resize<C>(in, from, to, r));
  }
}

}  // namespace

TEST_CASE("resize: the AVX2 passes equal the plain loops, any size, three or four channels") {
  if (!detail::has_avx2()) std::cerr << "SKIPPED: no AVX2\n";
  const ImageSize sizes[] = {{1, 3}, {5, 2}, {7, 11}, {13, 40}, {32, 33}, {64, 61}, {127, 90}, {301, 17}};
  for (const ImageSize from : sizes)
    for (const ImageSize to : sizes)
      if (from.width != to.width && from.height != to.height) check_resize<3>(from, to), check_resize<4>(from, to);
}

TEST_CASE("patches: the AVX2 path equals the plain loops for every patch size") {
  const auto image = golden::noise(64, 64);
  for (const int size : {8, 12, 14, 16, 17, 28}) {
    CAPTURE(size);
    const std::array<float, 3> mean{0.48f, 0.45f, 0.4f}, std{0.26f, 0.5f, 0.27f};
    const detail::PatchWriter writer(size, 2, mean, std);
    const std::size_t frame = static_cast<std::size_t>(size) * size, row_bytes = 64 * 3;
    std::vector<float> patch(3 * 2 * frame + 1, -7.0f);
    writer.write(&image.rgb[5 * row_bytes + 6], row_bytes, patch.data(), 0, 2);
    CHECK(patch.back() == -7.0f);
    std::vector<float> expected;
    for (int c = 0; c < 3; ++c)
      for (int t = 0; t < 2; ++t)
        for (int y = 0; y < size; ++y)
          for (int x = 0; x < size; ++x) {
            const auto level = static_cast<float>(image.rgb[(5 + y) * row_bytes + 3 * (2 + x) + c]);
            expected.push_back((level - mean[c] * 255.0f) / (std[c] * 255.0f));
          }
    patch.pop_back();
    CHECK(patch == expected);
  }
}
