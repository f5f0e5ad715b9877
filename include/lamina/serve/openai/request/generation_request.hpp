#pragma once
#include <algorithm>
#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <lamina/engine/request/answer.hpp>
#include <lamina/serve/model_files.hpp>
#include <lamina/serve/openai/answer/message_parser.hpp>
#include <lamina/serve/openai/request/json_fields.hpp>
#include <lamina/serve/openai/request/request_fields.hpp>
#include <lamina/serve/openai/request/structured_fields.hpp>

namespace lamina::serve {
using engine::GenerationParams;

/// The operator's choice for fields that a request leaves out.
struct RequestDefaults {
  Json template_kwargs = Json::object();  ///< --default-chat-template-kwargs
  bool exclude_unused_tools = false;      ///< tools are not shown to the model if tool_choice is "none"
  bool automatic_tools = false;           ///< --enable-auto-tool-choice: the model may call the request's functions
  bool reasoning = false;                 ///< --reasoning-parser: thoughts are separated from content
  bool return_tokens_as_ids = false;
  int stream_interval = 1;  ///< tokens in a chunk of a stream; a request may raise it
};

/// What a request is checked against.
struct RequestLimits {
  const ChatFormat* chat = nullptr;
  const text::PromptTemplate* chat_template = nullptr;  ///< null: its variables are not checked
  bool trust_chat_template = false;                     ///< --trust-request-chat-template
  int vocab_size = 0, max_model_len = 0;
  std::vector<int> eos = {};  ///< ids that end an answer, besides those of the request
  int max_images = 999, max_videos = 999, max_logprobs = 20, max_choices = 128;
  RequestDefaults defaults = {};
  bool priorities = false;  ///< requests may give one: --scheduling-policy priority
};

/// How a prompt that is longer than wanted is cut.
struct Truncation {
  int tokens = 0;        ///< that are left; -1: as many as fit the context; 0: nothing is cut
  bool keep_end = true;  ///< the last tokens are left, not the first
};

/// What requests of all APIs say about the answers they want, checked.
struct GenerationRequest {
  std::optional<std::string> model;  ///< absent: the first served name
  GenerationParams params;           ///< the final max_tokens is the server's to fill in
  std::optional<int> max_tokens;     ///< as given; absent: the rest of the context
  std::optional<std::int64_t> seed;  ///< absent: a stream of the server's own
  std::optional<std::string> request_id;
  std::optional<Structure> structure;  ///< what the answer must be; absent: any text
  std::vector<std::string> bad_words;  ///< that answers must not have
  Truncation truncation;
  int choices = 1;         ///< for each prompt
  int priority = 0;        ///< smaller is served first
  std::string cache_salt;  ///< only requests of equal salt share computed parts of prompts
  bool stream = false, include_usage = false, continuous_usage = false;
  int stream_interval = 1;                       ///< tokens in a chunk of a stream, but for the first and the last
  bool return_tokens_as_ids = false;             ///< logprobs name tokens by their ids
  bool return_token_ids = false;                 ///< the answer has the ids of the prompt and of its own tokens
  MessageForm message;                           ///< what chats read from the text
  bool prompt_logprobs = false;                  ///< the answer has those of the prompt
  std::vector<std::string> unknown_fields = {};  ///< ignored, as vLLM does; for the log
};

namespace detail {

/// Reads the fields that requests of all APIs share, in groups.
class GenerationReader {
 public:
  GenerationReader(const Json& body, const RequestLimits& limits, const GenerationDefaults& defaults,
                   GenerationRequest& out)
      : body_(body), fields_(body), limits_(limits), defaults_(defaults), out_(out) {}

 protected:
  static constexpr int any = std::numeric_limits<int>::max();

  /// All of them; max_tokens is known.
  void read_shared() {
    out_.structure = read_structure(body_);
    out_.model = fields_.maybe_text("model");
    out_.request_id = fields_.maybe_text("request_id");
    read_choices();
    read_sampling();
    out_.return_tokens_as_ids = fields_.boolean("return_tokens_as_token_ids", limits_.defaults.return_tokens_as_ids);
    out_.return_token_ids = fields_.boolean("return_token_ids");
    read_ends();
    check_choice();
    read_stream();
    read_prompt_fields();
    read_cache_salt();
    read_priority();
  }

  void read_choices() {
    out_.choices = static_cast<int>(fields_.maybe_integer("n", 1, limits_.max_choices).value_or(1));
    auto& sampling = out_.params.sampling;
    sampling.min_tokens = static_cast<int>(fields_.maybe_integer("min_tokens", 0, any).value_or(0));
    if (out_.max_tokens && sampling.min_tokens > *out_.max_tokens)
      throw wrong_field("min_tokens", cat(sampling.min_tokens), cat("at most max_tokens, ", *out_.max_tokens));
  }

