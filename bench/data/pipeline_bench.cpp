// From JPEG files to patches: each stage of one image on one core, then whole windows made by worker threads.
//
//     build/bin/bench_data_pipeline [WORKERS ...]
//
// Images of 1024 x 1024 pixels, quality 90, 4:2:0, of made-up texture. They go through LLaMA-Factory's limit of
// 768 x 768 pixels and Qwen3-VL's preprocessing: 2304 patches, 14.2 MB in fp32. With a limit of 512 x 512, 1024
// patches.
#include <lamina/core/threads.hpp>
#include <lamina/data/order/collate.hpp>
#include <lamina/data/order/prefetch.hpp>
#include <lamina/model/qwen_vl/processor.hpp>
#include <lamina/vision/image.hpp>
#include <lamina/vision/limit.hpp>
#include <lamina/vision/processor.hpp>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <random>
#include <thread>

#include <jpeglib.h>
#include <unistd.h>

using namespace lamina;

namespace {

using Bytes = std::vector<std::uint8_t>;
using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

/// Noise of nine octaves, amplitude halved from one to the next, and some grain: compresses like a photograph.
vision::Image textured(int side, unsigned seed) {
  std::mt19937 random(seed);
  std::uniform_real_distribution<float> uniform(-1, 1);
  std::vector<float> value(static_cast<std::size_t>(side) * side * 3, 0.0f);
  float amplitude = 40;
  for (int cells = 4; cells <= 1024; cells *= 2, amplitude *= 0.85f) {
    const int stride = cells + 1;
    std::vector<float> knots(static_cast<std::size_t>(stride) * stride * 3);
    std::generate(knots.begin(), knots.end(), [&] { return uniform(random) * amplitude; });
    for (int y = 0; y < side; ++y)
      for (int x = 0; x < side; ++x) {
        const float v = static_cast<float>(y) * cells / side, u = static_cast<float>(x) * cells / side;
        const int y0 = static_cast<int>(v), x0 = static_cast<int>(u);
        const float dy = v - y0, dx = u - x0;
        const float* k = &knots[(static_cast<std::size_t>(y0) * stride + x0) * 3];
        for (int c = 0; c < 3; ++c)
          value[(static_cast<std::size_t>(y) * side + x) * 3 + c] +=
              (1 - dy) * ((1 - dx) * k[c] + dx * k[3 + c]) +
              dy * ((1 - dx) * k[3 * stride + c] + dx * k[3 * stride + 3 + c]);
      }
  }
  vision::Image image{side, side, Bytes(value.size()), {}, false};
  std::transform(value.begin(), value.end(), image.rgb.begin(),
                 [](float v) { return static_cast<std::uint8_t>(std::clamp(v + 128, 0.0f, 255.0f)); });
  return image;
}

Bytes encode_jpeg(const vision::Image& image, int quality) {
  jpeg_compress_struct codec{};
  jpeg_error_mgr errors{};
  codec.err = jpeg_std_error(&errors);
  jpeg_create_compress(&codec);
  unsigned char* data = nullptr;
  unsigned long size = 0;
  jpeg_mem_dest(&codec, &data, &size);
  codec.image_width = static_cast<JDIMENSION>(image.width);
  codec.image_height = static_cast<JDIMENSION>(image.height);
  codec.input_components = 3;
  codec.in_color_space = JCS_RGB;
  jpeg_set_defaults(&codec);
  jpeg_set_quality(&codec, quality, TRUE);
  jpeg_start_compress(&codec, TRUE);
  while (codec.next_scanline < codec.image_height) {
    auto* row = const_cast<JSAMPLE*>(&image.rgb[static_cast<std::size_t>(codec.next_scanline) * image.width * 3]);
    jpeg_write_scanlines(&codec, &row, 1);
  }
  jpeg_finish_compress(&codec);
  Bytes bytes(data, data + size);
  jpeg_destroy_compress(&codec);
  std::free(data);
  return bytes;
}

vision::Processor qwen3_vl() {
  vision::Processor p{qwen_vl::processor};
  p.patch_size = 16;
  p.min_pixels = 65536;
  p.max_pixels = 16777216;
  p.mean = p.std = {0.5f, 0.5f, 0.5f};
  return p;
}
vision::Processor qwen2_5_vl() {
  vision::Processor p{qwen_vl::processor};
  p.max_pixels = 12845056;
  return p;
}

/// Best and median of what f() takes, in milliseconds.
template <class F>
void time_stage(const char* name, F f) {
  std::vector<double> ms;
  for (int i = 0; i < 30; ++i) {
    const auto start = Clock::now();
    f();
    ms.push_back(1e3 * seconds_since(start));
  }
  std::sort(ms.begin(), ms.end());
  std::printf("%-52s %7.2f ms   median %7.2f ms\n", name, ms.front(), ms[ms.size() / 2]);
}

void time_stages(const Bytes& jpeg) {
  constexpr std::int64_t limit = 768 * 768;
  const vision::Image image = vision::decode_image(jpeg, "bench");
  const vision::Image limited = vision::limit_pixels(image, 1024, limit, qwen_vl::processor.shape);
  std::vector<float> rows;
  time_stage("decode, 1024 x 1024", [&] { vision::decode_image(jpeg, "bench"); });
  time_stage("limit (Pillow's bicubic), to 768 x 768",
             [&] { vision::limit_pixels(image, 1024, limit, qwen_vl::processor.shape); });
  time_stage("patches, Qwen3-VL, 768 x 768", [&] { rows.clear(), qwen3_vl().append_patches(limited, rows); });
  time_stage("patches, Qwen2.5-VL, torch's bicubic to 756 x 756",
             [&] { rows.clear(), qwen2_5_vl().append_patches(limited, rows); });
  time_stage("all, Qwen3-VL", [&] {
    rows.clear();
    qwen3_vl().append_patches(
        vision::limit_pixels(vision::decode_image(jpeg, "bench"), 1024, limit, qwen_vl::processor.shape), rows);
  });
}

constexpr int samples_per_window = 8, image_pad = 1, file_count = 128;

/// Samples of one image each, in files of a folder that is removed at the end.
struct Images {
  std::filesystem::path folder = std::filesystem::temp_directory_path() / cat("lamina_pipeline_bench_", ::getpid());
  std::vector<data::EncodedSample> samples;

