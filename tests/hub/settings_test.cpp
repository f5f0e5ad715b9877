#include <lamina/hub/settings.hpp>

#include <fstream>
#include <map>

#include "programs/program.hpp"
#include "support/catch.hpp"
#include "support/error_of.hpp"
#include "support/notes.hpp"

using namespace lamina;
using namespace lamina::testing;
using hub::Source;

namespace {

hub::HubSettings settings_of(std::map<std::string, std::string> variables, const hub::Options& options = {}) {
  variables.emplace("HOME", "/home/somebody");
  return hub::read_settings(options, [&](const char* name) {
    const auto at = variables.find(name);
    return at == variables.end() ? "" : at->second;
  });
}

}  // namespace

TEST_CASE("Settings: the defaults are those of the hubs' clients") {
  const auto hf = settings_of({});
  CHECK(hf.source == Source::huggingface);
  CHECK(hf.endpoint == "https://huggingface.co");
  CHECK(hf.cache == "/home/somebody/.cache/huggingface/hub");
  CHECK(hf.revision == "main");
  CHECK(hf.token == "");
  CHECK(!hf.offline);
  const auto ms = settings_of({{"USE_MODELSCOPE_HUB", "1"}});
  CHECK(ms.source == Source::modelscope);
  CHECK(ms.endpoint == "https://modelscope.cn");
  CHECK(ms.cache == "/home/somebody/.cache/modelscope");
  CHECK(ms.revision == "master");
}

TEST_CASE("Settings: Hugging Face's variables and their precedence") {
  CHECK(settings_of({{"XDG_CACHE_HOME", "/x"}}).cache == "/x/huggingface/hub");
  CHECK(settings_of({{"XDG_CACHE_HOME", "/x"}, {"HF_HOME", "~/hf"}}).cache == "/home/somebody/hf/hub");
  CHECK(settings_of({{"HF_HOME", "/hf"}, {"HUGGINGFACE_HUB_CACHE", "/older"}}).cache == "/older");
  CHECK(settings_of({{"HUGGINGFACE_HUB_CACHE", "/older"}, {"HF_HUB_CACHE", "/c"}}).cache == "/c");
  CHECK(settings_of({{"HF_HUB_CACHE", "/c"}}, {.cache_dir = "/mine"}).cache == "/mine");
  CHECK(settings_of({{"HF_ENDPOINT", "https://mirror.test/"}}).endpoint == "https://mirror.test");
  CHECK(settings_of({{"HF_ENDPOINT", "mirror.test"}}).endpoint == "https://mirror.test");
  CHECK(settings_of({{"HUGGING_FACE_HUB_TOKEN", "old"}}).token == "old");
  CHECK(settings_of({{"HUGGING_FACE_HUB_TOKEN", "old"}, {"HF_TOKEN", " new\n"}}).token == "new");
  CHECK(settings_of({{"HF_TOKEN", "new"}}, {.hf_token = "mine", .ms_token = "other"}).token == "mine");
  for (const char* yes : {"1", "ON", "yes", "True"}) CHECK(settings_of({{"HF_HUB_OFFLINE", yes}}).offline);
  CHECK(settings_of({{"TRANSFORMERS_OFFLINE", "1"}}).offline);
  CHECK(!settings_of({{"HF_HUB_OFFLINE", "0"}}).offline);
}

TEST_CASE("Settings: a variable that is neither true nor false is noted") {
  const std::string notes = notes_of([] {
    CHECK(!settings_of({{"HF_HUB_OFFLINE", "of\x1b course"}}).offline);
    CHECK(settings_of({{"USE_MODELSCOPE_HUB", "T"}, {"TRANSFORMERS_OFFLINE", "off"}}).source == Source::modelscope);
  });
  CHECK(notes == "note: HF_HUB_OFFLINE: is \"of\\x1b course\", wanted true or false: taken for false\n");
}

TEST_CASE("Settings: a token that `hf auth login` has stored is read") {
  const TemporaryFolder folder;
  std::ofstream(folder.path() / "token") << "hf_stored\n";
  CHECK(settings_of({{"HF_HOME", folder.path().string()}}).token == "hf_stored");
  CHECK(settings_of({{"HF_TOKEN_PATH", (folder.path() / "token").string()}}).token == "hf_stored");
  CHECK(settings_of({{"HF_HOME", folder.path().string()}}).token_name ==
        cat((folder.path() / "token").string(), " (of `hf auth login`)"));
  CHECK(settings_of({{"HF_TOKEN", "t"}}).token_name == "HF_TOKEN");
  CHECK(settings_of({{"HF_TOKEN", "t"}}, {.hf_token = "mine", .hf_token_name = "--token"}).token_name == "--token");
  CHECK(settings_of({}, {.source = Source::modelscope}).token_option == "ms_hub_token");
  CHECK(settings_of({{"HF_HOME", folder.path().string()}, {"HF_HUB_DISABLE_IMPLICIT_TOKEN", "1"}}).token == "");
}

