#pragma once
#include <algorithm>
#include <string>
#include <string_view>
#include <vector>

namespace lamina::serve {

/// One option of vLLM's command line and what becomes of it here.
struct Flag {
  enum class Takes { nothing, one, many };
  enum class Does {
    work,    ///< Flags reads it
    ignore,  ///< accepted with its value; one line says so
    refuse   ///< an error that gives the reason, unless the value means "off"
  };
  std::string_view name;
  Takes takes = Takes::one;
  Does does = Does::work;
  std::string_view note = {};  ///< help, or the reason
  std::string_view off = {};   ///< values, separated by |, with which a refused flag is harmless
};

namespace detail {
inline constexpr Flag::Takes nothing = Flag::Takes::nothing, one = Flag::Takes::one, many = Flag::Takes::many;
inline constexpr Flag::Does work = Flag::Does::work, ignore = Flag::Does::ignore, refuse = Flag::Does::refuse;
inline constexpr std::string_view merge_first = "adapters cannot be served by name yet: merge with lamina-merge first";
inline constexpr std::string_view no_tools = "tool calls are not read from answers yet";
inline constexpr std::string_view no_tls = "this build speaks plain HTTP; put a TLS proxy in front";
inline constexpr std::string_view no_template = "the model family's own template is built in";
}  // namespace detail

/// Every option, in the order of --help.
inline const std::vector<Flag>& flag_table() {
  using namespace detail;
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
      {"gpu-memory-utilization", one, work, "in (0, 1]; without effect on the CPU"},
      {"tokenizer", one, work, "directory of the tokenizer, default: the model's"},
      {"limit-mm-per-prompt", one, work, "{\"image\": 4} or image=4: pictures in one request"},
      {"mm-processor-kwargs", one, work, "{\"min_pixels\": n, \"max_pixels\": n}"},
      {"media-io-kwargs", one, work,
       "{\"image\": {\"rgba_background_color\": [r, g, b]}}: what is put behind images with alpha, default white"},
      {"allowed-local-media-path", one, work, "file:// pictures below this directory are allowed"},
      {"api-key", many, work, "bearer tokens that clients must send; also VLLM_API_KEY"},
      {"response-role", one, work, "role of answers, default assistant"},
      {"generation-config", one, work, "auto: the model's generation_config.json; vllm: none; or a directory"},
      {"override-generation-config", one, work, "JSON that replaces fields of the generation config"},
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
      {"max-queued-requests", one, work, "waiting and running; more get status 503, default 256"},
      {"disable-uvicorn-access-log", nothing, work, "no line for each request"},
      {"uvicorn-log-level", one, work, "warning, error or critical: no line for each request"},
      {"adapter", many, work, "PEFT adapter directories to apply to the model"},
      {"load-format", one, work, "auto or safetensors"},
      {"trust-remote-code", nothing, ignore, "no code of a checkpoint is ever run"},
      {"max-num-seqs", one, ignore, "requests are answered one at a time"},
      {"max-num-batched-tokens", one, ignore, "requests are answered one at a time"},
      {"mm-processor-cache-gb", one, ignore, "pictures are not cached"},
      {"allowed-media-domains", many, ignore, "remote pictures are refused"},
      {"skip-mm-profiling", nothing, ignore},
      {"mm-encoder-tp-mode", one, ignore},
      {"mm-encoder-attn-backend", one, ignore},
      {"interleave-mm-strings", nothing, ignore},
      {"chat-template-content-format", one, ignore, "content is always read as parts"},
      {"default-chat-template-kwargs", one, ignore},
      {"enable-prefix-caching", nothing, ignore},
      {"prefix-caching-hash-algo", one, ignore},
      {"enable-chunked-prefill", nothing, ignore},
      {"long-prefill-token-threshold", one, ignore},
      {"max-num-partial-prefills", one, ignore},
      {"disable-chunked-mm-input", nothing, ignore},
      {"block-size", one, ignore},
      {"kv-cache-memory-bytes", one, ignore},
      {"num-gpu-blocks-override", one, ignore},
      {"enforce-eager", nothing, ignore},
      {"cudagraph-capture-sizes", many, ignore},
      {"max-cudagraph-capture-size", one, ignore},
      {"async-scheduling", nothing, ignore},
      {"stream-interval", one, ignore},
      {"scheduling-policy", one, refuse, "requests are answered in the order they come", "fcfs"},
      {"logprobs-mode", one, refuse, "logprobs are of the raw distribution", "raw_logprobs"},
      {"tokenizer-mode", one, ignore},
      {"revision", one, ignore, "nothing is downloaded"},
      {"download-dir", one, ignore, "nothing is downloaded"},
      {"hf-token", one, ignore, "nothing is downloaded"},
      {"guided-decoding-backend", one, ignore},
      {"structured-outputs-config", one, ignore},
      {"log-config-file", one, ignore},
      {"max-log-len", one, ignore},
      {"disable-access-log-for-endpoints", one, ignore},
      {"disable-log-requests", nothing, ignore},
      {"enable-log-requests", nothing, ignore},
      {"enable-log-outputs", nothing, ignore},
      {"disable-log-stats", nothing, ignore},
      {"return-tokens-as-token-ids", nothing, ignore},
      {"exclude-tools-when-tool-choice-none", nothing, ignore},
      {"enable-server-load-tracking", nothing, ignore},
      {"enable-tokenizer-info-endpoint", nothing, ignore},
      {"enable-ssl-refresh", nothing, ignore},
      {"disable-frontend-multiprocessing", nothing, ignore},
      {"distributed-executor-backend", one, refuse, "one process serves", "mp|uni"},
      {"api-server-count", one, refuse, "one process serves", "1"},
      {"pipeline-parallel-size", one, refuse, "one device serves", "1"},
      {"data-parallel-size", one, refuse, "one device serves", "1"},
      {"swap-space", one, refuse, "nothing is swapped", "0|4"},
      {"cpu-offload-gb", one, refuse, "nothing is offloaded", "0"},
      {"kv-cache-dtype", one, refuse, "the KV cache has the model's dtype", "auto"},
      {"quantization", one, refuse, "quantised weights are not supported", "none|None"},
      {"hf-overrides", one, refuse, "change config.json instead", "{}"},
      {"enable-mm-embeds", nothing, refuse, "embeddings from clients are not accepted"},
      {"chat-template", one, refuse, no_template},
      {"trust-request-chat-template", nothing, refuse, no_template},
      {"enable-lora", nothing, refuse, merge_first},
      {"lora-modules", many, refuse, merge_first},
      {"default-mm-loras", one, refuse, merge_first},
      {"max-loras", one, ignore},
      {"max-lora-rank", one, ignore},
      {"max-cpu-loras", one, ignore},
      {"lora-dtype", one, ignore},
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
