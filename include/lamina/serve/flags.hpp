#pragma once
#include <algorithm>
#include <charconv>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <limits>
#include <optional>
#include <sstream>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

#include <lamina/checkpoint/folders.hpp>
#include <lamina/core/dtype.hpp>
#include <lamina/core/error.hpp>
#include <lamina/engine/session.hpp>
#include <lamina/io/json.hpp>
#include <lamina/serve/flag_parser.hpp>
#include <lamina/serve/openai/template_kwargs.hpp>
#include <lamina/vision/pixels.hpp>

namespace lamina::serve {

/// The command line of lamina-serve: vLLM's, with what each option means here.
struct Flags {
  std::filesystem::path model, tokenizer, allowed_local_media_path;
  std::vector<std::filesystem::path> adapters;
  std::vector<std::string> served_model_names, api_keys;
  std::string host, root_path, response_role = "assistant", generation_config = "auto";
  std::string chat_template;  ///< a file or the text itself; empty: the folder's
  nlohmann::ordered_json override_generation_config = nlohmann::ordered_json::object();
  std::uint16_t port = 8000;
  std::string device = "auto";        ///< auto, cpu or cuda
  std::optional<DType> dtype;         ///< none: the checkpoint's
  int max_model_len = 0;              ///< 0: what the model allows
  engine::EngineOptions engine = {};  ///< all but its `model`, which the above are
  int prompt_chunk_tokens = 0;        ///< see engine::EngineLimits
  bool prefix_cache = true, priorities = false, log_statistics = true;
  int max_images = 999, max_logprobs = 20, max_queued_requests = 2048, max_header_count = 256;
  std::int64_t max_header_bytes = 64 * 1024, max_body_bytes = 64 * 1024 * 1024, seed = 0;
  std::int64_t max_media_bytes = 0;                          ///< 0: serve::default_media_bytes()
  std::int64_t max_image_pixels = vision::max_image_pixels;  ///< from VLLM_MAX_IMAGE_PIXELS
  std::optional<std::int64_t> min_pixels, max_pixels;
  vision::Colour image_background = {255, 255, 255};  ///< behind images with an alpha channel
  std::vector<std::string> allowed_origins = {"*"}, allowed_methods = {"*"}, allowed_headers = {"*"};
  std::vector<std::string> unlogged_paths;
  bool allow_credentials = false, request_id_headers = false, prompt_tokens_details = false;
  bool force_include_usage = false, access_log = true;
  bool add_vision_id = false, exclude_unused_tools = false, return_tokens_as_ids = false;
  int stream_interval = 1;
  bool show_version = false;
  std::optional<std::string> help;     ///< wanted; the word to look for, or ""
  std::vector<std::string> log_lines;  ///< what to tell at the start: options that do nothing here, and why

  /// Reads a command line without the program's name. UsageError for what is not understood, out of range or refused.
  static Flags parse(const std::vector<std::string>& arguments);
};

/// The text of --help; a word leaves only the options whose line holds it.
inline std::string flags_help(std::string_view word = {}) {
  std::string out = "usage: lamina-serve [MODEL] [--option VALUE]...\n";
  for (const auto& flag : flag_table()) {
    const char* value = flag.takes == Flag::Takes::nothing ? "" : flag.takes == Flag::Takes::one ? " X" : " X [X...]";
    out += help_line(cat("--", flag.name, value), support_text(flag.does, flag.note, flag.off), word);
  }
  return out;
}

namespace detail {

/// Gives the words of FlagWords their meaning.
class FlagReader {
 public:
  explicit FlagReader(const FlagWords& words) : words_(words) {}

  Flags read() {
    if (const auto* help = words_.find("help")) out_.help = help->back() == "true" ? "" : help->back();
    out_.show_version = flag("version");
    if (out_.help || out_.show_version) return std::move(out_);
    sort_out();
    read_model();
    read_engine();
    read_server();
    read_requests();
    return std::move(out_);
  }

 private:
  using Json = nlohmann::ordered_json;

