#pragma once
#include <algorithm>
#include <cstdlib>
#include <memory>
#include <utility>
#include <vector>

#include <lamina/compose/plan/windows.hpp>
#include <lamina/core/log.hpp>
#include <lamina/engine/session.hpp>
#include <lamina/engine/step/follow.hpp>
#include <lamina/engine/step/runner.hpp>
#include <lamina/io/program/usage.hpp>
#include <lamina/model/model_source.hpp>
#include <lamina/parallel/processors.hpp>

namespace lamina::engine {

/// Bytes that a session needs, known before anything is allocated.
struct MemoryNeeds {
  std::int64_t weights = 0, adapters = 0, pages = 0, images = 0, scratch = 0;
  std::int64_t total() const { return weights + adapters + pages + images + scratch; }
};

/// What a backend takes if the operator says nothing.
template <Backend B>
struct EngineDefaults {
  static constexpr bool alone = Device<B>::has_memory;
  static constexpr int rows = alone ? 256 : 16;
  static constexpr std::int64_t image_bytes = std::int64_t{alone ? 2048 : 256} << 20;
  static int step_tokens(std::int64_t total_bytes) {
    if (!alone) return 512;
    return total_bytes >= std::int64_t{70} << 30 ? 8192 : 2048;
  }
  /// All that is left; of the host's memory, which is others' as well, enough for one sequence of the context's length,
  /// or 1 GiB.
  static std::int64_t page_bytes(std::int64_t total_bytes, std::int64_t left, std::int64_t longest) {
    return alone ? left : std::min({left, total_bytes / 4, std::max(longest, std::int64_t{1} << 30)});
  }
};

/// EngineSession for one model type on one backend: nothing learns; matrices keep the checkpoint's element type (or the
/// one asked for) if activations are fp32, else they have that of activations. If those are fp16, Model is a
/// ScaledStream. If Model is Sharded, this is one rank of EngineOptions::group: the first answers, the others follow().
template <class Model, Real T = float, Backend B = Cpu>
class ModelEngineSession final : public EngineSession {
 public:
  ModelEngineSession(const ModelSource& source, const EngineOptions& options)
      : group_(*options.group),
        device_(options.local_rank),
        ranks_(group_, peer_bytes(options)),
        weights_(choose(source, options)),
        adapters_(weights_.slots(), tensor_count<typename Model::Visual>, options.adapter_slots, options.adapter_rank,
                  group_.rank()),
        limits_(settle(source, options)) {
    if (!std::is_same_v<T, float> && options.dtype && *options.dtype != dtype_of<T>)
      note(cat("dtype ", name_of(*options.dtype), " was asked for; a GPU computes in ", name_of(dtype_of<T>),
               ", and so it does here"));
    device_.set_batch_invariant(options.batch_invariant);
    share_host();
    weights_.allocate(false, device_.stream());
    adapters_.allocate({weights_.parameters(), weights_.slots().size()}, device_.stream(), options.batch_invariant);
    const RunnerParts<Model, T, B> parts{.device = device_,
                                         .weights = weights_,
                                         .adapters = options.adapter_slots > 0 ? &adapters_ : nullptr,
                                         .ranks = group_.size() > 1 ? &ranks_ : nullptr};
    if (group_.first())
      runner_ = std::make_unique<Runner<Model, T, B>>(parts, source.config.vision_tokens(), limits_,
                                                      graph_rows(options), options.batch_invariant);
    else
      follower_ = std::make_unique<RankRunner<Model, T, B>>(parts, limits_, options.batch_invariant);
    checkpoint::load_weights(weights_, source.weights, source.folded, group_.rank(), source.quantized);
    group_.barrier();  // so that no request comes before every rank can answer
  }
  const SessionLimits& limits() const override { return limits_; }
  int vocab_size() const override { return Model::vocab_size; }
  bool on_device() const override { return Device<B>::runs_ahead; }
  void begin(RequestId id, std::shared_ptr<const Batch> prompt, const SamplingParams& sampling) override {
    runner_->begin(id, std::move(prompt), sampling);
  }
  void end(RequestId id) override { runner_->end(id); }
  std::shared_ptr<const LoadedAdapter> prepare_adapter(const std::string& name,
                                                       const checkpoint::AdapterLayers& layers) const override {
    return adapters_.prepare(name, layers, group_.size() > 1);
  }
  void start(const StepPlan& plan, const ImageRows& images) override {
    share_host();
    runner_->start(plan, images);
  }
  bool may_start_ahead() const override { return runner_->may_start_ahead(); }
  StepChoices finish() override { return runner_->finish(); }
  std::vector<float> logits() override { return runner_->logits(); }
  void follow() override { engine::follow(*follower_); }

