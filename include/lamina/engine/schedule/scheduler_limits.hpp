#pragma once
#include <lamina/core/error.hpp>

namespace lamina::engine {

struct SchedulerLimits {
  int rows = 256;                ///< sequences that run at once
  int step_tokens = 8192;        ///< tokens that one step reads, at least `rows`
  int page_tokens = 64;          ///< tokens of a page
  int context_tokens = 32768;    ///< prompt and answer together
  int prompt_chunk_tokens = 0;   ///< a step reads at most so many tokens of one prompt; 0: as many as fit
  int step_image_tokens = 8192;  ///< image tokens that one step encodes; a larger image is encoded alone
  int scored_tokens = 256;       ///< tokens of prompts whose logprobs one step computes, at least 1
  int adapter_slots = 0;         ///< different adapters that one step may have
  int window = 0;                ///< a token reads so many, itself and those before it; 0: all before it
  bool prefix_cache = true;      ///< prompts reuse pages that others computed
};

/// errors  lamina::Error if limits contradict each other, or if a sequence of context_tokens does not fit the pages.
inline void check(const SchedulerLimits& limits, int pages) {
  if (limits.rows < 1 || limits.page_tokens < 1 || limits.context_tokens < 2 || limits.step_image_tokens < 1)
    fail("scheduler: rows, page_tokens, step_image_tokens must be at least 1 and context_tokens at least 2");
  if (limits.window < 0) fail("scheduler: a window of ", limits.window, " tokens; wanted 0, for none, or more");
  if (limits.scored_tokens < 1) fail("scheduler: scored_tokens is ", limits.scored_tokens, "; it must be at least 1");
  if (limits.step_tokens < limits.rows)
    fail("scheduler: ", limits.step_tokens, " tokens per step (max_num_batched_tokens) are fewer than ", limits.rows,
         " rows (max_num_seqs): each running sequence reads one token per step");
  const int needed = (limits.context_tokens + limits.page_tokens - 1) / limits.page_tokens;
  if (needed > pages)
    fail("scheduler: a sequence of ", limits.context_tokens, " tokens (max_model_len) needs ", needed, " pages of ",
         limits.page_tokens, " tokens and there are ", pages, ": lower max_model_len to ", pages * limits.page_tokens,
         " or give the cache more memory");
}

}  // namespace lamina::engine
