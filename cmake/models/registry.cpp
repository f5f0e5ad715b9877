// Finds the registered model that fits a source, and the backend that a run asks for.
#include <lamina/checkpoint/other_tensors.hpp>
#include <lamina/engine/open.hpp>
#include <lamina/io/program/usage.hpp>
#include <lamina/kernel/cuda/device/device.hpp>
#include <lamina/model/model_facts.hpp>
#include <lamina/model/model_source.hpp>
#include <lamina/model/registered_models.hpp>
#include <lamina/parallel/gpu/device_group.hpp>
#include <lamina/train/step/trainable.hpp>

namespace lamina {
namespace {

bool gpu_available([[maybe_unused]] std::string& why_not) {
#if defined(LAMINA_HAS_CUDA)
  return CudaDevice::available(&why_not);
#else
  return false;
#endif
}

/// The composition with a directory's sizes; else an Error with the nearest one's differing fields and the way to add
/// it.
const RegisteredModel& find_entry(const std::filesystem::path& dir, const ModelConfig& config, bool tied) {
  static const bool distinct = (require_distinct(registered_models()), true);
  static_cast<void>(distinct);
  const std::vector<Fact> wanted = facts_of_config(config, tied);
  const RegisteredModel* nearest = nullptr;
  std::vector<std::string> least;
  std::string names;
  for (const RegisteredModel& entry : registered_models()) {
    names += (names.empty() ? "" : ", ") + entry.name;
    if (entry.family != config.model_type) continue;
    std::vector<std::string> lines = differences(wanted, entry.facts, entry.name);
    if (lines.empty()) return entry;
    if (!nearest || lines.size() < least.size()) nearest = &entry, least = std::move(lines);
  }
  if (!nearest)
    fail(dir.string(), "/config.json: model_type ", config.model_type,
         " is in none of the models of this program: ", names,
         ". Configure with -DLAMINA_MODELS=NAME for another (cmake/models.cmake lists the names)");
  std::string text;
  for (const std::string& line : least) text += "\n  " + line;
  fail(dir.string(), "/config.json: no model of this program computes what it says. Nearest is ", nearest->name, ":",
       text, "\nThis program holds: ", names,
       "\nConfigure with -DLAMINA_MODELS=all for every released size. To add one, write its numbers as structs in "
       "include/lamina/model/",
       nearest->family, "/sizes.hpp,\nits type in model.hpp beside it and a line in cmake/models.cmake.");
}

const RegisteredModel& find_entry(const ModelSource& source) {
  const bool tied = tied_head(source.config, source.weights);
  const RegisteredModel& entry = find_entry(source.weights.path(), source.config, tied);
  checkpoint::expect_no_others(source.weights, entry.tensors(), tied ? head_tensor(*source.config.family) : "",
                               source.quantized);
  checkpoint::expect_places(source.folded, entry.tensors(), tied ? head_tensor(*source.config.family) : "",
                            cat(source.config.family->regions.embedding, ".weight"));
  return entry;
}

/// Where a run goes: what `device` says, or the GPU where there is one.
const Ways& ways_on(const RegisteredModel& entry, const std::string& device, DType dtype = DType::BF16) {
  std::string why_not = "this program was built without CUDA: build it where nvcc 12.8 or newer is, or use device: cpu";
  const bool built = entry.cuda.engine != nullptr;
  const Ways& cuda = dtype == DType::F16 ? entry.cuda_f16 : entry.cuda;
  if (device == "cpu") return entry.cpu;
  if (device == "auto") return built && gpu_available(why_not) ? cuda : entry.cpu;
  if (device != "cuda") fail("device: ", device, ": wanted auto, cpu or cuda");
  if (!built || !gpu_available(why_not)) fail("device: cuda: ", why_not);
  return cuda;
}

/// How adapters of the kind that the options ask for, or that goes on training, are trained.
const TrainWays& adapter_ways(const RegisteredModel& entry, const Ways& ways, const ModelSource& source,
                              const TrainableOptions& options) {
  const bool dora = source.trained.empty() ? options.use_dora : checkpoint::has_magnitudes(source.trained);
  const auto found = ways.adapters.find(dora ? "dora" : "lora");
  if (found == ways.adapters.end())
    fail("use_dora: this program does not hold DoRA for ", entry.name,
         ": configure with -DLAMINA_ADAPTERS=dora (programs of "
         "your own: ADAPTERS dora in lamina_add_models)");
  return found->second;
}

/// How so many ranks generate with a model.
OpenEngine sharded_way(const RegisteredModel& entry, const Ways& ways, int ranks) {
  if (const auto found = ways.sharded.find(ranks); found != ways.sharded.end()) return found->second;
  if (entry.divides_among(ranks))
    fail("tensor-parallel-size: this program does not hold ", entry.name, " for ", ranks,
         " ranks: configure with -DLAMINA_TENSOR_PARALLEL=", ranks);
  std::string would;
  for (int n = 2; n <= 64; ++n)
    if (entry.divides_among(n)) would += cat(would.empty() ? "" : ", ", n);
  io::usage(
      "tensor-parallel-size: ", entry.name, " cannot be divided among ", ranks,
      ": the number must divide its query heads, intermediate_size and vocab_size, and divide its key/value heads or "
      "be a multiple of them; ",
      would.empty() ? "no number does" : cat(would, " would do"));
}

/// LLaMA-Factory starts a process for each GPU by itself, which changes how many rows a step has.
void note_other_gpus([[maybe_unused]] const TrainableOptions& options) {
#if defined(LAMINA_HAS_CUDA)
  const int gpus = parallel::visible_gpus();
  if (options.group->size() == 1 && gpus > 1)
    note(cat("training uses one of ", gpus, " GPUs; to use all, each with rows of its own: torchrun --no-python ",
             "--nproc-per-node ", gpus, " lamina-train FILE.yaml"));
#endif
}

}  // namespace

std::vector<TensorSpec> tensors_of(const ModelConfig& config, const std::filesystem::path& model_dir) {
  return find_entry(model_dir, config, config.tie_word_embeddings).tensors();
}

VisualTokens visual_tokens_of(const ModelConfig& config, const std::filesystem::path& model_dir) {
  // The weights decide whether the head is tied, and no tower depends on it.
  const std::vector<Fact> other = facts_of_config(config, !config.tie_word_embeddings);
  for (const RegisteredModel& entry : registered_models())
    if (entry.family == config.model_type && differences(other, entry.facts, entry.name).empty())
      return entry.visual_tokens;
  return find_entry(model_dir, config, config.tie_word_embeddings).visual_tokens;
}

std::unique_ptr<TrainSession> make_train_session(const ModelSource& source, const TrainableOptions& options) {
  bool vision = !options.freeze_vision_tower || !options.freeze_multi_modal_projector;
  const Regions& regions = source.config.family->regions;
  const auto look_at = [&](std::string_view name) {
    vision = vision || train::region_of(name, regions) != train::Region::language;
  };
  for (const auto& [module, layer] : source.trained) look_at(module);
  for (const auto& [tensor, in_file] : source.trained.replaced) look_at(tensor);
  const RegisteredModel& entry = find_entry(source);
  if (options.method == TrainableOptions::Method::lora && !options.goes_on())
    for (const std::string& tensor : train::whole_tensors(entry.tensors(), {}, regions, options)) look_at(tensor);
  const Ways& ways = ways_on(entry, options.device);
  if (&ways != &entry.cpu) note_other_gpus(options);
  const TrainWays& way =
      options.method == TrainableOptions::Method::lora ? adapter_ways(entry, ways, source, options) : ways.full;
  return (vision ? way.everywhere : way.language)(source, options);
}

std::unique_ptr<engine::EngineSession> make_engine_session(const ModelSource& source,
                                                           const engine::EngineOptions& options) {
  const RegisteredModel& entry = find_entry(source);
  const DType stored = source.weights.at(entry.tensors().front().path.view()).dtype;
  const Ways& ways = ways_on(entry, options.device, options.dtype.value_or(stored));
  const int ranks = options.group->size();
  if (ranks == 1) return ways.engine(source, options);
  return sharded_way(entry, ways, ranks)(source, options);
}

void expect_ranks(const std::filesystem::path& model_dir, int ranks, const std::string& device,
                  [[maybe_unused]] int here) {
  const ModelSource source = open_source(model_dir, {});
  const RegisteredModel& entry = find_entry(source);
  const Ways& ways = ways_on(entry, device);
  sharded_way(entry, ways, ranks);
#if defined(LAMINA_HAS_CUDA)
  if (const int gpus = parallel::visible_gpus(); &ways != &entry.cpu && gpus < here)
    fail("tensor-parallel-size: ", here, " GPUs are wanted here, and there are ", gpus,
         ": look at nvidia-smi and CUDA_VISIBLE_DEVICES");
#endif
}

}  // namespace lamina
