#include <lamina/text/tokenizer/unicode.hpp>
#include "support.hpp"

#include <vector>

using namespace lamina::text;

namespace {

bool is_scalar(char32_t c) { return c < 0xd800 || c > 0xdfff; }

std::vector<bool> members(const nlohmann::ordered_json& ranges) {
  std::vector<bool> out(0x110000);
  for (const auto& range : ranges) {
    for (int c = range[0]; c <= range[1]; ++c) out[c] = true;
  }
  return out;
}

std::string utf8(std::u32string_view points) {
  std::string out;
  for (const char32_t c : points) lamina::io::append_utf8(out, c);
  return out;
}

}  // namespace

TEST_CASE("Unicode: every code point has the class that the tokenizers library's regex gives it") {
  const auto golden = test_text::read_json("unicode.json");
  const auto letters = members(golden["letters"]), numbers = members(golden["numbers"]),
             spaces = members(golden["spaces"]);
  int wrong = 0;
  for (char32_t c = 0; c < 0x110000; ++c) {
    if (!is_scalar(c)) continue;
    const CharClass wanted = letters[c]   ? CharClass::letter
                             : numbers[c] ? CharClass::number
                             : spaces[c]  ? CharClass::space
                                          : CharClass::other;
    if (class_of(c) != wanted && ++wrong <= 10) {
      FAIL_CHECK("U+" << std::hex << static_cast<unsigned>(c) << " has another class");
    }
  }
  CHECK(wrong == 0);
}

TEST_CASE("Unicode: NFC reorders after every code point exactly where the tokenizers library does") {
  const auto marks = members(test_text::read_json("unicode.json")["marks"]);
  const auto moves = [](std::u32string_view points) { return nfc(utf8(points)) != utf8(points); };
  int wrong = 0;
  for (char32_t c = 1; c < 0x110000; ++c) {
    if (!is_scalar(c)) continue;
    const bool moved = (moves(std::u32string{U'q', c, 0x334}) || moves(std::u32string{U'q', 0x301, c})) &&
                       !moves(std::u32string(1, c));
    if (moved != marks[c] && ++wrong <= 10)
      FAIL_CHECK("U+" << std::hex << static_cast<unsigned>(c) << " moves otherwise");
  }
  CHECK(wrong == 0);
}

TEST_CASE("Unicode: NFC composes, reorders and leaves alone as the standard's examples") {
  CHECK(nfc("plain") == "plain");
  CHECK(nfc("e\u0301") == "\u00e9");
  CHECK(nfc("xe\u0301y e\u0301") == "x\u00e9y \u00e9");
  CHECK(nfc("\u212b") == "\u00c5");              // Angstrom sign, a singleton
  CHECK(nfc("s\u0307\u0323") == "\u1e69");       // marks in the wrong order
  CHECK(nfc("\u1e9b\u0323") == "\u1e9b\u0323");  // composes with neither
  CHECK(nfc("\u1112\u1161\u11ab") == "\ud55c");  // Hangul
  CHECK(nfc("\u0958") == "\u0915\u093c");        // excluded from composition
  CHECK(nfc("\u304b\u3099") == "\u304c");
  CHECK(nfc("\u0301\u0301") == "\u0301\u0301");  // no starter
  CHECK(nfc("\u4e2d\u0301\u0316") == "\u4e2d\u0316\u0301");
  CHECK(nfc(std::string_view("a\0e\u0301", 5)) == std::string_view("a\0\u00e9", 4));
}

TEST_CASE("Unicode: NFC of a long run of marks takes time in proportion, not its square") {
  std::string text = "a", marks = "\u0301\u0316";
  for (int i = 0; i < 500'000; ++i) text += marks;
  CHECK(nfc(text).size() == text.size() - 1);  // a and the first acute accent become one letter of two bytes
}

TEST_CASE("Unicode: ill-formed UTF-8 becomes one U+FFFD for each maximal subpart") {
  const std::string r = "\ufffd";
  CHECK(lamina::io::replace_invalid_utf8("a\x80z") == "a" + r + "z");
  CHECK(lamina::io::replace_invalid_utf8("\xc0\xaf") == r + r);                  // overlong
  CHECK(lamina::io::replace_invalid_utf8("\xe0\x80\xaf") == r + r + r);          // overlong
  CHECK(lamina::io::replace_invalid_utf8("\xed\xa0\x80") == r + r + r);          // surrogate
  CHECK(lamina::io::replace_invalid_utf8("\xf4\x90\x80\x80") == r + r + r + r);  // above U+10FFFF
  CHECK(lamina::io::replace_invalid_utf8("\xf0\x9f\x98") == r);                  // cut
  CHECK(lamina::io::replace_invalid_utf8("\xf0\x9f\x98x") == r + "x");
  CHECK(lamina::io::replace_invalid_utf8("\xe4\xb8\xe4\xb8\xad") == r + "\u4e2d");
  CHECK(lamina::io::replace_invalid_utf8("\xff\xfe") == r + r);
  CHECK(lamina::io::replace_invalid_utf8("\U0001f600\u00e9") == "\U0001f600\u00e9");
  CHECK(lamina::io::is_valid_utf8("\U0010ffff\u07ff"));
  CHECK_FALSE(lamina::io::is_valid_utf8("\xf0\x9f\x98"));
}
