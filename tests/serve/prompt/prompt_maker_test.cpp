#include <lamina/serve/prompt/prompt_maker.hpp>

#include <zlib.h>

#include <algorithm>
#include <cstdint>
#include <fstream>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "serve/message_of.hpp"
#include "serve/running_server.hpp"
#include "support/catch.hpp"

using namespace lamina;
using namespace lamina::test;
using serve::Json;
using namespace std::chrono_literals;

namespace {

/// A WebP file of 40 bytes whose single colour fills 13000 x 13000 pixels.
const std::string large_webp = "data:image/webp;base64,UklGRiAAAABXRUJQVlA4TBQAAAAvx/KxDAdQgVQIIAAKmv7HiIj+Bw==";

std::string base64(const std::string& bytes) {
  static constexpr char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string out;
  for (std::size_t i = 0; i < bytes.size(); i += 3) {
    std::uint32_t group = 0;
    for (std::size_t j = i; j < i + 3; ++j)
      group = group << 8 | (j < bytes.size() ? static_cast<unsigned char>(bytes[j]) : 0);
    for (std::size_t j = 0; j < 4; ++j) out += i + j < bytes.size() + 1 ? alphabet[group >> (18 - 6 * j) & 63] : '=';
  }
  return out;
}

std::string big_endian(std::uint32_t value) {
  std::string out;
  for (const int shift : {24, 16, 8, 0}) out += static_cast<char>(value >> shift);
  return out;
}

/// A black PNG: 8 bits each of red, green and blue.
std::string black_png(std::uint32_t side) {
  const std::string rows(std::size_t{side} * (3 * side + 1), '\0');
  uLongf size = compressBound(rows.size());
  std::string packed(size, '\0');
  REQUIRE(compress(reinterpret_cast<Bytef*>(packed.data()), &size, reinterpret_cast<const Bytef*>(rows.data()),
                   rows.size()) == Z_OK);
  packed.resize(size);
  const auto chunk = [](const std::string& name, const std::string& data) {
    const std::string body = name + data;
    const auto crc = crc32(0, reinterpret_cast<const Bytef*>(body.data()), static_cast<uInt>(body.size()));
    return big_endian(static_cast<std::uint32_t>(data.size())) + body + big_endian(static_cast<std::uint32_t>(crc));
  };
  const std::string header = big_endian(side) + big_endian(side) + std::string("\x08\x02\0\0\0", 5);
  return "\x89PNG\r\n\x1a\n" + chunk("IHDR", header) + chunk("IDAT", packed) + chunk("IEND", "");
}
std::string png_url(std::uint32_t side) { return "data:image/png;base64," + base64(black_png(side)); }

std::string asks(const std::string& url, int times, const std::string& fields = {}) {
  Json content = Json::array();
  for (int i = 0; i < times; ++i) content.push_back({{"type", "image_url"}, {"image_url", {{"url", url}}}});
  return R"({"messages":[{"role":"user","content":)" + content.dump() + "}]" + fields + "}";
}

serve::ChatRequest read_request(const std::string& body) {
  const auto& files = RunningServer::files();
  return serve::read_chat_request(*serve::parse_body(body),
                                  {.chat = &files.family->chat, .vocab_size = 1000, .max_model_len = 1 << 20}, {});
}

/// A value of /proc/self/status in bytes.
std::int64_t status_bytes(const std::string& name) {
  std::ifstream in("/proc/self/status");
  for (std::string word; in >> word;)
    if (std::int64_t kib = 0; word == name + ":" && in >> kib) return kib * 1024;
  return 0;
}

/// By how much f makes the memory of this process grow, at most; negative if the system does not tell.
template <class F>
std::int64_t peak_growth(const F& f) {
  std::ofstream("/proc/self/clear_refs") << "5";  // the peak is forgotten
  const std::int64_t before = status_bytes("VmHWM");
  if (before == 0 || before > status_bytes("VmRSS") + (8 << 20)) return -1;
  f();
  return status_bytes("VmHWM") - before;
}

constexpr std::int64_t mib = 1 << 20;

}  // namespace

TEST_CASE("prompt maker: a prompt that is too long is refused before any image is decoded") {
  RunningServer server({.max_len = 400});
  Client::Reply reply;
  const std::int64_t growth = peak_growth([&] { reply = server.ask(asks(large_webp, 6)); });
  CHECK(reply.status == 400);
  CHECK(reply.body.find("maximum context length is 400 tokens") != std::string::npos);
  if (growth < 0) {
    WARN("SKIPPED: the peak of memory cannot be read here");
    return;
  }
  CHECK(growth < 64 * mib);
}

