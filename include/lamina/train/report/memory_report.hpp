#pragma once
#include <fmt/format.h>

#include <cstdint>
#include <ostream>
#include <string_view>
#include <utility>

#include <lamina/model/train_session.hpp>
#include <lamina/train/memory_advice.hpp>

namespace lamina::train {

/// Prints what dividing gradients among processes saves.
inline void print_divided(std::ostream& out, std::int64_t left_out_bytes) {
  if (left_out_bytes > 0)
    out << "Each process keeps the gradients that it updates with, and room for those that backward works on: "
        << fmt::format("{:.1f}", static_cast<double>(left_out_bytes) / (1 << 20)) << " MiB less than all of them\n";
  else
    out << "Gradients stay whole on each process: divided they would take no less, with the room that backward needs\n";
}

/// Prints what a run needs at its largest step, and says so if the host has less, with the settings that would help.
inline void print_memory(std::ostream& out, const MemoryPlan& plan, std::int64_t tokens, std::int64_t sequences,
                         std::int64_t patches) {
  out << "Memory plan for the largest step: " << tokens << " tokens in " << sequences << " sequences, " << patches
      << " image patches\n";
  const auto row = [&](std::string_view name, std::int64_t bytes) {
    out << fmt::format("  {:<24} {:12.1f} MiB\n", name, static_cast<double>(bytes) / (1 << 20));
  };
  row("weights", plan.weights);
  for (const StoredWeights& part : plan.stored) row("  " + part.as, part.bytes);
  for (const auto& [name, bytes] :
       {std::pair{"trainable weights", plan.trainable}, std::pair{"gradients", plan.gradients},
        std::pair{"optimizer", plan.optimizer}, std::pair{"saved for backward", plan.saved},
        std::pair{"workspace", plan.workspace}})
    row(name, bytes);
  row("total", plan.total());
  if (plan.in_use > 0) row("on the GPU before", plan.in_use);
  if (plan.gradients_left_out) print_divided(out, *plan.gradients_left_out);
  if (plan.free > 0 && plan.free < plan.total()) {
    row("free on the device", plan.free);
    out << "warning: that is more than is free. What lowers it: " << what_lowers_memory << "\n";
  }
  out << std::flush;
}

}  // namespace lamina::train
