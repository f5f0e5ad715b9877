#pragma once
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include <lamina/engine/session.hpp>
#include <lamina/hub/options.hpp>
#include <lamina/serve/adapters/adapter_module.hpp>
#include <lamina/serve/http/tls_options.hpp>
#include <lamina/serve/openai/request/kept_images.hpp>
#include <lamina/serve/remote/fetch_options.hpp>
#include <lamina/vision/pixels.hpp>
#include <lamina/vision/video/frame_choice.hpp>

namespace lamina::serve {

/// The command line of lamina-serve: vLLM's, with what each option means here.
struct Flags {
  std::filesystem::path model, tokenizer, allowed_local_media_path;
  hub::Options hub{.revision_name = "--revision",
                   .cache_dir_name = "--download-dir",
                   .hf_token_name = "--hf-token",
                   .ms_token_name = ""};
  std::vector<std::string> served_model_names, api_keys;
  std::string host, root_path, response_role = "assistant", generation_config = "auto";
  std::string chat_template;  ///< a file or the text itself; empty: the folder's
  nlohmann::ordered_json override_generation_config = nlohmann::ordered_json::object();
  std::uint16_t port = 8000;
  std::filesystem::path uds;  ///< a Unix socket in place of host and port
  TlsOptions tls = {};        ///< without a certfile: none
  engine::EngineOptions engine = {};
  int tensor_parallel_size = 1;  ///< processes that share the model
  int prompt_chunk_tokens = 0;   ///< see engine::EngineLimits
  bool prefix_cache = true, priorities = false, log_statistics = true, log_requests = false;
  int max_images = 999, max_videos = 999, max_logprobs = 20, max_queued_requests = 2048, max_header_count = 256;
  int shutdown_timeout = 10;  ///< seconds
  std::int64_t max_header_bytes = 64 * 1024, max_body_bytes = 64 * 1024 * 1024, seed = 0;
  std::size_t kept_media_bytes = KeptImages::default_bytes;  ///< of files that requests gave a uuid
  std::int64_t max_media_bytes = 0;                          ///< 0: serve::default_media_bytes()
  std::int64_t max_image_pixels = vision::max_image_pixels;  ///< from VLLM_MAX_IMAGE_PIXELS
  std::optional<std::int64_t> min_pixels, max_pixels;
  bool remote_media = false;  ///< images of the web are fetched
  FetchOptions fetch = {};    ///< longest: VLLM_IMAGE_FETCH_TIMEOUT; redirects: VLLM_MEDIA_URL_ALLOW_REDIRECTS
  vision::Colour image_background = {255, 255, 255};  ///< behind images with an alpha channel
  vision::FrameWish video_frames;                     ///< of videos, in place of the model's own choice
  std::vector<std::string> allowed_origins = {"*"}, allowed_methods = {"*"}, allowed_headers = {"*"};
  std::vector<std::string> unlogged_paths;
  bool allow_credentials = false, request_id_headers = false, prompt_tokens_details = false;
  bool force_include_usage = false, access_log = true, ui = true;
  bool automatic_tools = false, tokenizer_info = false, docs = true;
  bool developer = false;  ///< from VLLM_SERVER_DEV_MODE
  bool enable_lora = false;
  bool load_adapters = false;  ///< from VLLM_ALLOW_RUNTIME_LORA_UPDATING
  std::vector<AdapterModule> lora_modules;
  int max_loras = 1;
  std::string tool_parser, reasoning_parser;  ///< empty: none
  nlohmann::ordered_json template_kwargs = nlohmann::ordered_json::object();
  bool trust_request_template = false, exclude_unused_tools = false, return_tokens_as_ids = false;
  int stream_interval = 1;
  bool show_version = false;
  std::optional<std::string> help;     ///< the text, if it was asked for
  std::string settings;                ///< every option that was given, without secrets
  std::vector<std::string> log_lines;  ///< what to tell at the start: options that do nothing here, and why

  /// Reads a command line without the program's name. UsageError for what is not understood, out of range or refused.
  static Flags parse(const std::vector<std::string>& words);
};

}  // namespace lamina::serve
