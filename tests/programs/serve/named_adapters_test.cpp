#include <fstream>
#include <future>
#include <string>
#include <vector>

#include <lamina/engine/open.hpp>
#include <lamina/serve/http.hpp>
#include <lamina/serve/routes/routes.hpp>

#include "programs/program.hpp"
#include "serve/loopback.hpp"
#include "support/catch.hpp"
#include "support/made/image_url.hpp"
#include "support/made/random_adapter.hpp"

/// Adapters that requests name, against the same adapters folded into the weights.
using namespace lamina;
using namespace lamina::testing;
using lamina::test::Client;
using serve::Json;

namespace {

struct AdapterServer {
  AdapterServer(const std::string& dir, const engine::EngineOptions& options)
      : service(serve::ModelFiles::load(dir), open_for_engine(dir, options), {.served_names = {"base"}}),
        routes(service, {.access_log = false}),
        http({.host = "127.0.0.1", .port = 0, .threads = 2}, routes) {}
  ~AdapterServer() {
    http.stop();
    service.stop();
  }
  std::string answer(const std::string& model, int kind) {
    Json content = Json::array({{{"type", "text"}, {"text", kind % 2 ? "What is this?" : "One word after another"}}});
    if (kind % 2) content.push_back({{"type", "image_url"}, {"image_url", {{"url", image_url(64, 32 * kind, 5)}}}});
    const Json body = {{"model", model},     {"messages", Json::array({{{"role", "user"}, {"content", content}}})},
                       {"max_tokens", 12},   {"temperature", 0},
                       {"ignore_eos", true}, {"return_token_ids", true}};
    const auto reply = Client(http.port()).ask("POST", "/v1/chat/completions", body.dump());
    if (reply.status != 200) fail("status ", reply.status, ": ", reply.body);
    const Json json = Json::parse(reply.body);
    if (json["model"] != model) fail("answered as ", json["model"].dump());
    return json["choices"][0]["token_ids"].dump();
  }

  serve::ChatService service;
  serve::Routes routes;
  serve::HttpServer http;
};

engine::EngineOptions small_options() {
  engine::EngineOptions options;
  options.max_model_len = 256;
  options.device = "cpu";
  options.rows = 6;
  options.page_tokens = 16;
  options.pages = 120;
  return options;
}

}  // namespace

TEST_CASE("serving: an adapter that a request names answers as the adapter that is folded into the weights") {
  const std::string model = GENERATE("qwen3_vl_tiny", "qwen2_5_vl_tiny");
  CAPTURE(model);
  const TemporaryFolder folder;
  const std::string dir = (folder.path() / model).string();
  REQUIRE(make_model(model, dir).status == 0);
  const std::vector<std::string> names = {"base", "language", "all", "visual"};
  for (std::size_t i = 1; i < names.size(); ++i)
    write_random_adapter(folder.path() / names[i], layers_with(tensors_of(dir), i == 2 ? "" : names[i]),
                         static_cast<int>(2 * i), static_cast<unsigned>(i));
  engine::EngineOptions options = small_options();
  options.adapter_slots = 2, options.adapter_rank = 6;
  AdapterServer named(dir, options);
  for (std::size_t i = 1; i < names.size(); ++i) named.service.adapters().load({names[i], folder.path() / names[i]});
  constexpr int kinds = 4;
  std::vector<std::future<std::string>> answers;
  for (int kind = 0; kind < kinds; ++kind)
    for (const std::string& name : names)
      answers.push_back(std::async(std::launch::async, [&named, name, kind] { return named.answer(name, kind); }));
  std::vector<std::string> got;
  for (auto& answer : answers) got.push_back(answer.get());
  for (std::size_t i = 0; i < names.size(); ++i) {
    options = small_options();
    if (i > 0) options.adapters = {folder.path() / names[i]};
    AdapterServer folded(dir, options);
    for (std::size_t kind = 0; kind < kinds; ++kind) {
      CAPTURE(names[i], kind);
      const std::string& own = got[kind * names.size() + i];
      CHECK(own == folded.answer("base", static_cast<int>(kind)));
      if (i > 0 && !(names[i] == "visual" && kind % 2 == 0)) CHECK(own != got[kind * names.size()]);
    }
  }
  named.service.stop();
  CHECK_FALSE(named.service.statistics().leaked);
}

TEST_CASE("lamina-serve: an adapter that does not fit stops the start with its name and the reason") {
  const TemporaryFolder folder;
  const std::string dir = (folder.path() / "tiny").string();
  REQUIRE(make_model("qwen3_vl_tiny", dir).status == 0);
  const auto start = [&](const std::vector<std::string>& more) {
    std::vector<std::string> words = {dir, "--device", "cpu", "--port", "0", "--enable-lora", "--lora-modules"};
    words.insert(words.end(), more.begin(), more.end());
    return run_program("lamina-serve", words);
  };
  const auto refused = [&](const std::vector<std::string>& more, const std::string& reason) {
    const Program run = start(more);
    INFO(run.output);
    CHECK(run.status == 1);
    CHECK(run.output.find(reason) != std::string::npos);
  };
  const auto layers = layers_with(tensors_of(dir), "q_proj");
  const std::string large = (folder.path() / "large").string(), foreign = (folder.path() / "foreign").string();
  write_random_adapter(large, layers, 32, 1);
  refused({"big=" + large}, "adapter big: " + layers[0].module + ": the adapter's rank is 32");
  refused({R"({"name": "big", "path": ")" + large + R"("})", "--max-lora-rank", "31"}, "at most 31 here");
  write_random_adapter(foreign, {{"model.language_model.layers.0.self_attn.x_proj", 4, 4}}, 4, 1);
  refused({"other=" + foreign}, "adapter other: the adapter changes 1 modules that are no linear layers");
  auto wide = layers;
  wide[0].outputs += 8;
  write_random_adapter(folder.path() / "wide", wide, 4, 1);
  refused({"wide=" + (folder.path() / "wide").string()}, "is it an adapter of another size?");
  write_random_adapter(folder.path() / "dora", layers, 4, 1);
  const auto config = folder.path() / "dora" / "adapter_config.json";
  Json fields = Json::parse(std::ifstream(config));
  fields["use_dora"] = true;
  std::ofstream(config) << fields;
  refused({"dora=" + (folder.path() / "dora").string()}, "adapter dora: ");
  refused({"tiny=" + large, "--served-model-name", "tiny"}, "is the model's own name");
}