  /// Says what is ignored; refuses what would change the answers.
  void sort_out() {
    out_.log_lines = words_.warnings();
    std::string all;
    for (const auto& [name, values] : words_.given()) {
      all += cat(all.empty() ? "" : ", ", name);
      for (const auto& value : values)
        all += cat("=", name == "api-key" || name == "hf-token" ? "***" : clipped(value, 100));
    }
    out_.log_lines.push_back("options: " + all);
    std::string ignored;
    for (const auto& flag : flag_table()) {
      const auto* values = words_.find(flag.name);
      if (!values || values->back() == "false") continue;
      if (flag.does == Support::ignore) ignored += cat(ignored.empty() ? "" : ", ", "--", flag.name);
      if (flag.does == Support::ignore) ignored += cat(" (", flag.note, ")");
      if (flag.does == Support::refuse && !is_harmless(values->back(), flag.off))
        usage("--", flag.name, flag.takes == Flag::Takes::nothing ? "" : " " + values->back(), ": ", flag.note);
    }
    if (!ignored.empty()) out_.log_lines.push_back("without effect here: " + ignored);
  }

  void read_model() {
    const auto* model = words_.find("model");
    if (!model) usage("--model: is missing, wanted a model directory");
    out_.model = checkpoint::without_trailing_slash(model->back());
    out_.tokenizer = text("tokenizer");
    if (const auto* names = words_.find("served-model-name")) out_.served_model_names = *names;
    if (out_.served_model_names.empty()) out_.served_model_names = {out_.model.string()};
    if (const auto* adapters = words_.find("adapter")) out_.adapters.assign(adapters->begin(), adapters->end());
    out_.device = text("device", "auto");
    const std::string dtype = text("dtype", "auto");
    if (dtype == "half" || dtype == "float16")
      out_.dtype = DType::F16;
    else if (dtype == "bfloat16")
      out_.dtype = DType::BF16;
    else if (dtype == "float" || dtype == "float32")
      out_.dtype = DType::F32;
    else if (dtype != "auto")
      usage("--dtype ", dtype, ": wanted auto, half, float16, bfloat16, float or float32");
    const std::string length = text("max-model-len", "auto");
    if (length != "auto" && length != "-1") out_.max_model_len = static_cast<int>(size("max-model-len", 0, 1, int_max));
    if (size("tensor-parallel-size", 1, 1, int_max) != 1)
      usage("--tensor-parallel-size ", text("tensor-parallel-size"), ": one device serves; wanted 1");
    const std::string format = text("load-format", "auto");
    if (format != "auto" && format != "safetensors") usage("--load-format ", format, ": wanted auto or safetensors");
    out_.generation_config = text("generation-config", "auto");
    out_.override_generation_config = object("override-generation-config");
  }