 private:
  /// Ranks of one host share its processors; a thread that runs steps says so for itself.
  void share_host() {
    if (processors_ > 0) use_threads(processors_);
  }
  static int own_processors(parallel::Group& group) {
    const bool shares = !Device<B>::runs_ahead && group.size() > 1 && !std::getenv("OMP_NUM_THREADS");
    return shares ? parallel::own_processors(group) : 0;
  }

  using Choice = typename Weights<Model, T, B>::Choice;
  /// Small messages that go from GPU to GPU are rounded otherwise than NCCL's, so batch_invariant has none.
  static std::size_t peer_bytes(const EngineOptions& options) {
    const int ranks = options.group->size();
    if (Device<B>::runs_ahead && options.batch_invariant && ranks > 2)
      fail("batch_invariant: NCCL's sums over ", ranks,
           " GPUs depend on what else a step computes; wanted one GPU or two");
    return options.nccl_alone || options.batch_invariant ? 0 : parallel::PeerMemory::useful_bytes(ranks);
  }
  static constexpr int most_image_tokens = 16384;  ///< of one image, as Qwen3-VL's processor bounds it
  static constexpr int image_block_rows = 64;
  static constexpr auto image_block_bytes =
      static_cast<std::int64_t>(RankRunner<Model, T, B>::image_row_bytes) * image_block_rows;

  static auto choose(const ModelSource& source, const EngineOptions& options) {
    if (options.adapter_slots > 0 && Model::visual_tokens.per_frame > 0)
      fail(
          "adapters: requests cannot name any, since the rows of the model's tower that are its own (Cross) belong to ",
          "no patch: merge the adapter into the model");
    if (options.quantization && options.group->size() > 1)
      fail("quantization: ", name_of(options.quantization), " is not built for a model that ", options.group->size(),
           " ranks share: leave one of the two out");
    if (options.quantization && options.batch_invariant && Device<B>::runs_ahead)
      fail(
          "quantization: products of quantised weights on a GPU depend on the number of rows: leave it or "
          "batch_invariant out");
    return [&source, &options](const TensorSpec& spec) {
      const DType kept = source.dtype_of_values(std::string(spec.path.view()));
      const Quantization storage = frozen_storage(spec, source, options.quantization, Device<B>::runs_ahead);
      return Choice{
          .dtype = std::is_same_v<T, float> ? options.dtype.value_or(kept) : dtype_of<T>,
          .learns = false,
          .quantization = storage,
          .rows_below = AdapterMemory<T, B>::rows_below(spec, storage, options.adapter_slots, options.adapter_rank)};
    };
  }
  static int context_length(int max_position_embeddings, const EngineOptions& options) {
    constexpr int most_by_default = 32768;
    const int most = max_position_embeddings > 0 ? max_position_embeddings : most_by_default;
    if (options.max_model_len > most)
      io::usage("max_model_len: ", options.max_model_len, " is more than the model's max_position_embeddings, ", most);
    return options.max_model_len > 0 ? options.max_model_len : std::min(most, most_by_default);
  }

