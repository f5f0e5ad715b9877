#pragma once
#include <array>
#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include <lamina/compose/plan/staging.hpp>
#include <lamina/compose/plan/tables.hpp>
#include <lamina/compose/plan/weights.hpp>
#include <lamina/engine/adapters/adapter_memory.hpp>
#include <lamina/engine/session.hpp>
#include <lamina/engine/step/model_step.hpp>
#include <lamina/engine/step/step_inputs.hpp>
#include <lamina/engine/step/step_work.hpp>
#include <lamina/kernel/attention/paged_attention.hpp>
#include <lamina/kernel/device.hpp>
#include <lamina/parallel/gpu/device_group.hpp>

namespace lamina::engine {

/// What a runner works on. All outlives it.
template <class Model, Real T, Backend B>
struct RunnerParts {
  Device<B>& device;
  const Weights<Model, T, B>& weights;
  AdapterMemory<T, B>* adapters = nullptr;    ///< null: there are none
  parallel::DeviceGroup<B>* ranks = nullptr;  ///< that share the model; null: it is whole
};

/// What every rank of a model does of a step: owns the bytes of all pages, the images' rows, scratch and what was
/// recorded. Reads a step's numbers and leaves its logits; who they are for is Runner's. One thread.
template <class Model, Real T, Backend B>
class RankRunner {
 public:
  using Parts = RunnerParts<Model, T, B>;
  /// The host's memory for a step under way.
  struct HostBuffer {
    Arena arena;
    int* told = nullptr;
    kernel::RowLogprobs* scores = nullptr;
    std::byte* inputs = nullptr;
    typename Device<B>::Mark done;
  };

  /// Bytes of a page of keys and values, all layers.
  static std::size_t page_bytes(int page_tokens) {
    return sizeof(T) * 2 * ModelStep<Model, T, B>::layers * ModelStep<Model, T, B>::page_elements(page_tokens);
  }
  /// Bytes of a stored row of an image.
  static constexpr std::size_t image_row_bytes = sizeof(T) * Model::hidden_size * (1 + Model::tap_count);
  /// Bytes of everything else that a runner takes: scratch of the largest step, and what steps read.
  static std::size_t other_bytes(Device<B>& device, const Parameter* parameters, const SessionLimits& limits) {
    ModelStep<Model, T, B> step(device, limits, false);
    Arena counting;
    step.place(counting, limits);
    return counting.used_bytes() + step.scratch_bytes(parameters, limits);
  }

  RankRunner(const Parts& parts, const SessionLimits& limits, bool batch_invariant);

  const SessionLimits& limits() const { return limits_; }
  Device<B>& device() const { return parts_.device; }
  /// How many ranks share the model, and which this is.
  parallel::DeviceGroup<B>* ranks() const { return parts_.ranks; }
  ModelStep<Model, T, B>& step() { return step_; }
  const StepLogits<T>& logits() const { return logits_; }
  /// Whether rows without adapters run the same kernels as those with.
  bool always_adapted() const { return always_adapted_; }
  /// Memory for the next step: of two, in turns.
  HostBuffer& buffer(std::uint64_t step) { return buffers_[step % 2]; }

  /// An adapter that rank 0 tells of, as this rank loads it.
  std::shared_ptr<const LoadedAdapter> prepare(const checkpoint::AdapterLayers& layers) const {
    return parts_.adapters->prepare("", layers);
  }
  /// Loads adapters, encodes images, and computes the step's logits; returns what it reads, at the backend's copy.
  StepInputs run(const StepWork& work) {
    load(work.adapters);
    encode(work.images);
    return compute(work);
  }

 private:
  void load(std::span<const AdapterLoad> adapters);
  void encode(const ImageWork& images);
  StepInputs compute(const StepWork& work);
  void run_or_repeat(int rows, const StepShape& shape, const StepInputs& in);
  static std::vector<Parameter> planned(const Parts& parts) {
    const auto& weights = parts.weights;
    std::vector<Parameter> parameters(weights.parameters(), weights.parameters() + weights.slots().size());
    return parts.adapters ? parts.adapters->planned(std::move(parameters)) : parameters;
  }
  const Parameter* parameters() const {
    return parts_.adapters ? parts_.adapters->parameters() : parts_.weights.parameters();
  }
  Run<B, typename ModelStep<Model, T, B>::Inference> running() {
    Stream<B> stream = parts_.device.stream(&scratch_);
    stream.ranks = parts_.ranks;
    return {stream, &scratch_, nullptr};
  }

