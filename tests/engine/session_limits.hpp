#pragma once
#include <lamina/engine/schedule/scheduler_limits.hpp>
#include <lamina/engine/session.hpp>

namespace lamina::testing {

/// What a runner needs for a scheduler of these limits, with so many pages and room for six images of eight rows.
inline engine::SessionLimits session_limits(const engine::SchedulerLimits& limits, int pages) {
  return {.rows = limits.rows,
          .step_tokens = limits.step_tokens,
          .context_tokens = limits.context_tokens,
          .step_image_tokens = limits.step_image_tokens,
          .scored_tokens = limits.scored_tokens,
          .pages = pages,
          .page_tokens = limits.page_tokens,
          .image_blocks = 6,
          .image_block_rows = 8,
          .adapter_slots = limits.adapter_slots};
}

}  // namespace lamina::testing
