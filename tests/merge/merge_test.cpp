#include <lamina/merge/merge.hpp>
#include <lamina/model/qwen_vl/names.hpp>
#include "checkpoint/scratch.hpp"
#include "support/catch.hpp"

#include <cmath>
#include <map>
#include <random>

using namespace lamina;
using namespace lamina::checkpoint;
using merge::MergeOptions;

namespace {

using Doubles = std::vector<double>;

Doubles read_doubles(const Checkpoint& c, std::string_view name) {
  const std::vector<float> f = read_f32(c, name);
  return {f.begin(), f.end()};
}

/// W + s B A (and DoRA's scaling) in double precision, three plain loops; bound[i] receives what fp32 may lose there.
Doubles naive_merge(const Doubles& w, const Adapter& adapter, const LoraPair& p, Doubles& bound) {
  const Doubles a = read_doubles(adapter.weights(), p.a), b = read_doubles(adapter.weights(), p.b);
  const auto in = static_cast<std::size_t>(p.in_features), out = static_cast<std::size_t>(p.out_features);
  const auto rank = static_cast<std::size_t>(p.rank);
  Doubles result = w;
  bound.assign(w.size(), 0);
  for (std::size_t o = 0; o < out; ++o)
    for (std::size_t i = 0; i < in; ++i) {
      double sum = 0, size = std::abs(w[o * in + i]);
      for (std::size_t r = 0; r < rank; ++r) {
        sum += b[o * rank + r] * a[r * in + i];
        size += p.scale * std::abs(b[o * rank + r] * a[r * in + i]);
      }
      result[o * in + i] += p.scale * sum;
      bound[o * in + i] = (static_cast<double>(rank) + 3) * 0x1p-24 * size;  // one rounding a term, of s B, of the sum
    }
  if (p.magnitude.empty()) return result;
  const Doubles m = read_doubles(adapter.weights(), p.magnitude);
  for (std::size_t o = 0; o < out; ++o) {
    double squares = 0;
    for (std::size_t i = 0; i < in; ++i) squares += result[o * in + i] * result[o * in + i];
    const double factor = m[o] / std::sqrt(squares);
    for (std::size_t i = 0; i < in; ++i) {
      result[o * in + i] *= factor;
      // the row's length is a sum of in squares, each as wrong as its term
      bound[o * in + i] =
          bound[o * in + i] * factor + (static_cast<double>(in) + 8) * 0x1p-23 * std::abs(result[o * in + i]);
    }
  }
  return result;
}

/// Half the distance between neighbours of x in bf16.
double half_ulp_bf16(double x) { return x == 0 ? 0 : std::ldexp(1.0, std::ilogb(x) - 8); }

/// Every value of `merged` is the exact merge rounded to bf16, up to what fp32 may lose before the rounding.
void check_against_naive(const Checkpoint& merged, const Checkpoint& base, const Adapter& adapter) {
  std::map<std::string, const LoraPair*> pairs;
  for (const LoraPair& p : adapter.pairs()) pairs[p.module + ".weight"] = &p;
  std::map<std::string, std::string> replaced;
  for (const ReplacedTensor& r : adapter.replaced()) replaced[r.tensor] = r.source;
  for (const TensorInfo& t : base.tensors()) {
    const Doubles got = read_doubles(merged, t.name);
    Doubles exact = read_doubles(base, t.name), bound(exact.size());
    const std::string name = canonical_name(t.name, qwen_vl::names);
    if (replaced.contains(name)) exact = read_doubles(adapter.weights(), replaced[name]);
    if (pairs.contains(name)) exact = naive_merge(exact, adapter, *pairs[name], bound);
    REQUIRE(got.size() == exact.size());
    for (std::size_t i = 0; i < got.size(); ++i) {
      INFO(t.name << " [" << i << "]: " << got[i] << " for " << exact[i]);
      REQUIRE(std::abs(got[i] - exact[i]) <= half_ulp_bf16(std::abs(exact[i]) + bound[i]) + bound[i]);
    }
  }
}

MergeOptions options_for(const std::string& model, const std::string& adapter, const std::filesystem::path& out) {
  MergeOptions o;
  o.model_name_or_path = golden(model);
  if (!adapter.empty()) o.adapter_name_or_path = {golden(adapter)};
  o.export_dir = out;
  return o;
}

std::string merge_error(const MergeOptions& options) {
  return error_of([&] { merge::run(options); });
}

void write_pair(const std::filesystem::path& dir, const std::string& module, int out, int in, float value = 0.5f,
                int rank = 2) {
  const std::vector<float> a(static_cast<std::size_t>(rank * in), value),
      b(static_cast<std::size_t>(out * rank), value);
  AdapterConfig config;
  config.r = rank;
  config.lora_alpha = 2 * rank;
  config.base_model_name_or_path = "some/other-model";
  config.target_modules = {module};
  write_adapter(dir, config,
                std::vector<TensorData>{
                    {peft_tensor_name(module, "lora_A"), DType::F32, {rank, in}, std::as_bytes(std::span(a))},
                    {peft_tensor_name(module, "lora_B"), DType::F32, {out, rank}, std::as_bytes(std::span(b))}});
}

constexpr const char* first_q = "model.language_model.layers.0.self_attn.q_proj";

}  // namespace

