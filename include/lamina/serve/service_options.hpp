#pragma once
#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include <lamina/engine/request/submission.hpp>
#include <lamina/serve/openai/answer/answer_text.hpp>
#include <lamina/serve/openai/request/generation_request.hpp>
#include <lamina/serve/openai/request/media.hpp>

namespace lamina::serve {

/// What the operator chose, beyond where to listen.
struct ServiceOptions {
  std::vector<std::string> served_names;  ///< at least one; the first is what answers carry
  std::string root = {};                  ///< the model path as given
  std::string response_role = "assistant";
  MediaLimits media = {};
  std::int64_t media_bytes = 0;                     ///< see PromptMaker
  std::chrono::milliseconds media_patience{5'000};  ///< see PromptMaker
  int max_images = 999, max_videos = 999, max_logprobs = 20;
  std::int64_t seed = 0;
  std::optional<int> max_new_tokens = {};  ///< a cap on every answer
  AnswerLimits answers = {};
  int max_requests = 2048;  ///< waiting and running; more get status 503
  engine::EngineLimits engine = {};
  bool priorities = false;  ///< requests may say who is served first
  bool prompt_details = false, force_usage = false;
  bool trust_chat_template = false;  ///< requests may bring their own
  bool log_requests = false;         ///< a line for each request whose prompt is ready
  RequestDefaults request_defaults = {};
};

}  // namespace lamina::serve
