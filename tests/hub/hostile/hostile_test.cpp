// A server that means harm holds no program, and writes nothing on a terminal.
#include <lamina/hub/http/curl.hpp>
#include <lamina/hub/snapshot.hpp>

#include "hub/hostile/hostile_server.hpp"
#include "hub/hub_folder.hpp"
#include "support/catch.hpp"
#include "support/error_of.hpp"
#include "support/notes.hpp"

using namespace lamina;
using namespace lamina::testing;
using namespace std::chrono_literals;
namespace fs = std::filesystem;

namespace {

const std::string content(40'000, 'w'), commit(40, 'c');  // any piece of it fits anywhere

bool is_file(const std::string& target) { return contains(target, "/resolve/"); }

/// Answers as a hub that holds one large file.
Reply right(const std::string& target) {
  if (contains(target, "/revision/")) return whole_reply(200, cat(R"({"sha":")", commit, "\"}"));
  if (is_file(target)) return whole_reply(200, content);
  return whole_reply(200, cat(R"([{"type":"file","path":"model.safetensors","size":40000,"oid":")", commit,
                              R"(","lfs":{"size":40000,"oid":")", hub::sha256_of(content), "\"}}]"));
}

/// The error of a fetch with little patience; "" if it gets the file.
std::string fetch_error(const HostileServer& server, hub::RetryPolicy patience = {.attempts = 2}) {
  const TemporaryFolder folder;
  patience.sleep = [](auto) {};
  hub::CurlTransport transport({.slow_s = 1});
  const hub::HubSettings settings{
      .endpoint = server.url(), .cache = folder.path(), .cache_name = "TEST", .revision = "main"};
  std::string error;
  notes_of([&] {
    error = error_of([&] {
      hub::fetch_snapshot(transport, settings, {.repo = {settings.source, hub::RepoType::model, "a/b", "main"}},
                          patience);
    });
  });
  if (error.empty()) CHECK(text_of(folder.path() / "models--a--b/snapshots" / commit / "model.safetensors") == content);
  return error;
}

/// Bodies that do not end: as fast as they are taken, and byte by byte.
const Reply endless[] = {{.begin = "", .again = std::string(4096, ' ')}, {.begin = "", .again = " ", .pause = 20ms}};

Reply without_end(const Reply& body, int status, const std::string& fields = "") {
  Reply reply = body;
  reply.begin = answer_of(status, fields, "", -1);
  return reply;
}

}  // namespace

TEST_CASE("Hostile: nobody waits for the end of an error's body") {
  const Reply& body = endless[GENERATE(0, 1)];
  for (const int status : {401, 404, 500, 503}) {
    CAPTURE(status);
    const HostileServer api([&](const std::string&) { return without_end(body, status); });
    CHECK(contains(fetch_error(api), cat("/api/models/a/b/revision/main: status ", status)));
    const HostileServer files(
        [&](const std::string& target) { return is_file(target) ? without_end(body, status) : right(target); });
    CHECK(contains(fetch_error(files), cat("model.safetensors: status ", status)));
  }
}

TEST_CASE("Hostile: nobody waits for the end of a redirect's body") {
  const Reply& body = endless[GENERATE(0, 1)];
  const HostileServer server([&](const std::string& target) {
    return contains(target, "again")
               ? right(target)
               : without_end(body, 302, cat("Location: ", target, contains(target, "?") ? "&" : "?", "again=1\r\n"));
  });
  CHECK(fetch_error(server) == "");
}

TEST_CASE("Hostile: an answer that does not end is refused by its size or its time") {
  const HostileServer fast([&](const std::string&) { return without_end(endless[0], 200); });
  CHECK(contains(fetch_error(fast), "an answer of more than 16777216 bytes: refused"));
  // fast enough to count as a connection that works
  const HostileServer drips([&](const std::string&) {
    return without_end({.begin = "", .again = std::string(100, ' '), .pause = 10ms}, 200);
  });
  CHECK(contains(fetch_error(drips, {.attempts = 2, .longest_answer = 300ms}),
                 "/api/models/a/b/revision/main: Operation timed out"));
  const HostileServer pages(right);
  CHECK(contains(fetch_error(pages, {.longest_listing = -1ms}), "the listing takes more than"));
}

