// Images of the web, from a server on the loopback interface that may mean harm.
#include <lamina/serve/remote/media_fetcher.hpp>

#include <thread>

#include "hub/hostile/hostile_server.hpp"
#include "serve/message_of.hpp"
#include "serve/running_server.hpp"
#include "support/catch.hpp"
#include "support/error_of.hpp"

using namespace lamina;
using namespace lamina::test;
using namespace std::chrono_literals;
using testing::contains;
using testing::HostileServer;
using testing::Reply;
using testing::whole_reply;

namespace {

const std::string body(1000, 'i');

Reply image(const std::string&) { return whole_reply(200, body); }

/// The options of a test: its server is on this machine.
serve::FetchOptions here(serve::FetchOptions options = {}) {
  options.private_addresses = true;
  return options;
}

/// The error of a fetch of at most 10,000 bytes; "" if the image came.
std::string fetch_error(const serve::FetchOptions& options, const std::string& url) {
  serve::MediaFetcher fetcher(options);
  try {
    const auto file = fetcher(url, "the field", 10'000, {});
    CHECK(std::string(file.bytes.begin(), file.bytes.end()) == body);
    CHECK(file.memory.bytes() == std::ssize(body));
    return "";
  } catch (const serve::ApiError& e) {
    CHECK(contains(e.what(), e.status == 400 ? "the field: failed to fetch the image: " : "memory"));
    return cat(e.status, " ", e.what());
  }
}

}  // namespace

TEST_CASE("MediaFetcher: an image comes, and nothing of this machine does unless that is asked for") {
  const HostileServer server(image);
  CHECK(fetch_error(here(), server.url() + "/a.png") == "");
  const int before = server.requests();
  std::string by_name = server.url();
  by_name.replace(by_name.find("127.0.0.1"), 9, "localhost");
  std::string mapped = server.url();
  mapped.replace(mapped.find("127.0.0.1"), 9, "[::ffff:127.0.0.1]");
  std::string decimal = server.url();
  decimal.replace(decimal.find("127.0.0.1"), 9, "2130706433");
  for (const std::string& url : {server.url(), by_name, mapped, decimal}) {
    CAPTURE(url);
    CHECK(contains(fetch_error({}, url), "has no public address"));
  }
  // a proxy would connect in place of the check
  ::setenv("http_proxy", server.url().c_str(), 1);
  ::unsetenv("no_proxy");
  CHECK(contains(fetch_error({}, "http://169.254.169.254/latest/meta-data"), "has no public address"));
  ::unsetenv("http_proxy");
  ::setenv("no_proxy", "127.0.0.1", 1);
  CHECK(server.requests() == before);
  CHECK(contains(fetch_error(here(), "http://127.0.0.1:1/"), "the host 127.0.0.1 cannot be reached"));
}

TEST_CASE("MediaFetcher: hosts are compared whole, those of redirects too") {
  const HostileServer server([](const std::string& target) {
    if (!contains(target, "elsewhere")) return image(target);
    return whole_reply(302, "", "Location: http://localhost:1/\r\n");
  });
  CHECK(fetch_error(here({.domains = {"a.test", "127.0.0.1"}}), server.url() + "/x") == "");
  for (const char* domain : {"27.0.0.1", "127.0.0.1.a.test", "0.0.1", "127.0.0.10"})
    CHECK(
        contains(fetch_error(here({.domains = {domain}}), server.url()), "not among those of --allowed-media-domains"));
  CHECK(contains(fetch_error(here({.domains = {"127.0.0.1"}}), server.url() + "/elsewhere"),
                 "the host localhost is not among those"));
  CHECK(contains(fetch_error(here({.domains = {"LOCALHOST"}}), "http://Localhost:1/"), "cannot be reached"));
}

TEST_CASE("MediaFetcher: each address that a redirect leads to is looked at") {
  const HostileServer inside(image);
  std::string target = inside.url();
  target.replace(target.find("127.0.0.1"), 9, "localhost");
  const HostileServer outside([&](const std::string&) { return whole_reply(302, "", "Location: x\r\n"); });
  hub::CurlTransport transport({.proxies = false, .may_connect = [](const sockaddr& address) {
                                  sockaddr_in v4;
                                  std::memcpy(&v4, &address, sizeof v4);
                                  return ntohl(v4.sin_addr.s_addr) == INADDR_LOOPBACK;  // 127.0.0.1 alone
                                }});
  CHECK(transport.get({.url = outside.url()}, {}).status == 302);
  std::string other = outside.url();
  other.replace(other.find("127.0.0.1"), 9, "127.0.0.2");
  CHECK_THROWS_AS(transport.get({.url = other}, {}), hub::AddressRefused);
}

TEST_CASE("MediaFetcher: redirects end, and may be forbidden") {
  const HostileServer loop(
      [](const std::string& target) { return whole_reply(302, "", cat("Location: ", target, "x\r\n")); });
  CHECK(contains(fetch_error(here(), loop.url()), "more than 3 redirects"));
  CHECK(loop.requests() == 4);
  const HostileServer once([](const std::string& target) {
    return target == "/" ? whole_reply(301, "", "Location: there\r\n") : image(target);
  });
  CHECK(fetch_error(here(), once.url()) == "");
  auto options = here();
  options.redirects = false;
  CHECK(contains(fetch_error(options, once.url()), "VLLM_MEDIA_URL_ALLOW_REDIRECTS=0 forbids"));
  for (const char* location : {"file:///etc/passwd", "ftp://a.test", "http://u@127.0.0.1/", "\\\\a.test"}) {
    const HostileServer astray(
        [&](const std::string&) { return whole_reply(302, "", cat("Location: ", location, "\r\n")); });
    CHECK(fetch_error(here(), astray.url()) != "");
    CHECK(astray.requests() == 1);
  }
}

TEST_CASE("MediaFetcher: size, time and memory are bounded") {
  const HostileServer large([](const std::string&) { return whole_reply(200, std::string(20'000, 'x')); });
  CHECK(contains(fetch_error(here(), large.url()), "a file of 20000 bytes, 10000 are left"));
  const HostileServer endless(
      [](const std::string&) { return Reply{.begin = "HTTP/1.1 200 OK\r\n\r\n", .again = std::string(4096, 'x')}; });
  CHECK(contains(fetch_error(here(), endless.url()), "sends more than 10000 bytes"));
  auto options = here();
  options.longest = 300ms;
  const HostileServer drips(
      [](const std::string&) { return Reply{.begin = "HTTP/1.1 200 OK\r\n\r\n", .again = "x", .pause = 20ms}; });
  CHECK(contains(fetch_error(options, drips.url()), "timed out"));
  const HostileServer silent([](const std::string&) { return Reply{.begin = "", .again = "", .pause = 0ms}; });
  CHECK(fetch_error(options, silent.url()) != "");
  const HostileServer refuses([](const std::string&) { return whole_reply(404, "secret"); });
  const std::string refusal = fetch_error(here(), refuses.url());
  CHECK(contains(refusal, "answered with status 404"));
  CHECK(!contains(refusal, "secret"));

  options.all_bytes = 1500;
  const HostileServer server(image);
  serve::MediaFetcher fetcher(options);
  const auto first = fetcher(server.url(), "p", 10'000, {});
  const auto second = [&] { return fetcher(server.url(), "p", 10'000, {}).bytes.size(); };
  CHECK(contains(message_of(second), "the memory for images and long texts is in use"));
}

TEST_CASE("MediaFetcher: nobody waits for a server when nobody waits for the image") {
  const HostileServer hangs([](const std::string&) {
    return Reply{
        .begin = "HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n", .again = "x", .pause = 100ms, .times = 100};
  });
  auto options = here();
  options.longest = 1h;
  serve::MediaFetcher fetcher(options);
  std::stop_source client;
  std::jthread leaves([&] {
    while (hangs.requests() == 0) std::this_thread::yield();
    client.request_stop();
  });
  CHECK_THROWS_AS(fetcher(hangs.url(), "p", 10'000, client.get_token()), Cancelled);
}

namespace {

const std::string small_bmp =
    "Qk1GAAAAAAAAADYAAAAoAAAAAgAAAAIAAAABABgAAAAAABAAAAATCwAAEwsAAAAAAAAAAAAAAAD/AP8AAAD/AAD///8AAA==";

std::string ask_about(const std::string& url) {
  return R"({"messages":[{"role":"user","content":[{"type":"image_url","image_url":{"url":")" + url +
         R"("}},{"type":"text","text":"What?"}]}],"max_tokens":5})";
}

/// A server that fetches images, from this machine too.
Setup fetching(std::chrono::milliseconds longest = 5s) {
  Setup setup;
  auto options = here();
  options.longest = longest;
  setup.service.media.fetch = [fetcher = std::make_shared<serve::MediaFetcher>(options)](const auto&... arguments) {
    return (*fetcher)(arguments...);
  };
  return setup;
}

}  // namespace

TEST_CASE("Images of the web: an answer about one, and every failure is a 400 that names the field") {
  const auto bytes = serve::decode_base64(small_bmp);
  const HostileServer server([&](const std::string& target) {
    return contains(target, "none") ? whole_reply(404, "")
                                    : whole_reply(200, std::string(bytes->begin(), bytes->end()));
  });
  RunningServer here_too(fetching());
  CHECK(here_too.ask(ask_about(server.url() + "/a.bmp")).status == 200);
  for (const std::string& url :
       {server.url() + "/none", std::string("http://127.0.0.1:1/"), std::string("http://u@x/")}) {
    const auto reply = here_too.ask(ask_about(url));
    CHECK(reply.status == 400);
    CHECK(contains(reply.body, "messages.0.content.0.image_url.url: failed to fetch the image"));
  }
  const int before = server.requests();
  const auto counted = here_too.ask(ask_about(server.url()), "/tokenize");
  CHECK(counted.status == 400);
  CHECK(contains(counted.body, "tokens of files on the web are not counted"));
  RunningServer closed;
  const auto refused = closed.ask(ask_about(server.url()));
  CHECK(refused.status == 400);
  CHECK(contains(refused.body, "--allow-remote-media"));
  CHECK(server.requests() == before);
}

TEST_CASE("Images of the web: servers that hang hold up nobody else, and a client that leaves ends the wait") {
  const auto bytes = serve::decode_base64(small_bmp);
  const HostileServer hangs([](const std::string&) {
    return Reply{.begin = "HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n", .again = "x", .pause = 50ms};
  });
  RunningServer server(fetching(1h));
  std::vector<std::unique_ptr<Client>> waiting;
  for (int i = 0; i < 20; ++i) {  // more than threads that fetch
    waiting.push_back(std::make_unique<Client>(server.http.port()));
    waiting.back()->send(chat_request(ask_about(hangs.url())));
  }
  while (hangs.requests() < 16) std::this_thread::yield();
  CHECK(server.ask(question).status == 200);
  CHECK(server.ask(ask_about("data:image/bmp;base64," + small_bmp)).status == 200);
  waiting.clear();
  CHECK(server.becomes_idle());
}
