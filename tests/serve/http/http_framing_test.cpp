#include <algorithm>
#include <mutex>
#include <string>
#include <vector>

#include <lamina/serve/http.hpp>

#include "serve/loopback.hpp"
#include "support/catch.hpp"

using namespace lamina;
using lamina::test::Client;

namespace {

/// Answers every request with its body, and remembers the paths.
class Echo : public serve::HttpApplication {
 public:
  std::optional<serve::HttpReply> judge(const serve::RequestHead& head) override {
    const std::lock_guard lock(mutex_);
    paths_.push_back(head.path);
    if (head.method != "POST") return serve::HttpReply{200, "ok", "text/plain", {}};
    return {};
  }
  void answer(std::shared_ptr<serve::Exchange> exchange, serve::HttpRequest request) override {
    exchange->reply({200, request.body.text(), "text/plain", {}});
  }
  std::vector<std::string> take_paths() {
    const std::lock_guard lock(mutex_);
    return std::exchange(paths_, {});
  }

 private:
  std::mutex mutex_;
  std::vector<std::string> paths_;
};

struct EchoServer {
  Echo echo;
  serve::HttpServer http{{.host = "127.0.0.1", .port = 0}, echo};
};

/// What a request smuggler hopes to have read as a request of its own.
const std::string smuggled = "GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n";

std::string post(const std::string& fields, const std::string& version = "1.1") {
  return "POST /echo HTTP/" + version + "\r\n" + fields + "\r\n" + smuggled;
}

int count(std::string_view text, std::string_view word) {
  int n = 0;
  for (std::size_t at = 0; (at = text.find(word, at)) != std::string_view::npos; at += word.size()) ++n;
  return n;
}

/// Each is answered with one 400 and the end of the connection.
const std::vector<std::string> bad_requests = {
    // RFC 9112 section 6.3 and 6.1: where the body ends
    post("Host: x\r\nTransfer-Encoding: xchunked\r\n"),
    post("Host: x\r\nTransfer-Encoding: gzip\r\n"),
    post("Host: x\r\nTransfer-Encoding: identity\r\n"),
    post("Host: x\r\nTransfer-Encoding:\r\n"),
    post("Host: x\r\nTransfer-Encoding: gzip, chunked\r\n"),
    post("Host: x\r\nTransfer-Encoding: chunked, chunked\r\n"),
    post("Host: x\r\nTransfer-Encoding: chunked, gzip\r\n"),
    post("Host: x\r\nTransfer-Encoding: chunked,\r\n"),
    post("Host: x\r\nTransfer-Encoding: chunked;q=1\r\n"),
    post("Host: x\r\nTransfer-Encoding: \"chunked\"\r\n"),
    post("Host: x\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n"),
    post("Host: x\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n"),
    post("Host: x\r\nTransfer-Encoding: x\r\ntransfer-encoding: chunked\r\n"),
    post("Host: x\r\nTransfer-Encoding: \x0b"
         "chunked\r\n"),
    post("Host: x\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n"),
    post("Host: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n"),
    post("Host: x\r\nContent-Length: 5\r\nTransfer-Encoding: x\r\n"),
    post("Host: x\r\nTransfer-Encoding: chunked\r\n", "1.0"),
    post("Host: x\r\nContent-Length: 0\r\nContent-Length: 0\r\n"),
    post("Host: x\r\nContent-Length: 0\r\nContent-Length: 5\r\n"),
    post("Host: x\r\nContent-Length: 0, 0\r\n"),
    post("Host: x\r\nContent-Length: +5\r\n"),
    post("Host: x\r\nContent-Length: -1\r\n"),
    post("Host: x\r\nContent-Length: 0x5\r\n"),
    post("Host: x\r\nContent-Length: 5 5\r\n"),
    post("Host: x\r\nContent-Length: five\r\n"),
    post("Host: x\r\nContent-Length:\r\n"),
    post("Host: x\r\nContent-Length: 99999999999999999999999\r\n"),
    // section 3.2: whom it is for
    post(""),
    post("Host: x\r\nHost: x\r\n"),
    post("Host: x\r\nHost: y\r\n", "1.0"),
    post("Host: a b\r\n"),
    post("Host: a/b\r\n"),
    post("Host: user@a\r\n"),
    post("Host: a:b\r\n"),
    post("Host: a:1:2\r\n"),
    post("Host: [::1\r\n"),
    post("Host: [::1]x\r\n"),
    "GET echo HTTP/1.1\r\nHost: x\r\n\r\n" + smuggled,
    "GET * HTTP/1.1\r\nHost: x\r\n\r\n" + smuggled,
    "GET ftp://x/echo HTTP/1.1\r\nHost: x\r\n\r\n" + smuggled,
    "GET http:///echo HTTP/1.1\r\nHost: x\r\n\r\n" + smuggled,
    "GET http://user@x/echo HTTP/1.1\r\nHost: x\r\n\r\n" + smuggled,
    "GET /\xc3\xa9 HTTP/1.1\r\nHost: x\r\n\r\n" + smuggled,
    "GET /a\\b HTTP/1.1\r\nHost: x\r\n\r\n" + smuggled,
    "CONNECT x:80 HTTP/1.1\r\nHost: x\r\n\r\n" + smuggled,
    // sections 2.2, 3 and 5: lines
    "nonsense\r\n\r\n" + smuggled,
    "GET /echo\r\n\r\n" + smuggled,
    "GET /echo HTTP/9.9\r\nHost: x\r\n\r\n" + smuggled,
    "GET /echo HTTP/2.0\r\nHost: x\r\n\r\n" + smuggled,
    "GET /echo http/1.1\r\nHost: x\r\n\r\n" + smuggled,
    "GET  /echo HTTP/1.1\r\nHost: x\r\n\r\n" + smuggled,
    "GET /echo  HTTP/1.1\r\nHost: x\r\n\r\n" + smuggled,
    "GET\t/echo HTTP/1.1\r\nHost: x\r\n\r\n" + smuggled,
    " GET /echo HTTP/1.1\r\nHost: x\r\n\r\n" + smuggled,
    "G@T /echo HTTP/1.1\r\nHost: x\r\n\r\n" + smuggled,
    "GET /echo HTTP/1.1\nHost: x\n\n" + smuggled,
    "GET /echo HTTP/1.1\r\nHost: x\n\r\n" + smuggled,
    "GET /echo HTTP/1.1\r\nHost: x\r\nA: b\rC: d\r\n\r\n" + smuggled,
    "GET /echo HTTP/1.1\r\nHost: x\r\n\n" + smuggled,
    "\nGET /echo HTTP/1.1\r\nHost: x\r\n\r\n" + smuggled,
    post("Host: x\r\nContent-Length : 5\r\n"),
    post("Host: x\r\nTransfer-Encoding\t: chunked\r\n"),
    post(" Host: x\r\n"),
    post("Host: x\r\nA: b\r\n folded\r\n"),
    post("Host: x\r\nTransfer-Encoding:\r\n chunked\r\n"),
    post("Host: x\r\nno colon\r\n"),
    post("Host: x\r\n: no name\r\n"),
    post("Host: x\r\nA(b): c\r\n"),
    post("Host: x\r\nA: " + std::string(1, '\0') + "\r\n"),
    post("Host: x\r\nA: \x7f\r\n"),
    post("Host: x\r\nA: \x1b[31m\r\n"),
    std::string(1000, '\0'),
    "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    // section 7.1: chunks
    post("Host: x\r\nTransfer-Encoding: chunked\r\n"),
    "POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n" + smuggled,
    "POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0x1\r\na\r\n0\r\n\r\n" + smuggled,
    "POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\na\r\n0\r\n\r\n" + smuggled,
    "POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n\r\n" + smuggled,
    "POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n10000000000000001\r\na\r\n" + smuggled,
    "POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nab\r\n0\r\n\r\n" + smuggled,
    "POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\na\n0\n\n" + smuggled,
    "POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1;a\nb\r\na\r\n0\r\n\r\n" + smuggled,
    "POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1 \r\na\r\n0\r\n\r\n" + smuggled,
    "POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nbad trailer\r\n\r\n" + smuggled,
    "POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nA: b\r\n folded\r\n\r\n" + smuggled,
    "POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0;" + std::string(20'000, 'a') +
        "\r\n\r\n" + smuggled,
    "POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1;" + std::string(20'000, 'a') +
        "\r\na\r\n0\r\n\r\n" + smuggled,
    "POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1;" + std::string(100'000, 'a'),
    "POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nA: " + std::string(100'000, 'a'),
};

/// One request each, read to its end and no further.
const std::vector<std::string> good_requests = {
    "GET /echo HTTP/1.1\r\nHost: x\r\n\r\n",
    "GET /echo HTTP/1.1\r\nhost:x:8000\r\n\r\n",
    "GET /echo HTTP/1.1\r\nHost: [::1]:8000\r\n\r\n",
    "GET /echo HTTP/1.1\r\nHost:\r\n\r\n",
    "GET /echo?a=/%20 HTTP/1.1\r\nHost: a_b.example\r\n\r\n",
    "GET http://x/echo HTTP/1.1\r\nHost: x\r\n\r\n",
    "GET HTTPS://x:443/echo HTTP/1.1\r\nHost: x\r\n\r\n",
    "GET /echo HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
    "\r\n\r\nGET /echo HTTP/1.1\r\nHost: x\r\n\r\n",
    "GET /echo HTTP/1.1\r\nHost: x\r\nEmpty:\r\nTabs: \ta\tb\t\r\nLatin: \xe9\r\n\r\n",
    "POST /echo HTTP/1.1\r\nHost: x\r\n\r\n",
    "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n",
    "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 0005\r\n\r\nhello",
    "POST /echo HTTP/1.1\r\nHost: x\r\ncontent-length: 35\r\n\r\n" + smuggled,
    "POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "POST /echo HTTP/1.1\r\nHost: x\r\ntransfer-encoding:CHUNKED\r\n\r\n5;name=\"a;b\"\r\nhello\r\n000\r\n\r\n",
    "POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n23\r\n" + smuggled + "\r\n0\r\n\r\n",
    "POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\nX-Sum: 1\r\n\r\n",
};

}  // namespace

TEST_CASE("HTTP: what is not a request beyond doubt gets one 400, and its body is never the next request") {
  EchoServer server;
  REQUIRE(smuggled.size() == 35);
  for (const auto& bytes : bad_requests) {
    CAPTURE(bytes.substr(0, 200));
    Client client(server.http.port());
    client.send(bytes);
    const std::string answer = client.rest();
    CHECK(answer.starts_with("HTTP/1.1 400 "));
    CHECK(count(answer, "HTTP/1.1 ") == 1);
    CHECK(answer.find("Connection: close\r\n") != std::string::npos);
    CHECK(count(cat(Catch::StringMaker<std::vector<std::string>>::convert(server.echo.take_paths())), "/smuggled") ==
          0);
  }
}

TEST_CASE("HTTP: the same requests cut at every byte are refused alike") {
  EchoServer server;
  for (std::size_t i = 0; i < bad_requests.size(); i += 7) {
    const auto& bytes = bad_requests[i];
    CAPTURE(bytes.substr(0, 200));
    Client client(server.http.port());
    for (const char c : bytes.substr(0, 300))
      if (!client.send({&c, 1})) break;
    if (bytes.size() > 300) client.send(bytes.substr(300));
    CHECK(client.rest().starts_with("HTTP/1.1 400 "));
  }
  for (const auto& path : server.echo.take_paths()) CHECK(path != "/smuggled");
}

TEST_CASE("HTTP: a valid request is read to its end, and the next one begins there") {
  EchoServer server;
  for (const auto& bytes : good_requests) {
    CAPTURE(bytes);
    Client client(server.http.port());
    client.send(bytes + "GET /next HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    CHECK(client.reply().status == 200);
    CHECK(client.reply().status == 200);
    CHECK(client.closed());
    CHECK(server.echo.take_paths() == std::vector<std::string>{"/echo", "/next"});
  }
}

TEST_CASE("HTTP: trailer fields do not become header fields") {
  EchoServer server;
  struct Headers : Echo {
    bool authorized = false;
    void answer(std::shared_ptr<serve::Exchange> exchange, serve::HttpRequest request) override {
      authorized = request.header("Authorization") != nullptr;
      Echo::answer(std::move(exchange), std::move(request));
    }
  } headers;
  serve::HttpServer http({.host = "127.0.0.1", .port = 0}, headers);
  Client client(http.port());
  client.send(
      "POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nAuthorization: Bearer k\r\n\r\n");
  CHECK(client.reply().status == 200);
  CHECK_FALSE(headers.authorized);
}

TEST_CASE("HTTP: chunks that are mostly frame are refused long before they end") {
  EchoServer server;
  Client client(server.http.port());
  client.send("POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n");
  const std::string chunk = "1;" + std::string(1000, 'a') + "\r\na\r\n";
  for (int i = 0; i < 200; ++i) client.send(chunk);
  CHECK(client.reply().status == 400);
}

TEST_CASE("HTTP: a trailer and extensions are held to their limits even if they arrive at once") {
  EchoServer server;
  const auto status = [&](const std::string& chunks) {
    Client client(server.http.port());
    client.send("POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks);
    return client.reply().status;
  };
  std::string fields;
  for (int i = 0; i < 300; ++i) fields += "A: b\r\n";
  const std::string usual = "1\r\na\r\n0\r\n", long_body = "2710\r\n" + std::string(10'000, 'a') + "\r\n0\r\n";
  const std::string filler(20'000, 'a');
  CHECK(status(usual + "A: b\r\nC: d\r\n\r\n") == 200);
  CHECK(status(usual + "A: " + filler + "\r\n\r\n") == 400);
  CHECK(status("1;x=" + filler + "\r\na\r\n0\r\n\r\n") == 400);
  CHECK(status(long_body + "A: " + filler + "\r\n\r\n") == 400);  // the body's size allows other frames more
  CHECK(status(usual + fields + "\r\n") == 431);
  CHECK(status(usual + "A: b\r\n c\r\n\r\n") == 400);
  CHECK(status("0\r\nA: b\r\n\tc\r\n\r\n") == 400);
}
