#pragma once
#include <algorithm>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include <lamina/core/batch.hpp>
#include <lamina/engine/adapters/adapter.hpp>
#include <lamina/engine/schedule/pages.hpp>

namespace lamina::engine {

using RequestId = std::uint64_t;

/// Where a prompt shows an image: `tokens` placeholders from token `first` on.
struct ImageSpan {
  ImageHash hash;
  int first = 0, tokens = 0;
  int cells = 0;  ///< squares of merge x merge patches that the tower reads; most towers make a token of each

  /// What encoding it counts among SessionLimits::step_image_tokens.
  int cost() const { return std::max(tokens, cells); }
};

/// An image whose placeholders begin at token `first`.
inline ImageSpan span_of(const ImageHash& hash, int first, const Grid& grid, VisualTokens visual_tokens) {
  return {hash, first, visual_tokens(grid), grid.patches() / (visual_tokens.merge * visual_tokens.merge)};
}

/// One prompt and how long its answer may become. A request for n answers is n of these.
struct Request {
  RequestId id = 0;                    ///< unique among the requests that are here
  std::vector<int> tokens;             ///< the prompt, image placeholders expanded; at least one
  std::vector<ImageSpan> images = {};  ///< in the order of their tokens
  int max_tokens = 16;                 ///< of the answer, at least 1
  int priority = 0;                    ///< smaller is served first; equal ones in the order of arrival
  bool scores_prompt = false;          ///< logprobs of the prompt's tokens are asked for
  std::string scope = {};              ///< adapter and cache salt: only requests of equal scope share computed pages
  std::shared_ptr<const LoadedAdapter> adapter = {};  ///< null: the model as it is
};

}  // namespace lamina::engine
