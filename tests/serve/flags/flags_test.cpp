#include <lamina/serve/flags/flags.hpp>

#include <chrono>
#include <cstdlib>
#include <fstream>
#include <string>
#include <vector>

#include "serve/message_of.hpp"
#include "support/catch.hpp"

using namespace lamina;
using namespace lamina::serve;
using test::message_of;
using Words = std::vector<std::string>;
using Json = nlohmann::ordered_json;

TEST_CASE("Flags: takes the users' command line unchanged") {
  const auto f =
      Flags::parse({"--host", "0.0.0.0", "--port", "8003", "--model", "output/m", "--served-model-name", "qwen3_vl",
                    "--trust-remote-code", "--dtype", "float16", "--gpu-memory-utilization", "0.8", "--tp", "1"});
  CHECK(f.host == "0.0.0.0");
  CHECK(f.port == 8003);
  CHECK(f.model == "output/m");
  CHECK(f.served_model_names == Words{"qwen3_vl"});
  CHECK(f.engine.dtype == DType::F16);
  REQUIRE(f.log_lines.size() == 2);
  CHECK(f.log_lines[0].find("port=8003") != std::string::npos);
  CHECK(f.log_lines[1].find("--trust-remote-code") != std::string::npos);
}

TEST_CASE("Flags: names take _ or -, =, unique beginnings, aliases; the last one holds") {
  const auto f = Flags::parse({"dir", "--served_model_name", "a", "b", "--max-model-l=4k", "-tp", "1", "--port=1",
                               "--port", "2", "--no-enable-prefix-caching", "--allow-credentials"});
  CHECK(f.model == "dir");
  CHECK(f.served_model_names == Words{"a", "b"});
  CHECK(f.engine.max_model_len == 4000);
  CHECK(f.port == 2);
  CHECK(f.allow_credentials);
  CHECK(f.log_lines[0].find("twice") != std::string::npos);
  CHECK(Flags::parse({"dir"}).served_model_names == Words{"dir"});
  CHECK(Flags::parse({"dir", "--max-model-len", "-1"}).engine.max_model_len == 0);
  CHECK(Flags::parse({"--tp-size=1", "dir"}).port == 8000);
}

TEST_CASE("Flags: sizes take decimal and binary units") {
  CHECK(io::parse_size("x", "1k") == 1000);
  CHECK(io::parse_size("x", "1K") == 1024);
  CHECK(io::parse_size("x", "25.6k") == 25600);
  CHECK(io::parse_size("x", "2M") == 2 * 1024 * 1024);
  for (const char* bad : {"", "k", "1.5K", "1kk", "1.5", "nan", "1e99", "x1"})
    CHECK_THROWS_AS(io::parse_size("x", bad), UsageError);
}

TEST_CASE("Flags: JSON comes as text, as dotted keys, or in the old form") {
  CHECK(Flags::parse({"d", "--limit-mm-per-prompt", "{\"image\":4,\"video\":0}"}).max_images == 4);
  CHECK(Flags::parse({"d", "--limit-mm-per-prompt", "image=3,video=0"}).max_images == 3);
  CHECK(Flags::parse({"d", "--limit-mm-per-prompt", "image=3,video=0"}).max_videos == 0);
  CHECK(Flags::parse({"d", "--limit-mm-per-prompt", "{\"video\":2}"}).max_videos == 2);
  CHECK(Flags::parse({"d", "--limit-mm-per-prompt", "{\"image\":{\"count\":2}}"}).max_images == 2);
  CHECK(Flags::parse({"d", "--limit-mm-per-prompt.image", "5"}).max_images == 5);
  CHECK(Flags::parse({"d", "--mm-processor-kwargs", "{\"max_pixels\":1000}"}).max_pixels == 1000);
  CHECK(Flags::parse({"d", "--mm-processor-kwargs.size.longest_edge=9"}).max_pixels == 9);
  CHECK(Flags::parse({"d", "--allowed-origins", "[\"http://a\"]"}).allowed_origins == Words{"http://a"});
}

