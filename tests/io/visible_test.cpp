#include <lamina/io/visible.hpp>

#include "support/catch.hpp"

using namespace lamina;

TEST_CASE("Visible: what a terminal shows as it is stays") {
  CHECK(io::visible("") == "");
  CHECK(io::visible("plain text, ~") == "plain text, ~");
  CHECK(io::visible("Gr\u00fc\u00dfe \u4e2d\u6587 \U0001f600") == "Gr\u00fc\u00dfe \u4e2d\u6587 \U0001f600");
}

TEST_CASE("Visible: a foreign name is cut to what a message can show, and of many a few are listed") {
  CHECK(io::foreign_name("a\nb") == "a\\x0ab");
  CHECK(io::foreign_name(std::string(1000, 'x')) == std::string(100, 'x') + "...");
  CHECK(io::foreign_names({"a", "b"}) == "a, b");
  CHECK(io::foreign_names(std::vector<std::string>(9, "a")) == "a, a, a, a, a, a, a, a, ... (9 in all)");
}

TEST_CASE("Visible: control characters, marks of direction and stray bytes are written out") {
  CHECK(io::visible("\x1b[2J\a\r\n\x7f") == "\\x1b[2J\\x07\\x0d\\x0a\\x7f");
  CHECK(io::visible("a\tb\nc\x1b", "\n\t") == "a\tb\nc\\x1b");
  CHECK(io::visible(std::string_view("\0", 1)) == "\\x00");
  CHECK(io::visible("\xc2\x9b"
                    "31m") == "\\xc2\\x9b31m");  // C1, which some terminals obey
  CHECK(io::visible("\u202egpj.exe") == "\\xe2\\x80\\xaegpj.exe");
  CHECK(io::visible("\u200b\u2028\ufeff") == "\\xe2\\x80\\x8b\\xe2\\x80\\xa8\\xef\\xbb\\xbf");
  CHECK(io::visible("\xff\xc0\x80 \xe2\x82") == "\\xff\\xc0\\x80 \\xe2\\x82");
}
