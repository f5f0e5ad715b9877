#pragma once
#include <algorithm>
#include <charconv>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <ctime>
#include <functional>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>
#include <utility>

#include <lamina/core/error.hpp>
#include <lamina/core/log.hpp>
#include <lamina/engine/statistics.hpp>
#include <lamina/serve/http/http_counts.hpp>
#include <lamina/serve/prompt/prompt_counts.hpp>
#include <lamina/serve/watch/process_figures.hpp>

/// What an engine counts, for monitoring: under vLLM's names, so that its dashboards work.
namespace lamina::serve {

/// What is constant about an engine.
struct EngineFacts {
  std::string model_name;
  int page_tokens = 0, pages = 0;
  bool prefix_cache = true;
  int adapter_slots = 0;  ///< 0: requests cannot name adapters
};

namespace detail {

/// Writes the text format of Prometheus, version 0.0.4.
class MetricsText {
 public:
  explicit MetricsText(const std::string& model_name)
      : labels_(cat("model_name=\"", escaped(model_name), "\",engine=\"0\"")) {}

  void gauge(std::string_view name, std::string_view help, double value) { single(name, help, "gauge", value); }
  void counter(std::string_view name, std::string_view help, std::uint64_t value) {
    single(cat(name, "_total"), help, "counter", static_cast<double>(value));
  }
  void head(std::string_view name, std::string_view help, std::string_view type) {
    text_ += cat("# HELP vllm:", name, " ", help, "\n# TYPE vllm:", name, " ", type, "\n");
  }
  /// more: further labels, each with a comma before it.
  void value(std::string_view name, std::string_view more, double value) {
    text_ += cat("vllm:", name, "{", labels_, more, "} ", number(value), "\n");
  }
  void histogram(std::string_view name, std::string_view help, const engine::Histogram& h) {
    head(name, help, "histogram");
    std::uint64_t below = 0;
    for (std::size_t i = 0; i < h.counts().size(); ++i) {
      below += h.counts()[i];
      const std::string bound = i < h.bounds().size() ? number(h.bounds()[i]) : "+Inf";
      value(cat(name, "_bucket"), cat(",le=\"", bound, "\""), static_cast<double>(below));
    }
    value(cat(name, "_sum"), "", h.sum());
    value(cat(name, "_count"), "", static_cast<double>(h.count()));
  }
  /// Of the server and not of a model: name{labels} value.
  void plain_head(std::string_view name, std::string_view help, std::string_view type) {
    text_ += cat("# HELP ", name, " ", help, "\n# TYPE ", name, " ", type, "\n");
  }
  void plain(std::string_view name, std::string_view labels, double value) {
    text_ += cat(name, labels.empty() ? "" : "{", labels, labels.empty() ? " " : "} ", number(value), "\n");
  }
  std::string take() { return std::move(text_); }

  /// The shortest digits that read back as the same number.
  static std::string number(double value) {
    char digits[32];
    return {digits, std::to_chars(digits, digits + sizeof digits, value).ptr};
  }

  static std::string escaped(std::string_view text) {
    std::string out;
    for (const char c : text) {
      if (c == '\\' || c == '"') out += '\\';
      c == '\n' ? out += "\\n" : out += c;
    }
    return out;
  }

 private:
  void single(std::string_view name, std::string_view help, std::string_view type, double number) {
    head(name, help, type);
    value(name, "", number);
  }

