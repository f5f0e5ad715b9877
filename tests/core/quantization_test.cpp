#include <lamina/checkpoint/convert.hpp>
#include <lamina/checkpoint/safetensors.hpp>
#include <lamina/core/quantization/quantize.hpp>

#include <cstring>
#include <sstream>

#include "support/catch.hpp"

using namespace lamina;
using Code = Quantization::Code;

namespace {

const checkpoint::Checkpoint& golden() {
  static const auto file = checkpoint::Checkpoint::open(LAMINA_GOLDEN_DIR "/core/quantization.safetensors");
  return file;
}
template <class T>
std::vector<T> elements(const std::string& name) {
  const auto bytes = golden().data(name);
  std::vector<T> out(bytes.size() / sizeof(T));
  std::memcpy(out.data(), bytes.data(), bytes.size());
  return out;
}
/// A matrix and what becomes of it.
struct Stored {
  int rows, cols;
  std::vector<float> w;
  std::vector<std::byte> bytes;
  QuantizedMatrix matrix;
  QuantizedLayout at;

  Stored(const Quantization& q, const std::string& matrix_name)
      : rows(static_cast<int>(golden().at(matrix_name + ".w").shape[0])),
        cols(static_cast<int>(golden().at(matrix_name + ".w").shape[1])),
        w(checkpoint::read_f32(golden(), matrix_name + ".w")),
        at(q, rows, cols) {
    bytes.resize(at.bytes);
    quantize(q, rows, cols, w.data(), bytes.data());
    matrix = {q, rows, cols, bytes.data()};
  }
  template <class T>
  std::vector<T> part(std::size_t offset, std::size_t count) const {
    std::vector<T> out(count);
    std::memcpy(out.data(), bytes.data() + offset, count * sizeof(T));
    return out;
  }
  std::int64_t read_hash() const {
    std::vector<float> row(static_cast<std::size_t>(cols));
    std::uint64_t hash = 14695981039346656037u;
    for (int r = 0; r < rows; ++r) {
      matrix.decode(r, 0, cols, row.data());
      for (const std::byte b : std::as_bytes(std::span(row)))
        hash = (hash ^ std::to_integer<std::uint64_t>(b)) * 1099511628211u;
    }
    return static_cast<std::int64_t>(hash);
  }
};
/// Replaces the mean that scales add, and the codes that follow from it, by bitsandbytes' own mean.
void take_mean(Stored& stored, float mean) {
  Quantization plain = stored.matrix.format;
  plain.double_quantized = false;
  const QuantizedLayout at(plain, stored.rows, stored.cols);
  std::vector<std::byte> bytes(at.bytes);
  quantize(plain, stored.rows, stored.cols, stored.w.data(), bytes.data());
  std::vector<float> scales(at.blocks);
  std::memcpy(scales.data(), bytes.data() + at.scales, scales.size() * sizeof(float));
  auto* to = reinterpret_cast<float*>(stored.bytes.data() + stored.at.scales);
  to[stored.at.scale_count] = mean;
  lamina::detail::quantize_scales(scales, mean, to,
                                  reinterpret_cast<std::uint8_t*>(stored.bytes.data() + stored.at.scale_codes));
}

}  // namespace

TEST_CASE("quantization: codes and scales of 4 bits are bitsandbytes' bit for bit, and so is what is read back") {
  for (const std::string matrix : {"normal", "ragged", "edges"})
    for (const Code code : {Code::nf4, Code::fp4})
      for (const bool nested : {false, true}) {
        const std::string name = matrix + (code == Code::nf4 ? ".nf4" : ".fp4") + (nested ? ".nested" : "");
        INFO(name);
        Stored stored(Quantization::four_bit(code, nested), matrix);
        if (nested) {
          const float mean = elements<float>(name + ".offset")[0];
          const float ours = stored.matrix.scales[stored.at.scale_count];
          CHECK(std::abs(ours - mean) <= 4e-7f * mean);  // torch's sum of a few hundred in fp32
          take_mean(stored, mean);
        }
        const auto codes = elements<std::uint8_t>(name + ".codes");
        CHECK(stored.part<std::uint8_t>(0, codes.size()) == codes);
        CHECK(stored.part<float>(stored.at.scales, stored.at.scale_count) == elements<float>(name + ".scales"));
        if (nested)
          CHECK(stored.part<std::uint8_t>(stored.at.scale_codes, stored.at.blocks) ==
                elements<std::uint8_t>(name + ".scale_codes"));
        CHECK(stored.read_hash() == elements<std::int64_t>(name + ".read")[0]);
      }
}

TEST_CASE("quantization: LLM.int8's weights are bitsandbytes' bit for bit") {
  for (const std::string matrix : {"normal", "ragged", "edges"}) {
    INFO(matrix);
    const Stored stored(Quantization::llm_int8(), matrix);
    const auto codes = elements<std::int8_t>(matrix + ".int8.codes");
    CHECK(stored.part<std::int8_t>(0, codes.size()) == codes);
    CHECK(stored.part<float>(stored.at.scales, stored.at.blocks) == elements<float>(matrix + ".int8.scales"));
    CHECK(stored.read_hash() == elements<std::int64_t>(matrix + ".int8.read")[0]);
  }
}

TEST_CASE("quantization: the values of scales' codes are bitsandbytes' dynamic map") {
  const auto wanted = elements<float>("scale_values");
  for (std::size_t i = 0; i < 256; ++i) {
    INFO(i);
    CHECK(lamina::detail::scale_values[i] == wanted[i]);
  }
}

TEST_CASE("quantization: e4m3 rounds to the nearest of its values, to even where two are as near") {
  for (int bits = 0; bits < 127; ++bits) {
    const auto b = static_cast<std::uint8_t>(bits);
    CHECK(lamina::detail::to_e4m3(e4m3_value(b)) == b);
    CHECK(lamina::detail::to_e4m3(-e4m3_value(b)) == (b | 0x80));
    if (bits == 126) continue;
    const float middle = (e4m3_value(b) + e4m3_value(static_cast<std::uint8_t>(b + 1))) / 2;
    CHECK(lamina::detail::to_e4m3(middle) == (b % 2 == 0 ? b : b + 1));
  }
  CHECK(e4m3_value(126) == 448.0f);
  CHECK(lamina::detail::to_e4m3(1e9f) == 126);
  CHECK(std::isnan(e4m3_value(127)));
}

TEST_CASE("quantization: fp8 by rows is within half a step of each element") {
  const Stored stored(Quantization::fp8_rows(), "normal");
  for (int r = 0; r < stored.rows; ++r)
    for (int c = 0; c < stored.cols; ++c) {
      const float w = stored.w[static_cast<std::size_t>(r * stored.cols + c)];
      const float scale = stored.matrix.scale(static_cast<std::size_t>(r));
      CHECK(std::abs(stored.matrix(r, c) - w) <= std::max(std::abs(w) / 16, scale * 0x1p-10f) * 1.0001f);
    }
}

TEST_CASE("quantization: 4 bits take half a byte an element, and their scales an eighth of a bit, double quantised") {
  const QuantizedLayout nested(Quantization::four_bit(Code::nf4, true), 6144, 2048);
  const QuantizedLayout plain(Quantization::four_bit(Code::nf4, false), 6144, 2048);
  const double count = 6144.0 * 2048;
  CHECK(8 * static_cast<double>(nested.bytes) / count == Approx(4.127).epsilon(1e-3));
  CHECK(8 * static_cast<double>(plain.bytes) / count == Approx(4.5).epsilon(1e-4));
}
