#include <lamina/serve/flags/flags.hpp>

#include <fstream>
#include <set>
#include <string>
#include <vector>

#include "serve/message_of.hpp"
#include "support/catch.hpp"

using namespace lamina;
using namespace lamina::serve;
using test::message_of;
using Words = std::vector<std::string>;
using Json = nlohmann::ordered_json;

TEST_CASE("Flags: each that vLLM has works, is said to be without effect and why, or is refused by name") {
  std::ifstream in(LAMINA_GOLDEN_DIR "/serve/vllm_names.json");
  const auto names = Json::parse(in)["options"];
  REQUIRE(names.size() >= 350);
  const auto row = [](const std::string& name) { return io::find_key(flag_table(), name); };
  for (const auto& [name, versions] : names.items()) {
    if (row(name)) continue;
    CAPTURE(name);
    const std::string message = test::message_of([&] { Flags::parse({"d", "--" + name}); });
    CHECK(message.starts_with(cat("--", name, ": is not an option")));
    CHECK(message.ends_with("; --help lists them"));
  }
  const std::set<std::string_view> own = {"help",
                                          "version",
                                          "adapter",
                                          "max-media-bytes",
                                          "max-request-body-size",
                                          "max-queued-requests",
                                          "batch-invariant",
                                          "allow-remote-media",
                                          "allow-private-media",
                                          "ui"};
  std::set<std::string_view> seen;
  for (const FlagKey& flag : flag_table()) {
    CAPTURE(flag.name);
    CHECK(seen.insert(flag.name).second);
    CHECK(!flag.note.empty());
    if (!own.contains(flag.name)) CHECK(names.contains(std::string(flag.name)));
    if (flag.status == KeyStatus::honoured) continue;
    Words words = {"d", cat("--", flag.name)};
    if (flag.type != KeyType::flag) words.push_back("0.5");
    if (flag.status == KeyStatus::refused) {
      const auto message = test::message_of([&] { Flags::parse(words); });
      CHECK(message.find(cat("--", flag.name)) != std::string::npos);
      CHECK(message.find(flag.note) != std::string::npos);
    } else {
      CHECK(Flags::parse(words).log_lines.back() == cat("--", flag.name, " has no effect: ", flag.note));
    }
  }
}

TEST_CASE("flags: scripts written for vLLM find their options, or the reason why there is none") {
  CHECK(Flags::parse({"d", "-O3"}).log_lines.back() ==
        Flags::parse({"d", "--optimization-level", "3"}).log_lines.back());
  CHECK(Flags::parse({"d", "-O", "2", "-tp=1", "-pp", "1", "-dp=1"}).model == "d");
  CHECK(Flags::parse({"d", "--shutdown-timeout", "30"}).shutdown_timeout == 30);
  const auto refused = [](Words words) {
    words.insert(words.begin(), "d");
    return test::message_of([&] { Flags::parse(words); });
  };
  CHECK(refused({"--speculative-config", "{}"}).find("no tokens are drafted") != std::string::npos);
  CHECK(refused({"--load-format", "dummy"}).find("lamina-init") != std::string::npos);
  CHECK(refused({"--kv-cache-dtype", "fp8"}).find("model's dtype") != std::string::npos);
  CHECK(refused({"--enable-auto-tool-choice"}).find("--tool-call-parser hermes") != std::string::npos);
  CHECK(refused({"--tool-call-parser", "llama3_json"}).find("hermes") != std::string::npos);
  const Flags f = Flags::parse({"d", "--enable-auto-tool-choice", "--tool-call-parser", "hermes", "--reasoning-parser",
                                "qwen3", "--default-chat-template-kwargs", R"({"enable_thinking": false})",
                                "--enable-tokenizer-info-endpoint", "--disable-fastapi-docs"});
  CHECK((f.automatic_tools && f.tokenizer_info && !f.template_kwargs["enable_thinking"] && !f.docs));
  CHECK(f.reasoning_parser == "qwen3");
}
