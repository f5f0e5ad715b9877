#include <lamina/serve/generation_defaults.hpp>

#include <string>

#include "support/catch.hpp"
#include "support/error_of.hpp"

using namespace lamina;
using testing::error_of;

namespace {

std::string refusal(const nlohmann::json& config) {
  return error_of([&] { serve::GenerationDefaults{}.read(config, "g.json"); });
}

}  // namespace

TEST_CASE("Generation defaults: numbers that a request could have are taken, null is unset") {
  serve::GenerationDefaults defaults;
  defaults.read({{"temperature", 0.7}, {"top_k", -1}, {"top_p", 1}, {"max_new_tokens", 512}, {"min_p", nullptr}},
                "g.json");
  CHECK(defaults.temperature == 0.7);
  CHECK(defaults.top_k == -1);
  CHECK(defaults.top_p == 1);
  CHECK(defaults.max_new_tokens == 512);
  CHECK_FALSE(defaults.min_p);
}

TEST_CASE("Generation defaults: a number out of range and a value of another type are refused by name") {
  CHECK(refusal({{"temperature", -1}}) == "g.json: temperature is -1, wanted a number in [0, 100]");
  CHECK(refusal({{"top_p", 0}}) == "g.json: top_p is 0, wanted a number above 0 up to 1");
  CHECK(refusal({{"temperature", "hot"}}) == "g.json: temperature is \"hot\", wanted a number in [0, 100]");
  for (const auto& [key, value] : {std::pair<const char*, double>{"top_p", 0},
                                   {"top_p", 1.5},
                                   {"min_p", -0.1},
                                   {"repetition_penalty", 0},
                                   {"repetition_penalty", 1e300},
                                   {"presence_penalty", 3},
                                   {"frequency_penalty", -3},
                                   {"top_k", 1e300},
                                   {"top_k", 2.5},
                                   {"max_new_tokens", 0}}) {
    CAPTURE(key, value);
    CHECK(testing::contains(refusal({{key, value}}), std::string(key) + " is "));
  }
  CHECK(testing::contains(refusal({{"top_k", -2}}), "top_k is -2, wanted an integer in [-1, "));
}

TEST_CASE("Generation defaults: a field of a flag that changes nothing is usage, with the nearest word") {
  serve::GenerationDefaults defaults;
  CHECK_THROWS_AS(defaults.override_with({{"top_p", 7}}, "--flag"), io::UsageError);
  CHECK(testing::contains(error_of([&] {
                            defaults.override_with({{"temprature", 1}}, "--flag");
                          }),
                          "--flag: has temprature, which changes nothing here (did you mean temperature?); wanted "));
}
