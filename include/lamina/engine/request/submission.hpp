#pragma once
#include <algorithm>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include <lamina/core/batch.hpp>
#include <lamina/core/error.hpp>
#include <lamina/engine/images/images.hpp>
#include <lamina/engine/request/listener.hpp>
#include <lamina/engine/request/request.hpp>
#include <lamina/engine/session.hpp>
#include <lamina/engine/statistics.hpp>
#include <lamina/engine/step/sampler.hpp>

namespace lamina::engine {

/// A request as a program submits it. One for n answers is n of these, which may share the prompt.
struct Submission {
  std::shared_ptr<const Batch> prompt;                ///< one sequence; kept until the request ends
  std::vector<ImageSpan> images = {};                 ///< of the prompt, in the order of their tokens
  SamplingParams sampling = {};                       ///< the answer ends with one of its `ends`
  int max_tokens = 16;                                ///< of the answer, at least 1; the context is the other limit
  int priority = 0;                                   ///< smaller is served first; equal ones in the order of arrival
  std::string scope = {};                             ///< only requests of equal scope share computed pages
  std::shared_ptr<const LoadedAdapter> adapter = {};  ///< null: the model as it is
  std::shared_ptr<RequestListener> listener;
  bool admitted = false;  ///< it is a part of something that was taken already: what waits is not bounded
  RequestTimes::Clock::time_point arrived = RequestTimes::Clock::now();
};

/// What the operator chose about the order of work and about what may wait.
struct EngineLimits {
  bool prefix_cache = true;
  int prompt_chunk_tokens = 0;                       ///< a step reads at most so many tokens of one prompt; 0: no limit
  int waiting_requests = 1024;                       ///< that have not started
  std::int64_t waiting_tokens = 16 << 20;            ///< of their prompts
  std::int64_t patch_bytes = std::int64_t{8} << 30;  ///< of all prompts, until their requests end
  int streamers = 1;                                 ///< threads that call listeners
};

/// The engine has no room for a request now; it may have later.
struct Overloaded : Error {
  using Error::Error;
};

/// errors  lamina::Error if it could never run.
inline void check_submission(const Submission& submission, const SessionLimits& sizes, const ImageRows& images) {
  const auto tokens = static_cast<int>(submission.prompt->ids.size());
  if (tokens < 1 || tokens >= sizes.context_tokens)
    fail("request: the prompt has ", tokens, " tokens; wanted 1 to ", sizes.context_tokens - 1,
         ", so that the context of ", sizes.context_tokens, " has room for an answer");
  for (const ImageSpan& image : submission.images)
    if (images.blocks_for(image.tokens) > images.total_blocks())
      fail("request: an image of ", image.tokens, " tokens is larger than the image cache of ",
           images.total_blocks() * sizes.image_block_rows, " tokens");
  if (submission.adapter && sizes.adapter_slots == 0) fail("request: an adapter, and the session takes none");
  const auto& sampling = submission.sampling;
  const auto& allowed = sampling.allowed_token_ids;
  const auto ends = [&](int id) {
    return std::find(sampling.ends.begin(), sampling.ends.end(), id) != sampling.ends.end();
  };
  if (sampling.min_tokens > 0 && !allowed.empty() && std::all_of(allowed.begin(), allowed.end(), ends))
    fail("request: every token is excluded by allowed_token_ids and min_tokens");
}

}  // namespace lamina::engine
