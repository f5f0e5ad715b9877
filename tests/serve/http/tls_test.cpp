// The server with TLS.
#include "serve/tls_client.hpp"

#include <fstream>
#include <thread>

#include "serve/message_of.hpp"
#include "serve/running_server.hpp"
#include "support/catch.hpp"
#include "support/error_of.hpp"
#include "support/notes.hpp"

using namespace lamina;
using namespace lamina::test;
using testing::contains;
using namespace std::chrono_literals;
namespace fs = std::filesystem;

namespace {

/// Certificates as files, gone with the test.
class Files {
 public:
  Files() {
    std::string name = (fs::temp_directory_path() / "lamina-tls-XXXXXX").string();
    REQUIRE(::mkdtemp(name.data()));
    folder_ = name;
    write(certificate);
  }
  ~Files() { fs::remove_all(folder_); }
  void write(const testing::Certificate& one) {
    std::ofstream(folder_ / "cert.pem") << one.certificate;
    std::ofstream(folder_ / "key.pem") << one.key;
  }
  fs::path path(const char* name) const { return folder_ / name; }
  serve::TlsOptions options() const { return {.certfile = path("cert.pem"), .keyfile = path("key.pem")}; }

  const testing::Certificate certificate = testing::make_certificate("IP:127.0.0.1");

 private:
  fs::path folder_;
};

const std::string health = Client::request("GET", "/health");

/// What a client gets that has no connection.
std::string failure(const std::function<void()>& f) {
  const std::string message = message_of(f);
  CHECK(message != "");
  return message;
}

}  // namespace

TEST_CASE("TLS: answers whole and in pieces, over 1.2 and 1.3, and their end is said") {
  const Files files;
  RunningServer server({.tls = files.options()});
  for (const auto& [version, name] : {std::pair(TLS1_2_VERSION, "TLSv1.2"), std::pair(TLS1_3_VERSION, "TLSv1.3")}) {
    TlsClient client(server.http.port(), files.certificate.certificate, {.version = version});
    CHECK(client.version() == name);
    CHECK(client.ask(health).result_int() == 200);
    const auto whole = client.ask(chat_request(question));
    CHECK(contains(whole.body(), "The answer is 42."));
    const auto stream = client.ask(chat_request(with(R"("stream":true)")));
    CHECK(stream[boost::beast::http::field::transfer_encoding] == "chunked");
    CHECK(contains(stream.body(), "data: [DONE]"));
    CHECK(client.ask(Client::request("GET", "/health", {}, "Connection: close\r\n")).result_int() == 200);
    CHECK(client.end() == boost::asio::error::eof);
  }
  CHECK(SSL_CTX_get_min_proto_version(serve::detail::load_tls(files.options())->native_handle()) == TLS1_2_VERSION);
  failure([&] { TlsClient(server.http.port(), testing::make_certificate("IP:127.0.0.1").certificate); });
}

