// lamina-init: gives a model directory random weights, so that there is a model to try things on without a download.
//
//     lamina-init --model data/qwen3_vl_tiny --out saves/qwen3_vl_tiny
//     lamina-init --model data/qwen3_vl_nano --out saves/nano/start --seed 1     to train from the beginning
#include <filesystem>
#include <iostream>
#include <optional>

#include <lamina/checkpoint/convert.hpp>
#include <lamina/checkpoint/safetensors.hpp>
#include <lamina/compose/plan/initialise.hpp>
#include <lamina/core/threads.hpp>
#include <lamina/hub/keys.hpp>
#include <lamina/hub/resolve.hpp>
#include <lamina/io/flags.hpp>
#include <lamina/io/program/program.hpp>
#include <lamina/model/open_model.hpp>
#include <lamina/testing/deterministic_weights.hpp>

namespace fs = std::filesystem;
using namespace lamina;

namespace {

struct Flags {
  fs::path model, out;
  hub::Options hub{
      .revision_name = "--revision", .cache_dir_name = "--download-dir", .hf_token_name = "", .ms_token_name = ""};
  std::string dtype = "float32";
  std::optional<std::uint64_t> seed;
};

constexpr std::string_view dtypes[] = {"float32", "bfloat16"};
constexpr io::Key<Flags> flags[] = {
    io::honoured<&Flags::model>("model",
                                "directory to take config.json and the other files from, or a model's name on a hub"),
    hub::revision_flag<&Flags::hub>,
    hub::cache_flag<&Flags::hub>,
    io::honoured<&Flags::out>("out", "directory to write to"),
    io::honoured_word<dtypes, &Flags::dtype>("dtype", "element type of the weights: float32 or bfloat16"),
    io::honoured<&Flags::seed>("seed", "start from each layer's own initial values, to train from the beginning"),
};

void copy_files(const fs::path& from, const fs::path& to) {
  std::error_code error;
  fs::create_directories(to, error);
  if (error) fail("--out ", to.string(), ": cannot be created: ", error.message(), ": choose another folder");
  for (const auto& file : fs::directory_iterator(from))
    if (file.is_regular_file() && file.path().extension() != ".safetensors")
      fs::copy_file(file.path(), to / file.path().filename(), fs::copy_options::overwrite_existing);
}

/// Weights by rule: the same for everybody, uniform, scaled so that activations keep their size. With a seed: each
/// tensor's own starting values, to train from.
void write_weights(const std::vector<TensorSpec>& specs, const fs::path& out, DType dtype,
                   std::optional<std::uint64_t> seed) {
  std::vector<std::vector<std::byte>> bytes(specs.size());
  std::vector<checkpoint::TensorData> tensors(specs.size());
  parallel_for(static_cast<std::int64_t>(specs.size()), [&](std::int64_t i) {
    const TensorSpec& spec = specs[static_cast<std::size_t>(i)];
    auto& tensor = tensors[static_cast<std::size_t>(i)];
    auto& to = bytes[static_cast<std::size_t>(i)];
    std::vector<float> values(static_cast<std::size_t>(spec.count()));
    tensor.name = spec.path.view();
    tensor.dtype = dtype;
    tensor.shape.assign(spec.extents.begin(), spec.extents.begin() + spec.rank);
    if (seed) {
      TorchGenerator random(*seed + static_cast<std::uint64_t>(i));
      for (float& value : values) value = detail::initial_value(spec, random);
    } else {
      testing::fill_deterministic(tensor.name, tensor.shape, values);
    }
    to.resize(values.size() * size_bytes(dtype));
    checkpoint::narrow(values, dtype, to);
    tensor.data = to;
  });
  checkpoint::write_safetensors(out / "model.safetensors", tensors);
}

Flags parse(const std::vector<std::string>& words) { return io::parse_flags<Flags>(flags, words, {"model", "out"}); }

/// UsageError if the model would be written over itself.
void require_other_folder(const Flags& settings) {
  std::error_code ignored;
  if (fs::equivalent(settings.model, settings.out, ignored))
    io::usage("--out ", settings.out.string(),
              ": is the folder of --model, whose weights it would replace: choose another");
}

int run(Flags& settings) {
  for (const auto& text : hub::unused_options(settings.hub, std::vector{settings.model})) note(text);
  settings.model = hub::resolve_model(settings.model, settings.hub, {.include = {}, .exclude = {"*.safetensors"}});
  require_other_folder(settings);
  const std::vector<TensorSpec> specs = tensors_of(settings.model);  // before anything is written
  copy_files(settings.model, settings.out);
  write_weights(specs, settings.out, settings.dtype == "bfloat16" ? DType::BF16 : DType::F32, settings.seed);
  std::cout << "wrote " << settings.out << "\n";
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  return io::run_program(
      {"lamina-init", "--model DIR --out DIR [--option VALUE]...",
       "Writes random weights for a model directory (config.json, tokenizer and processor files).\n\n" +
           io::help_lines<Flags>(flags, "--")},
      argc, argv, parse, run);
}