  void read_engine() {
    auto& engine = out_.engine;
    engine.memory_share = number("gpu-memory-utilization", engine.memory_share);
    if (!(engine.memory_share > 0 && engine.memory_share <= 1))
      usage("--gpu-memory-utilization ", text("gpu-memory-utilization"), ": wanted a number in (0, 1]");
    engine.rows = static_cast<int>(size("max-num-seqs", 0, 1, 4096));
    engine.step_tokens = static_cast<int>(size("max-num-batched-tokens", 0, 1, 1 << 20));
    if (engine.rows > 0 && engine.step_tokens > 0 && engine.step_tokens < engine.rows)
      usage("--max-num-batched-tokens ", engine.step_tokens, ": is less than --max-num-seqs, ", engine.rows,
            ": each of them reads a token in each step");
    engine.page_tokens = static_cast<int>(size("block-size", engine.page_tokens, 1, int_max));
    if (engine.page_tokens != 16 && engine.page_tokens != 32 && engine.page_tokens != 64 && engine.page_tokens != 128)
      usage("--block-size ", engine.page_tokens, ": wanted 16, 32, 64 or 128");
    engine.page_bytes = size("kv-cache-memory-bytes", 0, 1, std::int64_t{1} << 50);
    engine.pages = static_cast<int>(size("num-gpu-blocks-override", 0, 1, int_max));
    engine.image_bytes = image_cache_bytes();
    engine.eager = flag("enforce-eager");
    if (const auto* sizes = words_.find("cudagraph-capture-sizes"))
      for (const auto& rows : *sizes) engine.graph_rows.push_back(capture_size(rows));
    const char* invariant = std::getenv("VLLM_BATCH_INVARIANT");
    engine.batch_invariant = flag("batch-invariant") || (invariant && std::string_view(invariant) == "1");
    out_.prefix_cache = text("enable-prefix-caching", "true") == "true";
    out_.prompt_chunk_tokens = static_cast<int>(size("long-prefill-token-threshold", 0, 0, int_max));
    const std::string policy = text("scheduling-policy", "fcfs");
    if (policy != "fcfs" && policy != "priority") usage("--scheduling-policy ", policy, ": wanted fcfs or priority");
    out_.priorities = policy == "priority";
    out_.log_statistics = !flag("disable-log-stats");
  }
  /// 0: as many as the session chooses; the option's 0 keeps no image beyond its own request.
  std::int64_t image_cache_bytes() const {
    if (!words_.find("mm-processor-cache-gb")) return 0;
    const double gib = number("mm-processor-cache-gb", 0);
    if (!(gib >= 0 && gib <= 1024)) usage("--mm-processor-cache-gb ", gib, ": wanted GiB from 0 to 1024");
    return std::max<std::int64_t>(1, static_cast<std::int64_t>(gib * static_cast<double>(std::int64_t{1} << 30)));
  }
  static int capture_size(const std::string& text) {
    const std::int64_t rows = parse_size("cudagraph-capture-sizes", text);
    if (rows < 1 || rows > 4096) usage("--cudagraph-capture-sizes ", text, ": wanted numbers of sequences, 1 to 4096");
    return static_cast<int>(rows);
  }

  void read_server() {
    out_.host = text("host");
    out_.port = static_cast<std::uint16_t>(size("port", 8000, 0, 65535));
    if (const auto* keys = words_.find("api-key"))
      out_.api_keys = *keys;
    else if (const char* key = std::getenv("VLLM_API_KEY"); key && *key)
      out_.api_keys = {key};
    out_.root_path = text("root-path");
    while (out_.root_path.ends_with('/')) out_.root_path.pop_back();
    if (!out_.root_path.empty() && !out_.root_path.starts_with('/'))
      usage("--root-path ", out_.root_path, ": wanted /path");
    out_.allow_credentials = flag("allow-credentials");
    out_.allowed_origins = list("allowed-origins");
    out_.allowed_methods = list("allowed-methods");
    out_.allowed_headers = list("allowed-headers");
    out_.request_id_headers = flag("enable-request-id-headers");
    read_access_log();
    out_.max_header_bytes = size("h11-max-incomplete-event-size", out_.max_header_bytes, 1024, 16 << 20);
    out_.max_header_count = static_cast<int>(size("h11-max-header-count", out_.max_header_count, 1, 65536));
    out_.max_body_bytes = size("max-request-body-size", out_.max_body_bytes, 1024, std::int64_t{1} << 40);
    out_.max_media_bytes = size("max-media-bytes", 0, 0, std::int64_t{1} << 50);
    if (const char* pixels = std::getenv("VLLM_MAX_IMAGE_PIXELS"); pixels && *pixels)
      out_.max_image_pixels = pixel_limit(pixels);
    out_.max_queued_requests = static_cast<int>(size("max-queued-requests", out_.max_queued_requests, 1, int_max));
  }

  void read_access_log() {
    const std::string level = text("uvicorn-log-level", "info");
    const bool loud = level == "trace" || level == "debug" || level == "info";
    if (!loud && level != "warning" && level != "error" && level != "critical")
      usage("--uvicorn-log-level ", level, ": wanted trace, debug, info, warning, error or critical");
    out_.access_log = !flag("disable-uvicorn-access-log") && loud;
    std::istringstream paths(text("disable-access-log-for-endpoints"));
    for (std::string path; std::getline(paths, path, ',');) {
      if (!path.starts_with('/'))
        usage("--disable-access-log-for-endpoints ", path, ": wanted paths such as /health,/ping");
      out_.unlogged_paths.push_back(path);
    }
  }

