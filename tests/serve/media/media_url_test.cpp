#include <lamina/serve/remote/media_url.hpp>

#include <arpa/inet.h>

#include <lamina/serve/remote/public_address.hpp>

#include "support/catch.hpp"
#include "support/error_of.hpp"

using namespace lamina;
using testing::contains;
using testing::error_of;

TEST_CASE("MediaUrl: what is asked for is what was checked") {
  const auto host = [](const char* url) { return serve::parse_media_url(url).host; };
  CHECK(host("http://Images.Example.ORG:8080/a.png?b=c#d") == "images.example.org");
  CHECK(host("https://example.org./x") == "example.org");
  CHECK(host("http://[2001:DB8::1]/x") == "2001:db8::1");
  CHECK(host("http://2130706433/") == "127.0.0.1");  // as libcurl connects
  CHECK(host("http://0x7f.1/") == "127.0.0.1");
  CHECK(serve::parse_media_url("http://a.test/b#c").text == "http://a.test/b");
  CHECK(serve::parse_media_url("HTTPS://a.test").is_tls);
  CHECK(!serve::parse_media_url("http://a.test").is_tls);
  // what comes out goes in again unchanged
  for (const char* url : {"http://a.test", "http://a.test:81/%41/../b?c", "https://[::1]:1/", "http://a_b-c.test/ü"}) {
    const auto once = serve::parse_media_url(url), twice = serve::parse_media_url(once.text);
    CHECK(once.text == twice.text);
    CHECK(once.host == twice.host);
  }
}

TEST_CASE("MediaUrl: URLs that hide their host are refused") {
  for (const char* url : {"",
                          "a.png",
                          "ftp://a.test/",
                          "file:///etc/passwd",
                          "gopher://a.test",
                          "http://",
                          "http://a b/",
                          "http://user@a.test/",
                          "http://user:pass@a.test/",
                          "http://good.test@evil.test/",
                          "http://good.test\\@evil.test/",
                          "http://good.test\\.evil.test",
                          "http://a.test/\r\nHost: b",
                          "http://a.test/\x01",
                          "http://\xc3\xbc.test/",
                          "http://%c3%bc.test/",
                          "http://a%00.test/",
                          "http://a.test:99999/",
                          "http://[::1%25lo]/",
                          "http://[v1.x]/",
                          "data:image/png;base64,AAAA",
                          "javascript:alert(1)",
                          "http://a.test:0x50/",
                          "http://exa\xe2\x84\xaample.test/"}) {
    CAPTURE(url);
    CHECK(error_of([&] { serve::parse_media_url(url); }) != "");
  }
  CHECK(contains(error_of([] { serve::parse_media_url("http://a.test/" + std::string(9000, 'x')); }), "at most 8192"));
  CHECK(contains(error_of([] { serve::parse_media_url("http://a.test/\x1b[31m"); }), "\\x1b"));
}

TEST_CASE("MediaUrl: the target of a redirect, relative or not") {
  const auto target = [](const char* text) { return serve::parse_media_url(text, "https://a.test/b/c?d").text; };
  CHECK(target("e") == "https://a.test/b/e");
  CHECK(target("/e") == "https://a.test/e");
  CHECK(target("//f.test/e") == "https://f.test/e");
  CHECK(target("http://f.test") == "http://f.test/");
  for (const char* text : {"file:///etc/passwd", "//x@f.test/", "\\\\f.test", "ftp://f.test"}) {
    CAPTURE(text);
    CHECK(error_of([&] { target(text); }) != "");
  }
}

TEST_CASE("Public addresses: none of a machine, of a network, of a cloud, in any of its forms") {
  const auto is_public = [](const char* text) { return serve::is_public(boost::asio::ip::make_address(text)); };
  for (const char* address : {"0.0.0.0",
                              "10.1.2.3",
                              "100.64.0.1",
                              "100.127.255.255",
                              "127.0.0.1",
                              "169.254.169.254",
                              "172.16.0.1",
                              "172.31.255.255",
                              "192.0.0.1",
                              "192.0.2.1",
                              "192.168.1.1",
                              "198.18.0.1",
                              "198.19.255.255",
                              "198.51.100.1",
                              "203.0.113.1",
                              "224.0.0.1",
                              "240.0.0.1",
                              "255.255.255.255",
                              "::",
                              "::1",
                              "::127.0.0.1",
                              "::ffff:127.0.0.1",
                              "::ffff:169.254.169.254",
                              "64:ff9b::a00:1",
                              "64:ff9b:1::1",
                              "100::1",
                              "2001::1",
                              "2001:db8::1",
                              "2002:7f00:1::",
                              "3fff::1",
                              "fc00::1",
                              "fd00:ec2::254",
                              "fe80::1",
                              "fec0::1",
                              "ff02::1"}) {
    CAPTURE(address);
    CHECK_FALSE(is_public(address));
  }
  for (const char* address : {"1.1.1.1", "9.255.255.255", "11.0.0.0", "100.63.255.255", "100.128.0.0", "172.15.0.1",
                              "172.32.0.1", "192.169.0.1", "198.17.0.1", "198.20.0.1", "223.255.255.255",
                              "2606:4700::1111", "2a00:1450::1", "::ffff:1.1.1.1", "64:ff9b::101:101"}) {
    CAPTURE(address);
    CHECK(is_public(address));
  }
  sockaddr_in v4{};
  v4.sin_family = AF_INET;
  v4.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  CHECK_FALSE(serve::is_public(reinterpret_cast<const sockaddr&>(v4)));
  v4.sin_addr.s_addr = htonl(0x01010101);
  CHECK(serve::is_public(reinterpret_cast<const sockaddr&>(v4)));
  sockaddr_in6 v6{};
  v6.sin6_family = AF_INET6;
  ::inet_pton(AF_INET6, "2606:4700::1111", &v6.sin6_addr);
  CHECK(serve::is_public(reinterpret_cast<const sockaddr&>(v6)));
  v6.sin6_addr = in6addr_loopback;
  CHECK_FALSE(serve::is_public(reinterpret_cast<const sockaddr&>(v6)));
  sockaddr local{};
  local.sa_family = AF_UNIX;
  CHECK_FALSE(serve::is_public(local));
}
