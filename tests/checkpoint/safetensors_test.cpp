#include <lamina/checkpoint/convert.hpp>
#include <lamina/checkpoint/safetensors.hpp>
#include <lamina/model/qwen_vl/names.hpp>
#include "scratch.hpp"
#include "support/catch.hpp"

#include <cstring>

using namespace lamina;
using namespace lamina::checkpoint;

namespace {

template <class T>
T element(const Checkpoint& c, std::string_view name, std::size_t i) {
  T value;
  std::memcpy(&value, c.data(name).data() + i * sizeof(T), sizeof(T));
  return value;
}

std::vector<TensorData> all_tensors(const Checkpoint& c) {
  std::vector<TensorData> tensors;
  for (const TensorInfo& t : c.tensors()) tensors.push_back({t.name, t.dtype, t.shape, c.data(t.name)});
  return tensors;
}

/// The bytes of a file with this header and this many zero bytes of data.
std::string file_of(const std::string& header, std::size_t data_bytes) {
  std::string out(8, '\0');
  for (std::size_t i = 0; i < 8; ++i) out[i] = static_cast<char>(std::uint64_t{header.size()} >> (8 * i));
  return out + header + std::string(data_bytes, '\0');
}

}  // namespace

TEST_CASE("safetensors: every dtype that the Python library writes is read") {
  const Checkpoint c = Checkpoint::open(golden("every_dtype.safetensors"), qwen_vl::names);
  CHECK(c.tensors().size() == 13);
  CHECK(c.files()[0].metadata().at("format") == "pt");
  CHECK(c.at("f32").shape == std::vector<std::int64_t>{3, 5});
  CHECK(c.at("bf16").dtype == DType::BF16);
  CHECK(c.at("f16").bytes == 8);
  CHECK(c.at("f64").dtype == DType::F64);
  CHECK(element<std::int64_t>(c, "i64", 1) == std::int64_t{1} << 40);
  CHECK(element<std::int32_t>(c, "i32", 1) == -2);
  CHECK(element<std::int16_t>(c, "i16", 2) == 7);
  CHECK(element<std::int8_t>(c, "i8", 0) == -128);
  CHECK(element<std::uint8_t>(c, "u8", 1) == 255);
  CHECK(element<std::uint8_t>(c, "bool", 2) == 1);
  CHECK(element<float>(c, "scalar", 0) == 2.5f);
  CHECK(c.at("scalar").shape.empty());
  CHECK(c.at("empty").bytes == 0);
  CHECK(c.find("another f32 \xc3\xa9 \"quoted\"") != nullptr);
  CHECK(c.find("absent") == nullptr);
  CHECK(contains(error_of([&] { c.at("absent"); }), "has no tensor absent"));
}

TEST_CASE("safetensors: read() gives what the mapping shows, whole and in parts") {
  const Checkpoint c = Checkpoint::open(golden("tiny3"), qwen_vl::names);
  for (const TensorInfo& t : c.tensors()) {
    std::vector<std::byte> copy(t.bytes), part(t.bytes / 2);
    c.read(t.name, copy);
    c.read(t.name, t.bytes - part.size(), part);
    REQUIRE(std::equal(copy.begin(), copy.end(), c.data(t.name).begin()));
    REQUIRE(std::equal(part.begin(), part.end(), copy.end() - static_cast<std::ptrdiff_t>(part.size())));
  }
  std::vector<std::byte> buffer(8);
  CHECK(contains(error_of([&] { c.read("model.visual.pos_embed.weight", buffer); }), "the buffer given has 8"));
  CHECK(contains(error_of([&] { c.read("model.visual.pos_embed.weight", ~std::size_t{3}, buffer); }), "asked for 8"));
}

TEST_CASE("safetensors: what is written equals the Python library's file byte for byte") {
  Scratch scratch;
  for (const char* name :
       {"every_dtype.safetensors", "tiny3/model.safetensors", "tiny3_adapter/adapter_model.safetensors"}) {
    const Checkpoint c = Checkpoint::open(golden(name), qwen_vl::names);
    auto tensors = all_tensors(c);
    std::reverse(tensors.begin(), tensors.end());  // the order given does not matter
    write_safetensors(scratch / "out.safetensors", tensors);
    CHECK(slurp(scratch / "out.safetensors") == slurp(golden(name)));
  }
}