TEST_CASE("merge: equals a naive merge in double precision, rounded once") {
  for (const std::string name : {"tiny3", "tiny2_5"}) {
    Scratch dir;
    const merge::MergeReport report = merge::run(options_for(name, name + "_adapter", dir / "out"));
    const Checkpoint base = Checkpoint::open(golden(name), qwen_vl::names);
    check_against_naive(Checkpoint::open(dir / "out", qwen_vl::names), base,
                        Adapter::load(golden(name + "_adapter"), qwen_vl::names));
    CHECK(report.tensors == base.tensors().size());
    CHECK(report.dtype == DType::BF16);
    CHECK(report.merged_modules == (name == "tiny3" ? 8 : 6));
    CHECK(report.replaced_tensors == (name == "tiny3" ? 0 : 1));
  }
}

TEST_CASE("merge: DoRA equals a naive merge in double precision") {
  Scratch dir;
  merge::run(options_for("tiny3", "tiny3_dora_adapter", dir / "out"));
  check_against_naive(Checkpoint::open(dir / "out", qwen_vl::names), Checkpoint::open(golden("tiny3"), qwen_vl::names),
                      Adapter::load(golden("tiny3_dora_adapter"), qwen_vl::names));
}

TEST_CASE("merge: PEFT's own merge passes the same check, and its file holds the same names, types and shapes") {
  for (const std::string name : {"tiny3", "tiny2_5"}) {
    Scratch dir;
    merge::run(options_for(name, name + "_adapter", dir / "out"));
    const Checkpoint ours = Checkpoint::open(dir / "out", qwen_vl::names),
                     theirs = Checkpoint::open(golden(name + "_merged"), qwen_vl::names);
    check_against_naive(theirs, Checkpoint::open(golden(name), qwen_vl::names),
                        Adapter::load(golden(name + "_adapter"), qwen_vl::names));
    REQUIRE(ours.tensors().size() == theirs.tensors().size());
    std::size_t equal = 0, all = 0;
    for (const TensorInfo& t : theirs.tensors()) {
      const TensorInfo& mine = ours.at(t.name);
      REQUIRE(mine.name == t.name);
      REQUIRE(mine.dtype == t.dtype);
      REQUIRE(mine.shape == t.shape);
      const auto a = ours.data(t.name), b = theirs.data(t.name);
      for (std::size_t i = 0; i < a.size(); i += 2) equal += a[i] == b[i] && a[i + 1] == b[i + 1], ++all;
    }
    CHECK(all - equal <= all / 1000);  // fp32 sums in another order may round a value near a tie the other way
  }
}

TEST_CASE("merge: names are spelt exactly as the base spells them, in shards of the size asked for") {
  Scratch dir;
  MergeOptions o = options_for("tiny2_5", "tiny2_5_adapter", dir / "out");
  o.export_size = 8e-6;
  merge::run(o);
  const Checkpoint base = Checkpoint::open(golden("tiny2_5"), qwen_vl::names),
                   merged = Checkpoint::open(dir / "out", qwen_vl::names);
  CHECK(merged.files().size() >= 4);
  for (const TensorInfo& t : base.tensors()) CHECK(merged.at(t.name).name == t.name);
  CHECK(std::filesystem::exists(dir / "out/model.safetensors.index.json"));
}

