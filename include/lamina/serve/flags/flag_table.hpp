#pragma once
#include <span>
#include <string_view>

#include <lamina/hub/keys.hpp>
#include <lamina/io/flags.hpp>
#include <lamina/serve/flags/flag_readers.hpp>

/// One row for each option of vLLM's command line, with what becomes of it here.
namespace lamina::serve {

namespace detail {
using engine::EngineOptions;
inline constexpr KeyType nothing = KeyType::flag, one = KeyType::text, many = KeyType::list, number = KeyType::number;
inline constexpr KeyStatus ignore = KeyStatus::accepted, refuse = KeyStatus::refused;
inline constexpr std::string_view one_answers = "one process answers",
                                  tensor_parallel = "a model is shared with --tensor-parallel-size alone";
inline constexpr std::string_view own_scheduler = "steps are always planned ahead";
inline constexpr std::string_view cut_prompts = "prompts are always cut to what fits a step";
inline constexpr std::string_view lazy_graphs = "graphs are recorded when they are first used";
inline constexpr std::string_view device_images = "images are kept on the device; see mm-processor-cache-gb";
inline constexpr std::string_view own_kernels = "kernels are chosen when the program is built and by the device";
inline constexpr std::string_view one_grammar_backend = "structured output has one backend, this library's own";
inline constexpr std::string_view no_prompt_log = "prompts and answers are never logged";

inline constexpr std::string_view tool_parsers[] = {"hermes"}, reasoning_parsers[] = {"qwen3", "deepseek_r1"};
inline constexpr std::string_view devices[] = {"auto", "cpu", "cuda"};
inline constexpr std::string_view page_sizes[] = {"16", "32", "64", "128"};
}  // namespace detail

/// Every option, in the order of --help.
inline std::span<const FlagKey> flag_table() {
  using namespace detail;
  static constexpr FlagKey table[] = {
      {"help", nothing, KeyStatus::honoured, "", "show this and exit; --help=WORD shows what holds the word"},
      honoured<&Flags::show_version>("version", "show the version and exit"),
      {"config", one, KeyStatus::honoured, "", "YAML file of options; the command line wins"},
      honoured<&Flags::model>("model",
                              "model directory, or a model's name on a hub; also the first argument without a name"),
      hub::revision_flag<&Flags::hub>,
      hub::cache_flag<&Flags::hub>,
      honoured<&Flags::hub, &hub::Options::hf_token>("hf-token",
                                                     "for Hugging Face; unset: HF_TOKEN, or `hf auth login`"),
      honoured<&Flags::host>("host", "address to listen on; default: all interfaces"),
      honoured<&Flags::port>("port", "TCP port").within(0, 65535),
      honoured<&Flags::served_model_names>("served-model-name", "names that requests may use; answers carry the first"),
      honoured_word<devices, &Flags::engine, &EngineOptions::device>(
          "device", "auto, cpu or cuda; auto: the GPU if there is one"),
      honoured_by("dtype", one, "auto", read_dtype, "auto, half, float16, bfloat16, float or float32"),
      honoured_by("max-model-len", one, "auto", read_max_model_len,
                  "prompt and answer together, in tokens; -1 or auto: what the model allows"),
      honoured<&Flags::tensor_parallel_size>(
          "tensor-parallel-size", "GPUs, or processes without one, that share the model (also -tp, --tp, --tp-size)")
          .within(1, 64),
      honoured<&Flags::engine, &EngineOptions::memory_share>(
          "gpu-memory-utilization", "share of the device's memory that weights, scratch and caches may take")
          .read_by(read_memory_share),
      honoured<&Flags::tokenizer>("tokenizer",
                                  "directory of the tokenizer and its chat template, default: the model's"),
      honoured_by("limit-mm-per-prompt", one, "", read_media_limit,
                  "{\"image\": 4, \"video\": 1} or image=4,video=1: images and videos in one request"),
      honoured_by("mm-processor-kwargs", one, "", read_processor,
                  "{\"min_pixels\": n, \"max_pixels\": n}, or size with shortest_edge and longest_edge"),
      honoured_by(
          "media-io-kwargs", one, "", read_media_io,
          "{\"image\": {\"rgba_background_color\": [r, g, b]}}: what is put behind images with alpha, default white; "
          "{\"video\": {\"num_frames\": n, \"fps\": f}}: frames that are seen, default as the model's processor"),
      honoured_by("allowed-local-media-path", one, "", read_media_path,
                  "file:// images and videos below this directory are allowed"),
      honoured<&Flags::api_keys>("api-key", "bearer tokens that clients must send; also VLLM_API_KEY"),
      honoured<&Flags::response_role>("response-role", "role of answers"),
      honoured_by("chat-template", one, "", read_chat_template,
                  "file or text of a Jinja template, in place of the folder's"),
      honoured_by(
          "default-chat-template-kwargs", one, "", read_template_defaults,
          "{\"add_vision_id\": true}: variables that the chat template reads; enable_thinking: false also turns "
          "--reasoning-parser off"),
      honoured<&Flags::exclude_unused_tools>("exclude-tools-when-tool-choice-none",
                                             "do not show tools that must not be called to the model"),
      honoured<&Flags::return_tokens_as_ids>("return-tokens-as-token-ids",
                                             "logprobs name tokens token_id:N, unless a request says no"),
      honoured<&Flags::stream_interval>("stream-interval", "tokens in a chunk of a stream; requests may raise it")
          .within(1, int_max),
      honoured<&Flags::generation_config>("generation-config",
                                          "auto: the model's generation_config.json; vllm: none; or a directory")
          .read_by(read_generation_config),
      honoured_by("override-generation-config", one, "", read_generation_overrides,
                  "JSON that replaces sampling fields of the generation config"),
      honoured<&Flags::max_logprobs>("max-logprobs", "largest top_logprobs; -1: no limit").within(-1, int_max),
      honoured<&Flags::seed>("seed", "of requests that give none, default 0"),
      honoured_by("root-path", one, "", read_root_path, "path prefix of a reverse proxy"),
      honoured<&Flags::allow_credentials>("allow-credentials", "CORS"),
      honoured_by("allowed-origins", one, "", read_list<&Flags::allowed_origins>, "CORS, JSON list, default [\"*\"]"),
      honoured_by("allowed-methods", one, "", read_list<&Flags::allowed_methods>, "CORS, JSON list"),
      honoured_by("allowed-headers", one, "", read_list<&Flags::allowed_headers>, "CORS, JSON list"),
      honoured<&Flags::request_id_headers>("enable-request-id-headers", "send X-Request-Id with every answer"),
      honoured<&Flags::prompt_tokens_details>("enable-prompt-tokens-details", "cached_tokens in usage"),
      honoured<&Flags::force_include_usage>("enable-force-include-usage", "usage at the end of every stream"),
      honoured<&Flags::max_header_bytes>("h11-max-incomplete-event-size", "bytes of a request's header")
          .within(1024, 16 << 20),
      honoured<&Flags::max_header_count>("h11-max-header-count", "header lines of a request").within(1, 65536),
      honoured<&Flags::max_body_bytes>("max-request-body-size", "bytes of a request's body")
          .within(1024, std::int64_t{1} << 40),
      honoured<&Flags::max_media_bytes>(
          "max-media-bytes", "memory for decoded images and patches of all requests, default a quarter of what is free")
          .within(0, std::int64_t{1} << 50),
      honoured<&Flags::max_queued_requests>("max-queued-requests", "waiting and running; more get status 503")
          .within(1, int_max),
      honoured<&Flags::shutdown_timeout>("shutdown-timeout", "seconds that answers have on SIGTERM before they end")
          .within(0, 86400),
      honoured<&Flags::ui>("ui", "a page to chat with the model at /; --no-ui: none"),
      honoured_by("disable-uvicorn-access-log", nothing, "", read_off<&Flags::access_log>, "no line for each request"),
      honoured_by("disable-access-log-for-endpoints", one, "", read_unlogged_paths,
                  "/health,/ping: no line for requests of these paths"),
      honoured_by("uvicorn-log-level", one, "", read_log_level,
                  "trace, debug, info; warning, error or critical: no line for each request"),
      honoured<&Flags::engine, &EngineOptions::adapters>(
          "adapter", "PEFT adapters to apply to the model: directories, or names on a hub"),
      honoured_by("load-format", one, "auto", read_load_format, "auto or safetensors, which are the same"),
      {"trust-remote-code", nothing, ignore, "false", "no code of a checkpoint is ever run"},
      honoured<&Flags::engine, &EngineOptions::rows>("max-num-seqs",
                                                     "answers that are made at once, default 256, on a CPU 16")
          .within(1, 4096),
      honoured<&Flags::engine, &EngineOptions::step_tokens>("max-num-batched-tokens",
                                                            "tokens that one step reads, at least max-num-seqs")
          .within(1, 1 << 20),
      honoured_by(
          "mm-processor-cache-gb", number, "", read_image_cache,
          "GiB for embeddings of images that are kept for further requests; 0 keeps no files of images with a uuid "
          "either, which have 256 MiB at most"),
      honoured<&Flags::remote_media>("allow-remote-media",
                                     "images of requests are fetched from the web too, from public addresses"),
      honoured<&Flags::fetch, &FetchOptions::domains>(
          "allowed-media-domains", "hosts from which images are fetched, and from no others; allows remote media too")
          .read_by(read_media_domains),
      honoured<&Flags::fetch, &FetchOptions::private_addresses>(
          "allow-private-media", "images are fetched from this machine, its network and its cloud too"),
      {"skip-mm-profiling", nothing, ignore, "false", "nothing is profiled"},
      {"mm-encoder-tp-mode", one, ignore, "", "GPUs that share a model each hold the whole vision tower"},
      {"mm-encoder-attn-backend", one, ignore, "", own_kernels},
      {"interleave-mm-strings", nothing, ignore, "false", "images always stay where a message has them"},
      {"chat-template-content-format", one, refuse, "auto|openai",
       "found out from the template: contents are joined for one that reads no lists of parts"},
      honoured<&Flags::prefix_cache>("enable-prefix-caching", "beginnings of prompts are kept for further requests"),
      {"prefix-caching-hash-algo", one, ignore, "", "contents are compared whole, so that no hash can collide"},
      {"enable-chunked-prefill", nothing, ignore, "false", cut_prompts},
      honoured<&Flags::prompt_chunk_tokens>("long-prefill-token-threshold",
                                            "tokens of one prompt that a step reads at most; 0: as many as fit")
          .within(0, int_max),
      {"max-num-partial-prefills", one, ignore, "", cut_prompts},
      {"disable-chunked-mm-input", nothing, ignore, "false", cut_prompts},
      honoured_word<page_sizes, &Flags::engine, &EngineOptions::page_tokens>(
          "block-size", "tokens of a page of the KV cache: 16, 32, 64 or 128"),
      honoured<&Flags::engine, &EngineOptions::page_bytes>(
          "kv-cache-memory-bytes", "bytes of the KV cache, instead of what gpu-memory-utilization leaves")
          .within(1, std::int64_t{1} << 50),
      honoured<&Flags::engine, &EngineOptions::pages>("num-gpu-blocks-override", "pages of the KV cache, whatever fits")
          .within(1, engine::SessionLimits::most_pages),
      honoured<&Flags::engine, &EngineOptions::eager>("enforce-eager", "no step is recorded as a CUDA graph"),
      honoured<&Flags::engine, &EngineOptions::graph_rows>(
          "cudagraph-capture-sizes", "numbers of sequences for which a step is recorded as a CUDA graph")
          .read_by(read_capture_sizes),
      {"max-cudagraph-capture-size", one, ignore, "", lazy_graphs},
      {"max-seq-len-to-capture", one, ignore, "", lazy_graphs},
      {"compilation-config", one, ignore, "", own_kernels},
      {"optimization-level", one, ignore, "", own_kernels},
      {"attention-backend", one, ignore, "", own_kernels},
      {"model-impl", one, ignore, "", own_kernels},
      {"disable-cascade-attn", nothing, ignore, "false", own_kernels},
      honoured<&Flags::engine, &EngineOptions::nccl_alone>(
          "disable-custom-all-reduce",
          "GPUs that share a model pass small messages through NCCL too, not through each other's memory"),
      {"enable-expert-parallel", nothing, ignore, "false", "these models have no experts"},
      {"num-scheduler-steps", one, ignore, "", own_scheduler},
      {"use-v2-block-manager", nothing, ignore, "false", own_scheduler},
      {"disable-async-output-proc", nothing, ignore, "false", own_scheduler},
      {"max-parallel-loading-workers", one, ignore, "", "every process reads its part of the weights at once"},
      {"use-tqdm-on-load", nothing, ignore, "false", "no progress is shown"},
      {"disable-mm-preprocessor-cache", nothing, ignore, "false", device_images},
      {"mm-processor-cache-type", one, ignore, "", device_images},
      {"trust-request-mm-kwargs", nothing, ignore, "false", "requests may always set min_pixels and max_pixels"},
      {"task", one, refuse, "auto|generate", "answers are generated, nothing else"},
      {"runner", one, refuse, "auto|generate", "answers are generated, nothing else"},
      {"async-scheduling", nothing, ignore, "false", "a GPU always works one step ahead"},
      honoured_by("scheduling-policy", one, "fcfs", read_policy,
                  "fcfs, or priority: requests may say who is served first"),
      honoured<&Flags::engine, &EngineOptions::batch_invariant>(
          "batch-invariant", "every request gets the answer that it would get alone; also VLLM_BATCH_INVARIANT=1"),
      {"logprobs-mode", one, refuse, "raw_logprobs", "logprobs are of the raw distribution"},
      {"tokenizer-mode", one, refuse, "auto|hf|slow", "there is one tokenizer, equal to the fast one"},
      {"code-revision", one, ignore, "", "no code of a model is run"},
      {"tokenizer-revision", one, ignore, "", "the tokenizer is read at the model's revision"},
      {"guided-decoding-backend", one, ignore, "", one_grammar_backend},
      {"structured-outputs-config", one, ignore, "", one_grammar_backend},
      {"log-config-file", one, ignore, "", "the log has one form, on stderr"},
      {"max-log-len", one, ignore, "", no_prompt_log},
      {"disable-log-requests", nothing, ignore, "false", "they are logged with --enable-log-requests alone"},
      honoured<&Flags::log_requests>("enable-log-requests",
                                     "a line for each request: its sizes and its settings, never its text"),
      {"enable-log-outputs", nothing, ignore, "false", no_prompt_log},
      honoured_by("disable-log-stats", nothing, "", read_off<&Flags::log_statistics>,
                  "no line about load and speed every 10 s"),
      {"enable-server-load-tracking", nothing, ignore, "false", "/load is always there"},
      honoured<&Flags::tokenizer_info>("enable-tokenizer-info-endpoint",
                                       "GET /tokenizer_info shows tokenizer_config.json"),
      {"disable-frontend-multiprocessing", nothing, ignore, "false", one_answers},
      honoured_by("disable-fastapi-docs", nothing, "", read_off<&Flags::docs>, "no /docs and /openapi.json"),
      {"distributed-executor-backend", one, refuse, "mp|uni",
       "ranks are processes: of this host, or those of torchrun, mpirun or srun"},
      {"api-server-count", one, refuse, "1", one_answers},
      {"pipeline-parallel-size", one, refuse, "1", tensor_parallel},
      {"data-parallel-size", one, refuse, "1", tensor_parallel},
      {"swap-space", one, refuse, "0|4", "nothing is swapped"},
      {"cpu-offload-gb", one, refuse, "0", "nothing is offloaded"},
      {"speculative-config", one, refuse, "", "no tokens are drafted ahead; answers are made token by token"},
      {"kv-cache-dtype", one, refuse, "auto", "the KV cache has the model's dtype"},
      honoured_by("quantization", one, "none", read_quantization,
                  "of the decoder's matrices, when they are loaded: bitsandbytes (nf4, double quantised) or fp8 (8-bit "
                  "floats with a scale for each row); activations stay whole"),
      {"hf-overrides", one, refuse, "{}", "change config.json instead"},
      {"enable-mm-embeds", nothing, refuse, "false", "embeddings from clients are not accepted"},
      honoured<&Flags::trust_request_template>("trust-request-chat-template",
                                               "requests may bring a chat_template of their own"),
      honoured<&Flags::enable_lora>("enable-lora", "requests may name an adapter as their model"),
      honoured_by("lora-modules", many, "", read_lora_modules,
                  "NAME=DIR ..., or {\"name\": NAME, \"path\": DIR}: PEFT adapters, directories or names on a hub"),
      honoured<&Flags::max_loras>("max-loras", "different adapters in one step; memory is taken for so many")
          .within(1, 256),
      honoured<&Flags::engine, &EngineOptions::adapter_rank>("max-lora-rank", "largest rank of an adapter")
          .within(1, 512),
      {"max-cpu-loras", one, ignore, "", "every adapter stays in memory until it is unloaded"},
      {"lora-dtype", one, ignore, "auto", "adapters have the dtype of activations"},
      {"fully-sharded-loras", nothing, ignore, "false", "adapters are divided as the layers are that they change"},
      {"enable-tower-connector-lora", nothing, ignore, "false", "adapters always reach the tower and the projector"},
      {"specialize-active-lora", nothing, ignore, "false", "steps without adapters are always recorded apart"},
      {"lora-extra-vocab-size", one, ignore, "", "adapters add no tokens: one that does is refused"},
      {"default-mm-loras", one, refuse, "", "requests say which adapter they want, in model"},
      {"enable-lora-bias", nothing, refuse, "false", "adapters with biases are not served by name; use lamina-merge"},
      {"long-lora-scaling-factors", one, refuse, "", "one adapter has one scale"},
      honoured<&Flags::automatic_tools>("enable-auto-tool-choice",
                                        "the model may call the functions of a request; with --tool-call-parser"),
      honoured_word<tool_parsers, &Flags::tool_parser>("tool-call-parser",
                                                       "hermes: how Qwen's templates ask for calls"),
      honoured_word<reasoning_parsers, &Flags::reasoning_parser>(
          "reasoning-parser",
          "qwen3 or deepseek_r1: answers begin with a thought up to </think>, told apart from content"),
      honoured<&Flags::uds>("uds", "path of a Unix socket to listen on, in place of host and port"),
      honoured<&Flags::tls, &TlsOptions::certfile>("ssl-certfile",
                                                   "PEM file of the certificate and those that sign it; turns TLS on"),
      honoured<&Flags::tls, &TlsOptions::keyfile>("ssl-keyfile", "PEM file of its key; unset: in ssl-certfile"),
      honoured<&Flags::tls, &TlsOptions::ca_certs>("ssl-ca-certs", "PEM file of those who sign clients' certificates"),
      honoured<&Flags::tls, &TlsOptions::cert_reqs>("ssl-cert-reqs",
                                                    "clients' certificates: 0 none, 1 if they have one, 2 required")
          .within(0, 2),
      honoured<&Flags::tls, &TlsOptions::ciphers>("ssl-ciphers", "OpenSSL's list of ciphers, for TLS 1.2"),
      honoured<&Flags::tls, &TlsOptions::refresh>("enable-ssl-refresh",
                                                  "the files of TLS are read again when they change"),
  };
  return table;
}

/// What vLLM's command line has besides options.
inline const io::FlagRules& flag_rules() {
  static const io::FlagRules rules{.positional = "model",
                                   .config = "config",
                                   .aliases = {{"h", "help"},
                                               {"O", "optimization-level"},
                                               {"tp", "tensor-parallel-size"},
                                               {"tp-size", "tensor-parallel-size"},
                                               {"pp", "pipeline-parallel-size"},
                                               {"dp", "data-parallel-size"}}};
  return rules;
}

}  // namespace lamina::serve
