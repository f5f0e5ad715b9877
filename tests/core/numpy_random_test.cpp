#include "support/catch.hpp"
#include "support/error_of.hpp"

#include <lamina/core/random/numpy.hpp>

#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

using namespace lamina;

namespace {

const nlohmann::json& golden() {
  static const nlohmann::json values = [] {
    std::ifstream in(LAMINA_GOLDEN_DIR "/core/numpy_random.json");
    return nlohmann::json::parse(in);
  }();
  return values;
}
using Ints = std::vector<int>;

}  // namespace

TEST_CASE("NumpyRandomState: permutations and choices are numpy's") {
  for (const auto& c : golden()["state"]) {
    NumpyRandomState state(c["seed"].get<std::uint64_t>());
    const int n = c["n"];
    CHECK(state.permutation(n) == c["permutation"].get<Ints>());
    for (const int drawn : c["choice"]) CHECK(state.choice(n) == drawn);
    CHECK(state.permutation(n) == c["again"].get<Ints>());
  }
  CHECK(testing::contains(testing::error_of([] { NumpyRandomState(std::uint64_t{1} << 32); }),
                          "seed: 4294967296 is above 4294967295"));
}

TEST_CASE("NumpyGenerator: raw words, permutations and doubles are those of numpy's default_rng") {
  for (const auto& c : golden()["generator"]) {
    const std::uint64_t seed = std::stoull(c["seed"].get<std::string>());
    NumpyGenerator raw(seed), generator(seed);
    for (const std::string word : c["raw"]) CHECK(raw.next() == std::stoull(word));
    const int n = c["n"];
    CHECK(generator.permutation(n) == c["permutation"].get<Ints>());
    for (const double drawn : c["random"]) CHECK(generator.random() == drawn);
    CHECK(generator.permutation(n) == c["again"].get<Ints>());
  }
}

TEST_CASE("NumpyWeightedChoice: draws are those of numpy's choice with probabilities") {
  for (const auto& c : golden()["choice"]) {
    NumpyWeightedChoice choice(c["p"].get<std::vector<double>>(), c["seed"].get<std::uint64_t>());
    for (const int drawn : c["drawn"]) CHECK(choice.next() == drawn);
  }
}