TEST_CASE("merge: several adapters are added in fp32 and rounded once; a module saved whole overrides earlier ones") {
  Scratch dir;
  write_pair(dir / "one", first_q, 16, 16, 0.25f);
  write_pair(dir / "two", first_q, 16, 16, -0.125f);
  MergeOptions o = options_for("tiny3", "", dir / "out");
  o.adapter_name_or_path = {dir / "one", dir / "two"};
  o.infer_dtype = DType::F32;
  merge::run(o);
  const std::string name = std::string(first_q) + ".weight";
  const std::vector<float> w = read_f32(Checkpoint::open(golden("tiny3"), qwen_vl::names), name);
  const std::vector<float> got = read_f32(Checkpoint::open(dir / "out", qwen_vl::names), name);
  for (std::size_t i = 0; i < w.size(); ++i)  // s B A = 2 * (2 * 0.25^2) and 2 * (2 * 0.125^2), exact in fp32
    REQUIRE(got[i] == w[i] + 0.25f + 0.0625f);
}

TEST_CASE("merge: the element type is the base's, or the one asked for, and config.json says so") {
  for (const auto& [asked, name] : std::map<DType, std::string>{{DType::F16, "float16"}, {DType::F32, "float32"}}) {
    Scratch dir;
    MergeOptions o = options_for("tiny3", "tiny3_adapter", dir / "out");
    o.infer_dtype = asked;
    merge::run(o);
    const Checkpoint merged = Checkpoint::open(dir / "out", qwen_vl::names);
    for (const TensorInfo& t : merged.tensors()) CHECK(t.dtype == asked);
    CHECK(ModelConfig::load(dir / "out").dtype == asked);
    CHECK(contains(slurp(dir / "out/config.json"), "\"dtype\": \"" + name + "\""));
  }
}

TEST_CASE("merge: without adapters a model is saved again, bit for bit") {
  Scratch dir;
  merge::run(options_for("tiny3", "", dir / "out"));
  CHECK(slurp(dir / "out/model.safetensors") == slurp(golden("tiny3") / "model.safetensors"));
}

TEST_CASE("merge: the result does not depend on the number of threads") {
  Scratch dir;
  std::mt19937 random(3);
  std::normal_distribution<float> normal;
  std::vector<float> w(1500 * 700), a(8 * 700), b(1500 * 8);
  for (auto* v : {&w, &a, &b})
    for (float& x : *v) x = normal(random);
  write_safetensors(dir / "w.safetensors",
                    std::vector<TensorData>{{"w", DType::F32, {1500, 700}, std::as_bytes(std::span(w))}});
  const Checkpoint c = Checkpoint::open(dir / "w.safetensors");
  merge::AdapterDelta delta;
  delta.a = Eigen::Map<merge::RowMajor>(a.data(), 8, 700);
  delta.b = Eigen::Map<merge::RowMajor>(b.data(), 1500, 8);
  std::vector<std::vector<std::byte>> results;
  for (const int threads : {1, 2, 3}) {
    use_threads(threads);
    results.emplace_back(w.size() * 2);
    merge::fold({&c, &c.at("w")}, std::span(&delta, 1), DType::BF16, results.back());
  }
  use_threads(0);
  CHECK(results[0] == results[1]);
  CHECK(results[0] == results[2]);
}

TEST_CASE("merge: an adapter for another model is refused, and both sides are named") {
  Scratch dir;
  const auto refused = [&](const std::string& module, int out, int in) {
    write_pair(dir / "adapter", module, out, in);
    MergeOptions o = options_for("tiny3", "", dir / "out");
    o.adapter_name_or_path = {dir / "adapter"};
    const std::string message = merge_error(o);
    CHECK(!std::filesystem::exists(dir / "out"));
    return message;
  };
  std::string message = refused(first_q, 32, 16);
  CHECK(contains(message, "is (32, 16)"));
  CHECK(contains(message, "q_proj.weight of the base is (16, 16)"));
  CHECK(contains(message, "some/other-model"));
  CHECK(contains(refused("model.language_model.layers.9.self_attn.q_proj", 16, 16),
                 "layers.9.self_attn.q_proj.weight is not in"));
  CHECK(contains(refused("lm_head", 40, 16), "ties it to the embedding"));
  CHECK(contains(refused("model.visual.patch_embed.proj", 16, 96), "of the base is (16, 3, 2, 4, 4)"));
}