TEST_CASE("Settings: ModelScope's variables") {
  const auto ms = [](std::map<std::string, std::string> variables, hub::Options options = {}) {
    options.source = Source::modelscope;
    return settings_of(std::move(variables), options);
  };
  CHECK(ms({{"MODELSCOPE_CACHE", "/ms"}}).cache == "/ms");
  CHECK(ms({{"MODELSCOPE_DOMAIN", "older.test"}}).endpoint == "https://older.test");
  CHECK(ms({{"MODELSCOPE_DOMAIN", "older.test"}, {"MODELSCOPE_ENDPOINT", "http://ms.test"}}).endpoint ==
        "http://ms.test");
  CHECK(ms({{"MODELSCOPE_API_TOKEN", "t"}, {"HF_TOKEN", "other"}}).token == "t");
  CHECK(ms({{"MODELSCOPE_API_TOKEN", "t"}}, {.hf_token = "other", .ms_token = "mine"}).token == "mine");
  CHECK(ms({}, {.revision = "main"}).revision == "master");  // what LLaMA-Factory says if its file says nothing
  CHECK(ms({}, {.revision = "v1"}).revision == "v1");
  CHECK(hub::credentials(ms({{"MODELSCOPE_API_TOKEN", "t"}})) ==
        std::vector<std::string>{"Authorization: Bearer t", "Cookie: m_session_id=t"});
}

TEST_CASE("Settings: what cannot be meant is refused") {
  CHECK(contains(error_of([] { settings_of({{"USE_OPENMIND_HUB", "1"}}); }), "USE_OPENMIND_HUB"));
  CHECK(contains(error_of([] { settings_of({{"HF_TOKEN", "a\r\nHost: b"}}); }), "characters that no token has"));
  CHECK(contains(error_of([] { settings_of({{"HF_ENDPOINT", "https://hub@evil.test"}}); }), "wanted a URL"));
  for (const char* revision : {"../main", "a b", "/main", "main?x", "a//b"})
    CHECK(contains(error_of([&] { settings_of({}, {.revision = revision}); }),
                   cat("revision: is \"", revision, "\", wanted a branch, a tag or a commit")));
  CHECK(settings_of({}, {.revision = "refs/pr/4"}).revision == "refs/pr/4");
}

TEST_CASE(
    "Settings: an endpoint without a scheme is https, which is said, and one of another scheme names its variable") {
  const std::string notes = notes_of([] {
    CHECK(settings_of({{"HF_ENDPOINT", "hub.test:8080/"}}).endpoint == "https://hub.test:8080");
    CHECK(settings_of({{"MODELSCOPE_DOMAIN", "ms.test"}}, {.source = Source::modelscope}).endpoint ==
          "https://ms.test");
    CHECK(settings_of({{"HF_ENDPOINT", "http://hub.test"}}).endpoint == "http://hub.test");
  });
  CHECK(notes ==
        "note: HF_ENDPOINT: https://hub.test:8080 is meant; for a server without TLS write http://\n"
        "note: MODELSCOPE_DOMAIN: https://ms.test is meant; for a server without TLS write http://\n");
  CHECK(error_of([] {
          settings_of({{"HF_ENDPOINT", "ftp://hub.test"}});
        }) == "HF_ENDPOINT: is \"ftp://hub.test\", wanted a URL such as https://huggingface.co");
}

TEST_CASE("Settings: names of repositories") {
  for (const char* name : {"Qwen/Qwen3-VL-2B-Instruct", "a/b", "a_b/c.d-e"}) CHECK(hub::is_repository_name(name));
  for (const char* name : {"", "a", "a/", "/a", "a/b/c", "./a", "../a", "a/..", ".a/b", "a/b--c", "a/b c", "~/a"})
    CHECK(!hub::is_repository_name(name));
}

TEST_CASE("Settings: certificates to trust, by the variables of each client") {
  const auto trusted = [](std::map<std::string, std::string> variables) {
    const auto certificates = settings_of(std::move(variables)).certificates;
    return cat(certificates.variable, "=", certificates.path);
  };
  CHECK(trusted({}) == "=");
  CHECK(trusted({{"SSL_CERT_DIR", "/d"}}) == "SSL_CERT_DIR=/d");
  CHECK(trusted({{"SSL_CERT_DIR", "/d"}, {"SSL_CERT_FILE", "/s"}}) == "SSL_CERT_FILE=/s");
  CHECK(trusted({{"SSL_CERT_FILE", "/s"}, {"CURL_CA_BUNDLE", "/c"}}) == "CURL_CA_BUNDLE=/c");
  CHECK(trusted({{"CURL_CA_BUNDLE", "/c"}, {"REQUESTS_CA_BUNDLE", "/r"}}) == "REQUESTS_CA_BUNDLE=/r");
}

TEST_CASE("Settings: what names the cache, for messages") {
  CHECK(settings_of({}).cache_name == "HOME");
  CHECK(settings_of({{"XDG_CACHE_HOME", "/x"}}).cache_name == "XDG_CACHE_HOME");
  CHECK(settings_of({{"XDG_CACHE_HOME", "/x"}, {"HF_HOME", "/hf"}}).cache_name == "HF_HOME");
  CHECK(settings_of({{"HF_HOME", "/hf"}, {"HUGGINGFACE_HUB_CACHE", "/c"}}).cache_name == "HUGGINGFACE_HUB_CACHE");
  CHECK(settings_of({{"HF_HUB_CACHE", "/c"}}, {.cache_dir = "/mine"}).cache_name == "cache_dir");
  CHECK(settings_of({}, {.cache_dir = "/mine", .cache_dir_name = "--cache-dir"}).cache_name == "--cache-dir");
  CHECK(settings_of({}, {.source = Source::modelscope}).cache_name == "HOME");
  CHECK(settings_of({{"MODELSCOPE_CACHE", "/m"}}, {.source = Source::modelscope}).cache_name == "MODELSCOPE_CACHE");
  CHECK(settings_of({{"TRANSFORMERS_OFFLINE", "1"}}).offline_name == "TRANSFORMERS_OFFLINE");
}
