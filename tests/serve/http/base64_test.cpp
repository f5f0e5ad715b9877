#include <lamina/serve/base64.hpp>

#include <string>

#include "support/catch.hpp"

using lamina::serve::decode_base64;

TEST_CASE("base64: takes the standard alphabet with padding and nothing else") {
  const auto text = [](std::string_view in) -> std::string {
    const auto out = decode_base64(in);
    return out ? std::string(out->begin(), out->end()) : "(none)";
  };
  CHECK(text("") == "");
  CHECK(text("Zg==") == "f");
  CHECK(text("Zm8=") == "fo");
  CHECK(text("Zm9v") == "foo");
  CHECK(text("Zm9v\nYmFy ") == "foobar");
  for (const char* bad : {"Z", "Zg", "Zg=", "Zg===", "Zm9v=", "=", "====", "Zm8=Zm8=", "Zh==", "Zm9-", "Zm9_",
                          "Zm9\xff", "Z===", "QQ==QUJD", "Zm9v----", "Zm9v-", "-Zm9v"})
    CHECK(text(bad) == "(none)");
  const std::string long_text(3 * 4096, 'Q');  // longer than the blocks that are decoded at once
  CHECK(text(long_text + "Q\v\fQ==").size() == 9217);
  CHECK(text(long_text + "Q").size() == 6);
  CHECK(text("QQ==" + long_text) == "(none)");
  CHECK(text(long_text.substr(2) + "==" + long_text) == "(none)");
}