TEST_CASE("Flags: what is taken and has no effect is said to have none, with the reason") {
  const auto notes = [](Words words) {
    words.insert(words.begin(), "d");
    std::string text;
    for (const auto& line : Flags::parse(words).log_lines)
      if (line.find(" no effect") != std::string::npos) text += line + "\n";
    return text;
  };
  CHECK(notes({"--limit-mm-per-prompt", R"({"audio":1})"}) ==
        "--limit-mm-per-prompt: audio has no effect: only images and videos are read\n");
  CHECK(notes({"--limit-mm-per-prompt", "audio=0,image=2"}) == "");
  CHECK(notes({"--limit-mm-per-prompt", R"({"video":{"count":1,"num_frames":32}})"}) ==
        "--limit-mm-per-prompt: video.num_frames has no effect: nothing is profiled\n");
  CHECK(notes({"--max-loras", "2"}) == "--max-loras has no effect: there is no --enable-lora\n");
  CHECK(notes({"--max-loras", "2", "--enable-lora"}) == "");
  CHECK(notes({"--enforce-eager", "--cudagraph-capture-sizes", "4"}) ==
        "--cudagraph-capture-sizes has no effect: --enforce-eager records no step\n");
  CHECK(notes({"--gpu-memory-utilization", "0.5", "--kv-cache-memory-bytes", "1G"}) ==
        "--gpu-memory-utilization has no effect: --kv-cache-memory-bytes counts\n");
  CHECK(notes({"--tool-call-parser", "hermes"}) ==
        "--tool-call-parser has no effect: there is no --enable-auto-tool-choice\n");
}

TEST_CASE("Flags: what is unknown, out of range or impossible here is refused with its name") {
  const std::vector<std::pair<Words, std::string>> table = {
      {{}, "--model"},
      {{"d", "--nonsense"}, "--nonsense"},
      {{"d", "e"}, "e: an argument too many"},
      {{"d", "--port"}, "wants a value"},
      {{"d", "--port", "70000"}, "--port"},
      {{"d", "--port", "x"}, "--port x: wanted a number in [0, 65535]"},
      {{"d", "--max"}, "several options"},
      {{"d", "--pp", "2"}, "shared with --tensor-parallel-size alone"},
      {{"d", "--tp", "0"}, "--tensor-parallel-size"},
      {{"d", "--max-model-len", "1"}, "--max-model-len 1: wanted a number in [2, "},
      {{"d", "--dtype", "int8"}, "--dtype"},
      {{"d", "--gpu-memory-utilization", "1.5"}, "(0, 1]"},
      {{"d", "--gpu-memory-utilization", "nan"}, "--gpu-memory-utilization nan: wanted a number"},
      {{"d", "--enable-lora-bias"}, "lamina-merge"},
      {{"d", "--quantization", "awq"}, "none, bitsandbytes or fp8, which quantise the model's bf16 release"},
      {{"d", "--load-format", "dummy"}, "--load-format"},
      {{"d", "--limit-mm-per-prompt", "{"}, "--limit-mm-per-prompt"},
      {{"d", "--trust-remote-code=yes"}, "takes no value"},
      {{"d", "--chat-template-content-format", "string"}, "found out from the template"},
      {{"d", "--default-chat-template-kwargs", "{\"tokenize\":true}"}, "no variable to set"},
      {{"d", "--mm-processor-kwargs", "{\"size\":{\"height\":9}}"}, "size has height"},
      {{"d", "--limit-mm-per-prompt", "imgae=3"}, "has imgae"},
      {{"d", "--limit-mm-per-prompt", "imgae=x"}, "has imgae"},
      {{"d", "--limit-mm-per-prompt", R"({"image": {"count": 1, "depth": 2}})"}, "image has depth, wanted count"},
      {{"d", "--limit-mm-per-prompt", R"({"image": {}})"}, "image is {}, wanted a count"},
      {{"d", "--num-gpu-blocks-override", "100000000"}, "wanted a number in [1, 16777216]"},
      {{"d", "--uvicorn-log-level", "loud"}, "wanted trace"},
      {{"d", "--disable-access-log-for-endpoints", "health"}, "wanted paths"},
      {{"d", "--stream-interval", "0"}, "--stream-interval 0"},
      {{"d", "--device", "gpu9"}, "--device gpu9: wanted auto, cpu, cuda"},
      {{"d", "--chat-template", "{% for"}, "--chat-template: "},
      {{"d", "--api-key", ""}, "--api-key '': wanted a value"},
      {{"d", "--limit-mm-per-prompt", R"({"image": 1, "image": 2})"}, "image is set twice: keep one"},
      {{"d", "--limit-mm-per-prompt", "image=1,image=2"}, "image is set twice: keep one"},
      {{"d", "--mm-processor-kwargs", R"({"max_pixels": 1, "max_pixels": 2})"}, "max_pixels is set twice"},
      {{"d", "--mm-processor-kwargs", R"({"max_pixels": 1)"}, "not valid JSON: line 1, column 17: the text ends"},
      {{"d", "--mm-processor-kwargs", R"({"max_pixels": 1, "min_pixels": 2})"}, "more than max_pixels, 1"},
      {{"d", "--mm-processor-kwargs", "pixels"}, "--mm-processor-kwargs pixels: wanted a JSON object"},
      {{"d", "--default-chat-template-kwargs", R"({"a": 1, "a": 2})"}, "a is set twice"},
      {{"d", "--override-generation-config", R"({"temprature": 1})"}, "(did you mean temperature?)"},
      {{"d", "--override-generation-config", R"({"top_p": 2})"}, "top_p is 2, wanted a number above 0 up to 1"},
      {{"d", "--override-generation-config", R"({"top_k": 2, "top_k": 3})"}, "top_k is set twice"},
      {{"d", "--lora-modules", R"({"name": "x", "name": "y", "path": "p"})"}, "name is set twice"},
      {{"d", "--lora-modules", "x=p", "x=q"}, "--lora-modules: x is given twice"},
      {{"d", "--chat-template", ""}, "--chat-template '': wanted a file or a template"},
      {{"d", "--allowed-local-media-path", ""}, "--allowed-local-media-path '': wanted a path"},
      {{"d", "--config", ""}, "--config '': wanted a path"},
      {{"d", "-x"}, "-x"}};
  for (const auto& entry : table) {  // clang 14 captures no structured bindings
    const Words& words = entry.first;
    const std::string& message = entry.second;
    CAPTURE(message);
    CHECK(test::message_of([&] { Flags::parse(words); }).find(message) != std::string::npos);
    CHECK_THROWS_AS(Flags::parse(words), UsageError);
  }
  CHECK(Flags::parse({"d", "--scheduling-policy", "fcfs", "--kv-cache-dtype=auto", "--swap-space", "4",
                      "--no-enable-lora", "--max-cpu-loras=4"})
            .port == 8000);
}

