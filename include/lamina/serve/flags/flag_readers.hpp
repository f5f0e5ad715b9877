#pragma once
#include <algorithm>
#include <filesystem>
#include <limits>
#include <optional>
#include <sstream>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json.hpp>

#include <lamina/io/flags.hpp>
#include <lamina/serve/flags/flag_values.hpp>
#include <lamina/serve/generation_defaults.hpp>
#include <lamina/serve/openai/request/template_kwargs.hpp>
#include <lamina/serve/prompt/chat_template_files.hpp>

/// Readers of the flags that do more than fill a member.
namespace lamina::serve {

using io::honoured, io::honoured_by, io::honoured_word, io::KeyStatus, io::KeyType, io::Setting;
using FlagKey = io::Key<Flags>;

namespace detail {

using io::usage;
inline constexpr int int_max = std::numeric_limits<int>::max();

inline nlohmann::ordered_json flag_object(const Setting& s, std::string_view flag) {
  return io::object_of(s, flag, "a JSON object");
}

/// What is made of the weights when they are loaded.
inline void read_quantization(Flags& out, const Setting& s, std::string_view flag) {
  const std::string method = io::text_of(s, flag);
  if (method == "none" || method == "None")
    out.engine.quantization = {};
  else if (method == "bitsandbytes")
    out.engine.quantization = Quantization::four_bit(Quantization::Code::nf4, true);
  else if (method == "fp8")
    out.engine.quantization = Quantization::fp8_rows();
  else
    io::wrong_value(s, flag,
                    "none, bitsandbytes or fp8, which quantise the model's bf16 release as it is loaded; files that "
                    "are quantised by AWQ, GPTQ or llm-compressor are not read");
}

inline void read_dtype(Flags& out, const Setting& s, std::string_view flag) {
  const std::string dtype = io::text_of(s, flag);
  if (dtype == "half" || dtype == "float16")
    out.engine.dtype = DType::F16;
  else if (dtype == "bfloat16")
    out.engine.dtype = DType::BF16;
  else if (dtype == "float" || dtype == "float32")
    out.engine.dtype = DType::F32;
  else if (dtype != "auto")
    io::wrong_value(s, flag, "auto, half, float16, bfloat16, float or float32");
}

inline void read_max_model_len(Flags& out, const Setting& s, std::string_view flag) {
  const std::string length = io::text_of(s, flag);
  if (length == "auto" || length == "-1") return;
  const std::int64_t tokens = io::parse_size(flag, length);
  if (tokens < 2 || tokens > int_max)
    io::wrong_value(s, flag, cat("a number in [2, ", int_max, "]: a token of the prompt and one of the answer"));
  out.engine.max_model_len = static_cast<int>(tokens);
}

inline void read_memory_share(Flags& out, const Setting& s, std::string_view flag) {
  out.engine.memory_share = io::number_of(s, flag);
  if (!(out.engine.memory_share > 0 && out.engine.memory_share <= 1)) io::wrong_value(s, flag, "a number in (0, 1]");
}

/// GiB as bytes; at least one byte, since 0 bytes stand for the session's own choice. It keeps no image.
inline void read_image_cache(Flags& out, const Setting& s, std::string_view flag) {
  const double gib = io::number_of(s, flag);
  if (!(gib >= 0 && gib <= 1024)) io::wrong_value(s, flag, "GiB from 0 to 1024");
  out.engine.image_bytes = std::max<std::int64_t>(1, static_cast<std::int64_t>(gib * 0x1p30));
  out.kept_media_bytes = std::min(out.kept_media_bytes, static_cast<std::size_t>(gib * 0x1p30));
}

inline void read_capture_sizes(Flags& out, const Setting& s, std::string_view flag) {
  out.engine.graph_rows.clear();
  for (const std::string& text : io::list_of(s, flag)) {
    const std::int64_t rows = io::parse_size(flag, text);
    if (rows < 1 || rows > 4096) usage("--", flag, " ", text, ": wanted numbers of sequences, 1 to 4096");
    out.engine.graph_rows.push_back(static_cast<int>(rows));
  }
}

inline void read_policy(Flags& out, const Setting& s, std::string_view flag) {
  const std::string policy = io::text_of(s, flag);
  if (policy != "fcfs" && policy != "priority") io::wrong_value(s, flag, "fcfs or priority");
  out.priorities = policy == "priority";
}

inline void read_load_format(Flags&, const Setting& s, std::string_view flag) {
  const std::string format = io::text_of(s, flag);
  if (format != "auto" && format != "safetensors")
    io::wrong_value(s, flag, "auto or safetensors; lamina-init makes a model of random weights");
}

inline void read_generation_config(Flags& out, const Setting& s, std::string_view flag) {
  out.generation_config = io::text_of(s, flag);
  if (out.generation_config.empty()) io::wrong_value(s, flag, "auto, vllm or a directory");
}

inline void read_generation_overrides(Flags& out, const Setting& s, std::string_view flag) {
  out.override_generation_config = flag_object(s, flag);
  GenerationDefaults{}.override_with(out.override_generation_config, cat("--", flag));
}

inline void read_root_path(Flags& out, const Setting& s, std::string_view flag) {
  out.root_path = io::text_of(s, flag);
  while (out.root_path.ends_with('/')) out.root_path.pop_back();
  if (!out.root_path.empty() && !out.root_path.starts_with('/')) io::wrong_value(s, flag, "/path");
}

/// A JSON list of strings.
template <std::vector<std::string> Flags::*Member>
void read_list(Flags& out, const Setting& s, std::string_view flag) {
  const auto json = io::json_of(s, flag);
  if (!json.is_array()) io::wrong_value(s, flag, "a JSON list such as [\"*\"]");
  (out.*Member).clear();
  for (const auto& item : json) {
    if (!item.is_string()) io::wrong_value(s, flag, "a JSON list of strings");
    (out.*Member).push_back(item.get<std::string>());
  }
}

/// NAME=DIR, or vLLM's {"name": ..., "path": ..., "base_model_name": ...}.
inline AdapterModule read_lora_module(const std::string& item, std::string_view flag) {
  AdapterModule module;
  std::string path;
  if (item.starts_with('{')) {
    const auto json = io::json_of({item, ""}, flag);
    for (const auto& [key, value] : json.items()) {
      std::string* const to = key == "name"              ? &module.name
                              : key == "path"            ? &path
                              : key == "base_model_name" ? &module.base_model_name
                                                         : nullptr;
      const bool absent = key == "base_model_name" && value.is_null();
      if (!to || !(absent || value.is_string()))
        usage("--", flag, ": ", key, " is ", value.dump(), ", wanted name, path and base_model_name, which are texts");
      if (!absent) *to = value.get<std::string>();
    }
  } else if (const std::size_t equals = item.find('='); equals != std::string::npos) {
    module.name = item.substr(0, equals), path = item.substr(equals + 1);
  }
  if (module.name.empty() || path.empty())
    usage("--", flag, " ", item, ": wanted NAME=DIR or {\"name\": NAME, \"path\": DIR}");
  module.path = path;
  return module;
}
inline void read_lora_modules(Flags& out, const Setting& s, std::string_view flag) {
  out.lora_modules.clear();
  const auto& items = s.value.is_array() ? s.value : nlohmann::ordered_json{s.value};
  for (const auto& item : items) {
    AdapterModule module = read_lora_module(io::shown(item), flag);
    for (const AdapterModule& other : out.lora_modules)
      if (other.name == module.name) usage("--", flag, ": ", module.name, " is given twice: keep one");
    out.lora_modules.push_back(std::move(module));
  }
}

/// A flag that switches a member off.
template <bool Flags::*Member>
void read_off(Flags& out, const Setting& s, std::string_view flag) {
  if (io::flag_of(s, flag)) out.*Member = false;
}
inline void read_log_level(Flags& out, const Setting& s, std::string_view flag) {
  const std::string level = io::text_of(s, flag);
  const bool loud = level == "trace" || level == "debug" || level == "info";
  if (!loud && level != "warning" && level != "error" && level != "critical")
    io::wrong_value(s, flag, "trace, debug, info, warning, error or critical");
  if (!loud) out.access_log = false;
}
inline void read_unlogged_paths(Flags& out, const Setting& s, std::string_view flag) {
  std::istringstream paths(io::text_of(s, flag));
  for (std::string path; std::getline(paths, path, ',');) {
    if (!path.starts_with('/')) usage("--", flag, " ", path, ": wanted paths such as /health,/ping");
    out.unlogged_paths.push_back(path);
  }
}

inline void read_media_path(Flags& out, const Setting& s, std::string_view flag) {
  io::read_value(s, flag, out.allowed_local_media_path);
  if (!std::filesystem::is_directory(out.allowed_local_media_path))
    throw io::FileError(cat("--", flag, " ", io::shown(s.value), ": is not a directory"));
}

inline void read_media_domains(Flags& out, const Setting& s, std::string_view flag) {
  out.fetch.domains = io::list_of(s, flag);
  out.remote_media = true;
  for (const std::string& domain : out.fetch.domains)
    if (domain.empty() || domain.find_first_of("/:@* ") != domain.npos)
      usage("--", flag, " ", domain, ": wanted whole names of hosts, such as images.example.org");
}

inline void read_chat_template(Flags& out, const Setting& s, std::string_view flag) {
  out.chat_template = io::text_of(s, flag);
  if (out.chat_template.empty())
    usage("--", flag, " '': wanted a file or a template; is a variable of your script not set?");
  check_chat_template(out.chat_template);
}

inline void read_template_defaults(Flags& out, const Setting& s, std::string_view flag) {
  out.template_kwargs = flag_object(s, flag);
  check_template_flag(out.template_kwargs, cat("--", flag), nullptr);
}

inline void read_processor(Flags& out, const Setting& s, std::string_view flag) {
  const auto kwargs = flag_object(s, flag);
  const auto edges = kwargs.contains("size") ? kwargs["size"] : nlohmann::ordered_json::object();
  for (const auto& [key, value] : kwargs.items())
    if (key != "size" && key != "min_pixels" && key != "max_pixels")
      usage("--", flag, ": ", key, " is not supported; wanted min_pixels, max_pixels or size");
  if (!edges.is_object()) usage("--", flag, ": size is ", edges.dump(), ", wanted an object");
  for (const auto& [key, value] : edges.items())
    if (key != "shortest_edge" && key != "longest_edge")
      usage("--", flag, ": size has ", key, "; wanted shortest_edge and longest_edge, which are pixels");
  const auto pixels = [&](const char* key, const char* edge) -> std::optional<std::int64_t> {
    const auto* value = kwargs.contains(key) ? &kwargs[key] : edges.contains(edge) ? &edges[edge] : nullptr;
    if (!value) return {};
    constexpr std::int64_t most = std::int64_t{1} << 40;
    if (!value->is_number_integer() || *value < 1 || *value > most)
      usage("--", flag, ": ", key, " is ", value->dump(), ", wanted pixels, 1 to ", most);
    return value->get<std::int64_t>();
  };
  out.min_pixels = pixels("min_pixels", "shortest_edge");
  out.max_pixels = pixels("max_pixels", "longest_edge");
  if (out.min_pixels && out.max_pixels && *out.min_pixels > *out.max_pixels)
    usage("--", flag, ": min_pixels is ", *out.min_pixels, ", more than max_pixels, ", *out.max_pixels);
}

/// [0, 160, 255] as a colour.
inline vision::Colour read_colour(const nlohmann::ordered_json& value, std::string_view flag) {
  const auto is_level = [](const auto& v) { return v.is_number_integer() && v >= 0 && v <= 255; };
  if (!value.is_array() || value.size() != 3 || !std::all_of(value.begin(), value.end(), is_level))
    usage("--", flag, ": image.rgba_background_color is ", value.dump(), ", wanted three integers from 0 to 255");
  return value.get<vision::Colour>();
}

/// {"num_frames": 32, "fps": 2}; -1 leaves the choice to the model's processor.
inline vision::FrameWish read_frame_wish(const nlohmann::ordered_json& options, std::string_view flag) {
  vision::FrameWish wish;
  for (const auto& [key, value] : options.items()) {
    if (key == "num_frames" && value.is_number_integer() && (value == -1 || value > 0))
      wish.num_frames = value.get<std::int64_t>();
    else if (key == "fps" && value.is_number() && (value == -1 || value > 0))
      wish.fps = value.get<double>();
    else
      usage("--", flag, ": video.", key, " is ", value.dump(), "; wanted num_frames and fps, positive numbers or -1");
  }
  return wish;
}

/// {"image": {"rgba_background_color": [255, 255, 255]}, "video": {"num_frames": 32}}. Nothing else has options.
inline void read_media_io(Flags& out, const Setting& s, std::string_view flag) {
  const auto kinds = flag_object(s, flag);
  for (const auto& [kind, options] : kinds.items()) {
    if (kind == "audio") {
      out.log_lines.push_back(cat("--", flag, ": audio has no effect: only images and videos are read"));
      continue;
    }
    if ((kind != "image" && kind != "video") || !options.is_object())
      usage("--", flag, ": ", kind, " is ", options.dump(), ", wanted {\"image\": {...}, \"video\": {...}}");
    if (kind == "video") out.video_frames = read_frame_wish(options, flag);
    if (kind == "video") continue;
    for (const auto& [key, value] : options.items()) {
      if (key != "rgba_background_color")
        usage("--", flag, ": image.", key, " is not supported; wanted rgba_background_color");
      out.image_background = read_colour(value, flag);
    }
  }
}

/// image=4,video=0: the older form of --limit-mm-per-prompt.
inline nlohmann::ordered_json counts_of(const std::string& limit, std::string_view flag) {
  auto json = nlohmann::ordered_json::object();
  std::istringstream parts(limit);
  for (std::string part; std::getline(parts, part, ',');) {
    const std::size_t equals = std::min(part.find('='), part.size());
    if (json.contains(part.substr(0, equals)))
      usage("--", flag, " ", limit, ": ", part.substr(0, equals), " is set twice: keep one");
    json[part.substr(0, equals)] =
        io::try_parse_json<nlohmann::ordered_json>(part.substr(std::min(equals + 1, part.size())));
  }
  return json;
}

/// 4 or {"count": 4}. vLLM takes sizes there too, which tell it how much memory the largest ones need.
inline int media_count(Flags& out, const std::string& kind, const nlohmann::ordered_json& value,
                       std::string_view flag) {
  static constexpr std::string_view sizes[] = {"num_frames", "width", "height", "length"};
  const auto options = value.is_object() ? value : nlohmann::ordered_json::object();
  for (const auto& [key, size] : options.items()) {
    if (key == "count") continue;
    if (std::find(std::begin(sizes), std::end(sizes), key) == std::end(sizes))
      usage("--", flag, ": ", kind, " has ", key, ", wanted count");
    out.log_lines.push_back(cat("--", flag, ": ", kind, ".", key, " has no effect: nothing is profiled"));
  }
  const auto count = options.contains("count") ? options["count"] : value;
  if (!count.is_number_unsigned() || count > int_max)
    usage("--", flag, ": ", kind, " is ", value.dump(), ", wanted a count");
  return count.get<int>();
}

/// {"image": 4, "video": 1}, {"image": {"count": 4}} or image=4,video=0.
inline void read_media_limit(Flags& out, const Setting& s, std::string_view flag) {
  const std::string limit = io::text_of(s, flag);
  if (limit.empty()) return;
  const bool is_json = limit.find_first_of("{[\"") != std::string::npos || limit.find('=') == std::string::npos;
  const auto json =
      is_json ? io::object_of(s, flag, "{\"image\": 4, \"video\": 1} or image=4,video=1") : counts_of(limit, flag);
  for (const auto& [kind, value] : json.items()) {
    if (kind != "image" && kind != "video" && kind != "audio")
      usage("--", flag, " ", limit, ": has ", kind, ", wanted image, video or audio");
    const int count = media_count(out, kind, value, flag);
    if (kind == "image") out.max_images = count;
    if (kind == "video") out.max_videos = count;
    if (kind == "audio" && count > 0)
      out.log_lines.push_back(cat("--", flag, ": audio has no effect: only images and videos are read"));
  }
}

}  // namespace detail

}  // namespace lamina::serve
