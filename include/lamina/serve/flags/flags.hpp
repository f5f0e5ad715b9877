#pragma once
#include <algorithm>
#include <charconv>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <lamina/core/error.hpp>
#include <lamina/serve/flags/flag_table.hpp>
#include <lamina/serve/flags/support.hpp>
#include <lamina/serve/openai/request/request_fields.hpp>
#include <lamina/serve/openai/responses/responses_fields.hpp>

namespace lamina::serve {

using io::UsageError;

namespace detail {
/// "; default 8000"; "" for a default that says nothing: no text, 0 (chosen when the program starts), off.
inline std::string default_text(const FlagKey& flag) {
  if (flag.status != KeyStatus::honoured) return "";
  const std::string text = flag.default_text();
  return text.empty() || text == "0" || text == "false" ? "" : "; default " + text;
}
}  // namespace detail

/// The options, for --help; a word leaves only those whose line holds it.
inline std::string flags_help(std::string_view word = {}) {
  std::string out;
  for (const FlagKey& flag : flag_table()) {
    const char* value = flag.type == KeyType::flag ? "" : flag.type == KeyType::list ? " X [X...]" : " X";
    out += help_line(cat("--", flag.name, value), support_text(flag) + detail::default_text(flag), word);
  }
  return out;
}

/// The text of --help=WORD: the options and the fields of requests whose line holds the word. UsageError if none does.
inline std::string help_text(std::string_view word = {}) {
  const std::string text =
      flags_help(word) + request_fields_help(word) + request_fields_help(word, "/v1/responses", responses_fields());
  if (!text.empty()) return text;
  std::vector<std::string_view> known;
  for (const io::KeyRow& flag : flag_table()) known.push_back(flag.name);
  for (const auto& fields : {request_fields(), responses_fields()})
    for (const io::KeyRow& field : fields) known.push_back(field.name);
  io::usage("--help=", word, ": nothing matches", io::did_you_mean(word, known), "; --help lists everything");
}

namespace detail {

/// The word of --help=WORD; none if no such help is wanted.
inline std::optional<std::string> wanted_help(const std::vector<std::string>& words) {
  const auto at =
      std::find_if(words.begin(), words.end(), [](const std::string& word) { return word.starts_with("--help="); });
  if (at == words.end()) return std::nullopt;
  if (at + 1 != words.end()) usage(*at, ": comes last: leave out ", at[1]);
  return at->substr(7);
}

/// Words of which each is answered alone: --help and --version by shorter names, which run_program() does not know.
inline bool is_asked(const io::Settings& given, std::string_view word) {
  const bool asked = given.contains(word);
  if (asked && given.size() > 1) usage("--", word, ": is answered alone, without other options");
  return asked;
}

/// One line of everything that was given; secrets are not shown.
inline std::string options_line(const io::Settings& given) {
  std::string all;
  for (const auto& [name, setting] : given) {
    all += cat(all.empty() ? "options: " : ", ", name);
    const bool secret = name == "api-key" || name == "hf-token";
    std::string_view before = "=";
    for (const auto& value : setting.value.is_array() ? setting.value : nlohmann::ordered_json{setting.value})
      all += cat(std::exchange(before, " "), secret ? "***" : clipped(io::shown(value), 100));
  }
  return all.empty() ? "options: " : all;
}

/// A variable that is set and not empty. UsageError if it is no whole number from least to most.
inline std::optional<std::int64_t> environment_number(const char* name, const char* wanted, std::int64_t least,
                                                      std::int64_t most) {
  const char* text = std::getenv(name);
  if (!text || !*text) return std::nullopt;
  const std::string_view digits = text;
  std::int64_t value = 0;
  const auto end = std::from_chars(digits.data(), digits.data() + digits.size(), value);
  if (end.ec != std::errc() || end.ptr != digits.data() + digits.size() || value < least || value > most)
    usage(name, " (environment): is ", text, ", wanted ", wanted, " from ", least, " to ", most);
  return value;
}

/// Whether a variable has one of these values.
inline bool environment_is(const char* name, std::initializer_list<std::string_view> values) {
  const char* text = std::getenv(name);
  return text && std::find(values.begin(), values.end(), text) != values.end();
}

inline void read_environment(Flags& out) {
  if (environment_is("VLLM_BATCH_INVARIANT", {"1"})) out.engine.batch_invariant = true;
  out.load_adapters = environment_is("VLLM_ALLOW_RUNTIME_LORA_UPDATING", {"1", "true", "True"});
  out.developer = environment_is("VLLM_SERVER_DEV_MODE", {"1"});
  if (const char* key = std::getenv("VLLM_API_KEY"); out.api_keys.empty() && key && *key) out.api_keys = {key};
  if (const auto pixels =
          environment_number("VLLM_MAX_IMAGE_PIXELS", "a number of pixels", 1, vision::max_image_pixels))
    out.max_image_pixels = *pixels;
  if (const auto seconds = environment_number("VLLM_IMAGE_FETCH_TIMEOUT", "a number of seconds", 1, 600))
    out.fetch.longest = std::chrono::seconds(*seconds);
  if (const auto allowed = environment_number("VLLM_MEDIA_URL_ALLOW_REDIRECTS", "a number", 0, 1))
    out.fetch.redirects = *allowed != 0;
}

/// Flags of TLS, of Unix sockets and of images of the web that need others.
inline void settle_network(Flags& out) {
  const TlsOptions& tls = out.tls;
  if (tls.certfile.empty())
    for (const auto& [name, is_given] :
         {std::pair("keyfile", !tls.keyfile.empty()), std::pair("ca-certs", !tls.ca_certs.empty()),
          std::pair("cert-reqs", tls.cert_reqs > 0), std::pair("ciphers", !tls.ciphers.empty())})
      if (is_given) usage("--ssl-", name, ": is given without --ssl-certfile, which turns TLS on");
  if (tls.cert_reqs > 0 && tls.ca_certs.empty())
    usage("--ssl-cert-reqs ", tls.cert_reqs, ": wanted --ssl-ca-certs with it, those who sign clients' certificates");
  if (tls.certfile.empty() && tls.refresh) out.log_lines.push_back("--enable-ssl-refresh: there is no --ssl-certfile");
  if (out.fetch.private_addresses && !out.remote_media)
    usage("--allow-private-media: is given without --allow-remote-media or --allowed-media-domains");
  if (!out.uds.empty() && (!out.host.empty() || out.port != Flags{}.port))
    out.log_lines.push_back("--host and --port have no effect with --uds");
}

/// A note for each option that was given while what it belongs to is off.
inline void note_idle_options(Flags& out, const io::Settings& given) {
  struct Idle {
    std::string_view option;
    bool idle;
    std::string_view reason;
  };
  const auto& engine = out.engine;
  for (const Idle& i :
       {Idle{"max-loras", !out.enable_lora, "there is no --enable-lora"},
        Idle{"max-lora-rank", !out.enable_lora, "there is no --enable-lora"},
        Idle{"tool-call-parser", !out.automatic_tools, "there is no --enable-auto-tool-choice"},
        Idle{"disable-access-log-for-endpoints", !out.access_log, "there is no access log"},
        Idle{"cudagraph-capture-sizes", engine.eager, "--enforce-eager records no step"},
        Idle{"kv-cache-memory-bytes", engine.pages > 0, "--num-gpu-blocks-override counts"},
        Idle{"gpu-memory-utilization", engine.pages > 0, "--num-gpu-blocks-override counts"},
        Idle{"gpu-memory-utilization", engine.pages == 0 && engine.page_bytes > 0, "--kv-cache-memory-bytes counts"}})
    if (given.contains(i.option) && i.idle) out.log_lines.push_back(cat("--", i.option, " has no effect: ", i.reason));
}

/// Flags that contradict each other, and defaults that follow others.
inline void settle(Flags& out) {
  settle_network(out);
  const int rows = out.engine.rows, step_tokens = out.engine.step_tokens;
  if (rows > 0 && step_tokens > 0 && step_tokens < rows)
    usage("--max-num-batched-tokens ", step_tokens, ": is less than --max-num-seqs, ", rows,
          ": each of them reads a token in each step");
  if (out.automatic_tools && out.tool_parser.empty())
    usage("--enable-auto-tool-choice: is given without --tool-call-parser, wanted --tool-call-parser hermes with it");
  if (!out.enable_lora && !out.lora_modules.empty())
    usage("--lora-modules: is given without --enable-lora, wanted both");
  out.engine.adapter_slots = out.enable_lora ? out.max_loras : 0;
  if (out.served_model_names.empty()) out.served_model_names = {out.model.string()};
}

}  // namespace detail

namespace detail {
/// -O3 as -O 3, which vLLM takes too.
inline std::vector<std::string> with_levels_apart(const std::vector<std::string>& words) {
  std::vector<std::string> out;
  for (const std::string& word : words) {
    const bool level = word.size() == 3 && word.starts_with("-O") && word[2] >= '0' && word[2] <= '9';
    out.push_back(level ? "-O" : word);
    if (level) out.push_back(word.substr(2));
  }
  return out;
}
}  // namespace detail

inline Flags Flags::parse(const std::vector<std::string>& words) {
  Flags out;
  const std::vector<std::string> arguments = detail::with_levels_apart(words);
  if (const auto word = detail::wanted_help(arguments)) return out.help = help_text(*word), out;
  const io::Settings given = io::read_flags(flag_table(), arguments, flag_rules(), out.log_lines);
  if (detail::is_asked(given, "help")) return out.help = help_text(), out;
  if (detail::is_asked(given, "version")) return out.show_version = true, out;
  out.settings = detail::options_line(given);
  out.log_lines.push_back(out.settings);
  io::check_keys(flag_table(), given, out.log_lines);
  if (!given.contains("model")) io::usage("--model: is missing, wanted a model directory");
  io::fill(flag_table(), given, out);
  detail::read_environment(out);
  detail::settle(out);
  detail::note_idle_options(out, given);
  return out;
}

}  // namespace lamina::serve
