#pragma once
#include <atomic>
#include <chrono>
#include <cmath>
#include <limits>
#include <mutex>
#include <stop_token>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <lamina/core/cancelled.hpp>
#include <lamina/core/error.hpp>
#include <lamina/model/session.hpp>
#include <lamina/serve/model_files.hpp>

namespace lamina::test {

/// The tiny model's directory: a real tokenizer and processor, no weights needed.
inline std::string tiny_model() { return LAMINA_SOURCE_DIR "/data/qwen3_vl_tiny"; }

/// What the fake model is to say; shared with the test, which may change it between requests.
struct Script {
  std::mutex mutex;
  std::vector<int> ids;                   ///< said in turn, then the last one for ever
  bool flat = false;                      ///< all tokens below 64 equally likely instead
  int nan_at = -1;                        ///< position whose logits hold a NaN
  std::chrono::milliseconds step{0};      ///< how long a token takes
  std::atomic<bool> hold_prefill{false};  ///< reading a prompt takes for ever
  std::atomic<int> held{0}, prefills{0}, decodes{0};
  Batch last;

  void say(const serve::ModelFiles& files, const std::string& text, bool end = true) {
    const std::lock_guard lock(mutex);
    ids = files.tokenizer.encode(text);
    if (end) ids.push_back(files.eos.front());
  }
};

/// A model that recites its script.
class FakeSession : public GenerateSession {
 public:
  FakeSession(Script& script, int vocab, int max_len)
      : script_(script), logits_(static_cast<std::size_t>(vocab)), max_len_(max_len) {}
  std::span<const float> prefill(const Batch& batch, const std::stop_token& cancelled) override {
    ++script_.held;
    while (script_.hold_prefill && !cancelled.stop_requested())
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    --script_.held;
    throw_if_stopped(cancelled);
    const std::lock_guard lock(script_.mutex);
    script_.last = batch;
    ++script_.prefills;
    position_ = 0;
    return next();
  }
  std::span<const float> decode(int) override {
    const std::lock_guard lock(script_.mutex);
    ++script_.decodes;
    ++position_;
    return next();
  }
  int vocab_size() const override { return static_cast<int>(logits_.size()); }
  int max_model_len() const override { return max_len_; }

 private:
  std::span<const float> next() {
    if (script_.step.count()) std::this_thread::sleep_for(script_.step);
    std::fill(logits_.begin(), logits_.end(), -20.0f);
    if (script_.flat)
      std::fill(logits_.begin(), logits_.begin() + 64, 0.0f);
    else
      logits_[static_cast<std::size_t>(script_.ids[std::min<std::size_t>(position_, script_.ids.size() - 1)])] = 20;
    if (static_cast<int>(position_) == script_.nan_at) logits_[7] = std::numeric_limits<float>::quiet_NaN();
    return logits_;
  }
  Script& script_;
  std::vector<float> logits_;
  int max_len_;
  std::size_t position_ = 0;
};

}  // namespace lamina::test