TEST_CASE("prompt maker: pixels of one image and of a request, and memory, are limited by headers alone") {
  const auto& files = RunningServer::files();
  const auto refusal = [&](const std::string& body, serve::MediaLimits limits, std::int64_t media_bytes) {
    serve::PromptMaker maker(files, limits, media_bytes);
    auto request = read_request(body);
    return message_of([&] { maker.read_media(maker.plan(request, {.max_model_len = 1 << 20}), {}); });
  };
  const std::int64_t growth = peak_growth([&] {
    CHECK(refusal(asks(large_webp, 10), {}, 0).find("1183000000 pixels, at most 1073741824") != std::string::npos);
    CHECK(refusal(asks(large_webp, 1), {.max_image_pixels = 168'999'999}, 0).find("VLLM_MAX_IMAGE_PIXELS") !=
          std::string::npos);
    CHECK(refusal(asks(large_webp, 6), {}, 256 * mib).find("of memory when decoded, at most 268435456") !=
          std::string::npos);
  });
  CHECK(growth < 64 * mib);
  const std::string small = asks(png_url(20), 2);
  CHECK(refusal(small, {.max_image_pixels = 400, .max_request_pixels = 800}, 64 * mib).empty());
  CHECK_FALSE(refusal(small, {.max_image_pixels = 399}, 64 * mib).empty());
  CHECK_FALSE(refusal(small, {.max_request_pixels = 799}, 64 * mib).empty());
  CHECK(refusal(small, {.max_cpu_time = std::chrono::nanoseconds(1)}, 64 * mib).find("processor time") !=
        std::string::npos);
}

TEST_CASE("prompt maker: a request's size of images has both spellings, and min_pixels and max_pixels win") {
  const auto limits = [](const std::string& kwargs) {
    const auto request = read_request(asks(png_url(8), 1, R"(,"mm_processor_kwargs":{)" + kwargs + "}"));
    return std::pair(request.min_pixels, request.max_pixels);
  };
  const std::string size = R"("size":{"shortest_edge":1024,"longest_edge":65536})";
  CHECK(limits(size) == limits(R"("min_pixels":1024,"max_pixels":65536)"));
  CHECK(limits(size + R"(,"max_pixels":4096)") == limits(R"("min_pixels":1024,"max_pixels":4096)"));
  CHECK_FALSE(limits(R"("size":{"longest_edge":4096})").first);
  CHECK_THROWS_AS(limits(R"("size":{"height":4096})"), serve::ApiError);
  CHECK_THROWS_AS(limits(R"("size":4096)"), serve::ApiError);
}

TEST_CASE("prompt maker: images are decoded one after the other, each gone before the next") {
  const auto& files = RunningServer::files();
  constexpr int images = 8, side = 2400;
  auto request =
      read_request(asks(png_url(side), images, R"(,"mm_processor_kwargs":{"min_pixels":1024,"max_pixels":65536})"));
  serve::PromptMaker maker(files, {}, 256 * mib);
  serve::PreparedPrompt prompt;
  const std::int64_t growth =
      peak_growth([&] { prompt = maker.read_media(maker.plan(request, {.max_model_len = 1 << 20}), {}); });
  REQUIRE(prompt.batch.grids.size() == images);
  const auto patch_bytes = static_cast<std::int64_t>(prompt.batch.patches.size() * sizeof(float));
  CHECK(prompt.memory.bytes() == patch_bytes);
  CHECK(maker.budget().free() == maker.budget().total() - patch_bytes);
  constexpr std::int64_t decoded = std::int64_t{3} * side * side;
  CHECK(growth < patch_bytes + 4 * decoded);  // of 8 that were kept
  prompt = {};
  CHECK(maker.budget().free() == maker.budget().total());
}

TEST_CASE("prompt maker: what is said of an image that is broken behind its header") {
  const auto& files = RunningServer::files();
  serve::PromptMaker maker(files, {}, 64 * mib);
  std::string png = black_png(200);
  png.resize(png.size() / 2);
  auto request = read_request(asks("data:image/png;base64," + base64(png), 1));
  auto planned = maker.plan(request, {.max_model_len = 1 << 20});
  try {
    maker.read_media(std::move(planned), {});
    FAIL("nothing was thrown");
  } catch (const serve::ApiError& e) {
    CHECK(e.param == "messages.0.content.0.image_url.url");
    CHECK(std::string(e.what()).starts_with("failed to load image: "));
  }
  CHECK(maker.budget().free() == maker.budget().total());
}

