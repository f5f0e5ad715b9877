#pragma once
#include <string>
#include <vector>

#include <lamina/engine/schedule/step_plan.hpp>

namespace lamina::engine {

/// Whether a token is the last one of its answer, and why.
enum class Last {
  no,
  end_token,  ///< it is one of SamplingParams::ends
  length      ///< max_tokens or the context is reached
};

/// Receives what becomes of one request: started(), prompt() in parts, then token() for each token. The end is a last
/// token, cancelled() or failed(), exactly one of the three; the latter two may also come first of all. All calls for
/// one request come from one thread; none may throw or block.
class RequestListener {
 public:
  virtual ~RequestListener() = default;
  /// The prompt is about to be read, but for its first `cached` tokens, which were computed for other requests.
  virtual void started(int /*cached*/) {}
  /// Logprobs of further tokens of the prompt, if they are asked for: from its second token on, before the first token.
  virtual void prompt(std::vector<Sampled> /*tokens*/) {}
  /// The next token. Returns false if no more are wanted: the request is then cancelled.
  virtual bool token(const Chosen&, Last) = 0;
  /// By Engine::cancel(), because token() returned false, or because the engine stops.
  virtual void cancelled() = 0;
  /// The request could not be run, or its numbers are wrong.
  virtual void failed(const std::string& message) = 0;
};

}  // namespace lamina::engine
