#pragma once
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include <lamina/serve/openai/request/generation_request.hpp>

namespace lamina::serve {

/// A text, or the ids of its tokens.
using CompletionPrompt = std::variant<std::string, std::vector<int>>;

/// A request of /v1/completions, checked.
struct CompletionRequest : GenerationRequest {
  std::vector<CompletionPrompt> prompts;
  bool echo = false;  ///< answers begin with their prompt; with max_tokens 0 they are nothing else
};

namespace detail {

class CompletionRequestReader : GenerationReader {
 public:
  CompletionRequestReader(const Json& body, const RequestLimits& limits, const GenerationDefaults& defaults,
                          CompletionRequest& out)
      : GenerationReader(body, limits, defaults, out), completion_(out) {}

  void read() {
    completion_.unknown_fields = check_request_fields(body_, completion_fields());
    completion_.echo = fields_.boolean("echo");
    constexpr int default_tokens = 16;  // of OpenAI's API
    const int least = completion_.echo ? 0 : 1;
    completion_.max_tokens = static_cast<int>(fields_.maybe_integer("max_tokens", least, any).value_or(default_tokens));
    read_shared();
    read_logprobs();
    read_prompts();
  }

 private:
  static constexpr std::size_t most_prompts = 1024, most_answers = 4096;

  void read_logprobs() {
    auto& s = completion_.params.sampling;
    const bool unlimited = limits_.max_logprobs < 0;
    const auto top = fields_.maybe_integer("logprobs", unlimited ? -1 : 0, unlimited ? any : limits_.max_logprobs);
    s.logprobs = top.has_value();
    s.top_logprobs = static_cast<int>(top.value_or(0));
    if (completion_.echo && top && !s.prompt_logprobs) s.prompt_logprobs = s.top_logprobs;
  }

  void read_prompts() {
    static const char* wanted = "a text, a list of token ids, or a list of either";
    const Json* prompt = fields_.find("prompt");
    if (!prompt) throw wrong_field("prompt", "missing", wanted);
    if (prompt->is_string() || is_ids(*prompt)) return add(*prompt, "prompt");
    if (!prompt->is_array()) throw wrong_field("prompt", shown(*prompt), wanted);
    if (prompt->empty()) throw wrong_field("prompt", "empty", wanted);
    if (prompt->size() > most_prompts)
      throw wrong_field("prompt", cat("a list of ", prompt->size()), cat("at most ", most_prompts, " prompts"));
    if (prompt->size() * static_cast<std::size_t>(completion_.choices) > most_answers)
      throw wrong_field("n", cat(completion_.choices),
                        cat("at most ", most_answers, " answers to all prompts together"));
    for (const auto& one : *prompt) {
      const std::string path = cat("prompt.", completion_.prompts.size());
      if (!one.is_string() && !one.is_array()) throw wrong_field(path, shown(one), "a text or a list of token ids");
      add(one, path);
    }
  }
  static bool is_ids(const Json& prompt) { return prompt.is_array() && !prompt.empty() && prompt.front().is_number(); }
  void add(const Json& prompt, const std::string& path) {
    if (prompt.empty() || (prompt.is_string() && prompt.get_ref<const std::string&>().empty()))
      throw wrong_field(path, "empty", "at least one token");
    if (prompt.is_string()) return completion_.prompts.emplace_back(prompt.get<std::string>()), void();
    std::vector<int> ids;
    for (const auto& id : prompt) {
      if (!id.is_number_integer() || id < 0 || id >= limits_.vocab_size)
        throw wrong_field(cat(path, ".", ids.size()), shown(id), cat("a token id below ", limits_.vocab_size));
      ids.push_back(id.get<int>());
    }
    completion_.prompts.emplace_back(std::move(ids));
  }

  CompletionRequest& completion_;
};

}  // namespace detail

/// Checks and reads a request of /v1/completions. Errors are ApiErrors.
inline CompletionRequest read_completion_request(const Json& body, const RequestLimits& limits,
                                                 const GenerationDefaults& defaults) {
  CompletionRequest out;
  detail::CompletionRequestReader(body, limits, defaults, out).read();
  return out;
}

}  // namespace lamina::serve
