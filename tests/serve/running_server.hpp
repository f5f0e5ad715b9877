#pragma once
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include <lamina/serve/http.hpp>
#include <lamina/serve/routes/routes.hpp>

#include "serve/fake_session.hpp"
#include "serve/loopback.hpp"

namespace lamina::test {

/// What a test changes of a server.
struct Setup {
  serve::ServiceOptions service{.served_names = {"tiny", "also"}, .root = "dir/tiny"};
  serve::RouteOptions routes{.access_log = false};
  serve::HttpLimits limits = {};
  int max_len = 400;
  int rows = 8;           ///< answers that are made at once
  int adapter_slots = 0;  ///< different adapters in one step; 0: none
  std::chrono::milliseconds grace{500};
  bool handle_signals = false;
  std::filesystem::path uds = {};
  std::optional<serve::TlsOptions> tls = {};
};
/// The tools take some hundred tokens.
inline Setup roomy() {
  Setup setup;
  setup.max_len = 1000;
  return setup;
}
inline Setup with_tools() {
  Setup setup = roomy();
  setup.service.request_defaults.automatic_tools = true;
  return setup;
}

/// A whole server on a free port of the loopback interface, with a model that recites.
struct RunningServer {
  explicit RunningServer(Setup setup = {})
      : service(files(),
                std::make_unique<FakeSession>(script, files().tokenizer.size(), setup.max_len, setup.rows,
                                              setup.adapter_slots),
                setup.service),
        routes(service, setup.routes),
        http({.host = "127.0.0.1",
              .port = 0,
              .uds = setup.uds,
              .tls = setup.tls,
              .limits = setup.limits,
              .threads = 2,
              .grace = setup.grace,
              .handle_signals = setup.handle_signals},
             routes) {
    script.say(files(), "The answer is 42.");
  }
  ~RunningServer() {
    http.stop();
    service.stop();
  }

  static const serve::ModelFiles& files() {
    static const serve::ModelFiles loaded = [] {
      auto f = serve::ModelFiles::load(tiny_model());
      f.defaults = {};
      return f;
    }();
    return loaded;
  }
  Client::Reply ask(const std::string& body, const std::string& path = "/v1/chat/completions") {
    return Client(http.port()).ask("POST", path, body);
  }
  serve::Json chat(const std::string& body) {
    const auto reply = ask(body);
    if (reply.status != 200) fail("status ", reply.status, ": ", reply.body);
    return serve::Json::parse(reply.body);
  }
  /// Waits, at most 10 s, until no request is here.
  bool becomes_idle() {
    for (int i = 0; i < 1000 && service.load(); ++i) std::this_thread::sleep_for(std::chrono::milliseconds(10));
    return service.load() == 0;
  }

  Script script;
  serve::ChatService service;
  serve::Routes routes;
  serve::HttpServer http;
};

/// Waits, at most 10 s, until it holds.
template <class Condition>
bool becomes(Condition condition) {
  for (int i = 0; i < 2000 && !condition(); ++i) std::this_thread::sleep_for(std::chrono::milliseconds(5));
  return condition();
}

inline const std::string hello = R"("messages":[{"role":"user","content":"Hello"}])";

/// A chat request, and one of its bodies.
inline std::string chat_request(const std::string& body, const std::string& headers = {}) {
  return Client::request("POST", "/v1/chat/completions", body, headers);
}
inline const std::string question = "{" + hello + "}";

/// A request with these fields besides its messages.
inline std::string with(const std::string& fields) { return "{" + hello + (fields.empty() ? "" : "," + fields) + "}"; }

}  // namespace lamina::test
