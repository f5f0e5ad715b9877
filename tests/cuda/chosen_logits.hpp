#pragma once
#include <map>
#include <memory>
#include <vector>

#include <lamina/engine/schedule/scheduler.hpp>
#include <lamina/engine/step/runner.hpp>

#include "engine/prompts.hpp"

namespace lamina::testing {

/// The logits of every token that a request chooses, by request: of twelve requests that share steps, or that come one
/// by one. adapter_of(id) is a request's adapter.
template <class Model, class R, class AdapterOf>
std::map<engine::RequestId, std::vector<float>> chosen_logits(R& runner, const engine::SchedulerLimits& limits,
                                                              const engine::SessionLimits& memory, bool one_by_one,
                                                              AdapterOf adapter_of) {
  using namespace engine;
  PagePool pool(memory.pages);
  ImageRows images(memory.image_blocks, memory.image_block_rows);
  Scheduler scheduler(limits, pool, images);
  std::map<RequestId, std::vector<float>> out;
  const auto run = [&] {
    while (scheduler.running() + scheduler.waiting() > 0) {
      runner.start(scheduler.plan(), images);
      const StepChoices choices = runner.finish();
      const std::vector<float> logits = runner.logits();
      auto row = logits.begin();
      for (const Chosen& chosen : choices.chosen) {
        out[chosen.id].insert(out[chosen.id].end(), row, row + Model::vocab_size);
        row += Model::vocab_size;
      }
      scheduler.received(choices);
    }
  };
  for (RequestId id = 1; id <= 12; ++id) {
    const Batch prompt = random_prompt<Model>(static_cast<unsigned>(id));
    scheduler.add({.id = id,
                   .tokens = prompt.ids,
                   .images = spans_of(prompt, Model::visual_tokens, Model::patch_width),
                   .max_tokens = 8,
                   .adapter = adapter_of(id)});
    runner.begin(id, std::make_shared<Batch>(prompt), {.temperature = 0});
    if (one_by_one) run();
  }
  run();
  return out;
}

}  // namespace lamina::testing