TEST_CASE("Flags: adapters have names, places and a largest rank") {
  const auto plain = Flags::parse({"d"});
  CHECK(plain.engine.adapter_slots == 0);
  CHECK(!plain.load_adapters);
  const auto f = Flags::parse({"d", "--enable-lora", "--max-loras", "3", "--max_lora_rank=64", "--lora-modules",
                               "sql=/x/y=z", R"({"name": "c,d", "path": "/p", "base_model_name": "b"})",
                               R"({"name": "e", "path": "hub/e", "base_model_name": null})"});
  CHECK(f.engine.adapter_slots == 3);
  CHECK(f.engine.adapter_rank == 64);
  REQUIRE(f.lora_modules.size() == 3);
  CHECK(f.lora_modules[0].name == "sql");
  CHECK(f.lora_modules[0].path == "/x/y=z");
  CHECK(f.lora_modules[1].name == "c,d");
  CHECK(f.lora_modules[1].base_model_name == "b");
  CHECK(f.lora_modules[2].path == "hub/e");
  CHECK(f.lora_modules[2].base_model_name.empty());
  CHECK(Flags::parse({"d", "--enable-lora"}).engine.adapter_slots == 1);
  const auto refused = [](Words words) {
    words.insert(words.begin(), {"d", "--enable-lora"});
    return test::message_of([&] { Flags::parse(words); });
  };
  CHECK(test::message_of([] {
          Flags::parse({"d", "--lora-modules", "a=b"});
        }).find("without --enable-lora") != std::string::npos);
  for (const char* item : {"nameless", "=x", "x=", "{\"name\": \"x\"}", "{\"name\": 3, \"path\": \"x\"}",
                           "{\"name\": \"x\", \"path\": \"x\", \"rank\": 1}"}) {
    CAPTURE(item);
    CHECK(refused({"--lora-modules", item}).find("--lora-modules") != std::string::npos);
  }
  CHECK(refused({"--max-loras", "0"}).find("--max-loras") != std::string::npos);
  CHECK(refused({"--max-lora-rank", "513"}).find("--max-lora-rank") != std::string::npos);
  CHECK(refused({"--default-mm-loras", "{\"image\": \"x\"}"}).find("in model") != std::string::npos);
  CHECK(refused({"--lora-dtype", "auto", "--fully-sharded-loras"}).empty());
  ::setenv("VLLM_ALLOW_RUNTIME_LORA_UPDATING", "True", 1);
  CHECK(Flags::parse({"d"}).load_adapters);
  ::unsetenv("VLLM_ALLOW_RUNTIME_LORA_UPDATING");
}