TEST_CASE("merge: values that the output type cannot hold are an error that names the tensor") {
  Scratch dir;
  write_pair(dir / "adapter", first_q, 16, 16, 200.0f);
  MergeOptions o = options_for("tiny3", "", dir / "out");
  o.adapter_name_or_path = {dir / "adapter"};
  o.infer_dtype = DType::F16;
  CHECK(contains(merge_error(o), "layers.0.self_attn.q_proj.weight: has values too large for F16"));
  write_pair(dir / "adapter", first_q, 16, 16, NAN);
  CHECK(contains(merge_error(o), "holds NaN"));
  CHECK(!std::filesystem::exists(dir / "out"));
}

TEST_CASE("merge: a quantised base, missing inputs and an output that is an input are refused before any work") {
  Scratch dir;
  std::filesystem::copy(golden("tiny3"), dir / "base");
  auto config = nlohmann::json::parse(slurp(dir / "base/config.json"));
  config["quantization_config"] = {{"quant_method", "awq"}};
  spill(dir / "base/config.json", config.dump());
  MergeOptions o = options_for("tiny3", "tiny3_adapter", dir / "out");
  o.model_name_or_path = dir / "base";
  CHECK(contains(merge_error(o), "is quantised (awq)"));
  o = options_for("tiny3", "tiny3_adapter", dir / "out");
  o.model_name_or_path = "Qwen/Qwen3-VL-2B-Instruct";
  CHECK(contains(merge_error(o), "download it first"));
  o = options_for("tiny3", "tiny3_adapter", golden("tiny3"));
  CHECK(contains(merge_error(o), "export_dir is one of the inputs"));
  o = options_for("tiny3", "tiny3_adapter", "");
  CHECK(contains(merge_error(o), "export_dir is missing"));
  o = options_for("tiny3", "tiny3_adapter", "/proc/lamina/out");
  CHECK(contains(merge_error(o), "cannot write to export_dir"));
  spill(dir / "file", "x");
  o = options_for("tiny3", "tiny3_adapter", dir / "file");
  CHECK(contains(merge_error(o), "is a file, wanted a folder"));
  o = options_for("tiny3", "tiny3_adapter", dir / "out");
  o.template_name = "llama3";
  CHECK(contains(merge_error(o), "known are qwen3_vl"));
  CHECK(!std::filesystem::exists(dir / "out"));
}

TEST_CASE("merge: stopped half way, nothing is left; an earlier export stays as it was") {
  Scratch dir;
  const MergeOptions o = options_for("tiny3", "tiny3_adapter", dir / "out");
  const auto stop = [](const merge::MergeProgress& p) {
    if (p.tensors_done == p.tensors / 2) fail("interrupted");
  };
  CHECK(error_of([&] { merge::run(o, stop); }) == "interrupted");
  CHECK(std::filesystem::is_empty(dir.dir()));
  merge::run(options_for("tiny3", "", dir / "out"));
  const std::string before = slurp(dir / "out/model.safetensors");
  CHECK(error_of([&] { merge::run(o, stop); }) == "interrupted");
  CHECK(slurp(dir / "out/model.safetensors") == before);
  CHECK(!std::filesystem::exists(dir / "out/.incomplete"));
  merge::run(o);
  CHECK(slurp(dir / "out/model.safetensors") != before);
}

TEST_CASE("merge: an export in shards over an earlier one leaves no stale weights") {
  Scratch dir;
  MergeOptions o = options_for("tiny3", "tiny3_adapter", dir / "out");
  merge::run(o);
  o.export_size = 1e-5;
  merge::run(o);
  CHECK(!std::filesystem::exists(dir / "out/model.safetensors"));
  CHECK(Checkpoint::open(dir / "out", qwen_vl::names).tensors().size() ==
        Checkpoint::open(golden("tiny3"), qwen_vl::names).tensors().size());
}

TEST_CASE("merge: a folder that holds an adapter is refused, because the model there would be taken for it") {
  for (const char* name : {"adapter_config.json", "adapter_model.safetensors"}) {
    Scratch dir;
    std::filesystem::create_directory(dir / "out");
    spill(dir / "out" / name, "an earlier run's");
    CHECK(contains(error_of([&] { merge::run(options_for("tiny3", "tiny3_adapter", dir / "out")); }),
                   std::string(name) + ": export_dir holds an adapter"));
    CHECK(slurp(dir / "out" / name) == "an earlier run's");
    CHECK(!std::filesystem::exists(dir / "out/config.json"));
  }
}