  void read_requests() {
    out_.response_role = text("response-role", "assistant");
    out_.seed = size("seed", 0, std::numeric_limits<std::int64_t>::min(), std::numeric_limits<std::int64_t>::max());
    out_.max_logprobs = static_cast<int>(size("max-logprobs", 20, -1, int_max));
    out_.prompt_tokens_details = flag("enable-prompt-tokens-details");
    out_.force_include_usage = flag("enable-force-include-usage");
    out_.allowed_local_media_path = text("allowed-local-media-path");
    if (!out_.allowed_local_media_path.empty() && !std::filesystem::is_directory(out_.allowed_local_media_path))
      usage("--allowed-local-media-path ", out_.allowed_local_media_path.string(), ": is not a directory");
    read_template();
    read_image_limit();
    read_media_io();
    read_processor();
  }

  void read_template() {
    out_.chat_template = text("chat-template");
    out_.exclude_unused_tools = flag("exclude-tools-when-tool-choice-none");
    out_.return_tokens_as_ids = flag("return-tokens-as-token-ids");
    out_.stream_interval = static_cast<int>(size("stream-interval", 1, 1, int_max));
    try {
      const auto kwargs = object("default-chat-template-kwargs");
      out_.add_vision_id = read_template_kwargs(kwargs, "--default-chat-template-kwargs").add_vision_id.value_or(false);
    } catch (const ApiError& e) {
      usage(e.what());
    }
  }

  void read_processor() {
    const Json kwargs = object("mm-processor-kwargs");
    const Json edges = kwargs.contains("size") ? kwargs["size"] : Json::object();
    for (const auto& [key, value] : kwargs.items())
      if (key != "size" && key != "min_pixels" && key != "max_pixels")
        usage("--mm-processor-kwargs: ", key, " is not supported; wanted min_pixels, max_pixels or size");
    if (!edges.is_object()) usage("--mm-processor-kwargs: size is ", edges.dump(), ", wanted an object");
    for (const auto& [key, value] : edges.items())
      if (key != "shortest_edge" && key != "longest_edge")
        usage("--mm-processor-kwargs: size has ", key, "; wanted shortest_edge and longest_edge, which are pixels");
    const auto pixels = [&](const char* key, const char* edge) -> std::optional<std::int64_t> {
      const Json* value = kwargs.contains(key) ? &kwargs[key] : edges.contains(edge) ? &edges[edge] : nullptr;
      if (!value) return {};
      if (!value->is_number_integer() || *value < 1)
        usage("--mm-processor-kwargs: ", key, " is ", value->dump(), ", wanted pixels");
      return value->get<std::int64_t>();
    };
    out_.min_pixels = pixels("min_pixels", "shortest_edge");
    out_.max_pixels = pixels("max_pixels", "longest_edge");
  }
  /// {"image": {"rgba_background_color": [255, 255, 255]}}. What is about videos has no effect: none is read.
  void read_media_io() {
    const Json kinds = object("media-io-kwargs");
    for (const auto& [kind, options] : kinds.items()) {
      if (kind == "video" || kind == "audio") {
        out_.log_lines.push_back("without effect here: --media-io-kwargs " + kind + ", only images are read");
        continue;
      }
      if (kind != "image" || !options.is_object())
        usage("--media-io-kwargs: ", kind, " is ", options.dump(), ", wanted {\"image\": {...}}");
      for (const auto& [key, value] : options.items()) {
        if (key != "rgba_background_color")
          usage("--media-io-kwargs: image.", key, " is not supported; wanted rgba_background_color");
        const bool colour = value.is_array() && value.size() == 3 && std::all_of(value.begin(), value.end(), is_level);
        if (!colour)
          usage("--media-io-kwargs: image.rgba_background_color is ", value.dump(),
                ", wanted three integers from 0 to 255");
        out_.image_background = value.get<vision::Colour>();
      }
    }
  }
  static bool is_level(const Json& value) { return value.is_number_integer() && value >= 0 && value <= 255; }

