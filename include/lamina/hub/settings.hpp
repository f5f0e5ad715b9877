#pragma once
#include <algorithm>
#include <cctype>
#include <cstdlib>
#include <filesystem>
#include <functional>
#include <initializer_list>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <lamina/core/log.hpp>
#include <lamina/hub/http/transport.hpp>
#include <lamina/hub/options.hpp>
#include <lamina/hub/repository.hpp>
#include <lamina/io/file.hpp>
#include <lamina/io/keys/key_values.hpp>
#include <lamina/io/visible.hpp>

namespace lamina::hub {

/// Reads a variable of the environment; "" if it is not set.
using ReadVariable = std::function<std::string(const char*)>;
inline std::string process_environment(const char* name) {
  const char* const value = std::getenv(name);
  return value ? value : "";
}

/// Where to fetch from and where to keep it.
struct HubSettings {
  Source source = Source::huggingface;
  std::string endpoint = {};         ///< without a slash at the end
  std::filesystem::path cache = {};  ///< of this source
  std::string cache_name = {};       ///< the key, flag or variable that names it, for messages
  std::string token = {};            ///< "": none
  std::string token_name = {};       ///< the key, flag, variable or file that it came from, for messages
  std::string token_option = {};     ///< the key or flag of this program for a token, for messages; "": there is none
  bool offline = false;
  std::string offline_name = "HF_HUB_OFFLINE";  ///< the variable that asks for it, for messages
  std::string revision = {};                    ///< the default branch if none was asked for
  Certificates certificates = {};
};

namespace detail {

/// Whether a variable is set to true; a word that is neither true nor false is noted.
inline bool is_on(const ReadVariable& environment, const char* name) {
  const std::string value = environment(name);
  const auto flag = io::word_as_flag(value);
  if (!flag && !value.empty())
    note(cat(name, ": is \"", io::visible(value.substr(0, 100)), "\", wanted true or false: taken for false"));
  return flag.value_or(false);
}

struct Variable {
  std::string name, value;  ///< "": none is set
};

/// The first of these variables that is set.
inline Variable first_set(const ReadVariable& environment, std::initializer_list<const char*> names) {
  for (const char* name : names)
    if (std::string value = environment(name); !value.empty()) return {name, std::move(value)};
  return {};
}

/// A path of the user's, "~" at its beginning replaced.
inline std::filesystem::path user_path(const std::string& text, const ReadVariable& environment) {
  if (text == "~" || text.starts_with("~/")) return environment("HOME") + text.substr(1);
  return text;
}

inline std::filesystem::path cache_home(const ReadVariable& environment) {
  if (const std::string xdg = environment("XDG_CACHE_HOME"); !xdg.empty()) return user_path(xdg, environment);
  return std::filesystem::path(environment("HOME")) / ".cache";
}

/// HF_HOME, in which the hub's cache and the token are.
inline std::filesystem::path huggingface_home(const ReadVariable& environment) {
  const std::string home = environment("HF_HOME");
  return home.empty() ? cache_home(environment) / "huggingface" : user_path(home, environment);
}

/// The token that `hf auth login` has stored, under the name of its file; "" if there is none.
inline Variable stored_token(const ReadVariable& environment) {
  if (is_on(environment, "HF_HUB_DISABLE_IMPLICIT_TOKEN")) return {};
  const std::string named = environment("HF_TOKEN_PATH");
  const auto path = named.empty() ? huggingface_home(environment) / "token" : user_path(named, environment);
  std::error_code ignored;
  if (!std::filesystem::is_regular_file(path, ignored)) return {};
  return {cat(path.string(), " (of `hf auth login`)"), io::read_text(path, 4096)};
}

/// Without white space around it. Error if it could end a header early.
inline std::string clean_token(std::string token) {
  const auto is_space = [](unsigned char c) { return std::isspace(c) != 0; };
  token.erase(token.begin(), std::find_if_not(token.begin(), token.end(), is_space));
  token.erase(std::find_if_not(token.rbegin(), token.rend(), is_space).base(), token.end());
  if (!std::all_of(token.begin(), token.end(), [](unsigned char c) { return c > 0x20 && c < 0x7f; }))
    fail("the hub's token holds characters that no token has: copy it again");
  return token;
}

/// The hubs' clients read the first two (requests) or the last two (httpx, OpenSSL); all four count here.
inline Certificates certificates(const ReadVariable& environment) {
  auto [name, value] =
      first_set(environment, {"REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE", "SSL_CERT_DIR"});
  std::error_code ignored;
  if (std::filesystem::exists(value, ignored) && !std::filesystem::is_directory(value, ignored)) try {
      io::File{value};  // curl would wait for a pipe
    } catch (const io::FileError& e) {
      throw io::FileError(cat(name, " (environment): ", e.what()));
    }
  return {.path = std::move(value), .variable = std::move(name)};
}

/// The server that a variable names, or the hub's own. Without a scheme https is meant, which is noted: a server of
/// the user's own may speak http.
inline std::string endpoint_of(const Variable& variable, const char* usual) {
  if (variable.value.empty()) return usual;
  std::string value = variable.value;
  while (value.ends_with('/')) value.pop_back();
  const bool has_scheme = value.find("://") != value.npos;
  if (!has_scheme) value = "https://" + value;
  try {
    origin_of(value);
  } catch (const Error&) {
    fail(variable.name, ": is \"", io::visible(variable.value.substr(0, 200)), "\", wanted a URL such as ", usual);
  }
  if (!has_scheme) note(cat(variable.name, ": ", value, " is meant; for a server without TLS write http://"));
  return value;
}

inline void read_huggingface(HubSettings& settings, const Options& options, const ReadVariable& environment) {
  settings.endpoint = endpoint_of(first_set(environment, {"HF_ENDPOINT"}), "https://huggingface.co");
  const Variable cache = first_set(environment, {"HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"});
  settings.cache = cache.value.empty() ? huggingface_home(environment) / "hub" : user_path(cache.value, environment);
  settings.cache_name =
      cache.value.empty() ? first_set(environment, {"HF_HOME", "XDG_CACHE_HOME", "HOME"}).name : cache.name;
  Variable token{options.hf_token_name, options.hf_token};
  if (token.value.empty()) token = first_set(environment, {"HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"});
  if (token.value.empty()) token = stored_token(environment);
  settings.token = token.value, settings.token_name = token.name;
  settings.token_option = options.hf_token_name;
  if (settings.revision.empty()) settings.revision = "main";
}

/// Hugging Face's default branch is what a LLaMA-Factory file says if it says nothing, so main means master here.
inline void read_modelscope(HubSettings& settings, const Options& options, const ReadVariable& environment) {
  settings.endpoint =
      endpoint_of(first_set(environment, {"MODELSCOPE_ENDPOINT", "MODELSCOPE_DOMAIN"}), "https://modelscope.cn");
  const std::string cache = environment("MODELSCOPE_CACHE");
  settings.cache = cache.empty() ? std::filesystem::path(environment("HOME")) / ".cache" / "modelscope"
                                 : user_path(cache, environment);
  settings.cache_name = first_set(environment, {"MODELSCOPE_CACHE", "HOME"}).name;
  Variable token{options.ms_token_name, options.ms_token};
  if (token.value.empty()) token = first_set(environment, {"MODELSCOPE_API_TOKEN"});
  settings.token = token.value, settings.token_name = token.name;
  settings.token_option = options.ms_token_name;
  if (settings.revision.empty() || settings.revision == "main") settings.revision = "master";
}

}  // namespace detail

/// The hub that is asked if nothing else says which: ModelScope if USE_MODELSCOPE_HUB (of LLaMA-Factory) or
/// VLLM_USE_MODELSCOPE says so.
inline Source default_source(const ReadVariable& environment) {
  if (detail::is_on(environment, "USE_OPENMIND_HUB"))
    fail("USE_OPENMIND_HUB: this hub is not supported: download the model with its own program and give the folder");
  return detail::is_on(environment, "USE_MODELSCOPE_HUB") || detail::is_on(environment, "VLLM_USE_MODELSCOPE")
             ? Source::modelscope
             : Source::huggingface;
}

/// Options win over the environment, and the environment over the defaults of the hubs' own clients.
inline HubSettings read_settings(const Options& options, const ReadVariable& environment = process_environment) {
  HubSettings settings;
  settings.source = options.source ? *options.source : default_source(environment);
  settings.revision = options.revision;
  if (settings.source == Source::huggingface)
    detail::read_huggingface(settings, options, environment);
  else
    detail::read_modelscope(settings, options, environment);
  require_revision(settings.revision);
  if (!options.cache_dir.empty()) {
    settings.cache = detail::user_path(options.cache_dir.string(), environment);
    settings.cache_name = options.cache_dir_name;
  }
  settings.token = detail::clean_token(settings.token);
  for (const char* name : {"TRANSFORMERS_OFFLINE", "HF_HUB_OFFLINE"})
    if (detail::is_on(environment, name)) settings.offline = true, settings.offline_name = name;
  settings.certificates = detail::certificates(environment);
  return settings;
}

/// The headers that prove who asks; ModelScope's older routes read a cookie.
inline std::vector<std::string> credentials(const HubSettings& settings) {
  if (settings.token.empty()) return {};
  std::vector<std::string> headers = {"Authorization: Bearer " + settings.token};
  if (settings.source == Source::modelscope) headers.push_back("Cookie: m_session_id=" + settings.token);
  return headers;
}

}  // namespace lamina::hub