  /// Truncation of the prompt, and what is wanted of it.
  void read_prompt_fields() {
    const auto keep = fields_.maybe_integer("truncate_prompt_tokens", -1, any);
    if (keep == 0) throw wrong_field("truncate_prompt_tokens", "0", "at least one token, or -1: as many as fit");
    if (keep) out_.truncation.tokens = static_cast<int>(*keep);
    const std::string side = fields_.maybe_text("truncation_side").value_or("left");
    if (side != "left" && side != "right") throw wrong_field("truncation_side", clipped(side), "left or right");
    out_.truncation.keep_end = side == "left";
    const bool unlimited = limits_.max_logprobs < 0;
    const auto scores =
        fields_.maybe_integer("prompt_logprobs", unlimited ? -1 : 0, unlimited ? any : limits_.max_logprobs);
    if (!scores) return;
    if (out_.stream)
      throw bad_field("prompt_logprobs", "prompt_logprobs: are not available with stream: send stream false");
    out_.params.sampling.prompt_logprobs = static_cast<int>(*scores);
    out_.prompt_logprobs = true;
  }

  void read_sampling() {
    auto& s = out_.params.sampling;
    s.temperature = fields_.maybe_number("temperature", 0, 2).value_or(defaults_.temperature.value_or(1));
    if (!s.greedy() && s.temperature < 0.01) s.temperature = 0.01;  // as vLLM: smaller ones overflow
    s.top_p =
        fields_.maybe_number("top_p", std::numeric_limits<double>::min(), 1).value_or(defaults_.top_p.value_or(1));
    s.top_k = static_cast<int>(fields_.maybe_integer("top_k", -1, any).value_or(defaults_.top_k.value_or(0)));
    s.min_p = fields_.maybe_number("min_p", 0, 1).value_or(defaults_.min_p.value_or(0));
    s.repetition_penalty = fields_.maybe_number("repetition_penalty", std::numeric_limits<double>::min(), 1e6)
                               .value_or(defaults_.repetition_penalty.value_or(1));
    s.presence_penalty =
        fields_.maybe_number("presence_penalty", -2, 2).value_or(defaults_.presence_penalty.value_or(0));
    s.frequency_penalty =
        fields_.maybe_number("frequency_penalty", -2, 2).value_or(defaults_.frequency_penalty.value_or(0));
    out_.seed = fields_.maybe_integer("seed", std::numeric_limits<std::int64_t>::min(),
                                      std::numeric_limits<std::int64_t>::max());
    if (out_.seed == -1) out_.seed.reset();
    if (out_.choices > 1 && s.greedy()) throw wrong_field("n", cat(out_.choices), "1, because temperature is 0");
    read_logit_bias();
    if (const Json* ids = fields_.find("allowed_token_ids"); ids && ids->is_array() && ids->empty())
      throw wrong_field("allowed_token_ids", "empty", "at least one token id; leave it out instead");
    s.allowed_token_ids = token_ids("allowed_token_ids");
    read_bad_words();
  }

  /// Biases beyond 100 are cut, as vLLM does.
  void read_logit_bias() {
    const Json* bias = fields_.find("logit_bias");
    if (!bias) return;
    if (!bias->is_object()) fields_.wrong("logit_bias", *bias, "an object of token ids and numbers");
    for (const auto& [key, value] : bias->items()) {
      const bool digits = !key.empty() && key.size() < 10 && key.find_first_not_of("0123456789") == std::string::npos;
      const int id = digits ? std::stoi(key) : -1;
      if (id < 0 || id >= limits_.vocab_size)
        throw bad_field("logit_bias", cat("logit_bias: has the key \"", clipped(key), "\", wanted a token id below ",
                                          limits_.vocab_size));
      if (!value.is_number()) throw wrong_field(cat("logit_bias.", id), shown(value), "a number in [-100, 100]");
      out_.params.sampling.logit_bias.emplace_back(id, std::clamp(value.get<double>(), -100.0, 100.0));
    }
  }

  void read_bad_words() {
    const Json* list = fields_.maybe_list("bad_words");
    if (!list) return;
    if (list->size() > 256) throw wrong_field("bad_words", cat("a list of ", list->size()), "at most 256 words");
    for (const auto& word : *list) {
      const std::string path = cat("bad_words.", out_.bad_words.size());
      if (!word.is_string()) throw wrong_field(path, shown(word), "a string");
      const auto& text = word.get_ref<const std::string&>();
      if (text.empty() || text.size() > 1024)
        throw wrong_field(path, cat(text.size(), " bytes"), "a string of 1 to 1024 bytes");
      out_.bad_words.push_back(text);
    }
  }