  /// {"image": 4}, {"image": {"count": 4}} or image=4,video=0.
  void read_image_limit() {
    const std::string limit = text("limit-mm-per-prompt");
    if (limit.empty()) return;
    Json json = checkpoint::try_parse_json<Json>(limit);
    if (json.is_discarded() && limit.starts_with('{')) usage("--limit-mm-per-prompt ", limit, ": is not JSON");
    if (json.is_discarded()) {
      json = Json::object();
      for (std::size_t at = 0; at < limit.size();) {
        const std::size_t end = std::min(limit.find(',', at), limit.size()),
                          equals = std::min(limit.find('=', at), end);
        json[limit.substr(at, equals - at)] =
            checkpoint::try_parse_json<Json>(limit.substr(std::min(equals + 1, end), end - std::min(equals + 1, end)));
        at = end + 1;
      }
    }
    if (!json.is_object()) usage("--limit-mm-per-prompt ", limit, ": wanted {\"image\": 4} or image=4");
    for (const auto& [kind, value] : json.items()) {
      const Json count = value.is_object() && value.contains("count") ? value["count"] : value;
      if (!count.is_number_unsigned() || count > int_max)
        usage("--limit-mm-per-prompt ", limit, ": ", kind, " wants a count");
      if (kind != "image" && kind != "video" && kind != "audio")
        usage("--limit-mm-per-prompt ", limit, ": has ", kind, ", wanted image, video or audio");
      if (kind == "image") out_.max_images = count.get<int>();
    }
  }

  static constexpr int int_max = std::numeric_limits<int>::max();
  std::string text(std::string_view name, std::string otherwise = {}) const {
    const auto* values = words_.find(name);
    return values ? values->back() : otherwise;
  }
  bool flag(std::string_view name) const { return text(name) == "true"; }
  static std::int64_t pixel_limit(std::string_view text) {
    std::int64_t pixels = 0;
    const auto end = std::from_chars(text.data(), text.data() + text.size(), pixels);
    if (end.ec != std::errc() || end.ptr != text.data() + text.size() || pixels < 1 ||
        pixels > vision::max_image_pixels)
      usage("VLLM_MAX_IMAGE_PIXELS (environment): is ", text, ", wanted a number of pixels from 1 to ",
            vision::max_image_pixels);
    return pixels;
  }
  std::int64_t size(std::string_view name, std::int64_t otherwise, std::int64_t least, std::int64_t most) const {
    if (!words_.find(name)) return otherwise;
    const std::int64_t value = parse_size(name, text(name));
    if (value < least || value > most)
      usage("--", name, " ", text(name), ": wanted a number in [", least, ", ", most, "]");
    return value;
  }
  double number(std::string_view name, double otherwise) const {
    if (!words_.find(name)) return otherwise;
    const std::string value = text(name);
    char* end = nullptr;
    const double out = std::strtod(value.c_str(), &end);
    if (value.empty() || *end) usage("--", name, " ", value, ": wanted a number");
    return out;
  }
  Json object(std::string_view name) const {
    if (!words_.find(name)) return Json::object();
    auto json = checkpoint::try_parse_json<Json>(text(name));
    if (!json.is_object()) usage("--", name, " ", text(name), ": wanted a JSON object");
    return json;
  }
  std::vector<std::string> list(std::string_view name) const {
    if (!words_.find(name)) return {"*"};
    const auto json = checkpoint::try_parse_json<Json>(text(name));
    std::vector<std::string> out;
    if (!json.is_array()) usage("--", name, " ", text(name), ": wanted a JSON list such as [\"*\"]");
    for (const auto& item : json) {
      if (!item.is_string()) usage("--", name, " ", text(name), ": wanted a JSON list of strings");
      out.push_back(item.get<std::string>());
    }
    return out;
  }

  const FlagWords& words_;
  Flags out_;
};

}  // namespace detail

inline Flags Flags::parse(const std::vector<std::string>& arguments) {
  return detail::FlagReader(FlagWords::parse(arguments)).read();
}

}  // namespace lamina::serve
