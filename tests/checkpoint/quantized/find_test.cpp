#include <cstring>

#include <lamina/checkpoint/load_weights.hpp>
#include <lamina/checkpoint/other_tensors.hpp>
#include <lamina/checkpoint/quantized/find.hpp>
#include <lamina/checkpoint/safetensors.hpp>
#include <lamina/layer/linear.hpp>

#include "checkpoint/scratch.hpp"
#include "support/catch.hpp"

using namespace lamina;
using Code = Quantization::Code;

namespace {
LAMINA_NAME(q_proj);
constexpr std::string_view parts[] = {"q_proj"};
constexpr int rows = 40, cols = 448;
using QuantizedLayer = Named<q_proj, Linear<cols, rows>>;

/// What bitsandbytes stores of a matrix (tests/reference/quantization_golden.py).
const checkpoint::Checkpoint& quantized_golden() {
  static const auto file = checkpoint::Checkpoint::open(LAMINA_GOLDEN_DIR "/core/quantization.safetensors");
  return file;
}
std::vector<std::byte> bytes_of(const std::string& name) {
  const auto bytes = quantized_golden().data(name);
  return {bytes.begin(), bytes.end()};
}
template <class T>
std::span<const std::byte> bytes_of(const std::vector<T>& values) {
  return std::as_bytes(std::span(values));
}

/// q_proj.weight of a file, as memory holds it if stored so, read back.
std::vector<float> loaded(const std::filesystem::path& path, const Quantization& stored, DType dtype = DType::F32) {
  const auto files = checkpoint::Checkpoint::open(path);
  Weights<QuantizedLayer, float> weights(
      [&](const TensorSpec&) { return TensorChoice{.dtype = dtype, .learns = false, .quantization = stored}; });
  weights.allocate(false);
  checkpoint::load_weights(weights, files, {}, 0, checkpoint::find_quantized(files, {16, 128}));
  std::vector<float> w(static_cast<std::size_t>(rows * cols));
  const Weight& weight = weights.parameters()[0].value;
  for (int r = 0; stored && r < rows; ++r) weight.quantized->decode(r, 0, cols, w.data() + r * cols);
  if (!stored) std::memcpy(w.data(), weight.data, w.size() * sizeof(float));
  return w;
}
std::int64_t fnv(const std::vector<float>& w) {
  std::uint64_t hash = 14695981039346656037u;
  for (const std::byte b : std::as_bytes(std::span(w)))
    hash = (hash ^ std::to_integer<std::uint64_t>(b)) * 1099511628211u;
  return static_cast<std::int64_t>(hash);
}
std::int64_t wanted(const std::string& name) {
  std::int64_t hash;
  std::memcpy(&hash, quantized_golden().data(name + ".read").data(), sizeof hash);
  return hash;
}

/// The file that bitsandbytes writes of normal.nf4.nested.
void write_four_bit(const std::filesystem::path& path, std::string state) {
  float offset;
  std::memcpy(&offset, quantized_golden().data("normal.nf4.nested.offset").data(), sizeof offset);
  std::ostringstream text;
  text.precision(17);
  text << R"({"quant_type": "nf4", "blocksize": 64, "dtype": "float32", "shape": [40, 448], "nested_blocksize": 256, )"
       << R"("nested_dtype": "float32", "nested_offset": )" << double{offset} << "}";
  if (state.empty()) state = text.str();
  const std::vector<float> map(lamina::detail::nf4_values.begin(), lamina::detail::nf4_values.end());
  const auto codes = bytes_of("normal.nf4.nested.codes"), absmax = bytes_of("normal.nf4.nested.scale_codes"),
             nested = bytes_of("normal.nf4.nested.scales"), nested_map = bytes_of("scale_values");
  const auto count = [](const auto& bytes, std::size_t each) { return static_cast<std::int64_t>(bytes.size() / each); };
  const checkpoint::TensorData tensors[] = {
      {"q_proj.weight", DType::U8, {count(codes, 1), 1}, codes},
      {"q_proj.weight.absmax", DType::U8, {count(absmax, 1)}, absmax},
      {"q_proj.weight.quant_map", DType::F32, {16}, bytes_of(map)},
      {"q_proj.weight.nested_absmax", DType::F32, {count(nested, 4)}, nested},
      {"q_proj.weight.nested_quant_map", DType::F32, {256}, nested_map},
      {"q_proj.weight.quant_state.bitsandbytes__nf4", DType::U8, {std::ssize(state)}, std::as_bytes(std::span(state))}};
  checkpoint::write_safetensors(path, tensors);
}
}  // namespace