TEST_CASE("Flags: a YAML file gives options, the command line wins") {
  const std::string path = "serve_flags_test.yaml";
  std::ofstream(path) << "model: from_file\nport: 1234\nserved-model-name: [x, y]\nenforce-eager: "
                         "true\nlimit_mm_per_prompt: {image: 7}\n";
  const auto f = Flags::parse({"--config", path, "--port", "99"});
  CHECK(f.model == "from_file");
  CHECK(f.port == 99);
  CHECK(f.served_model_names == Words{"x", "y"});
  CHECK(f.max_images == 7);
  for (const char* text : {"nonsense: 1\n", "port: 1\nport: 2\n", "max-model-len: 8\nmax_model_len: 9\n",
                           "port: 1\n---\nhost: x\n", "port: &x [*x]\n"}) {
    std::ofstream(path) << text;
    CHECK_THROWS_AS(Flags::parse({"--config", path}), UsageError);
  }
  std::remove(path.c_str());
  CHECK_THROWS_AS(Flags::parse({"--config", "no_such_file.yaml"}), io::FileError);
}

TEST_CASE("Flags: limits of images come from --max-media-bytes and VLLM_MAX_IMAGE_PIXELS") {
  CHECK(Flags::parse({"d"}).max_image_pixels == vision::max_image_pixels);
  CHECK(Flags::parse({"d", "--max-media-bytes", "2G"}).max_media_bytes == std::int64_t{2} << 30);
  const auto with = [](const char* pixels) {
    ::setenv("VLLM_MAX_IMAGE_PIXELS", pixels, 1);
    const auto message = test::message_of([] { Flags::parse({"d"}); });
    const auto limit = message.empty() ? Flags::parse({"d"}).max_image_pixels : 0;
    ::unsetenv("VLLM_MAX_IMAGE_PIXELS");
    return std::pair(limit, message);
  };
  CHECK(with("1000").first == 1000);
  for (const char* wrong : {"0", "-1", "1k", "178956971", "99999999999999999999"})
    CHECK(with(wrong).second.find("VLLM_MAX_IMAGE_PIXELS (environment): is " + std::string(wrong)) !=
          std::string::npos);
}

TEST_CASE("Flags: keys are not shown in the log") {
  for (const auto& line : Flags::parse({"d", "--api-key", "secret", "--hf-token", "secret"}).log_lines)
    CHECK(line.find("secret") == std::string::npos);
}

TEST_CASE("Flags: help lists every option, or those that hold a word") {
  CHECK(Flags::parse({"--help"}).help == help_text());
  CHECK(Flags::parse({"--hel"}).help == help_text());
  CHECK(Flags::parse({"--help=--port "}).help == "  --port X                              TCP port; default 8000\n");
  CHECK(Flags::parse({"--help=guided_json"}).help->starts_with("fields of POST"));
  CHECK(test::message_of([] { Flags::parse({"--help=temprature"}); }) ==
        "--help=temprature: nothing matches (did you mean temperature?); --help lists everything");
  CHECK_THROWS_AS(Flags::parse({"--help=zzz"}), UsageError);
  for (const Words& unread : {Words{"--help=port", "x"}, {"--hel", "x"}, {"--vers", "x"}, {"d", "--vers"}})
    CHECK_THROWS_AS(Flags::parse(unread), UsageError);
  CHECK(flags_help().find("--served-model-name") != std::string::npos);
  CHECK(flags_help("TCP").find("--host") == std::string::npos);
  CHECK(flags_help("--port ") == "  --port X                              TCP port; default 8000\n");
  CHECK(flags_help("--block-size").ends_with("default 64\n"));
}

