#pragma once
#include <atomic>
#include <chrono>
#include <cmath>
#include <deque>
#include <limits>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <lamina/core/error.hpp>
#include <lamina/engine/session.hpp>
#include <lamina/serve/model_files.hpp>

namespace lamina::test {

/// The tiny model's directory: a real tokenizer and processor, no weights needed.
inline std::string tiny_model() { return LAMINA_SOURCE_DIR "/data/qwen3_vl_tiny"; }

/// What the fake model is to say; shared with the test, which may change it between requests.
struct Script {
  std::mutex mutex;
  std::vector<int> ids;                      ///< said in turn, then the last one for ever
  bool flat = false;                         ///< all tokens below 64 equally likely instead
  int nan_at = -1;                           ///< position whose logits hold a NaN
  std::chrono::milliseconds step{0};         ///< how long a step takes
  std::atomic<bool> hold_prefill{false};     ///< a step that reads the end of a prompt does not end
  std::atomic<int> held{0};                  ///< prompts in such a step
  std::atomic<int> prefills{0}, decodes{0};  ///< first and later tokens
  Batch last;
  std::string last_adapter;  ///< of the last prompt whose end was read; "" for none

  void say(const serve::ModelFiles& files, const std::string& text, bool end = true) {
    const std::lock_guard lock(mutex);
    ids = files.tokenizer.encode(text);
    if (end) ids.push_back(files.eos.front());
  }
};

/// A model that recites its script to every request, and samples as the CPU does.
class FakeSession final : public engine::EngineSession {
 public:
  FakeSession(Script& script, int vocab, int max_len, int rows, int adapter_slots = 0)
      : script_(script), logits_(static_cast<std::size_t>(vocab)) {
    limits_ = {.rows = rows,
               .step_tokens = std::max(max_len, rows),
               .context_tokens = max_len,
               .step_image_tokens = max_len,
               .pages = rows * (max_len / 16 + 1),
               .page_tokens = 16,
               .image_blocks = max_len / 16 + 1,
               .image_block_rows = 16,
               .adapter_slots = adapter_slots};
  }
  const engine::SessionLimits& limits() const override { return limits_; }
  int vocab_size() const override { return static_cast<int>(logits_.size()); }

  void begin(engine::RequestId id, std::shared_ptr<const Batch> prompt,
             const engine::SamplingParams& sampling) override {
    engine::Sampler sampler(sampling, prompt->ids, vocab_size());
    requests_.insert_or_assign(id, Request{std::move(prompt), std::move(sampler)});
  }
  void end(engine::RequestId id) override { requests_.erase(id); }
  /// Any adapter of a rank up to 8.
  std::shared_ptr<const engine::LoadedAdapter> prepare_adapter(const std::string& name,
                                                               const checkpoint::AdapterLayers& layers) const override {
    auto adapter = std::make_shared<engine::LoadedAdapter>();
    adapter->name = name, adapter->id = ++last_adapter_, adapter->modules = static_cast<int>(layers.size());
    for (const auto& [module, layer] : layers)
      if (layer.rank > 8) fail(module, ": the rank is ", layer.rank);
    return adapter;
  }
  void start(const engine::StepPlan& plan, const engine::ImageRows&) override {
    for (const engine::AdapterLoad& load : plan.adapters) adapters_[load.slot] = load.adapter->name;
    plan_ = plan;
  }
  std::vector<float> logits() override { fail("a fake has no logits"); }
  engine::StepChoices finish() override {
    int firsts = 0;
    for (const auto& row : plan_.rows) firsts += row.samples && requests_.at(row.id).position == 0;
    script_.held += firsts;
    while (firsts > 0 && script_.hold_prefill) std::this_thread::sleep_for(std::chrono::milliseconds(1));
    script_.held -= firsts;
    if (script_.step.count()) std::this_thread::sleep_for(script_.step);
    engine::StepChoices out{.number = plan_.number, .chosen = {}};
    const std::lock_guard lock(script_.mutex);
    for (const auto& row : plan_.rows) {
      if (row.scored > 0) out.scores.push_back(score(row, requests_.at(row.id)));
      if (row.samples && row.prompt) script_.last_adapter = row.adapter_slot < 0 ? "" : adapters_.at(row.adapter_slot);
      if (row.samples) out.chosen.push_back(choose(row.id, requests_.at(row.id)));
    }
    return out;
  }

 private:
  struct Request {
    std::shared_ptr<const Batch> prompt;
    engine::Sampler sampler;
    int position = 0;
  };
  /// Each token of a prompt is the most probable one, then the script's first.
  engine::PromptScores score(const engine::StepRow& row, const Request& request) {
    engine::PromptScores out{row.id, row.first + 1, {}};
    for (int i = out.first; i < out.first + row.scored; ++i) {
      const int token = request.prompt->ids[static_cast<std::size_t>(i)];
      std::fill(logits_.begin(), logits_.end(), 0.0f);
      logits_[static_cast<std::size_t>(script_.ids.front())] = 1;
      logits_[static_cast<std::size_t>(token)] = 2;
      out.tokens.push_back(engine::logprobs_of(logits_, token, *request.sampler.params().prompt_logprobs));
    }
    return out;
  }
  engine::Chosen choose(engine::RequestId id, Request& request) {
    if (request.position == 0) script_.last = *request.prompt;
    ++(request.position == 0 ? script_.prefills : script_.decodes);
    fill(request.position++);
    if (!std::all_of(logits_.begin(), logits_.end(), [](float x) { return std::isfinite(x); }))
      return {.id = id, .token = -1};
    try {
      const engine::Sampled sampled = request.sampler.next(logits_);
      return {id, sampled.token.id, sampled.token.logprob, sampled.top};
    } catch (const Error& e) {
      return {.id = id, .token = -1, .error = e.what()};
    }
  }
  void fill(int position) {
    std::fill(logits_.begin(), logits_.end(), -20.0f);
    const auto at = std::min(static_cast<std::size_t>(position), script_.ids.size() - 1);
    if (script_.flat)
      std::fill(logits_.begin(), logits_.begin() + 64, 0.0f);
    else
      logits_[static_cast<std::size_t>(script_.ids[at])] = 20;
    if (position == script_.nan_at) logits_[7] = std::numeric_limits<float>::quiet_NaN();
  }

  Script& script_;
  engine::SessionLimits limits_;
  std::vector<float> logits_;
  std::map<engine::RequestId, Request> requests_;
  engine::StepPlan plan_;
  std::map<int, std::string> adapters_;  ///< by slot
  mutable std::atomic<engine::AdapterId> last_adapter_{0};
};

}  // namespace lamina::test
