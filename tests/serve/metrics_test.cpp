#include <lamina/serve/watch/metrics.hpp>

#include <cstdlib>
#include <mutex>
#include <set>
#include <string>
#include <vector>

#include "serve/events.hpp"
#include "serve/running_server.hpp"
#include "support/catch.hpp"

using namespace lamina;
using namespace lamina::test;
using namespace std::chrono_literals;
using serve::Json;

namespace {

/// The value of a metric without further labels, or with those in `more`.
double value_of(const std::string& text, const std::string& name, const std::string& more = {}) {
  const std::string line = "\nvllm:" + name + "{model_name=\"tiny\",engine=\"0\"" + more + "} ";
  const std::size_t at = text.find(line);
  return at == std::string::npos ? -1 : std::atof(text.c_str() + at + line.size());
}

}  // namespace

TEST_CASE("metrics: what vLLM counts is counted alike") {
  RunningServer server;
  const auto get = [&](const std::string& path) { return Client(server.http.port()).ask("GET", path); };
  constexpr double requests = 5, generated = 7;
  double prompt = 0;
  for (int i = 0; i < requests; ++i)
    prompt = server.chat(with(R"("max_tokens":7,"ignore_eos":true)"))["usage"]["prompt_tokens"].get<double>();
  const auto reply = get("/metrics");
  CHECK(reply.status == 200);
  CHECK(reply.head.find("Content-Type: text/plain; version=0.0.4") != std::string::npos);
  const std::string& text = reply.body;
  CHECK(value_of(text, "time_to_first_token_seconds_count") == requests);
  CHECK(value_of(text, "inter_token_latency_seconds_count") == requests * (generated - 1));
  CHECK(value_of(text, "request_prompt_tokens_sum") == requests * prompt);
  CHECK(value_of(text, "prompt_tokens_total") == requests * prompt);
  CHECK(value_of(text, "generation_tokens_total") == requests * generated);
  CHECK(value_of(text, "iteration_tokens_total_sum") == requests * (prompt + generated));
  CHECK(value_of(text, "request_success_total", ",finished_reason=\"length\"") == requests);
  CHECK(value_of(text, "e2e_request_latency_seconds_bucket", ",le=\"+Inf\"") == requests);
  CHECK(value_of(text, "num_requests_running") == 0);
  CHECK(value_of(text, "num_requests_waiting") == 0);
  CHECK(value_of(text, "kv_cache_usage_perc") == 0);
  CHECK(value_of(text, "cache_config_info",
                 ",block_size=\"16\",num_gpu_blocks=\"" + std::to_string(8 * (400 / 16 + 1)) +
                     "\",enable_prefix_caching=\"True\"") == 1);
  CHECK(server.becomes_idle());
  CHECK(Json::parse(get("/load").body)["server_load"] == 0);
}

TEST_CASE("metrics: a prompt of several choices is one request, with n and its longest answer") {
  RunningServer server;
  server.chat(with(R"("max_tokens":7,"ignore_eos":true,"n":3)"));
  server.chat(with(R"("max_tokens":4,"ignore_eos":true)"));
  const std::string text = Client(server.http.port()).ask("GET", "/metrics").body;
  CHECK(value_of(text, "request_params_n_count") == 2);
  CHECK(value_of(text, "request_params_n_sum") == 4);
  CHECK(value_of(text, "request_params_n_bucket", ",le=\"2\"") == 1);
  CHECK(value_of(text, "request_max_num_generation_tokens_count") == 2);
  CHECK(value_of(text, "request_max_num_generation_tokens_sum") == 11);
  CHECK(value_of(text, "request_generation_tokens_count") == 4);
}

TEST_CASE("metrics: requests are counted by route, method and class of status, those of no route as one") {
  RunningServer server;
  const auto get = [&](const std::string& path) { return Client(server.http.port()).ask("GET", path); };
  server.chat(with(R"("max_tokens":2)"));
  for (const char* path : {"/health", "/health", "/no/such", "/nor/this", "/v1/models/tiny", "/v1/models"}) get(path);
  const std::string text = get("/metrics").body;
  const auto count = [&](const std::string& labels) {
    const std::size_t at = text.find("\nhttp_requests_total{" + labels + "} ");
    return at == text.npos ? 0 : std::atoi(text.c_str() + text.find("} ", at) + 2);
  };
  CHECK(count(R"(handler="/v1/chat/completions",method="POST",status="2xx")") == 1);
  CHECK(count(R"(handler="/health",method="GET",status="2xx")") == 2);
  CHECK(count(R"(handler="none",method="GET",status="4xx")") == 2);
  CHECK(count(R"(handler="/v1/models",method="GET",status="2xx")") == 2);
  CHECK(text.find("/no/such") == text.npos);
  CHECK(text.find("\nhttp_request_duration_seconds_count{handler=\"/v1/chat/completions\",method=\"POST\"} 1\n") !=
        text.npos);
  for (const char* name : {"process_cpu_seconds_total", "process_start_time_seconds", "process_resident_memory_bytes",
                           "process_virtual_memory_bytes", "process_open_fds", "process_max_fds"}) {
    const std::size_t at = text.find(std::string("\n") + name + " ");
    CAPTURE(name);
    REQUIRE(at != text.npos);
    CHECK(std::atof(text.c_str() + at + 1 + std::string(name).size()) > 0);
  }
}

