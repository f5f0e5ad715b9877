#include <lamina/text/tokenizer/pretokenize.hpp>
#include "support.hpp"

#include <vector>

using namespace lamina::text;

namespace {
std::vector<std::string> pieces(std::string_view text) {
  std::vector<std::string> out;
  pretokenize(text, [&](std::string_view piece) { out.emplace_back(piece); });
  return out;
}
using Pieces = std::vector<std::string>;
}  // namespace

TEST_CASE("pretokenize: words take one sign or space before them") {
  CHECK(pieces("Hello world") == Pieces{"Hello", " world"});
  CHECK(pieces("(a ((b \tc") == Pieces{"(a", " ((", "b", " ", "\tc"});
  CHECK(pieces("a_b-c") == Pieces{"a", "_b", "-c"});
  CHECK(pieces("\u00a0x\u3000\u4e2d") == Pieces{"\u00a0x", "\u3000\u4e2d"});
}

TEST_CASE("pretokenize: contractions are cut off whatever their case") {
  CHECK(pieces("it's I'LL we've'd") == Pieces{"it", "'s", " I", "'LL", " we", "'ve", "'d"});
  CHECK(pieces("x'\u017fy") == Pieces{"x", "'\u017f", "y"});  // long s folds to s
  CHECK(pieces("x'xy 'r '") == Pieces{"x", "'xy", " '", "r", " '"});
  CHECK(pieces("'st") == Pieces{"'s", "t"});
}

TEST_CASE("pretokenize: digits stand alone") {
  CHECK(pieces("a12 3\u0663") == Pieces{"a", "1", "2", " ", "3", "\u0663"});
}

TEST_CASE("pretokenize: signs take the line breaks after them") {
  CHECK(pieces("end.\r\n\nx") == Pieces{"end", ".\r\n\n", "x"});
  CHECK(pieces(" !?") == Pieces{" !?"});
  CHECK(pieces("\t!") == Pieces{"\t", "!"});
}

TEST_CASE("pretokenize: a run of spaces leaves its last to what follows") {
  CHECK(pieces("a   b") == Pieces{"a", "  ", " b"});
  CHECK(pieces("a   1") == Pieces{"a", "  ", " ", "1"});
  CHECK(pieces("a   ") == Pieces{"a", "   "});
  CHECK(pieces("  \n  \r\n x") == Pieces{"  \n  \r\n", " x"});
  CHECK(pieces("\n") == Pieces{"\n"});
  CHECK(pieces("\r\nx") == Pieces{"\r\n", "x"});
  CHECK(pieces("").empty());
}