  /// Sizes and pages, so that everything fits; prints what they take.
  /// errors  require_pages()'s
  SessionLimits settle(const ModelSource& source, const EngineOptions& options) {
    using Defaults = EngineDefaults<B>;
    SessionLimits limits;
    limits.context_tokens = context_length(source.config.text_config.max_position_embeddings, options);
    limits.rows = options.rows > 0 ? options.rows : Defaults::rows;
    limits.step_tokens =
        options.step_tokens > 0 ? options.step_tokens : std::max(limits.rows, Defaults::step_tokens(total_bytes()));
    limits.step_image_tokens = Model::reads_images ? std::min(limits.context_tokens, most_image_tokens) : 0;
    limits.page_tokens = options.page_tokens;
    limits.image_block_rows = image_block_rows;
    limits.adapter_slots = options.adapter_slots;
    if constexpr (attention_window < Model >> 0)  // kernels begin at a whole tile, and weigh what is before it with 0
      limits.window = attention_window<Model> + kernel::split_tile_keys;
    const std::int64_t image_bytes = options.image_bytes > 0 ? options.image_bytes : Defaults::image_bytes;
    if (Model::reads_images)
      limits.image_blocks =
          std::max(static_cast<int>(image_bytes / image_block_bytes), limits.step_image_tokens / image_block_rows + 1);
    settle_pages(options, limits);
    return limits;
  }
  void settle_pages(const EngineOptions& options, SessionLimits& limits) {
    MemoryNeeds needs;
    needs.weights = static_cast<std::int64_t>(weights_.frozen_bytes() + weights_.learning_bytes(false));
    needs.images = image_block_bytes * limits.image_blocks;
    needs.adapters = static_cast<std::int64_t>(adapters_.bytes());
    const std::vector<Parameter> parameters = adapters_.planned(weights_.parameters_at(nullptr, nullptr, nullptr));
    needs.scratch = static_cast<std::int64_t>(RankRunner<Model, T, B>::other_bytes(device_, parameters.data(), limits));
    const auto page = static_cast<std::int64_t>(RankRunner<Model, T, B>::page_bytes(limits.page_tokens));
    const std::int64_t each = limits.pages_per_row();
    std::int64_t left =
        EngineDefaults<B>::page_bytes(total_bytes(), budget_bytes(options) - needs.total(), page * each);
    if (options.page_bytes > 0) left = options.page_bytes;
    if (options.pages > 0) left = page * options.pages;
    if (left < page * each && left >= page && options.max_model_len == 0) {
      limits.context_tokens = static_cast<int>(left / page) * limits.page_tokens;
      log_warning("memory: sequences may have ", limits.context_tokens,
                  " tokens, fewer than the model's maximum, since no more keys and values fit (max_model_len)");
    } else {
      require_pages(options, limits, page, left);
    }
    limits.pages = static_cast<int>(std::min<std::int64_t>(left / page, SessionLimits::most_pages));
    needs.pages = page * limits.pages;
    print(needs, limits, options.quantization);
  }
  /// errors  if `left` bytes do not hold one sequence of the context's length: io::UsageError if the operator chose
  ///         them, lamina::Error if no more memory is free; with the least that would do, and the length that fits
  static void require_pages(const EngineOptions& options, const SessionLimits& limits, std::int64_t page,
                            std::int64_t left) {
    const std::int64_t pages = limits.pages_per_row(), fits = std::max<std::int64_t>(left / page, 0);
    if (fits >= pages) return;
    const std::string needs = cat("a sequence of ", limits.context_tokens, " tokens needs ", pages,
                                  " pages of keys and values, ", page * pages, " bytes");
    const std::string shorter = fits > 0 ? cat(" or set max_model_len to at most ", fits * limits.page_tokens) : "";
    if (options.pages > 0)
      io::usage("num_gpu_blocks_override: is ", options.pages, ": ", needs, ": raise it to at least ", pages,
                shorter.empty() ? "" : cat(",", shorter));
    if (options.page_bytes > 0)
      io::usage("kv_cache_memory_bytes: is ", options.page_bytes, ": ", needs, ": raise it to at least ", page * pages,
                shorter.empty() ? "" : cat(",", shorter));
    fail("memory: ", needs, ", and ", std::max<std::int64_t>(left, 0), " are left for them: free memory",
         shorter.empty() ? ", since not even one page fits" : shorter);
  }
  /// A rank's memory: of a GPU of its own, or of the host that ranks share. What the poorest rank has is what all have.
  std::int64_t total_bytes() {
    return group_.least(device_.total_bytes() / (Device<B>::runs_ahead ? 1 : group_.place().local_size));
  }
  /// What the operator's share of the device leaves to this process.
  std::int64_t budget_bytes(const EngineOptions& options) {
    const std::int64_t total = total_bytes();
    const auto share = static_cast<std::int64_t>(options.memory_share * static_cast<double>(total));
    return share + group_.least(device_.free_bytes() - device_.total_bytes());
  }
  void print(const MemoryNeeds& needs, const SessionLimits& limits, const Quantization& quantization) const {
    const auto mib = [](std::int64_t bytes) { return cat(bytes >> 20, " MiB"); };
    const std::string stored = quantization ? cat(" (the decoder's matrices ", name_of(quantization), ")") : "";
    const std::string adapters =
        limits.adapter_slots > 0 ? cat(", ", limits.adapter_slots, " adapters ", mib(needs.adapters)) : "";
    log_info("memory", group_.size() > 1 ? cat(" of each of ", group_.size(), " ranks") : "", ": weights ",
             mib(needs.weights), stored, adapters, ", keys and values ", mib(needs.pages), " (", limits.pages,
             " pages of ", limits.page_tokens, " tokens), images ", mib(needs.images), ", scratch ", mib(needs.scratch),
             ": ", mib(needs.total()), " in all");
  }
  std::vector<int> graph_rows(const EngineOptions& options) const {
    if (options.eager) return {};
    std::vector<int> rows = options.graph_rows;
    if (rows.empty()) rows = {1, 2, 4, 8, 16, 24, 32, 48, 64, 96, 128, 192, 256};
    std::sort(rows.begin(), rows.end());
    rows.erase(std::remove_if(rows.begin(), rows.end(), [&](int n) { return n < 1 || n > limits_.rows; }), rows.end());
    return rows;
  }

  parallel::Group& group_;
  Device<B> device_;
  parallel::DeviceGroup<B> ranks_;
  int processors_ = own_processors(group_);  ///< 0: as many as this process may use
  Weights<Model, T, B> weights_;
  AdapterMemory<T, B> adapters_;
  SessionLimits limits_;
  std::unique_ptr<Runner<Model, T, B>> runner_;        ///< of the first rank
  std::unique_ptr<RankRunner<Model, T, B>> follower_;  ///< of the others
};

}  // namespace lamina::engine
