#pragma once
#include <cstdint>
#include <span>
#include <vector>

#include <lamina/core/error.hpp>
#include <lamina/model/train_session.hpp>
#include <lamina/parallel/group.hpp>

namespace lamina::train {

/// Error if the ranks' weights are not the same to the bit: each rank would train a model of its own.
inline void require_same_weights(TrainSession& session, parallel::Group& group) {
  if (group.size() == 1) return;
  const std::uint64_t mine = session.weights_hash();
  std::vector<std::uint64_t> all(static_cast<std::size_t>(group.size()));
  group.all_gather(std::as_bytes(std::span(&mine, 1)), std::as_writable_bytes(std::span(all)));
  for (std::size_t rank = 1; rank < all.size(); ++rank)
    if (all[rank] != all[0])
      fail("the weights of rank ", rank, " are not those of rank 0: do all processes read the same model, the same ",
           "data and the same checkpoint, with the same program?");
}

}  // namespace lamina::train