TEST_CASE("Flags: slashes at the end of the folder do not reach the names made of it") {
  for (const char* folder : {"a/b", "a/b/", "a/b//"}) {
    CHECK(Flags::parse({folder}).model == "a/b");
    CHECK(Flags::parse({folder}).served_model_names == Words{"a/b"});
  }
  CHECK(Flags::parse({"/"}).model == "/");
}

TEST_CASE("Flags: --media-io-kwargs names the background of images with alpha") {
  CHECK(Flags::parse({"m"}).image_background == vision::Colour{255, 255, 255});
  const auto with = [](const std::string& json) { return Flags::parse({"m", "--media-io-kwargs", json}); };
  CHECK(with(R"({"image": {"rgba_background_color": [0, 160, 255]}})").image_background == vision::Colour{0, 160, 255});
  CHECK_FALSE(with(R"({"video": {"num_frames": -1}, "image": {}})").video_frames.any());
  const Flags video = with(R"({"video": {"num_frames": 32, "fps": 1.5}, "audio": {}})");
  CHECK((video.video_frames.num_frames == 32 && video.video_frames.fps == 1.5));
  CHECK(video.log_lines.back().find("--media-io-kwargs: audio has no effect") != std::string::npos);
  for (const char* bad :
       {R"({"image": {"rgba_background_color": [0, 160]}})", R"({"image": {"rgba_background_color": 7}})",
        R"({"image": {"rgba_background_color": [0, 160, 256]}})", R"({"image": {"mode": "L"}})", R"({"picture": {}})",
        R"({"image": 3})", R"({"video": {"num_frames": 0}})", R"({"video": {"backend": "x"}})"})
    CHECK_THROWS_AS(with(bad), UsageError);
}

TEST_CASE("Flags: defaults for requests are read") {
  const auto f =
      Flags::parse({"d", "--default-chat-template-kwargs", "{\"add_vision_id\":true,\"enable_thinking\":false}",
                    "--return-tokens-as-token-ids", "--stream-interval", "8", "--exclude-tools-when-tool-choice-none",
                    "--disable-access-log-for-endpoints", "/health,/ping", "--chat-template", "{{ messages }}"});
  CHECK(f.template_kwargs["add_vision_id"] == true);
  CHECK(f.return_tokens_as_ids);
  CHECK(f.stream_interval == 8);
  CHECK(f.exclude_unused_tools);
  CHECK(f.unlogged_paths == Words{"/health", "/ping"});
  CHECK(f.chat_template == "{{ messages }}");
}

