#pragma once
#include <algorithm>
#include <bit>
#include <cstdint>
#include <vector>

#include <lamina/core/error.hpp>
#include <lamina/model/train_session.hpp>
#include <lamina/parallel/group.hpp>

namespace lamina::train {

/// FNV-1a of the bits of all trained values.
inline std::int64_t weights_hash(TrainSession& session) {
  std::uint64_t hash = 14695981039346656037u;
  for (const TrainableTensor& t : session.trainable())
    for (const float value : t.value) hash = (hash ^ std::bit_cast<std::uint32_t>(value)) * 1099511628211u;
  return std::bit_cast<std::int64_t>(hash);
}

/// Error if the ranks' weights are not the same to the bit: each rank would train a model of its own.
inline void require_same_weights(TrainSession& session, parallel::Group& group) {
  if (group.size() == 1) return;
  const std::int64_t mine = weights_hash(session);
  std::vector<std::int64_t> all(static_cast<std::size_t>(group.size()));
  group.all_gather(std::as_bytes(std::span(&mine, 1)), std::as_writable_bytes(std::span(all)));
  for (std::size_t rank = 1; rank < all.size(); ++rank)
    if (all[rank] != all[0])
      fail("the weights of rank ", rank, " are not those of rank 0: do all processes read the same model, the same ",
           "data and the same checkpoint, with the same program?");
}

}  // namespace lamina::train
