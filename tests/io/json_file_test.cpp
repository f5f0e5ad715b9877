#include <lamina/io/json/fields.hpp>
#include <lamina/io/json/file.hpp>

#include <cstdint>
#include <cstdio>
#include <fstream>
#include <string>

#include "support/catch.hpp"
#include "support/error_of.hpp"

using namespace lamina;
using UnorderedJson = nlohmann::json;

namespace {

const std::string path = "json_file_test.json";

std::string refusal(const std::string& text) {
  std::ofstream(path) << text;
  const std::string error = testing::error_of([&] { io::read_json_object<UnorderedJson>(path); });
  std::remove(path.c_str());
  return error;
}

}  // namespace

TEST_CASE("JSON file: every mistake is an Error that names the file") {
  CHECK(refusal(R"({"a": 1})") == "");
  CHECK(refusal("[]") == path + ": is JSON of type array, wanted an object");
  CHECK(refusal(R"({"a": 1, "a": 2})") == path + ": a is set twice: keep one");
  CHECK(testing::contains(refusal("{\"a\": "), path + ": not valid JSON: "));
  CHECK(testing::contains(refusal("version https://git-lfs.github.com/spec/v1\n"), path + ": is a git-lfs pointer"));
  CHECK(testing::contains(refusal("{\"a\":" + std::string(65, '[') + std::string(65, ']') + "}"),
                          path + ": JSON nested deeper than 64 levels"));
  CHECK(testing::contains(testing::error_of([] { io::read_json_object<UnorderedJson>("no_such_file.json"); }),
                          "no_such_file.json"));
}

TEST_CASE("JSON fields: counts and seeds of 64 bits are read whole, and refused if they do not fit") {
  const UnorderedJson json = UnorderedJson::parse(
      R"({"steps": 5000000000, "seed": 18446744073709551615, "below": -1, "half": 0.5, "word": "7", "none": null})");
  const io::JsonFields fields(json, "f.json");
  CHECK(fields.whole_number<std::int64_t>("steps") == 5'000'000'000);
  CHECK(fields.whole_number<std::uint64_t>("seed") == ~std::uint64_t{0});
  CHECK(fields.whole_number<std::int64_t>("none", 3) == 3);
  const auto refused = [&](const char* key, auto of) {
    return testing::error_of([&] { fields.whole_number<decltype(of)>(key); });
  };
  CHECK(refused("seed", std::int64_t{}) == "f.json: seed is 18446744073709551615, wanted an integer");
  CHECK(refused("below", std::uint64_t{}) == "f.json: below is -1, wanted an integer from 0");
  CHECK(refused("half", std::int64_t{}) == "f.json: half is 0.5, wanted an integer");
  CHECK(refused("word", std::int64_t{}) == "f.json: word is \"7\", wanted an integer");
  CHECK(refused("none", std::int64_t{}) == "f.json: none is missing");
}
