#include <lamina/io/yaml.hpp>

#include <string>

#include "support/catch.hpp"
#include "support/error_of.hpp"

using namespace lamina;

namespace {

std::string refusal(const std::string& text) {
  return testing::error_of([&] { io::load_yaml(text, "f.yaml"); });
}

}  // namespace

TEST_CASE("YAML: a quote that is never closed is refused with its line, however the text ends") {
  CHECK(refusal("a: 1\nb: \"x\nc: 2\n") == "f.yaml line 2, b: the quote \" is never closed");
  CHECK(refusal("a: 'x\nb: 1\n") == "f.yaml line 1, a: the quote ' is never closed");
  CHECK(refusal("a: &k 'it''s\nb: *k\n") == "f.yaml line 1, a: the quote ' is never closed");
  CHECK(refusal("a: !!str \"x\\\"\n") == "f.yaml line 1, a: the quote \" is never closed");
  CHECK(refusal("a: 1\n\"b: 2\n") == "f.yaml line 2: the quote \" is never closed");
  CHECK(refusal("a: \"x") == "f.yaml line 1 column 6: not readable as YAML: illegal EOF in scalar");
  for (const char* text :
       {"a: 'it''s'\n", "a: \"x\\\"y\"\nb: 'c'\n", "a: &k \"x\"\nb: *k\n", "a: x\"y\n", "a: >\n  \"x\n",
        "\xef\xbb\xbf"
        "a: \"x\"\n"}) {
    CAPTURE(text);
    CHECK(refusal(text) == "");
  }
}

TEST_CASE("YAML: values that are nested too deep say how deep they may be") {
  CHECK(refusal("a: " + std::string(64, '[') + std::string(64, ']')) ==
        "f.yaml line 1: values are nested more than 64 deep, or an alias contains itself");
  CHECK(refusal("a: " + std::string(5000, '[')) == "f.yaml line 1: values are nested more than 64 deep");
}

TEST_CASE("YAML: what is not YAML is an Error with line and column") {
  CHECK(refusal("a: [1, 2\n") == "f.yaml line 2 column 1: not readable as YAML: end of sequence flow not found");
  CHECK(refusal("a: \"\\q\"\n") == "f.yaml line 1 column 7: not readable as YAML: unknown escape character: q");
}