TEST_CASE("find_quantized: a matrix that bitsandbytes has stored in 4 bits is read as bitsandbytes reads it") {
  const Scratch scratch;
  write_four_bit(scratch / "m.safetensors", "");
  CHECK(fnv(loaded(scratch / "m.safetensors", Quantization::four_bit(Code::nf4, true))) == wanted("normal.nf4.nested"));
  CHECK(fnv(loaded(scratch / "m.safetensors", {})) == wanted("normal.nf4.nested"));
}

TEST_CASE("find_quantized: LLM.int8's matrices are read as bitsandbytes reads them") {
  const Scratch scratch;
  const auto codes = bytes_of("normal.int8.codes"), scales = bytes_of("normal.int8.scales");
  const checkpoint::TensorData tensors[] = {{"q_proj.weight", DType::I8, {rows, cols}, codes},
                                            {"q_proj.SCB", DType::F32, {rows}, scales}};
  checkpoint::write_safetensors(scratch / "m.safetensors", tensors);
  CHECK(fnv(loaded(scratch / "m.safetensors", Quantization::llm_int8())) == wanted("normal.int8"));
}

TEST_CASE("find_quantized: tiles of an fp8 release are multiplied by weight_scale_inv") {
  const Scratch scratch;
  std::vector<std::uint8_t> codes(static_cast<std::size_t>(rows * cols));
  for (std::size_t i = 0; i < codes.size(); ++i) codes[i] = static_cast<std::uint8_t>(i % 127);
  std::vector<bf16> scales;  // 3 x 4 tiles of 16 x 128
  for (int i = 0; i < 12; ++i) scales.push_back(round_to<bf16>(0.5f + static_cast<float>(i)));
  const checkpoint::TensorData tensors[] = {{"q_proj.weight", DType::F8_E4M3, {rows, cols}, bytes_of(codes)},
                                            {"q_proj.weight_scale_inv", DType::BF16, {3, 4}, bytes_of(scales)}};
  checkpoint::write_safetensors(scratch / "m.safetensors", tensors);
  const Quantization tiles{.code = Code::e4m3, .tile_rows = 16, .tile_cols = 128};
  for (const std::vector<float>& w : {loaded(scratch / "m.safetensors", tiles), loaded(scratch / "m.safetensors", {})})
    for (int r = 0; r < rows; ++r)
      for (int c = 0; c < cols; ++c) {
        const auto i = static_cast<std::size_t>(r * cols + c);
        REQUIRE(w[i] == e4m3_value(codes[i]) * (0.5f + static_cast<float>(r / 16 * 4 + c / 128)));
      }
}

TEST_CASE("find_quantized: the parts of a quantised matrix are no surplus tensors") {
  const Scratch scratch;
  write_four_bit(scratch / "m.safetensors", "");
  const auto files = checkpoint::Checkpoint::open(scratch / "m.safetensors", {.parts = parts});
  const auto sources = checkpoint::find_quantized(files, {128, 128});
  CHECK(error_of([&] { checkpoint::expect_no_others(files, list_tensors<QuantizedLayer>(), "", sources); }).empty());
  CHECK(::contains(error_of([&] { checkpoint::expect_no_others(files, list_tensors<QuantizedLayer>(), ""); }),
                   "has no place"));
}

TEST_CASE("find_quantized: parts that do not fit are named") {
  const Scratch scratch;
  const auto error = [&](const std::string& state) {
    write_four_bit(scratch / "m.safetensors", state);
    return error_of([&] { loaded(scratch / "m.safetensors", Quantization::four_bit(Code::nf4, true)); });
  };
  CHECK(::contains(error(R"({"blocksize": 64, "shape": [40]})"), "shape has 1 extents"));
  CHECK(::contains(error("{"), "not valid JSON"));
  const std::string nested = R"(, "nested_blocksize": 256, "nested_offset": 0.1})";
  CHECK(::contains(error(R"({"blocksize": 64, "shape": [40, 64])" + nested), "config.json's sizes want (40, 448)"));
}