TEST_CASE("Hostile: headers that do not end are refused") {
  const HostileServer fast([](const std::string&) {
    return Reply{.begin = "HTTP/1.1 200 Said\r\n", .again = cat("X-More: ", std::string(1000, 'x'), "\r\n")};
  });
  CHECK(contains(fetch_error(fast), "the headers of its answer have more than 262144 bytes: refused"));
  const HostileServer informs(
      [](const std::string&) { return Reply{.begin = "", .again = "HTTP/1.1 102 Processing\r\n\r\n"}; });
  CHECK(contains(fetch_error(informs), "the headers of its answer have more than"));
  const HostileServer drips(
      [](const std::string&) { return Reply{.begin = "HTTP/1.1 200 Said\r\n", .again = "x", .pause = 20ms}; });
  CHECK(contains(fetch_error(drips), "too slow"));
}

TEST_CASE("Hostile: a file that comes by drips is given up, one that comes slowly is not") {
  const auto file = [](std::size_t piece, std::chrono::milliseconds pause) {
    return Reply{.begin = answer_of(200, "", "", 40'000),
                 .again = content.substr(0, piece),
                 .pause = pause,
                 .times = static_cast<int>(40'000 / piece)};
  };
  const HostileServer drips([&](const std::string& target) { return is_file(target) ? file(1, 20ms) : right(target); });
  const std::string error = fetch_error(drips);
  CHECK(contains(error, cat("/a/b/resolve/", commit, "/model.safetensors: Operation too slow. Less than 1000 ",
                            "bytes/sec transferred the last 1 seconds (2 attempts): ")));
  CHECK(contains(error, " of 40000 bytes have come: run the same command again: it continues with what has come"));

  const HostileServer slow(
      [&](const std::string& target) { return is_file(target) ? file(1000, 50ms) : right(target); });
  CHECK(fetch_error(slow) == "");  // 20 kB/s, and longer than the drips were listened to

  const HostileServer breaks([&](const std::string& target) {
    return is_file(target) ? Reply{.begin = answer_of(200, "", content.substr(0, 1), 40'000)} : right(target);
  });
  CHECK(contains(fetch_error(breaks), "(2 attempts)"));
  CHECK(breaks.requests() == 4);
}

TEST_CASE("Hostile: who answers 429 limits requests, whatever it asks to wait; the network is not blamed") {
  const char* const asks[] = {"", "Retry-After: -5\r\n", "Retry-After: 99999999999999999999\r\n",
                              "Retry-After: 1000000000\r\n", "Retry-After: soon\r\n"};
  for (const char* part : {"/revision/", "/tree/", "/resolve/"})
    for (const char* field : asks) {
      CAPTURE(part, field);
      const HostileServer server([&](const std::string& target) {
        return contains(target, part) ? whole_reply(429, "", field) : right(target);
      });
      const std::string error = fetch_error(server);
      CHECK(contains(error, "status 429"));
      CHECK(contains(error, ": the hub limits requests: wait "));
      CHECK(contains(error, "and run the same command again"));
      CHECK(!contains(error, "network"));
    }
  const HostileServer broken([](const std::string&) { return whole_reply(503, ""); });
  CHECK(contains(fetch_error(broken), "(2 attempts): a/b cannot be fetched: the server has a fault of its own: wait"));
}

TEST_CASE("Hostile: a file that is not as long as the listing says is final at the second time") {
  const std::string longer = content + "w", shorter = content.substr(1), chunk = cat("9c3f\r\n", shorter, "\r\n");
  const std::string chunked = "Transfer-Encoding: chunked\r\n", end = "0\r\n\r\n";
  const struct {
    Reply reply;
    const char* message;
  } cases[] = {{whole_reply(200, longer), ": 40001 bytes are offered, the listing says 40000"},
               {whole_reply(200, shorter), ": 39999 bytes are offered, the listing says 40000"},
               {{.begin = answer_of(200, "", longer, -1)}, ": more bytes came than the 40000 of the file"},
               {{.begin = answer_of(200, chunked, chunk + end, -1)}, ": ended after 39999 of 40000 bytes"}};
  for (const auto& [reply, message] : cases) {
    CAPTURE(message);
    const HostileServer server([&](const std::string& target) { return is_file(target) ? reply : right(target); });
    const std::string error = fetch_error(server, {});
    CHECK(contains(error, message));
    CHECK(contains(error, "it came twice; run again, the file may have changed"));
    CHECK(server.requests() == 4);  // the commit, the listing, two for the file
  }
}

TEST_CASE("Hostile: an answer that nobody can take is final, and named with the file and the server") {
  const std::string name = cat("/a/b/resolve/", commit, "/model.safetensors");
  const struct {
    Reply reply;
    const char* message;
  } cases[] = {{{.begin = "SSH-2.0-OpenSSH\r\n\r\n"}, ": Received HTTP/0.9 when not allowed"},
               {whole_reply(302, "", "Location: data:,x\r\n"), ": redirects to \"data:,x\", which is no URL"},
               {whole_reply(302, "", cat("Location: /", std::string(200'000, 'x'), "\r\n")), "head is too long"},
               {{.begin = answer_of(200, "Content-Length: -1\r\n", content, -1)}, ": Invalid Content-Length"}};
  for (const auto& [reply, message] : cases) {
    CAPTURE(message);
    const HostileServer server([&](const std::string& target) { return is_file(target) ? reply : right(target); });
    const std::string error = fetch_error(server, {});
    CHECK(error.starts_with(server.url() + name));
    CHECK(contains(error, message));
    CHECK(server.requests() == 3);
  }
  const HostileServer nobody([&](const std::string& target) {
    return is_file(target) ? whole_reply(302, "", "Location: http://127.0.0.1:1/x\r\n") : right(target);
  });
  const std::string error = fetch_error(nobody);
  CHECK(contains(error, cat(name, ": http://127.0.0.1:1: Failed to connect")));
  CHECK(contains(error, "0 of 40000 bytes have come: run the same command again"));
}

TEST_CASE("Hostile: a server that does not have the rest of a file is believed once") {
  std::atomic<int> files = 0;
  const HostileServer server([&](const std::string& target) {
    if (!is_file(target)) return right(target);
    return files++ % 2 ? whole_reply(416, "") : Reply{.begin = answer_of(200, "", content.substr(1), 40'000)};
  });
  CHECK(contains(fetch_error(server, {}), "does not have the rest of the file: it came twice"));
  CHECK(files == 4);
}

TEST_CASE("Hostile: what a server says reaches no terminal as a command to it") {
  const std::string evil =
      "bad \x1b[31m\x07 rev \xc2\x9b"
      "2J";
  const HostileServer words([&](const std::string&) {
    return whole_reply(404, "{}", cat("X-Error-Code: RevisionNotFound\r\nX-Error-Message: ", evil, "\r\n"));
  });
  CHECK(contains(fetch_error(words), "status 404: bad \\x1b[31m\\x07 rev \\xc2\\x9b2J)"));
  const HostileServer sha([&](const std::string&) { return whole_reply(200, R"({"sha":"x\u001b[2J\nfetched"})"); });
  CHECK(contains(fetch_error(sha), "\"sha\" is x\\x1b[2J\\x0afetched, wanted a commit"));
  const HostileServer name([&](const std::string& target) {
    return contains(target, "/tree/")
               ? whole_reply(200, cat(R"([{"type":"file","path":"a\u009b2J.json","size":1,"oid":")", commit, "\"}]"))
           : is_file(target) ? whole_reply(500, "")
                             : right(target);
  });
  // through a program, whose lines hold it in other places too
  const TemporaryFolder folder;
  for (const HostileServer* server : {&words, &sha, &name}) {
    const Program ran =
        run_command(cat("HF_ENDPOINT=", server->url(), " no_proxy=127.0.0.1 timeout -s KILL 3 ", LAMINA_BIN_DIR,
                        "/lamina-download a/b --cache-dir ", quoted(folder.path().string())));
    CHECK(ran.status != 0);
    CHECK(contains(ran.output, server->url()));
    CHECK(std::none_of(ran.output.begin(), ran.output.end(),
                       [](unsigned char c) { return c != '\n' && (c < 0x20 || c == 0x9b); }));
  }
}

TEST_CASE("Hostile: redirects to what is no web server, and content that comes compressed, are refused by name") {
  for (const char* location : {"file:///etc/passwd", "ftp://127.0.0.1/x", "http://127.0.0.1@evil.test/x"}) {
    const HostileServer server([&](const std::string& target) {
      return is_file(target) ? whole_reply(302, "", cat("Location: ", location, "?signature=secret\r\n"))
                             : right(target);
    });
    const std::string error = fetch_error(server);
    CHECK(contains(error,
                   cat("model.safetensors: is redirected to ", location, ", which is no address of a web server")));
    CHECK(!contains(error, "secret"));
  }
  for (const char* part : {"/revision/", "/tree/", "/resolve/"}) {
    const HostileServer server([&](const std::string& target) {
      return contains(target, part) ? whole_reply(200, "\x1f\x8b", "Content-Encoding: gzip\r\n") : right(target);
    });
    CHECK(contains(fetch_error(server), "comes with Content-Encoding gzip, which nobody asked for: refused"));
  }
}

TEST_CASE("Hostile: a listing's page that came before ends it at once") {
  HostileServer* self = nullptr;
  HostileServer server([&](const std::string& target) {
    return contains(target, "/tree/")
               ? whole_reply(200, "[]", cat("Link: <", self->url(), target, ">; rel=\"next\"\r\n"))
               : right(target);
  });
  self = &server;
  CHECK(contains(fetch_error(server), "the listing goes on at a page that came before: refused"));
  CHECK(server.requests() == 2);
}

TEST_CASE("Hostile: a repository that does not exist is missed on the server that was asked, not on its model") {
  const HostileServer server([](const std::string&) { return whole_reply(404, ""); });
  CHECK(contains(fetch_error(server), cat("there is no model a/b on ", server.url())));
}

TEST_CASE("Hostile: statuses that say nothing of the model are explained by their cause") {
  const auto error_for = [](int status, const std::string& fields, const std::string& token = "") {
    const HostileServer server([=](const std::string&) { return whole_reply(status, "Blocked by policy", fields); });
    hub::HubSettings settings{
        .endpoint = server.url(), .cache = "/nowhere", .token = token, .token_name = "HF_TOKEN", .revision = "main"};
    hub::CurlTransport transport;
    return error_of([&] {
      hub::fetch_snapshot(transport, settings,
                          {.repo = {hub::Source::huggingface, hub::RepoType::model, "a/b", "main"}},
                          {.sleep = [](auto) {}});
    });
  };
  CHECK(error_for(403, "Content-Type: text/html\r\n").starts_with("a proxy or a firewall answers in place of http"));
  CHECK(contains(error_for(407, ""), "the proxy wants a user and a password: write them into its URL"));
  CHECK(contains(error_for(451, ""), "for legal reasons: another hub may have it"));
  const std::string stale =
      error_for(401, "X-Error-Message: Invalid credentials in Authorization header\r\n", "hf_stale");
  CHECK(contains(stale, "does not accept the token of HF_TOKEN: it is invalid or has expired: renew it, or unset it"));
  CHECK(contains(stale, "status 401: Invalid credentials in Authorization header)"));
  CHECK(!contains(stale, "there is no model"));
  CHECK(!contains(stale, "hf_stale"));
}

TEST_CASE("Hostile: a proxy that wants a password says so of https too, and ModelScope's 401 is a token's") {
  const HostileServer server([](const std::string&) { return whole_reply(407, ""); });
  const auto error_for = [](const hub::HubSettings& settings) {
    hub::CurlTransport transport;
    return error_of([&] {
      hub::fetch_snapshot(transport, settings, {.repo = {settings.source, hub::RepoType::model, "a/b", "master"}},
                          {.sleep = [](auto) {}});
    });
  };
  ::setenv("https_proxy", server.url().c_str(), 1);
  CHECK(contains(error_for({.endpoint = "https://hub.test", .cache = "/nowhere", .revision = "master"}),
                 "the proxy wants a user and a password: write them into its URL, https_proxy=http://USER:PASSWORD@"));
  ::unsetenv("https_proxy");
  const HostileServer closed([](const std::string&) { return whole_reply(401, "{}"); });
  CHECK(contains(error_for({.source = hub::Source::modelscope,
                            .endpoint = closed.url(),
                            .cache = "/nowhere",
                            .token = "stale",
                            .token_name = "MODELSCOPE_API_TOKEN",
                            .revision = "master"}),
                 "does not accept the token of MODELSCOPE_API_TOKEN: it is invalid or has expired"));
}

TEST_CASE("Hostile: a listing that names a file twice, or a file as a folder too") {
  const auto entry = [](const char* path, char digit) {
    return cat(R"({"type":"file","size":2,"path":")", path, R"(","oid":")", std::string(40, digit), "\"}");
  };
  const auto error_for = [&](const std::string& entries) {
    const HostileServer server([&](const std::string& target) {
      return contains(target, "/tree/") ? whole_reply(200, cat("[", entries, "]")) : right(target);
    });
    return fetch_error(server);
  };
  CHECK(
      contains(error_for(entry("a.json", '1') + "," + entry("a.json", '2')), "lists a.json twice, with two contents"));
  CHECK(contains(error_for(entry("a", '1') + "," + entry("a/b.json", '2')), "lists a as a file and as a folder"));
  hub::Listing same{commit, {{"x", 1, {}}, {"y", 1, {}}, {"x", 1, {}}}};
  hub::require_distinct("a/b", same);
  CHECK(same.files.size() == 2);
}
