#pragma once
#include <fmt/format.h>
#include <cstdint>
#include <ostream>
#include <string_view>
#include <utility>

#include <lamina/model/train_session.hpp>
#include <lamina/train/memory_advice.hpp>

namespace lamina::train {

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
  if (plan.free > 0 && plan.free < plan.total()) {
    row("free on the device", plan.free);
    out << "warning: that is more than is free. What lowers it: " << what_lowers_memory << "\n";
  }
  out << std::flush;
}

}  // namespace lamina::train