TEST_CASE("ByteBudget: takers wait until bytes are free, or until they are cancelled") {
  serve::ByteBudget budget(100);
  auto first = budget.take(70);
  CHECK(budget.free() == 30);
  std::stop_source stop;
  std::thread impatient([&] { CHECK_THROWS_AS(budget.take(31, stop.get_token()), Cancelled); });
  stop.request_stop();
  impatient.join();
  std::thread patient([&] {
    const auto share = budget.take(60);
    CHECK(share.bytes() == 60);
  });
  first.shrink_to(40);
  patient.join();
  CHECK(budget.free() == 60);
  first = {};
  CHECK(budget.free() == 100);
  CHECK_FALSE(message_of([&] { budget.take(101); }).empty());
}

TEST_CASE("ByteBudget: who finds no room in time is asked to come back") {
  serve::ByteBudget budget(100);
  const auto held = budget.take(70);
  for (const auto patience : {std::chrono::milliseconds(0), std::chrono::milliseconds(5)}) try {
      budget.take(31, {}, patience);
      FAIL("nothing was thrown");
    } catch (const serve::ApiError& e) {
      CHECK(e.status == 503);
    }
  CHECK(budget.free() == 30);
  CHECK(budget.take(30, {}, std::chrono::milliseconds(0)).bytes() == 30);
}

TEST_CASE("ByteBudget: who does not wait is refused at once, and gives back what it holds") {
  serve::ByteBudget budget(100);
  {
    auto held = budget.try_take(70);
    REQUIRE(held);
    CHECK_FALSE(budget.try_take(31));
    CHECK(budget.held() == 70);
    held->shrink_to(50);
    CHECK(budget.try_take(50)->bytes() == 50);
  }
  CHECK(budget.held() == 0);
}

TEST_CASE("media: images get processor time by the bytes of their files") {
  const serve::MediaLimits limits;
  CHECK(limits.cpu_time(0) == limits.base_cpu_time);
  CHECK(limits.cpu_time(34'000) < limits.base_cpu_time + 20ms);
  CHECK(limits.cpu_time(std::uint64_t{20} << 20) > 12s);
  CHECK(limits.cpu_time(std::uint64_t{1} << 62) == limits.max_cpu_time);
}

TEST_CASE("service: images that wait for memory hold up no text, and are asked to come back if that takes long") {
  // A prompt of one image fills most of the budget and is held by the answer that is being made.
  const std::string one = asks(png_url(800), 1, R"(,"mm_processor_kwargs":{"max_pixels":1000000})");
  const bool patient = GENERATE(true, false);
  RunningServer server({.service = {.served_names = {"tiny"},
                                    .media_bytes = 24 * mib,
                                    .media_patience = patient ? std::chrono::milliseconds(1h) : 20ms},
                        .max_len = 1 << 12});
  server.script.hold_prefill = true;
  Client holder(server.http.port());
  holder.send(Client::request("POST", "/v1/chat/completions", one));
  while (server.script.held == 0) std::this_thread::sleep_for(1ms);
  std::vector<std::unique_ptr<Client>> waiting;
  for (int i = 0; i < 6; ++i) {
    waiting.push_back(std::make_unique<Client>(server.http.port()));
    waiting.back()->send(Client::request("POST", "/v1/chat/completions", one));
  }
  while (server.service.load() < (patient ? 7 : 1)) std::this_thread::sleep_for(1ms);
  for (int i = 0; i < 6; ++i) CHECK(server.ask(R"({"prompt":"x"})", "/tokenize").status == 200);
  if (patient) server.script.hold_prefill = false;
  for (auto& client : waiting) {
    const auto reply = client->reply();
    CHECK(reply.status == (patient ? 200 : 503));
    CHECK((reply.head.find("Retry-After: ") != std::string::npos) == !patient);
  }
  server.script.hold_prefill = false;
  CHECK(holder.reply().status == 200);
  CHECK(server.becomes_idle());
  CHECK(server.ask(one).status == 200);
}

TEST_CASE("tokenize: no image is decoded for it") {
  RunningServer server({.max_len = 1 << 20});
  const std::int64_t growth = peak_growth([&] {
    const auto reply = server.ask(asks(large_webp, 3), "/tokenize");
    CHECK(reply.status == 200);
  });
  CHECK(growth < 96 * mib);
}
