#pragma once
#include <unistd.h>

#include <algorithm>
#include <array>
#include <string>
#include <vector>

#include <lamina/core/error.hpp>
#include <lamina/core/machine/resources.hpp>
#include <lamina/parallel/group.hpp>

namespace lamina::parallel {

inline std::string host_name() {
  std::array<char, 256> name{};
  ::gethostname(name.data(), name.size() - 1);
  return name.data();
}

/// Processors that this rank may keep busy: those that it may use, divided by the ranks of its host that may use the
/// same ones. Every rank calls it.
inline int own_processors(Group& group) {
  std::string mine = host_name();
  for (const unsigned long word : lamina::detail::affinity_mask()) mine += cat(" ", word);
  const std::vector<std::string> all = group.all_gather(mine);
  const auto sharers = static_cast<int>(std::count(all.begin(), all.end(), mine));
  return std::max(1, available_processors() / sharers);
}

}  // namespace lamina::parallel