TEST_CASE("safetensors: the model's own names find tensors in every spelling of a file") {
  const Checkpoint old_names = Checkpoint::open(golden("tiny2_5"), qwen_vl::names);
  CHECK(old_names.at("model.language_model.layers.1.self_attn.q_proj.bias").name ==
        "model.layers.1.self_attn.q_proj.bias");
  CHECK(old_names.at("model.visual.merger.ln_q.weight").name == "visual.merger.ln_q.weight");
  CHECK(old_names.at("lm_head.weight").name == "lm_head.weight");
  Scratch scratch;
  const float x = 1;
  const auto data = std::as_bytes(std::span(&x, 1));
  write_safetensors(scratch / "both.safetensors", std::vector<TensorData>{{"model.norm.weight", DType::F32, {1}, data},
                                                                          {"norm.weight", DType::F32, {1}, data}});
  const Checkpoint both = Checkpoint::open(scratch / "both.safetensors", qwen_vl::names);
  CHECK(both.at("norm.weight").name == "norm.weight");
  CHECK(contains(error_of([&] { both.find("model.language_model.norm.weight"); }), "two tensors mean"));
}

TEST_CASE("safetensors: each kind of broken file is an error that says what is wrong") {
  const std::string ok = R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})";
  const std::string huge(9, '\xff');
  const auto one = [](const std::string& body) { return R"({"a":)" + body + "}"; };
  struct Case {
    std::string bytes, words;
  };
  const std::vector<Case> cases = {
      {"", "too short"},
      {"1234567", "too short"},
      {huge, "claims a header of 18446744073709551615 bytes"},
      {file_of(ok, 8).substr(0, 30), "the file ends after 22"},
      {file_of(ok, 7), "was the download cut off"},
      {file_of(ok, 9), "1 bytes after the last tensor"},
      {file_of(" " + ok, 8), "does not begin with {"},
      {file_of("", 0), "does not begin with {"},
      {file_of("{\"a\":", 0), "not valid JSON"},
      {file_of("{\"\xff\":1}", 0), "not valid JSON"},
      {file_of(ok.substr(0, ok.size() - 1) + "," + ok.substr(1), 8), "a is set twice"},
      {file_of(R"({"a":{"dtype":"F32","dtype":"F32","shape":[2],"data_offsets":[0,8]}})", 8), "is set twice"},
      {file_of(one("3"), 0), "wanted an object"},
      {file_of(one(R"({"dtype":"F32","shape":[2]})"), 8), "has no data_offsets"},
      {file_of(one(R"({"dtype":"F32","shape":[2],"data_offsets":[0,8],"x":1})"), 8), "other keys"},
      {file_of(one(R"({"dtype":"C64","shape":[1],"data_offsets":[0,8]})"), 8), "dtype C64 is not supported"},
      {file_of(one(R"({"dtype":7,"shape":[2],"data_offsets":[0,8]})"), 8), "wanted a string"},
      {file_of(one(R"({"dtype":"F32","shape":2,"data_offsets":[0,8]})"), 8), "shape is not an array"},
      {file_of(one(R"({"dtype":"F32","shape":[-2],"data_offsets":[0,8]})"), 8), "wanted a non-negative integer"},
      {file_of(one(R"({"dtype":"F32","shape":[2.0],"data_offsets":[0,8]})"), 8), "wanted a non-negative integer"},
      {file_of(one(R"({"dtype":"F32","shape":[3],"data_offsets":[0,8]})"), 8),
       "has 12 bytes, data_offsets [0,8] hold 8"},
      {file_of(one(R"({"dtype":"F32","shape":[2],"data_offsets":[8,0]})"), 8), "hold -8"},
      {file_of(one(R"({"dtype":"F32","shape":[2],"data_offsets":[0]})"), 8), "not a pair"},
      {file_of(one(R"({"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,0]})"), 0), "more bytes than"},
      {file_of(one(R"({"dtype":"F32","shape":[2],"data_offsets":[0,99999999999999999999]})"), 8),
       "non-negative integer"},
      {file_of(one(R"({"dtype":"F32","shape":[2],"data_offsets":[8,16]})"), 8), "8 bytes before tensor a belong to no"},
      {file_of(one(R"({"dtype":"F32","shape":[8],"data_offsets":[0,32]})"), 8), "ends at byte 32 of the data"},
      {file_of(
           R"({"a":{"dtype":"I8","shape":[4],"data_offsets":[0,4]},"b":{"dtype":"I8","shape":[4],"data_offsets":[2,6]}})",
           6),
       "tensor b overlaps"},
      {file_of(
           R"({"a":{"dtype":"I8","shape":[2],"data_offsets":[0,2]},"b":{"dtype":"I8","shape":[2],"data_offsets":[3,5]}})",
           5),
       "1 bytes before tensor b"},
      {file_of(R"({"__metadata__":7})", 0), "__metadata__ is not an object"},
      {file_of(R"({"__metadata__":{"a":7}})", 0), "wanted a string"},
      {file_of("{\"a\":" + std::string(100000, '['), 0), "nested deeper"},
  };
  Scratch scratch;
  for (const Case& c : cases) {
    spill(scratch / "bad.safetensors", c.bytes);
    const std::string message = error_of([&] { Checkpoint::open(scratch / "bad.safetensors"); });
    INFO(c.words << " | " << message);
    CHECK(contains(message, c.words));
    CHECK(contains(message, "bad.safetensors"));
  }
  spill(scratch / "good.safetensors", file_of(ok, 8));
  CHECK(Checkpoint::open(scratch / "good.safetensors").tensors().size() == 1);
}