  std::string labels_, text_;
};

inline void write_times(MetricsText& text, const engine::Statistics& s) {
  text.histogram("time_to_first_token_seconds", "From arrival to the first token.", s.first_token);
  text.histogram("inter_token_latency_seconds", "Between two tokens of a request.", s.between_tokens);
  text.histogram("time_per_output_token_seconds", "The former name of inter_token_latency_seconds.", s.between_tokens);
  text.histogram("request_time_per_output_token_seconds", "Mean of a request's tokens after the first.", s.per_token);
  text.histogram("e2e_request_latency_seconds", "From arrival to the last token.", s.whole);
  text.histogram("request_queue_time_seconds", "From arrival to the first step.", s.queue);
  text.histogram("request_prefill_time_seconds", "From the first step to the first token.", s.prefill);
  text.histogram("request_decode_time_seconds", "From the first token to the last.", s.decode);
  text.histogram("request_inference_time_seconds", "From the first step to the last token.", s.inference);
}

/// As vLLM has it: names as labels, the time as value.
inline void write_adapters(MetricsText& text, const engine::Statistics& s, int slots) {
  if (slots == 0) return;
  std::string running, waiting;
  const auto add = [](std::string& list, const std::string& name) { (list += list.empty() ? "" : ",") += name; };
  for (const auto& [name, use] : s.adapters) {
    if (use.running > 0) add(running, name);
    if (use.waiting > 0) add(waiting, name);
  }
  text.head("lora_requests_info", "Adapters whose requests run or wait, as labels; the value is the time.", "gauge");
  text.value("lora_requests_info",
             cat(",max_lora=\"", slots, "\",running_lora_adapters=\"", MetricsText::escaped(running),
                 "\",waiting_lora_adapters=\"", MetricsText::escaped(waiting), "\""),
             static_cast<double>(std::time(nullptr)));
}

inline void write_http(MetricsText& text, const HttpCounts& counted) {
  const auto counts = counted.snapshot();
  const auto labels = [](const HttpCounts::Key& key) {
    return cat("handler=\"", MetricsText::escaped(key.handler), "\",method=\"", key.method, "\"");
  };
  text.plain_head("http_requests_total", "Requests by route, method and class of status.", "counter");
  for (const auto& [key, of] : counts)
    for (std::size_t status = 1; status < of.by_class.size(); ++status)
      if (of.by_class[status] > 0)
        text.plain("http_requests_total", cat(labels(key), ",status=\"", status, "xx\""),
                   static_cast<double>(of.by_class[status]));
  text.plain_head("http_request_duration_seconds", "To the head of the answer.", "histogram");
  for (const auto& [key, of] : counts) {
    std::uint64_t below = 0;
    for (std::size_t i = 0; i < of.seconds.counts().size(); ++i) {
      below += of.seconds.counts()[i];
      const auto& bounds = of.seconds.bounds();
      const std::string bound = i < bounds.size() ? MetricsText::number(bounds[i]) : "+Inf";
      text.plain("http_request_duration_seconds_bucket", cat(labels(key), ",le=\"", bound, "\""),
                 static_cast<double>(below));
    }
    text.plain("http_request_duration_seconds_sum", labels(key), of.seconds.sum());
    text.plain("http_request_duration_seconds_count", labels(key), static_cast<double>(of.seconds.count()));
  }
}
inline void write_process(MetricsText& text, const ProcessFigures& p) {
  const auto one = [&](std::string_view name, std::string_view help, std::string_view type, double value) {
    if (value < 0) return;
    text.plain_head(name, help, type);
    text.plain(name, "", value);
  };
  one("process_cpu_seconds_total", "User and system time.", "counter", p.cpu_seconds);
  one("process_start_time_seconds", "Since the epoch.", "gauge", p.start_time);
  one("process_virtual_memory_bytes", "Virtual memory.", "gauge", p.virtual_bytes);
  one("process_resident_memory_bytes", "Resident memory.", "gauge", p.resident_bytes);
  one("process_open_fds", "Open files.", "gauge", p.open_files);
  one("process_max_fds", "The most files that may be open.", "gauge", p.most_files);
}

}  // namespace detail

/// The body of GET /metrics.
inline std::string metrics_text(const engine::Statistics& s, const PromptCounts::Counts& prompts,
                                const EngineFacts& facts, const HttpCounts& http) {
  detail::MetricsText text(facts.model_name);
  text.gauge("num_requests_running", "Requests that steps read.", s.running);
  text.gauge("num_requests_waiting", "Requests that wait for a place.", s.waiting);
  text.gauge("kv_cache_usage_perc", "Share of the KV cache in use, 0 to 1.", s.page_use());
  text.gauge("gpu_cache_usage_perc", "The former name of kv_cache_usage_perc.", s.page_use());
  text.head("cache_config_info", "Sizes of the KV cache, as labels.", "gauge");
  text.value("cache_config_info",
             cat(",block_size=\"", facts.page_tokens, "\",num_gpu_blocks=\"", facts.pages,
                 "\",enable_prefix_caching=\"", facts.prefix_cache ? "True" : "False", "\""),
             1);
  detail::write_adapters(text, s, facts.adapter_slots);
  text.counter("prompt_tokens", "Tokens of prompts.", s.prompt);
  text.counter("generation_tokens", "Tokens of answers.", s.generated);
  text.counter("num_preemptions", "Times that a request gave up its place.", s.preemptions);
  text.counter("prefix_cache_queries", "Tokens of prompts that were looked up.", s.prefix_queried);
  text.counter("prefix_cache_hits", "Tokens of prompts that were found computed.", s.prefix_hit);
  text.counter("mm_cache_queries", "Images of prompts.", s.images_shown);
  text.counter("mm_cache_hits", "Images of prompts that needed no encoding.",
               s.images_shown - std::min(s.images_encoded, s.images_shown));
  text.head("request_success_total", "Requests by how they ended.", "counter");
  for (std::size_t i = 0; i < s.outcomes.size(); ++i)
    text.value("request_success_total", cat(",finished_reason=\"", engine::outcome_names[i], "\""),
               static_cast<double>(s.outcomes[i]));
  detail::write_times(text, s);
  text.histogram("request_prompt_tokens", "Tokens of a prompt.", s.prompt_lengths);
  text.histogram("request_generation_tokens", "Tokens of an answer.", s.answer_lengths);
  text.histogram("request_params_max_tokens", "max_tokens of a request.", s.max_tokens);
  text.histogram("request_max_num_generation_tokens", "Tokens of a prompt's longest answer.", prompts.longest);
  text.histogram("request_params_n", "n of a request.", prompts.choices);
  text.histogram("iteration_tokens_total", "Tokens of prompts and answers in a step.", s.step_lengths);
  detail::write_http(text, http);
  detail::write_process(text, ProcessFigures::read());
  return text.take();
}

/// A line about load and speed every 10 s, as vLLM writes it, while there is something to tell.
class StatisticsLog {
 public:
  using Read = std::function<engine::Statistics()>;
  explicit StatisticsLog(Read read, std::chrono::milliseconds interval = std::chrono::seconds(10))
      : read_(std::move(read)), interval_(interval), thread_([this] { work(); }) {}
  StatisticsLog(const StatisticsLog&) = delete;
  StatisticsLog& operator=(const StatisticsLog&) = delete;
  ~StatisticsLog() {
    {
      const std::lock_guard lock(mutex_);
      stopping_ = true;
    }
    stop_.notify_all();
    thread_.join();
  }

