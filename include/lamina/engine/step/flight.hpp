#pragma once
#include <cstddef>
#include <cstdint>
#include <vector>

#include <lamina/engine/schedule/step_plan.hpp>
#include <lamina/engine/step/adjust_inputs.hpp>
#include <lamina/engine/step/step_inputs.hpp>

namespace lamina::engine {

/// A row of a step that samples.
struct Draw {
  RequestId id = 0;
  int row = 0;
  bool by_host = false;
  int adjusted = -1;      ///< place among the step's adjusted rows; negative: it is none
  int alternatives = -1;  ///< that the backend finds with the token; negative: it finds no logprobs
};

/// A step under way.
struct Flight {
  std::uint64_t number = 0;
  std::vector<Draw> draws = {};
  std::vector<AdjustedRow> adjusted = {};
  std::vector<StepRow> scored = {};  ///< rows with tokens that are scored
  int logits = 0;                    ///< rows: of the draws, then of the scored tokens
  bool asks_logprobs = false;        ///< of the backend
  std::size_t buffer = 0;
  bool draws_later = false;  ///< its rules wait for the tokens of the step before
  StepInputs in = {};        ///< at the backend
};

}  // namespace lamina::engine