  Parts parts_;
  bool always_adapted_;
  SessionLimits limits_;
  ModelStep<Model, T, B> step_;
  Arena cache_block_, image_block_, step_block_, scratch_;
  std::array<HostBuffer, 2> buffers_;
  struct Recorded {
    StepLogits<T> logits;
    Recorder<B> recorder;
  };
  std::map<std::pair<int, bool>, Recorded> recorded_;  ///< by row count and by whether rows have adapters
  StepLogits<T> logits_;
  Tables<Model> tables_;
  Staging<B> staging_;
  typename Device<B>::Mark staged_;  ///< behind the images' upload
};

template <class Model, Real T, Backend B>
RankRunner<Model, T, B>::RankRunner(const Parts& parts, const SessionLimits& limits, bool batch_invariant)
    : parts_(parts),
      always_adapted_(parts.adapters && batch_invariant),
      limits_(limits),
      step_(parts.device, limits, batch_invariant),
      cache_block_(page_bytes(limits.page_tokens) * static_cast<std::size_t>(limits.pages), Memory<B>{}),
      scratch_(step_.scratch_bytes(planned(parts).data(), limits), Memory<B>{}) {
  step_.place_pages(cache_block_, limits);
  const auto allocate = [](auto place) {
    Arena counting;
    place(counting);
    Arena block(counting.peak_bytes(), Memory<B>{});
    place(block);
    return block;
  };
  image_block_ = allocate([&](Arena& arena) { step_.place_images(arena, limits); });
  step_block_ = allocate([&](Arena& arena) { step_.place(arena, limits); });
  const Stream<B> s = parts.device.stream();
  const std::vector<float> turns = tables_.rotary_rows(limits.context_tokens);
  Memory<B>::upload(s, step_.turns.data, turns.data(), sizeof(float) * turns.size());
  Memory<B>::zero(
      s, step_.entries,
      sizeof(int) * static_cast<std::size_t>(limits.rows) * static_cast<std::size_t>(limits.pages_per_row()));
  const std::size_t input_bytes = StepInputs::bytes_of(step_.largest(limits)),
                    rows = static_cast<std::size_t>(limits.rows),
                    scores = rows + static_cast<std::size_t>(limits.scored_tokens);
  for (HostBuffer& buffer : buffers_) {
    buffer.arena = Arena::staging(
        input_bytes + sizeof(int) * rows + sizeof(kernel::RowLogprobs) * scores + 2 * Arena::alignment, Memory<B>{});
    buffer.told = buffer.arena.template take<int>(rows);
    buffer.scores = buffer.arena.template take<kernel::RowLogprobs>(scores);
    buffer.inputs = buffer.arena.template take<std::byte>(input_bytes);
  }
}

template <class Model, Real T, Backend B>
void RankRunner<Model, T, B>::load(std::span<const AdapterLoad> adapters) {
  if (parts_.adapters && parts_.adapters->load(parts_.device.stream(), adapters))
    std::erase_if(recorded_, [](const auto& step) { return step.first.second; });
}

/// The tower on all new images at once; its rows go to the blocks that were reserved for them.
template <class Model, Real T, Backend B>
void RankRunner<Model, T, B>::encode(const ImageWork& images) {
  if (images.grids.empty()) return;
  staged_.wait();  // the host's copy of the images before these may still be read
  Input<T> in = tables_.template build_images<T>(images.grids);
  const int* index = images.to.data();
  staging_.add(in, images.patches, Model::visual_tokens);
  staging_.add(index, images.to.size());
  if (!images.adapter_slots.empty()) {
    in.vision.term_slots = images.adapter_slots.data();
    staging_.add(in.vision.term_slots, images.adapter_slots.size());
  }
  staging_.send(parts_.device.stream());
  staged_.set(parts_.device.stream());
  step_.encode(running(), parameters(), in, index, static_cast<int>(images.to.size()));
}

template <class Model, Real T, Backend B>
StepInputs RankRunner<Model, T, B>::compute(const StepWork& work) {
  const StepInputs in = StepInputs::in(step_.inputs, work.sizes);
  const Stream<B> s = parts_.device.stream();
  Memory<B>::upload_later(s, step_.inputs, work.inputs.data(), work.inputs.size());
  kernel::paged_attention<B>::edit(
      s, kernel::PageTableEdits{.entries = step_.entries, .at = in.edits_at, .page = in.edits_to, .count = work.edits});
  if (work.shape.tokens == 0) return in;
  if (work.recorded_rows > 0)
    run_or_repeat(work.recorded_rows, work.shape, in);
  else
    logits_ = step_.run(running(), parameters(), work.shape, in);
  return in;
}
/// The first step of a row count runs as it is, so that nothing is left to be loaded; the second is recorded.
template <class Model, Real T, Backend B>
void RankRunner<Model, T, B>::run_or_repeat(int rows, const StepShape& shape, const StepInputs& in) {
  Recorded& recorded = recorded_[{rows, in.adapter_slots != nullptr}];
  const auto launch = [&] { recorded.logits = step_.run(running(), parameters(), shape, in); };
  if (recorded.recorder.ready()) recorded.recorder.record(parts_.device, launch);
  recorded.recorder.run(parts_.device, launch);
  logits_ = recorded.logits;
}

}  // namespace lamina::engine
