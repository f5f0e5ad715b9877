#include <lamina/checkpoint/other_tensors.hpp>
#include <lamina/checkpoint/safetensors.hpp>
#include <lamina/model/qwen3_vl_moe/family.hpp>

#include <numeric>

#include "checkpoint/scratch.hpp"
#include "support/catch.hpp"

using namespace lamina;

namespace {

constexpr std::int64_t experts = 2, inputs = 3, outputs = 4;  // of gate_proj and up_proj together
const std::string stacked_path = "model.language_model.layers.0.mlp.experts.";

/// A file as transformers writes it, of the elements 0, 1, 2 ...
checkpoint::Checkpoint stacked_file(const Scratch& scratch,
                                    std::vector<std::int64_t> shape = {experts, inputs, outputs}) {
  std::vector<float> values(static_cast<std::size_t>(experts * inputs * outputs));
  std::iota(values.begin(), values.end(), 0.0f);
  const checkpoint::TensorData tensors[] = {
      {stacked_path + "gate_up_proj", DType::F32, std::move(shape), std::as_bytes(std::span(values))}};
  checkpoint::write_safetensors(scratch / "model.safetensors", tensors);
  return checkpoint::Checkpoint::open(scratch / "model.safetensors", qwen3_vl_moe::family.names);
}

}  // namespace

TEST_CASE("Checkpoint: experts that a file stacks in one tensor are found by their own names, transposed") {
  const Scratch scratch;
  const checkpoint::Checkpoint files = stacked_file(scratch);
  CHECK(files.tensors().size() == 1);
  const std::string name = stacked_path + "1.up_proj.weight";
  CHECK(files.at(name).shape == std::vector<std::int64_t>{outputs / 2, inputs});
  std::vector<float> up(6), end(2);
  files.read(name, std::as_writable_bytes(std::span(up)));
  CHECK(up == std::vector<float>{14, 18, 22, 15, 19, 23});  // x W: element (1, input, 2 + output) of the file
  files.read(name, 2 * sizeof(float), std::as_writable_bytes(std::span(end)));
  CHECK(end == std::vector<float>{22, 15});
  CHECK(files.find(stacked_path + "2.up_proj.weight") == nullptr);

  std::vector<float> whole(24);
  for (const checkpoint::StackedPart* part : files.parts_of(files.tensors()[0])) {
    std::vector<std::byte> matrix(part->info.bytes);
    files.read(part->info.name, matrix);
    part->write(matrix, std::as_writable_bytes(std::span(whole)));
  }
  CHECK(std::memcmp(whole.data(), files.data(stacked_path + "gate_up_proj").data(), 24 * sizeof(float)) == 0);
}

TEST_CASE("Checkpoint: stacked experts have a place in a model with experts alone, and a wrong shape is named") {
  const Scratch scratch;
  const checkpoint::Checkpoint files = stacked_file(scratch);
  std::vector<TensorSpec> taken;
  for (int e = 0; e < experts; ++e)
    for (const char* part : {"gate_proj", "up_proj"}) {
      TensorSpec& spec = taken.emplace_back();
      spec.path = Path() / "model.language_model.layers" / 0 / "mlp.experts" / e / part / "weight";
    }
  checkpoint::expect_no_others(files, taken, "");
  taken.pop_back();
  CHECK(::contains(error_of([&] { checkpoint::expect_no_others(files, taken, ""); }), "has no place for"));
  CHECK(::contains(error_of([&] {
                     stacked_file(scratch, {experts * inputs, outputs});
                   }),
                   "gate_up_proj is (6, 4), wanted (experts, inputs, outputs)"));
}