TEST_CASE("TLS: a refusal reaches a client that still sends, and a large answer one that reads late") {
  const Files files;
  serve::HttpLimits limits;
  limits.body_bytes = 100'000;
  RunningServer server({.limits = limits, .tls = files.options()});
  TlsClient client(server.http.port(), files.certificate.certificate);
  client.send("POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: 300000\r\n\r\n" +
              std::string(200'000, 'x'));
  CHECK(client.reply().result_int() == 413);
  CHECK(client.end() == boost::asio::error::eof);
}

TEST_CASE("TLS: who does not finish the handshake, or speaks something else, is cut off") {
  const Files files;
  serve::HttpLimits limits;
  limits.header_read = 200ms;
  RunningServer server({.limits = limits, .tls = files.options()});
  Client silent(server.http.port()), slow(server.http.port()), plain(server.http.port());
  slow.send(std::string("\x16\x03\x01\x02", 4));  // the beginning of a hello
  plain.send(health);
  CHECK(!contains(plain.rest(), "HTTP/"));
  CHECK(silent.closed());
  CHECK(slow.closed());
  TlsClient late(server.http.port(), files.certificate.certificate);
  late.send("GET /health HTTP/1.1\r\nHost:");  // and no more: limits hold as without TLS
  CHECK(late.end());
  for (int i = 0; i < 1000 && server.http.connections(); ++i) std::this_thread::sleep_for(10ms);
  CHECK(server.http.connections() == 0);
}

TEST_CASE("TLS: a client that leaves ends its answer, and a server that stops ends idle connections") {
  const Files files;
  RunningServer server({.tls = files.options()});
  server.script.say(RunningServer::files(), std::string(2000, 'a'));
  {
    TlsClient client(server.http.port(), files.certificate.certificate);
    client.send(chat_request(with(R"("stream":true,"max_tokens":300)")));
  }
  CHECK(server.becomes_idle());
  TlsClient idle(server.http.port(), files.certificate.certificate);
  CHECK(idle.ask(health).result_int() == 200);
  server.http.stop();
  CHECK(idle.end());
}

TEST_CASE("TLS: clients' certificates, as asked for") {
  const Files files;
  const auto friendly = testing::make_certificate("DNS:friend.test"),
             stranger = testing::make_certificate("DNS:x.test");
  std::ofstream(files.path("clients.pem")) << friendly.certificate;
  auto options = files.options();
  options.ca_certs = files.path("clients.pem");
  const auto is_served = [&](const RunningServer& server, std::optional<testing::Certificate> own) {
    return message_of([&] {
             TlsClient client(server.http.port(), files.certificate.certificate, {.own = std::move(own)});
             if (client.ask(health).result_int() != 200) fail("not served");
           }) == "";
  };
  options.cert_reqs = 2;
  {
    RunningServer strict({.tls = options});
    CHECK(is_served(strict, friendly));
    CHECK(!is_served(strict, stranger));
    CHECK(!is_served(strict, {}));
  }
  options.cert_reqs = 1;
  RunningServer lenient({.tls = options});
  CHECK(is_served(lenient, friendly));
  CHECK(!is_served(lenient, stranger));
  CHECK(is_served(lenient, {}));
}

TEST_CASE("TLS: files that change are read again, and those that cannot be used are not") {
  Files files;
  auto options = files.options();
  options.refresh = true;
  RunningServer server({.tls = options});
  TlsClient before(server.http.port(), files.certificate.certificate);
  const auto newer = testing::make_certificate("IP:127.0.0.1");
  std::ofstream(files.path("cert.pem")) << "nothing";
  std::this_thread::sleep_for(1100ms);  // it looks once a second
  CHECK(TlsClient(server.http.port(), files.certificate.certificate).ask(health).result_int() == 200);
  files.write(newer);
  const auto has_changed = [&] { return message_of([&] { TlsClient(server.http.port(), newer.certificate); }) == ""; };
  bool changed = false;
  for (int i = 0; i < 1000 && !(changed = has_changed()); ++i) std::this_thread::sleep_for(10ms);
  CHECK(changed);
  CHECK(before.ask(health).result_int() == 200);  // it has what it began with
}

TEST_CASE("TLS: files that cannot be used are errors that name the flag and the file") {
  const Files files;
  auto options = files.options();
  const auto error = [&] { return testing::error_of([&] { serve::Tls{options}; }); };
  CHECK(error() == "");
  options.certfile = files.path("none.pem");
  CHECK(contains(error(), cat("--ssl-certfile ", options.certfile.string(), ": cannot open: No such file")));
  options = files.options();
  std::ofstream(files.path("other.pem")) << testing::make_certificate("IP:127.0.0.1").key;
  options.keyfile = files.path("other.pem");
  CHECK(contains(error(), cat("--ssl-keyfile ", options.keyfile.string(), ": ")));
  std::ofstream(files.path("other.pem")) << testing::make_certificate("IP:127.0.0.1", "secret").key;
  CHECK(contains(error(), "--ssl-keyfile "));
  options.keyfile.clear();
  CHECK(contains(error(), "which must hold the key too"));
  std::ofstream(files.path("cert.pem"), std::ios::app) << files.certificate.key;
  CHECK(error() == "");
  options.ciphers = "NO-SUCH-CIPHER";
  CHECK(contains(error(), "--ssl-ciphers NO-SUCH-CIPHER: OpenSSL knows no cipher of this list"));
  options.ciphers.clear();
  options.ca_certs = files.path("none.pem");
  CHECK(contains(error(), "--ssl-ca-certs "));
}
