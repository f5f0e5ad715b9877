#pragma once
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <lamina/checkpoint/load_weights.hpp>
#include <lamina/core/batch.hpp>
#include <lamina/core/quantization/format.hpp>
#include <lamina/core/tensor/dtype.hpp>
#include <lamina/engine/images/images.hpp>
#include <lamina/engine/schedule/step_plan.hpp>
#include <lamina/engine/step/sampler.hpp>
#include <lamina/parallel/group.hpp>

/// The seam between the engine and models: type-erased, and free of JSON, so that translation units which hold a model
/// can include it. engine/model_session.hpp implements it for every composition that is compiled in.
namespace lamina::engine {

/// What the operator chose. 0: the session decides.
struct EngineOptions {
  int max_model_len = 0;                        ///< 0: the checkpoint's max_position_embeddings, at most 32768
  std::optional<DType> dtype;                   ///< of the weights
  Quantization quantization;                    ///< of the decoder's matrices (frozen_storage())
  std::vector<std::filesystem::path> adapters;  ///< folded into the weights, in order
  std::string device = "auto";                  ///< as in TrainableOptions
  int local_rank = 0;                           ///< of this process on its host: which GPU it opens
  parallel::Group* group = &parallel::alone();  ///< the ranks that share the model; it outlives the session
  bool nccl_alone = false;                      ///< GPUs do not write to each other's memory
  int rows = 0;                                 ///< sequences that run at once; by default 256, on a CPU 16
  int step_tokens = 0;                          ///< tokens that one step reads, at least rows
  int page_tokens = 64;                         ///< 16, 32, 64 or 128
  double memory_share = 0.9;     ///< of the device's memory, that weights, scratch, images and pages may take
  std::int64_t page_bytes = 0;   ///< of all pages; by default what memory_share leaves
  int pages = 0;                 ///< overrides page_bytes
  std::int64_t image_bytes = 0;  ///< of the images' rows that are kept
  std::vector<int> graph_rows;   ///< row counts for which a step is recorded; empty: a set that fits rows
  bool eager = false;            ///< no step is recorded
  bool batch_invariant = false;  ///< every request gets the answer that it would get alone
  int adapter_slots = 0;         ///< different adapters that one step may have; 0: requests cannot name any
  int adapter_rank = 16;         ///< the largest rank of such an adapter
};

/// Sizes that a session has settled and allocated.
struct SessionLimits {
  int rows = 0, step_tokens = 0, context_tokens = 0;
  int step_image_tokens = 0;  ///< image tokens that one step encodes, the largest image among them
  int scored_tokens = 256;    ///< tokens of prompts that one step scores: it keeps a row of logits for each
  static constexpr int most_pages = 1 << 24;
  int pages = 0, page_tokens = 0;
  int image_blocks = 0, image_block_rows = 0;
  int adapter_slots = 0;
  /// Of keys and values a step reads so many tokens, from its first token back; 0: all. Pages before them may be
  /// given back.
  int window = 0;

  /// Pages that a sequence of context_tokens has.
  int pages_per_row() const { return (context_tokens + page_tokens - 1) / page_tokens; }
};

/// Runs the steps of a scheduler on one model. One thread.
///
/// Prompts are given once, with begin(); StepPlans then name them. A step chooses a token for each of its rows that
/// sample; the next step may name that row again before the token is known to the caller.
class EngineSession {
 public:
  virtual ~EngineSession() = default;
  virtual const SessionLimits& limits() const = 0;
  virtual int vocab_size() const = 0;
  virtual bool on_device() const { return false; }

  /// Takes a request: one sequence with its images, as ids and patches, which is kept until end().
  /// errors  lamina::Error if placeholders and images do not match, or a sampling parameter names no token.
  virtual void begin(RequestId id, std::shared_ptr<const Batch> prompt, const SamplingParams& sampling) = 0;
  /// Forgets a request. It may still be part of steps under way; their results for it mean nothing.
  virtual void end(RequestId id) = 0;

  /// An adapter that requests may name; called from any thread.
  /// errors  lamina::Error if it does not fit the model or a slot's rank, naming the layer
  virtual std::shared_ptr<const LoadedAdapter> prepare_adapter(const std::string& /*name*/,
                                                               const checkpoint::AdapterLayers&) const {
    fail("this session takes no adapters");
  }

  /// Begins a step; may return while it is under way. `images` says where each image's rows are stored.
  virtual void start(const StepPlan& plan, const ImageRows& images) = 0;
  /// Whether the next step may be started before finish() has returned the result of the last one.
  virtual bool may_start_ahead() const { return false; }
  /// Waits for the oldest step under way. A negative token: the logits were not finite numbers.
  virtual StepChoices finish() = 0;
  /// Logits (S, V) of the rows that sampled in the step that was started last, and of the tokens that it scored, until
  /// the next one is started.
  virtual std::vector<float> logits() = 0;

  /// What a rank beyond the first does instead of all of this: its share of rank 0's steps, until rank 0's session
  /// ends. errors  lamina::Error if a step fails; the other ranks cannot go on then
  virtual void follow() { fail("this session has no ranks"); }
};

}  // namespace lamina::engine