TEST_CASE("safetensors: no truncation of a real file is taken for a whole one") {
  Scratch scratch;
  const std::string whole = slurp(golden("every_dtype.safetensors"));
  for (std::size_t n = 0; n < whole.size(); ++n) {
    spill(scratch / "cut.safetensors", std::string_view(whole).substr(0, n));
    REQUIRE(error_of([&] { Checkpoint::open(scratch / "cut.safetensors"); }) != "");
  }
}

TEST_CASE("safetensors: a file with a flipped byte in its header is refused, or all that it then claims can be read") {
  Scratch scratch;
  const std::string whole = slurp(golden("every_dtype.safetensors"));
  const std::size_t header_end = 8 + static_cast<unsigned char>(whole[0]) + 256 * static_cast<unsigned char>(whole[1]);
  REQUIRE(header_end < whole.size());
  std::size_t refused = 0, touched = 0;
  for (std::size_t i = 0; i < header_end; ++i)
    for (const unsigned char mask : {0x01, 0x10, 0x80}) {
      std::string bad = whole;
      bad[i] = static_cast<char>(static_cast<unsigned char>(bad[i]) ^ mask);
      spill(scratch / "flipped.safetensors", bad);
      const std::string message = error_of([&] {
        const Checkpoint c = Checkpoint::open(scratch / "flipped.safetensors");
        std::size_t bytes = 0;
        for (const TensorInfo& t : c.tensors())
          for (const std::byte value : c.data(t.name)) bytes += 1 + (static_cast<std::size_t>(value) >> 8);
        REQUIRE(bytes == whole.size() - header_end);
        touched += bytes;
      });
      refused += message != "";
    }
  CHECK(refused > 0);
  CHECK(touched > 0);  // a flip inside a name leaves a valid file
}

TEST_CASE("safetensors: a tensor that does not fit its shape, or comes twice, is not written") {
  Scratch scratch;
  const float x[2] = {};
  const auto data = std::as_bytes(std::span(x));
  const auto write = [&](std::vector<TensorData> tensors) {
    return error_of([&] { write_safetensors(scratch / "out.safetensors", tensors); });
  };
  CHECK(contains(write({{"a", DType::F32, {3}, data}}), "wants 12 bytes, got 8"));
  CHECK(contains(write({{"a", DType::F32, {2}, data}, {"a", DType::F32, {2}, data}}), "given twice"));
  CHECK(contains(write({{"__metadata__", DType::F32, {2}, data}}), "cannot name a tensor"));
  CHECK(std::filesystem::is_empty(scratch.dir()));
}

TEST_CASE("convert: narrow undoes widen for every floating type, unaligned") {
  for (const DType t : {DType::F32, DType::BF16, DType::F16, DType::F64}) {
    const std::vector<float> values = {0.0f, -1.5f, 0.25f, 1024.0f};
    std::vector<std::byte> raw(values.size() * size_bytes(t) + 1);
    const std::span<std::byte> odd = std::span(raw).subspan(1);
    narrow(values, t, odd);
    std::vector<float> back(values.size());
    widen(t, odd, back);
    CHECK(back == values);
  }
  std::vector<float> out(1);
  std::vector<std::byte> raw(8);
  CHECK(contains(error_of([&] { widen(DType::I64, raw, out); }), "not a floating type"));
}
