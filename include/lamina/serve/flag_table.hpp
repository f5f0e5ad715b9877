#pragma once
#include <algorithm>
#include <string>
#include <string_view>
#include <vector>

#include <lamina/serve/support.hpp>

namespace lamina::serve {

/// One option of vLLM's command line and what becomes of it here.
struct Flag {
  enum class Takes { nothing, one, many };
  std::string_view name;
  Takes takes = Takes::one;
  Support does = Support::work;
  std::string_view note = {};  ///< help, or the reason; the log of the start repeats that of what is ignored
  std::string_view off = {};   ///< values, separated by |, with which a refused flag is harmless
};

namespace detail {
inline constexpr Flag::Takes nothing = Flag::Takes::nothing, one = Flag::Takes::one, many = Flag::Takes::many;
inline constexpr std::string_view merge_first = "adapters cannot be served by name yet: merge with lamina-merge first";
inline constexpr std::string_view no_tools = "tool calls are not read from answers yet";
inline constexpr std::string_view no_tls = "this build speaks plain HTTP; put a TLS proxy in front";
inline constexpr std::string_view no_template = "templates of requests are not run; the model's own is built in";
inline constexpr std::string_view one_device = "one process serves on one device";
inline constexpr std::string_view own_scheduler = "steps are always planned ahead";
inline constexpr std::string_view cut_prompts = "prompts are always cut to what fits a step";
inline constexpr std::string_view lazy_graphs = "graphs are recorded when they are first used";
inline constexpr std::string_view device_images = "images are kept on the device; see mm-processor-cache-gb";
inline constexpr std::string_view own_kernels = "kernels are chosen when the program is built and by the device";
inline constexpr std::string_view no_download = "nothing is downloaded; the folder is served as it is";
inline constexpr std::string_view no_structured_output = "requests for structured output are refused";
inline constexpr std::string_view no_prompt_log = "prompts and answers are never logged";
inline constexpr std::string_view no_named_adapters = "adapters are not served by name";
}  // namespace detail

/// Every option, in the order of --help.
inline const std::vector<Flag>& flag_table() {
  using namespace detail;
  using enum Support;
  static const std::vector<Flag> table = {
      {"help", nothing, work, "show this and exit; --help=WORD shows what holds the word"},
      {"version", nothing, work, "show the version and exit"},
      {"config", one, work, "YAML file of options; the command line wins"},
      {"model", one, work, "model directory; also the first argument without a name"},
      {"host", one, work, "address to listen on; default: all interfaces"},
      {"port", one, work, "TCP port, default 8000"},
      {"served-model-name", many, work, "names that requests may use; answers carry the first"},
      {"device", one, work, "auto, cpu or cuda; default auto: the GPU where there is one"},
      {"dtype", one, work, "auto, half, float16, bfloat16, float or float32; default auto"},
      {"max-model-len", one, work, "prompt and answer together, in tokens; -1 or auto: what the model allows"},
      {"tensor-parallel-size", one, work, "1 only (also -tp, --tp, --tp-size)"},
      {"gpu-memory-utilization", one, work,
       "share of the device's memory that weights, scratch and caches may take, default 0.9"},
      {"tokenizer", one, work, "directory of the tokenizer and its chat template, default: the model's"},
      {"limit-mm-per-prompt", one, work, "{\"image\": 4} or image=4: images in one request"},
      {"mm-processor-kwargs", one, work,
       "{\"min_pixels\": n, \"max_pixels\": n}, or size with shortest_edge and longest_edge"},
      {"media-io-kwargs", one, work,
       "{\"image\": {\"rgba_background_color\": [r, g, b]}}: what is put behind images with alpha, default white"},
      {"allowed-local-media-path", one, work, "file:// images below this directory are allowed"},
      {"api-key", many, work, "bearer tokens that clients must send; also VLLM_API_KEY"},
      {"response-role", one, work, "role of answers, default assistant"},
      {"chat-template", one, work, "file or text; must be the released template, which is built in"},
      {"default-chat-template-kwargs", one, work,
       "{\"add_vision_id\": true}; enable_thinking is accepted, but Instruct templates do not read it"},
      {"exclude-tools-when-tool-choice-none", nothing, work, "do not show tools that must not be called to the model"},
      {"return-tokens-as-token-ids", nothing, work, "logprobs name tokens token_id:N, unless a request says no"},
      {"stream-interval", one, work, "tokens in a chunk of a stream, default 1; requests may raise it"},
      {"generation-config", one, work, "auto: the model's generation_config.json; vllm: none; or a directory"},
      {"override-generation-config", one, work, "JSON that replaces sampling fields of the generation config"},
      {"max-logprobs", one, work, "largest top_logprobs, default 20; -1: no limit"},
      {"seed", one, work, "of requests that give none, default 0"},
      {"root-path", one, work, "path prefix of a reverse proxy"},
      {"allow-credentials", nothing, work, "CORS"},
      {"allowed-origins", one, work, "CORS, JSON list, default [\"*\"]"},
      {"allowed-methods", one, work, "CORS, JSON list"},
      {"allowed-headers", one, work, "CORS, JSON list"},
      {"enable-request-id-headers", nothing, work, "send X-Request-Id with every answer"},
      {"enable-prompt-tokens-details", nothing, work, "cached_tokens in usage"},
      {"enable-force-include-usage", nothing, work, "usage at the end of every stream"},
      {"h11-max-incomplete-event-size", one, work, "bytes of a request's header, default 64 Ki"},
      {"h11-max-header-count", one, work, "header lines of a request, default 256"},
      {"max-request-body-size", one, work, "bytes of a request's body, default 64M"},
      {"max-media-bytes", one, work,
       "memory for decoded images and patches of all requests, default a quarter of what is free"},
      {"max-queued-requests", one, work, "waiting and running; more get status 503, default 2048"},
      {"disable-uvicorn-access-log", nothing, work, "no line for each request"},
      {"disable-access-log-for-endpoints", one, work, "/health,/ping: no line for requests of these paths"},
      {"uvicorn-log-level", one, work, "trace, debug, info; warning, error or critical: no line for each request"},
      {"adapter", many, work, "PEFT adapter directories to apply to the model"},
      {"load-format", one, work, "auto or safetensors, which are the same"},
      {"trust-remote-code", nothing, ignore, "no code of a checkpoint is ever run"},
      {"max-num-seqs", one, work, "answers that are made at once, default 256, on a CPU 16"},
      {"max-num-batched-tokens", one, work, "tokens that one step reads, at least max-num-seqs"},
      {"mm-processor-cache-gb", one, work, "GiB for embeddings of images that are kept for further requests"},
      {"allowed-media-domains", many, ignore, "remote images are refused, from every host"},
      {"skip-mm-profiling", nothing, ignore, "nothing is profiled"},
      {"mm-encoder-tp-mode", one, ignore, one_device},
      {"mm-encoder-attn-backend", one, ignore, own_kernels},
      {"interleave-mm-strings", nothing, ignore, "images always stay where a message has them"},
      {"chat-template-content-format", one, refuse, "the built-in templates read content as lists of parts",
       "auto|openai"},
      {"enable-prefix-caching", nothing, work, "beginnings of prompts are kept for further requests; on by default"},
      {"prefix-caching-hash-algo", one, ignore, "contents are compared whole, so that no hash can collide"},
      {"enable-chunked-prefill", nothing, ignore, cut_prompts},
      {"long-prefill-token-threshold", one, work, "tokens of one prompt that a step reads at most; 0: as many as fit"},
      {"max-num-partial-prefills", one, ignore, cut_prompts},
      {"disable-chunked-mm-input", nothing, ignore, cut_prompts},
      {"block-size", one, work, "tokens of a page of the KV cache: 16, 32, 64 or 128, default 64"},
      {"kv-cache-memory-bytes", one, work, "bytes of the KV cache, instead of what gpu-memory-utilization leaves"},
      {"num-gpu-blocks-override", one, work, "pages of the KV cache, whatever fits"},
      {"enforce-eager", nothing, work, "no step is recorded as a CUDA graph"},
      {"cudagraph-capture-sizes", many, work, "numbers of sequences for which a step is recorded as a CUDA graph"},
      {"max-cudagraph-capture-size", one, ignore, lazy_graphs},
      {"max-seq-len-to-capture", one, ignore, lazy_graphs},
      {"compilation-config", one, ignore, own_kernels},
      {"optimization-level", one, ignore, own_kernels},
      {"attention-backend", one, ignore, own_kernels},
      {"model-impl", one, ignore, own_kernels},
      {"disable-cascade-attn", nothing, ignore, own_kernels},
      {"disable-custom-all-reduce", nothing, ignore, one_device},
      {"enable-expert-parallel", nothing, ignore, "these models have no experts"},
      {"num-scheduler-steps", one, ignore, own_scheduler},
      {"use-v2-block-manager", nothing, ignore, own_scheduler},
      {"disable-async-output-proc", nothing, ignore, own_scheduler},
      {"max-parallel-loading-workers", one, ignore, one_device},
      {"use-tqdm-on-load", nothing, ignore, "no progress is shown"},
      {"disable-mm-preprocessor-cache", nothing, ignore, device_images},
      {"mm-processor-cache-type", one, ignore, device_images},
      {"trust-request-mm-kwargs", nothing, ignore, "requests may always set min_pixels and max_pixels"},
      {"task", one, refuse, "answers are generated, nothing else", "auto|generate"},
      {"runner", one, refuse, "answers are generated, nothing else", "auto|generate"},
      {"async-scheduling", nothing, ignore, "a GPU always works one step ahead"},
      {"scheduling-policy", one, work, "fcfs, or priority: requests may say who is served first"},
      {"batch-invariant", nothing, work,
       "every request gets the answer that it would get alone; also VLLM_BATCH_INVARIANT=1"},
      {"logprobs-mode", one, refuse, "logprobs are of the raw distribution", "raw_logprobs"},
      {"tokenizer-mode", one, refuse, "there is one tokenizer, equal to the fast one", "auto|hf|slow"},
      {"revision", one, ignore, no_download},
      {"code-revision", one, ignore, no_download},
      {"tokenizer-revision", one, ignore, no_download},
      {"download-dir", one, ignore, no_download},
      {"hf-token", one, ignore, no_download},
      {"guided-decoding-backend", one, ignore, no_structured_output},
      {"structured-outputs-config", one, ignore, no_structured_output},
      {"log-config-file", one, ignore, "the log has one form, on stderr"},
      {"max-log-len", one, ignore, no_prompt_log},
      {"disable-log-requests", nothing, ignore, no_prompt_log},
      {"enable-log-requests", nothing, ignore, no_prompt_log},
      {"enable-log-outputs", nothing, ignore, no_prompt_log},
      {"disable-log-stats", nothing, work, "no line about load and speed every 10 s"},
      {"enable-server-load-tracking", nothing, ignore, "/load is always there"},
      {"enable-tokenizer-info-endpoint", nothing, ignore, "there is no /tokenizer_info"},
      {"enable-ssl-refresh", nothing, ignore, no_tls},
      {"disable-frontend-multiprocessing", nothing, ignore, one_device},
      {"disable-fastapi-docs", nothing, ignore, "there are no pages of documentation"},
      {"distributed-executor-backend", one, refuse, one_device, "mp|uni"},
      {"api-server-count", one, refuse, one_device, "1"},
      {"pipeline-parallel-size", one, refuse, one_device, "1"},
      {"data-parallel-size", one, refuse, one_device, "1"},
      {"swap-space", one, refuse, "nothing is swapped", "0|4"},
      {"cpu-offload-gb", one, refuse, "nothing is offloaded", "0"},
      {"kv-cache-dtype", one, refuse, "the KV cache has the model's dtype", "auto"},
      {"quantization", one, refuse, "quantised weights are not supported", "none|None"},
      {"hf-overrides", one, refuse, "change config.json instead", "{}"},
      {"enable-mm-embeds", nothing, refuse, "embeddings from clients are not accepted"},
      {"trust-request-chat-template", nothing, refuse, no_template},
      {"enable-lora", nothing, refuse, merge_first},
      {"lora-modules", many, refuse, merge_first},
      {"default-mm-loras", one, refuse, merge_first},
      {"max-loras", one, ignore, no_named_adapters},
      {"max-lora-rank", one, ignore, no_named_adapters},
      {"max-cpu-loras", one, ignore, no_named_adapters},
      {"lora-dtype", one, ignore, no_named_adapters},
      {"enable-auto-tool-choice", nothing, refuse, no_tools},
      {"tool-call-parser", one, refuse, no_tools},
      {"reasoning-parser", one, refuse, "reasoning is not split from answers yet"},
      {"uds", one, refuse, "Unix sockets are not supported; use --host and --port"},
      {"ssl-keyfile", one, refuse, no_tls},
      {"ssl-certfile", one, refuse, no_tls},
      {"ssl-ca-certs", one, refuse, no_tls},
      {"ssl-cert-reqs", one, refuse, no_tls, "0"},
      {"ssl-ciphers", one, refuse, no_tls},
  };
  return table;
}

/// Other names of an option.
inline std::string_view flag_alias(std::string_view name) {
  if (name == "tp" || name == "tp-size") return "tensor-parallel-size";
  if (name == "pp") return "pipeline-parallel-size";
  if (name == "dp") return "data-parallel-size";
  return name;
}

}  // namespace lamina::serve