  std::vector<int> token_ids(const char* name) const {
    std::vector<int> ids;
    const Json* list = fields_.maybe_list(name);
    if (!list) return ids;
    if (list->size() > static_cast<std::size_t>(limits_.vocab_size))
      throw wrong_field(name, cat("a list of ", list->size()), cat("at most ", limits_.vocab_size, " token ids"));
    for (const auto& id : *list) {
      if (!id.is_number_integer() || id < 0 || id >= limits_.vocab_size)
        throw wrong_field(cat(name, ".", ids.size()), shown(id), cat("a token id below ", limits_.vocab_size));
      ids.push_back(id.get<int>());
    }
    return ids;
  }

  void read_ends() {
    auto& params = out_.params;
    if (const Json* stop = fields_.find("stop"); stop && stop->is_string()) {
      add_stop(*stop, "stop");
    } else if (stop) {
      if (!stop->is_array()) fields_.wrong("stop", *stop, "a string or a list of strings");
      if (stop->size() > 64) throw wrong_field("stop", cat("a list of ", stop->size()), "at most 64 strings");
      for (const auto& text : *stop) add_stop(text, cat("stop.", params.stop.size()));
    }
    params.stop_token_ids = token_ids("stop_token_ids");
    params.eos = limits_.eos;
    params.include_stop_str_in_output = fields_.boolean("include_stop_str_in_output");
    params.ignore_eos = fields_.boolean("ignore_eos");
    params.skip_special_tokens = fields_.boolean("skip_special_tokens", true);
  }

  /// min_tokens forbids the ids that end the answer at first: another one must be left.
  void check_choice() const {
    const engine::SamplingParams sampling = out_.params.with_ends();
    if (sampling.min_tokens == 0) return;
    std::vector<bool> possible(static_cast<std::size_t>(limits_.vocab_size), sampling.allowed_token_ids.empty());
    for (const int id : sampling.allowed_token_ids) possible[static_cast<std::size_t>(id)] = true;
    for (const int id : sampling.ends) possible[static_cast<std::size_t>(id)] = false;
    if (std::find(possible.begin(), possible.end(), true) == possible.end())
      throw wrong_field("min_tokens", cat(sampling.min_tokens),
                        "0, because every token that the request allows ends the answer (stop_token_ids, or the "
                        "model's own; ignore_eos leaves out those)");
  }

  void add_stop(const Json& text, const std::string& path) {
    if (!text.is_string()) throw wrong_field(path, shown(text), "a string");
    const auto& stop = text.get_ref<const std::string&>();
    if (stop.empty()) throw wrong_field(path, "empty", "a string of 1 to 1024 bytes");
    if (stop.size() > 1024) throw wrong_field(path, cat(stop.size(), " bytes"), "a string of 1 to 1024 bytes");
    out_.params.stop.push_back(stop);
  }

  void read_stream() {
    out_.stream = fields_.boolean("stream");
    const int least = limits_.defaults.stream_interval;
    out_.stream_interval =
        std::max(least, static_cast<int>(fields_.maybe_integer("stream_interval", 1, any).value_or(1)));
    const Json* options = fields_.find("stream_options");
    if (!options) return;
    if (!out_.stream) throw wrong_field("stream_options", shown(*options), "nothing, because stream is not true");
    const Fields fields(*options, "stream_options");
    out_.include_usage = fields.boolean("include_usage");
    out_.continuous_usage = fields.boolean("continuous_usage_stats") && out_.include_usage;
  }

  void read_cache_salt() {
    const auto salt = fields_.maybe_text("cache_salt");
    if (!salt) return;
    const auto characters = count_characters(*salt);
    if (characters < 1 || characters > 1024)
      throw wrong_field("cache_salt", cat(characters, " characters"), "1 to 1024");
    out_.cache_salt = *salt;
  }
  void read_priority() {
    out_.priority = static_cast<int>(fields_.maybe_integer("priority", -any, any).value_or(0));
    if (out_.priority != 0 && !limits_.priorities)
      throw wrong_field("priority", cat(out_.priority),
                        "0: requests are served in the order in which they come, as the server was not started with "
                        "--scheduling-policy priority");
  }

  const Json& body_;
  Fields fields_;
  const RequestLimits& limits_;
  const GenerationDefaults& defaults_;
  GenerationRequest& out_;
};

}  // namespace detail

}  // namespace lamina::serve
