#pragma once
#include <algorithm>
#include <iterator>
#include <string_view>

namespace lamina::serve {

/// A path that vLLM answers and this server does not, and why.
struct UnbuiltRoute {
  std::string_view path, reason;
};

/// The reason for a path; empty if vLLM does not have it either.
inline std::string_view reason_unbuilt(std::string_view path) {
  constexpr std::string_view no_pooling = "the model generates text; it makes no embeddings, classes or scores",
                             no_audio = "the model reads and makes no audio",
                             no_adapters = "is there if the environment has VLLM_ALLOW_RUNTIME_LORA_UPDATING=1",
                             no_sleep = "memory is held as long as the server runs; stop it to free the GPU",
                             no_control = "one process serves on one device; nothing else is controlled by it",
                             no_profiler = "there is no profiler in the server",
                             no_second_name = "there are no second names of routes; use /v1/chat/completions",
                             no_stale_images = "kept images are found by their contents and never go stale",
                             not_developed = "is there if the environment has VLLM_SERVER_DEV_MODE=1",
                             no_render = "prompts are not returned without an answer; POST /tokenize gives their ids";
  static constexpr UnbuiltRoute table[] = {
      {"/v1/embeddings", no_pooling},
      {"/pooling", no_pooling},
      {"/classify", no_pooling},
      {"/score", no_pooling},
      {"/v1/score", no_pooling},
      {"/rerank", no_pooling},
      {"/v1/rerank", no_pooling},
      {"/v2/rerank", no_pooling},
      {"/v2/embed", no_pooling},
      {"/v1/audio/transcriptions", no_audio},
      {"/v1/audio/translations", no_audio},
      {"/v1/realtime", no_audio},
      {"/v1/load_lora_adapter", no_adapters},
      {"/v1/unload_lora_adapter", no_adapters},
      {"/sleep", no_sleep},
      {"/wake_up", no_sleep},
      {"/is_sleeping", no_sleep},
      {"/pause", no_control},
      {"/resume", no_control},
      {"/collective_rpc", no_control},
      {"/scale_elastic_ep", no_control},
      {"/is_scaling_elastic_ep", no_control},
      {"/start_profile", no_profiler},
      {"/stop_profile", no_profiler},
      {"/v1/completions/render", no_render},
      {"/v1/chat/completions/render", no_render},
      {"/inference/v1/generate", "use /v1/completions, which takes token ids"},
      {"/generate", no_second_name},
      {"/invocations", no_second_name},
      {"/abort_requests", "a request ends when its client closes the connection"},
      {"/tokenizer_info", "is there with --enable-tokenizer-info-endpoint"},
      {"/server_info", not_developed},
      {"/reset_prefix_cache", not_developed},
      {"/reset_mm_cache", no_stale_images},
      {"/reset_encoder_cache", no_stale_images},
  };
  const auto at = std::find_if(std::begin(table), std::end(table), [&](const auto& r) { return r.path == path; });
  return at == std::end(table) ? std::string_view() : at->reason;
}

}  // namespace lamina::serve