  /// before: the statistics `seconds` ago. Empty if nothing happened since and nothing is here.
  static std::string line(const engine::Statistics& before, const engine::Statistics& now, double seconds) {
    const std::uint64_t prompt = now.prompt - before.prompt, generated = now.generated - before.generated;
    if (prompt + generated == 0 && now.running + now.waiting == 0) return {};
    const auto tenths = [](double x) {
      char digits[32];
      return std::string(digits, std::to_chars(digits, digits + sizeof digits, x, std::chars_format::fixed, 1).ptr);
    };
    const auto rate = [&](std::uint64_t tokens) { return tenths(static_cast<double>(tokens) / seconds); };
    const auto percent = [&](double part, double whole) { return tenths(whole > 0 ? 100 * part / whole : 0) + "%"; };
    const auto shown = static_cast<double>(now.images_shown), encoded = static_cast<double>(now.images_encoded);
    return cat("Engine 000: Avg prompt throughput: ", rate(prompt),
               " tokens/s, Avg generation throughput: ", rate(generated), " tokens/s, Running: ", now.running,
               " reqs, Waiting: ", now.waiting, " reqs, GPU KV cache usage: ", percent(now.page_use(), 1),
               ", Prefix cache hit rate: ",
               percent(static_cast<double>(now.prefix_hit), static_cast<double>(now.prefix_queried)),
               ", MM cache hit rate: ", percent(std::max(shown - encoded, 0.0), shown));
  }

 private:
  void work() {
    engine::Statistics before = read_();
    std::unique_lock lock(mutex_);
    while (!stop_.wait_for(lock, interval_, [this] { return stopping_; })) {
      engine::Statistics now = read_();
      const std::string text = line(before, now, std::chrono::duration<double>(interval_).count());
      if (!text.empty()) log_info(text);
      before = std::move(now);
    }
  }

  Read read_;
  std::chrono::milliseconds interval_;
  std::mutex mutex_;
  std::condition_variable stop_;
  bool stopping_ = false;
  std::thread thread_;  // last: it uses all of the above
};

}  // namespace lamina::serve
