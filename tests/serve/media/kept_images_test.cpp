#include <lamina/serve/openai/request/kept_images.hpp>

#include <string>
#include <vector>

#include "serve/running_server.hpp"
#include "support/catch.hpp"

using namespace lamina;
using namespace lamina::test;
using serve::Json;
using serve::KeptImages;

namespace {

const std::string bmp =
    "Qk1GAAAAAAAAADYAAAAoAAAAAgAAAAIAAAABABgAAAAAABAAAAATCwAAEwsAAAAAAAAAAAAAAAD/AP8AAAD/AAD///8AAA==";

/// A chat about an image: a part with these members.
std::string about_image(const std::string& members, const std::string& more = "") {
  return cat(R"({"max_tokens":1,"messages":[{"role":"user","content":[{"type":"image_url",)", members, "}]}]", more,
             "}");
}
const std::string sent = R"("image_url":{"url":"data:image/bmp;base64,)" + bmp + R"("},"uuid":"a")",
                  named = R"("image_url":null,"uuid":"a")";

}  // namespace

TEST_CASE("KeptImages: keeps what fits, drops what was asked for longest ago, and tells salts apart") {
  KeptImages kept(3 * (256 + 1000 + 2));
  const auto bytes = [](unsigned char value, std::size_t count = 1000) {
    return std::vector<std::uint8_t>(count, value);
  };
  for (unsigned char c = 'a'; c <= 'c'; ++c) kept.keep({"", std::string(1, static_cast<char>(c))}, bytes(c));
  REQUIRE(kept.find({"", "a"}));
  CHECK((*kept.find({"", "a"}))[0] == 'a');
  kept.keep({"", "d"}, bytes('d'));
  CHECK_FALSE(kept.find({"", "b"}));  // a was asked for later
  CHECK(kept.find({"", "c"}));
  kept.keep({"", "d"}, bytes('e', 10));
  CHECK(kept.find({"", "d"})->size() == 10);
  CHECK_FALSE(kept.find({"x", "a"}));
  kept.keep({"", "a"}, bytes('f', 10'000));  // larger than all: not kept, and nothing else goes
  CHECK((*kept.find({"", "a"}))[0] == 'a');
  CHECK(kept.bytes() <= 3 * (256 + 1000 + 2));
  KeptImages none(0);
  none.keep({"", "a"}, bytes('a'));
  CHECK_FALSE(none.find({"", "a"}));
}

TEST_CASE("chat: an image that came with a uuid may be left out later, by requests of its salt") {
  RunningServer server;
  const auto status = [&](const std::string& body) { return server.ask(body).status; };
  const auto unknown = server.ask(about_image(named));
  CHECK(unknown.status == 400);
  CHECK(Json::parse(unknown.body)["error"]["param"] == "messages.0.content.0.uuid");
  REQUIRE(status(about_image(sent)) == 200);
  const auto grids = server.script.last.grids;
  const auto patches = server.script.last.patches;
  REQUIRE(status(about_image(named)) == 200);
  CHECK(server.script.last.grids == grids);
  CHECK(server.script.last.patches == patches);
  CHECK(status(about_image(R"("uuid":"a")")) == 200);
  CHECK(status(about_image(R"("image_url":{"url":null},"uuid":"a")")) == 200);
  CHECK(status(about_image(R"("image_url":null,"uuid":"b")")) == 400);
  CHECK(status(about_image(named, R"(,"cache_salt":"x")")) == 400);
  CHECK(status(about_image(sent, R"(,"cache_salt":"x")")) == 200);
  CHECK(status(about_image(named, R"(,"cache_salt":"x")")) == 200);
  // One that cannot be decoded is not kept.
  CHECK(status(about_image(R"("image_url":{"url":"data:image/bmp;base64,Qk1GAAAA"},"uuid":"c")")) == 400);
  CHECK(status(about_image(R"("uuid":"c")")) == 400);
}
