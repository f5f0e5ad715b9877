#pragma once
#include <cstdint>
#include <cstring>
#include <string>

#include <lamina/engine/step/rank_runner.hpp>
#include <lamina/engine/step/step_work.hpp>

namespace lamina::engine {

/// What the ranks beyond the first do: the steps that rank 0's Runner tells of, until it says that there are no more.
template <class Model, Real T, Backend B>
void follow(RankRunner<Model, T, B>& rank) {
  for (std::uint64_t step = 0;; ++step) {
    const std::string message = rank.ranks()->group().broadcast(std::string());
    if (message == no_more_steps) return rank.device().wait();
    ReceivedWork received(message);
    auto& buffer = rank.buffer(step);
    buffer.done.wait();  // what the step before last has read
    std::memcpy(buffer.inputs, received.inputs.data(), received.inputs.size());
    received.work.inputs = {buffer.inputs, received.inputs.size()};
    for (const auto& [slot, layers] : received.adapters) received.work.adapters.push_back({slot, rank.prepare(layers)});
    rank.run(received.work);
    buffer.done.set(rank.device().stream());
  }
}

}  // namespace lamina::engine
