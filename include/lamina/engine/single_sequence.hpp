#pragma once
#include <algorithm>
#include <utility>
#include <vector>

#include <lamina/engine/step/runner.hpp>

namespace lamina::engine {

/// One sequence at a time on a model of one's own: logits of a prompt, then of one token after the other. What serves
/// many is the Scheduler; this is for experiments, tests and benchmarks.
template <class Model, Real T = float, Backend B = Cpu>
class SingleSequence {
 public:
  /// device and weights outlive it. capacity: the most tokens of a sequence. cells: the most merged cells of its
  /// images, if the model makes fewer tokens of them (compose/cross.hpp).
  SingleSequence(Device<B>& device, const Weights<Model, T, B>& weights, VisionTokens vision_tokens, int capacity,
                 int cells = 0)
      : vision_tokens_(vision_tokens),
        limits_(limits_for(capacity, std::max(capacity, cells))),
        images_(limits_.image_blocks, limits_.image_block_rows),
        runner_({device, weights}, vision_tokens, limits_, {1}) {}

  /// Logits (V) after the prompt, one sequence with its images. Forgets the sequence before it.
  /// errors  lamina::Error if the prompt is longer than the capacity, or placeholders and images do not match.
  std::vector<float> prefill(const Batch& prompt) {
    length_ = static_cast<int>(prompt.ids.size());
    if (length_ > limits_.context_tokens)
      fail("the prompt has ", length_, " tokens, the capacity is ", limits_.context_tokens);
    runner_.end(id_++);
    runner_.begin(id_, std::make_shared<Batch>(prompt), {.temperature = 0});
    StepPlan plan;
    plan.starts.push_back({id_, 0, 0, prompt.ids});
    for (int page = 0; page < limits_.pages; ++page) plan.pages.push_back({0, page, page});
    const std::vector<ImageSpan> spans = hold_images(prompt, plan);
    plan.rows.push_back({id_, 0, 0, length_, true, spans});
    return run(plan);
  }
  /// Logits (V) after one more token.
  std::vector<float> decode(int id) {
    if (length_ == limits_.context_tokens) fail("the sequence is full: ", length_, " tokens");
    runner_.set_newest(0, id);
    StepPlan plan;
    plan.rows.push_back({id_, 0, length_++, 1, true});
    return run(plan);
  }

 private:
  static SessionLimits limits_for(int capacity, int cells) {
    constexpr int page_tokens = 64;
    const int pages = (capacity + page_tokens - 1) / page_tokens;
    return {.rows = 1,
            .step_tokens = capacity,
            .context_tokens = capacity,
            .step_image_tokens = cells,
            .pages = pages,
            .page_tokens = page_tokens,
            .image_blocks = capacity,
            .image_block_rows = 1};
  }
  /// Every image of the prompt is a new one.
  std::vector<ImageSpan> hold_images(const Batch& prompt, StepPlan& plan) {
    std::vector<ImageSpan> spans;
    images_ = ImageRows(limits_.image_blocks, limits_.image_block_rows);
    int token = 0;
    for (const Grid& grid : prompt.grids) {
      while (token < length_ && !vision_tokens_(prompt.ids[static_cast<std::size_t>(token)])) ++token;
      ImageSpan span = span_of({}, token, grid, Model::visual_tokens);
      span.hash[0] = static_cast<std::uint8_t>(spans.size());
      span.hash[1] = static_cast<std::uint8_t>(spans.size() >> 8);
      images_.hold(span.hash, span.tokens);
      plan.images.push_back({id_, span});
      token += span.tokens;
      spans.push_back(span);
    }
    return spans;
  }
  std::vector<float> run(StepPlan& plan) {
    plan.number = ++steps_;
    runner_.start(plan, images_);
    runner_.finish();
    return runner_.logits();
  }

  VisionTokens vision_tokens_;
  SessionLimits limits_;
  ImageRows images_;
  Runner<Model, T, B> runner_;
  RequestId id_ = 0;
  std::uint64_t steps_ = 0;
  int length_ = 0;
};

}  // namespace lamina::engine
