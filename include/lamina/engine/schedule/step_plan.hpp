#pragma once
#include <algorithm>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include <lamina/engine/adapters/adapter.hpp>
#include <lamina/engine/request/request.hpp>
#include <lamina/engine/step/sampler.hpp>

/// One step of the engine as plain data: what the scheduler decides, what a runner does, what comes back.
namespace lamina::engine {

/// Tokens of one sequence that a step reads: its tokens [first, first + count).
struct StepRow {
  RequestId id = 0;
  int row = 0;  ///< the sequence's place among the runner's request rows
  int first = 0, count = 0;
  bool samples = false;                ///< the last of them is the newest token: the step chooses the next one
  std::vector<ImageSpan> images = {};  ///< those that these tokens show, whole or in part
  bool prompt = false;                 ///< they are of the prompt
  int adapter_slot = -1;               ///< of the request's adapter; negative: it has none
  int scored = 0;                      ///< after so many of them, the first ones, the prompt's next token is scored

  /// Whether this is decoding, which has a kernel of its own. A prompt's last token is not, if it comes alone: its
  /// result does not depend on how the prompt was cut.
  bool decodes() const { return count == 1 && samples && !prompt; }
};

/// A sequence enters a row. Its pages follow as PageEdits.
struct RowStart {
  RequestId id = 0;
  int row = 0;
  int cached = 0;           ///< tokens whose keys and values are in its pages already
  std::vector<int> tokens;  ///< all tokens known so far: the prompt, and after a preemption what was generated
};

/// Entry `index` of a row's page table becomes `page`.
struct PageEdit {
  int row = 0, index = 0, page = 0;
};

/// An adapter that is loaded before anything else is done.
struct AdapterLoad {
  int slot = 0;
  std::shared_ptr<const LoadedAdapter> adapter;
};

/// An image that is encoded before the rows are read; `request` holds it.
struct ImageEncode {
  RequestId request = 0;
  ImageSpan image;
  int adapter_slot = -1;  ///< of an adapter that changes the vision tower or the projector; negative: there is none
};

/// How many rows of a step are computed by what.
struct StepShape {
  int tokens = 0, singles = 0, chunks = 0, sampled = 0, visuals = 0, scored = 0;
};

/// What one step does, in this order: adapters, edits of rows and page tables, images, then all rows at once.
struct StepPlan {
  std::uint64_t number = 0;  ///< counts up by one
  std::vector<AdapterLoad> adapters;
  std::vector<RowStart> starts;
  std::vector<PageEdit> pages;
  std::vector<ImageEncode> images;
  std::vector<StepRow> rows;  ///< first those that decode, then chunks
  int tokens = 0;             ///< sum of the rows' counts
  int image_tokens = 0;       ///< sum of the images' tokens
  int scored_tokens = 0;      ///< sum of the rows' scored
  bool empty() const { return rows.empty() && starts.empty() && pages.empty(); }
  bool has_adapters() const {
    return std::any_of(rows.begin(), rows.end(), [](const StepRow& row) { return row.adapter_slot >= 0; });
  }
  StepShape shape() const {
    StepShape shape;
    for (const StepRow& row : rows) {
      shape.tokens += row.count;
      ++(row.decodes() ? shape.singles : shape.chunks);
      shape.sampled += row.samples;
      shape.scored += row.scored;
      for (const ImageSpan& image : row.images)
        shape.visuals += std::min(image.first + image.tokens, row.first + row.count) - std::max(image.first, row.first);
    }
    return shape;
  }
};

/// The token that a row of a step chose; negative if there is none: `error` says why, or the logits were not finite
/// numbers.
struct Chosen {
  RequestId id = 0;
  int token = 0;
  double logprob = 0;                  ///< of the token, if the request asks for logprobs
  std::vector<TokenLogprob> top = {};  ///< the alternatives that the request asks for
  std::string error = {};
};
/// Logprobs of tokens of a prompt: of those that follow the tokens which a row of a step scored, in their order.
struct PromptScores {
  RequestId id = 0;
  int first = 0;  ///< place of the first of them in the prompt
  std::vector<Sampled> tokens;
};
struct StepChoices {
  std::uint64_t number = 0;
  std::vector<Chosen> chosen;             ///< one for each row that samples, in their order
  std::vector<PromptScores> scores = {};  ///< one for each row that scores, in their order
};

/// What became of a token that a step chose.
struct Arrival {
  RequestId id = 0;
  int token = 0;       ///< negative: the logits were not finite numbers, the request has been removed
  bool ended = false;  ///< max_tokens or the context is reached, the request has been removed
};

}  // namespace lamina::engine
