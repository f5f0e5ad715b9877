#include <lamina/train/program/same_run.hpp>

#include <vector>

#include "support/catch.hpp"
#include "support/error_of.hpp"
#include "support/on_ranks.hpp"

using namespace lamina;
using namespace lamina::train;
using lamina::testing::error_of;

namespace {

io::Settings settings_of(const std::vector<std::pair<std::string, nlohmann::ordered_json>>& given) {
  io::Settings out;
  for (const auto& [key, value] : given) out[key].value = value;
  return out;
}
/// What each of three ranks says if rank 2 alone is started otherwise.
template <class T>
std::vector<std::string> errors_of_ranks(void (*check)(const T&, parallel::Group&), const T& of_two, const T& of_last) {
  std::vector<std::string> out(3);
  testing::on_ranks(3, [&](parallel::Group& group) {
    const T& mine = group.rank() == 2 ? of_last : of_two;
    out[static_cast<std::size_t>(group.rank())] = error_of([&] { check(mine, group); });
  });
  return out;
}

}  // namespace

TEST_CASE(
    "require_same_settings: every rank hears which setting differs, whatever its spelling and the hosts' folders") {
  const auto check = [](const io::Settings& a, const io::Settings& b) {
    return errors_of_ranks(require_same_settings, a, b);
  };
  const io::Settings first = settings_of({{"learning_rate", 1e-3}, {"bf16", true}, {"dataset_dir", "a"}});
  for (const std::string& said : check(first, settings_of({{"learning_rate", "0.001"}, {"bf16", "yes"}})))
    CHECK(said.empty());
  for (const std::string& said : check(first, settings_of({{"learning_rate", 1e-4}, {"bf16", true}})))
    CHECK(said == "learning_rate: rank 2 has 0.0001, rank 0 has 0.001: all processes of a run read the same settings");
  for (const std::string& said : check(first, settings_of({{"learning_rate", 1e-3}, {"bf16", true}, {"max_steps", 5}})))
    CHECK(said == "max_steps: rank 2 has 5, rank 0 has not set: all processes of a run read the same settings");
}

TEST_CASE("require_same_samples: every rank hears that one has read other records") {
  const auto samples = [](std::vector<std::vector<int>> ids) {
    std::vector<data::EncodedSample> out;
    for (std::vector<int>& tokens : ids) out.push_back({.ids = tokens, .labels = tokens, .images = {}, .origin = ""});
    return out;
  };
  const auto first = samples({{1, 2}, {3}});
  for (const std::string& said : errors_of_ranks(require_same_samples, first, first)) CHECK(said.empty());
  for (const std::string& said : errors_of_ranks(require_same_samples, first, samples({{1, 2}})))
    CHECK(said ==
          "dataset: rank 2 has 1 records to train on, rank 0 has 2: all processes of a run read the same files");
  for (const auto& other : {samples({{1, 2}, {4}}), samples({{3}, {1, 2}}), samples({{1}, {2, 3}})})
    for (const std::string& said : errors_of_ranks(require_same_samples, first, other))
      CHECK(said.find("rank 2 has other records to train on than rank 0") != std::string::npos);
}