TEST_CASE("Flags: the engine's sizes and caches") {
  const auto f = Flags::parse({"d",
                               "--max-num-seqs",
                               "64",
                               "--max-num-batched-tokens",
                               "2048",
                               "--block-size",
                               "32",
                               "--gpu-memory-utilization",
                               "0.5",
                               "--kv-cache-memory-bytes",
                               "1G",
                               "--num-gpu-blocks-override",
                               "77",
                               "--no-enable-prefix-caching",
                               "--enforce-eager",
                               "--long-prefill-token-threshold",
                               "512",
                               "--mm-processor-cache-gb",
                               "0.5",
                               "--cudagraph-capture-sizes",
                               "1",
                               "8",
                               "--scheduling-policy",
                               "priority",
                               "--batch-invariant",
                               "--disable-log-stats",
                               "--enable-log-requests"});
  CHECK((f.engine.rows == 64 && f.engine.step_tokens == 2048 && f.engine.page_tokens == 32 && f.engine.pages == 77));
  CHECK((f.engine.memory_share == 0.5 && f.engine.page_bytes >= 1'000'000'000));
  CHECK(f.engine.image_bytes == std::int64_t{1} << 29);
  CHECK(f.engine.graph_rows == std::vector<int>{1, 8});
  CHECK((f.engine.eager && f.engine.batch_invariant && f.priorities && !f.prefix_cache && !f.log_statistics &&
         f.log_requests));
  CHECK(f.prompt_chunk_tokens == 512);
  const auto defaults = Flags::parse({"d"});
  CHECK((defaults.engine.rows == 0 && defaults.engine.page_tokens == 64 && defaults.engine.memory_share == 0.9));
  CHECK((defaults.prefix_cache && defaults.log_statistics && !defaults.priorities && !defaults.log_requests));
  for (const Words& wrong : std::vector<Words>{{"d", "--block-size", "48"},
                                               {"d", "--max-num-seqs", "0"},
                                               {"d", "--max-num-seqs", "64", "--max-num-batched-tokens", "32"},
                                               {"d", "--scheduling-policy", "lottery"},
                                               {"d", "--mm-processor-cache-gb", "-1"},
                                               {"d", "--cudagraph-capture-sizes", "0"}})
    CHECK(test::message_of([&] { Flags::parse(wrong); }).find(wrong[1]) != std::string::npos);
}

TEST_CASE("Flags: images of the web are off, and two flags turn them on") {
  CHECK(!Flags::parse({"d"}).remote_media);
  CHECK(Flags::parse({"d", "--allow-remote-media"}).remote_media);
  const auto f = Flags::parse({"d", "--allowed-media-domains", "a.test", "b.test"});
  CHECK(f.remote_media);
  CHECK(f.fetch.domains == Words{"a.test", "b.test"});
  CHECK(!f.fetch.private_addresses);
  CHECK(Flags::parse({"d", "--allow-remote-media", "--allow-private-media"}).fetch.private_addresses);
  CHECK(message_of([] {
          Flags::parse({"d", "--allow-private-media"});
        }).find("without --allow-remote-media") != std::string::npos);
  for (const char* domain : {"https://a.test", "a.test/x", "*.a.test", "u@a.test", "a.test:80"})
    CHECK(message_of([&] {
            Flags::parse({"d", "--allowed-media-domains", domain});
          }).find("wanted whole names") != std::string::npos);
  ::setenv("VLLM_IMAGE_FETCH_TIMEOUT", "9", 1);
  ::setenv("VLLM_MEDIA_URL_ALLOW_REDIRECTS", "0", 1);
  CHECK(Flags::parse({"d"}).fetch.longest == std::chrono::seconds(9));
  CHECK(!Flags::parse({"d"}).fetch.redirects);
  ::setenv("VLLM_IMAGE_FETCH_TIMEOUT", "soon", 1);
  CHECK(message_of([] { Flags::parse({"d"}); }) ==
        "VLLM_IMAGE_FETCH_TIMEOUT (environment): is soon, wanted a number of seconds from 1 to 600");
  ::unsetenv("VLLM_IMAGE_FETCH_TIMEOUT");
  ::unsetenv("VLLM_MEDIA_URL_ALLOW_REDIRECTS");
  CHECK(Flags::parse({"d"}).fetch.longest == std::chrono::seconds(5));
}

TEST_CASE("Flags: TLS and Unix sockets, and what needs what") {
  const auto f = Flags::parse({"d", "--ssl-certfile", "c", "--ssl-keyfile", "k", "--ssl-ca-certs", "a",
                               "--ssl-cert-reqs", "2", "--ssl-ciphers", "HIGH", "--enable-ssl-refresh", "--uds", "s"});
  CHECK(f.tls.certfile == "c");
  CHECK(f.tls.keyfile == "k");
  CHECK(f.tls.ca_certs == "a");
  CHECK(f.tls.cert_reqs == 2);
  CHECK(f.tls.ciphers == "HIGH");
  CHECK(f.tls.refresh);
  CHECK(f.uds == "s");
  CHECK(Flags::parse({"d", "--ssl-cert-reqs", "0"}).tls.certfile == "");
  const auto error = [](const Words& words) { return message_of([&] { Flags::parse(words); }); };
  CHECK(error({"d", "--ssl-keyfile", "k"}) == "--ssl-keyfile: is given without --ssl-certfile, which turns TLS on");
  CHECK(error({"d", "--ssl-ca-certs", "k"}).find("--ssl-ca-certs: is given without") == 0);
  CHECK(error({"d", "--ssl-certfile", "c", "--ssl-cert-reqs", "1"}).find("wanted --ssl-ca-certs with it") !=
        std::string::npos);
  CHECK(error({"d", "--ssl-certfile", "c", "--ssl-cert-reqs", "3"}) != "");
  CHECK(Flags::parse({"d", "--uds", "s", "--port", "81"}).log_lines.back() ==
        "--host and --port have no effect with --uds");
}