TEST_CASE("metrics: running and waiting requests are seen while they are here, and /load counts both") {
  RunningServer server({.max_len = 100000, .rows = 1});
  server.script.step = 5ms;
  const auto endless = Client::request("POST", "/v1/chat/completions", with(R"("ignore_eos":true,"max_tokens":90000)"));
  Client first(server.http.port()), second(server.http.port());
  first.send(endless);
  while (server.script.decodes == 0) std::this_thread::sleep_for(1ms);
  second.send(endless);
  std::string text;
  for (int i = 0; i < 2000 && value_of(text, "num_requests_waiting") != 1; ++i)
    text = Client(server.http.port()).ask("GET", "/metrics").body;
  CHECK(value_of(text, "num_requests_running") == 1);
  CHECK(value_of(text, "num_requests_waiting") == 1);
  CHECK(value_of(text, "kv_cache_usage_perc") > 0);
  CHECK(Json::parse(Client(server.http.port()).ask("GET", "/load").body)["server_load"] == 2);
}

TEST_CASE("metrics: the line of the log tells load and speed, and nothing if there is none") {
  engine::Statistics before, now;
  CHECK(serve::StatisticsLog::line(before, now, 10).empty());
  now.prompt = 1234, now.generated = 50, now.running = 3, now.waiting = 2, now.pages = 200, now.pages_used = 25;
  now.prefix_queried = 1000, now.prefix_hit = 250, now.images_shown = 4, now.images_encoded = 1;
  CHECK(serve::StatisticsLog::line(before, now, 10) ==
        "Engine 000: Avg prompt throughput: 123.4 tokens/s, Avg generation throughput: 5.0 tokens/s, Running: 3 reqs, "
        "Waiting: 2 reqs, GPU KV cache usage: 12.5%, Prefix cache hit rate: 25.0%, MM cache hit rate: 75.0%");
}

TEST_CASE("usage: cached_tokens are those of the prompt that another request had computed") {
  RunningServer server({.service = {.served_names = {"tiny"}, .prompt_details = true}});
  const std::string body = R"({"messages":[{"role":"user","content":")" + std::string(200, 'x') + " end\"}]";
  const auto cached = [&](const std::string& more) {
    return server.chat(body + more + "}")["usage"]["prompt_tokens_details"]["cached_tokens"].get<int>();
  };
  const int prompt = server.chat(body + "}")["usage"]["prompt_tokens"];
  const int whole_pages = (prompt - 1) / 16 * 16;
  REQUIRE(whole_pages > 0);
  CHECK(cached("") == whole_pages);
  CHECK(cached(R"(,"cache_salt":"mine")") == 0);
  CHECK(cached(R"(,"cache_salt":"mine")") == whole_pages);
  const auto chunks = events(server.ask(body + R"(,"stream":true,"stream_options":{"include_usage":true}})").body);
  CHECK(chunks.back()["usage"]["prompt_tokens_details"]["cached_tokens"] == whole_pages);
}

TEST_CASE("chat: choices of one request are made side by side") {
  RunningServer server;
  server.script.step = 2ms;
  server.script.flat = true;
  const auto chunks =
      events(server.ask(with(R"("n":4,"seed":3,"max_tokens":30,"ignore_eos":true,"stream":true)")).body);
  std::vector<int> order;
  std::set<int> finished;
  bool interleaved = false;
  for (const auto& chunk : chunks) {
    const int index = chunk["choices"][0]["index"];
    if (!order.empty() && index < order.back() && !finished.contains(order.back())) interleaved = true;
    if (!chunk["choices"][0]["finish_reason"].is_null()) finished.insert(index);
    order.push_back(index);
  }
  CHECK(interleaved);
  CHECK(finished.size() == 4);
  const auto whole = server.chat(with(R"("n":4,"seed":3,"max_tokens":30,"ignore_eos":true)"));
  for (int i = 0; i < 4; ++i)
    CHECK(content_of(chunks, i) == whole["choices"][i]["message"]["content"].get<std::string>());
}

TEST_CASE("chat: priorities are taken if the server serves by them") {
  RunningServer plain, ordered({.service = {.served_names = {"tiny"}, .priorities = true}});
  CHECK(plain.ask(with(R"("priority":0)")).status == 200);
  CHECK(plain.ask(with(R"("priority":-1)")).status == 400);
  CHECK(ordered.ask(with(R"("priority":-1)")).status == 200);
}

TEST_CASE("log: a request's line has its sizes and settings, and none of its words") {
  static std::mutex mutex;
  static std::vector<std::string> lines;
  set_log_sink([](LogLevel, const std::string& line) {
    const std::lock_guard lock(mutex);
    lines.push_back(line);
  });
  Setup setup;
  setup.service.log_requests = true;
  RunningServer server(setup);
  const Json answer = server.chat(with(R"("max_tokens":3,"temperature":0.25)"));
  set_log_sink(lamina::detail::log_to_clog);
  const std::lock_guard lock(mutex);
  std::string line;
  for (const auto& l : lines)
    if (l.starts_with("Received request ")) line = l;
  CHECK(line.find(answer["id"].get<std::string>() + ": prompt_tokens: " + answer["usage"]["prompt_tokens"].dump()) !=
        std::string::npos);
  CHECK(line.find("temperature=0.25") != std::string::npos);
  CHECK(line.find("max_tokens=3,") != std::string::npos);
  CHECK(line.find("content") == std::string::npos);
}