  Images(const std::vector<Bytes>& jpegs, int image_tokens) {
    std::filesystem::create_directories(folder);
    for (std::size_t i = 0; i < file_count; ++i) {
      data::EncodedSample sample;
      sample.ids.assign(600, 0);
      std::fill_n(sample.ids.begin() + 5, image_tokens, image_pad);
      sample.labels = sample.ids;
      sample.images = {folder / cat(i, ".jpg")};
      sample.image_patches = {4 * image_tokens};
      const Bytes& jpeg = jpegs[i % jpegs.size()];
      std::ofstream(sample.images[0], std::ios::binary)
          .write(reinterpret_cast<const char*>(jpeg.data()), std::ssize(jpeg));
      samples.push_back(sample);
    }
  }
  ~Images() { std::filesystem::remove_all(folder); }
};

/// Windows of eight samples, taken as fast as they come or one every `pause` seconds: images per second, and how long
/// the taker waited.
void time_windows(const Images& images, std::int64_t limit, int workers, double pause) {
  const data::Preparation preparation{qwen3_vl(), {.max_pixels = limit, .min_pixels = 1024}, image_pad};
  const auto micro_batches = [&](std::int64_t index) {
    std::vector<std::vector<const data::EncodedSample*>> window;
    for (int i = 0; i < samples_per_window; ++i)
      window.push_back({&images.samples[static_cast<std::size_t>(index * samples_per_window + i) % file_count]});
    return window;
  };
  constexpr std::int64_t endless = 1 << 20, warm = 8;
  data::Prefetch<data::WindowRecipe> ahead({&preparation, micro_batches}, endless, {.workers = workers});
  for (std::int64_t i = 0; i < warm; ++i) ahead.give_back(*ahead.next());
  if (pause > 0) std::this_thread::sleep_for(std::chrono::milliseconds(500));
  double waited = 0, longest = 0;
  std::int64_t windows = 0;
  const auto start = Clock::now();
  while (seconds_since(start) < 1) {
    const auto asked = Clock::now();
    data::Draft draft = *ahead.next();
    const double wait = seconds_since(asked);
    waited += wait, longest = std::max(longest, wait), ++windows;
    if (pause > 0) std::this_thread::sleep_until(start + std::chrono::duration<double>(pause * windows));
    ahead.give_back(std::move(draft));
  }
  const double seconds = seconds_since(start);
  std::printf("%2d workers, limit %7lld pixels: %7.1f images/s, taker waits %4.1f %% of the time, at most %.2f ms\n",
              workers, static_cast<long long>(limit), samples_per_window * static_cast<double>(windows) / seconds,
              100 * waited / seconds, 1e3 * longest);
}

void time_pipeline(const std::vector<Bytes>& jpegs, const std::vector<int>& worker_counts) {
  {
    const Images images(jpegs, 576);
    for (int workers : worker_counts) time_windows(images, 768 * 768, workers, 0);
  }
  const Images images(jpegs, 256);
  for (int workers : worker_counts) time_windows(images, 512 * 512, workers, 0);
  std::printf("taken at 100 images/s:\n");
  for (int workers : worker_counts) time_windows(images, 512 * 512, workers, samples_per_window / 100.0);
}

}  // namespace

int main(int argc, char** argv) {
  std::setvbuf(stdout, nullptr, _IOLBF, 0);  // a run that is cut short has said what it knew
  std::vector<int> worker_counts;
  for (int i = 1; i < argc; ++i) worker_counts.push_back(std::atoi(argv[i]));
  if (worker_counts.empty()) worker_counts = {1, 2};
  std::vector<Bytes> jpegs;
  for (unsigned seed = 1; seed <= 4; ++seed) jpegs.push_back(encode_jpeg(textured(1024, seed), 90));
  std::printf("%zu bytes an image\n", jpegs[0].size());
  use_one_thread();
  time_stages(jpegs[0]);
  time_pipeline(jpegs, worker_counts);
}
