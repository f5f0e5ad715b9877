#include <lamina/train/loop/schedule.hpp>

#include <fstream>
#include <nlohmann/json.hpp>

#include "support/catch.hpp"
#include "train/helpers.hpp"

using namespace lamina::train;

TEST_CASE("Schedule: every type gives transformers' learning rates", "[train]") {
  const auto cases = nlohmann::json::parse(std::ifstream(LAMINA_GOLDEN_DIR "/train/schedules.json"));
  REQUIRE(cases.size() == 19);
  for (const auto& c : cases) {
    INFO(c["type"] << " " << c["kwargs"]);
    ScheduleOptions o;
    o.type = schedule_type(c["type"].get<std::string>());
    o.warmup_steps = c["warmup"].get<double>();
    const auto read = [&](const char* key, std::optional<double>& out) {
      if (c["kwargs"].contains(key)) out = c["kwargs"][key].get<double>();
    };
    read("num_cycles", o.num_cycles), read("power", o.power), read("lr_end", o.lr_end), read("min_lr", o.min_lr);
    read("min_lr_rate", o.min_lr_rate), read("warmup_lr_rate", o.warmup_lr_rate), read("timescale", o.timescale),
        read("num_stable_steps", o.num_stable_steps);
    read("num_decay_steps", o.num_decay_steps);
    o.min_lr_ratio = c["kwargs"].value("min_lr_ratio", 0.0);
    if (c["kwargs"].value("warmup_type", "linear") == "cosine") o.warmup_type = Ramp::cosine;
    const auto decay = c["kwargs"].value("decay_type", "cosine");
    o.decay_type = decay == "linear" ? Ramp::linear : decay == "1-sqrt" ? Ramp::one_minus_sqrt : Ramp::cosine;
    const Schedule schedule(o, 1e-4, c["steps"].get<std::int64_t>());
    for (std::size_t s = 0; s < c["lr"].size(); ++s) {
      INFO("step " << s);
      CHECK(fake::near(schedule.rate(static_cast<std::int64_t>(s)), c["lr"][s].get<double>()));
    }
  }
}

TEST_CASE("Schedule: the example's run has the published rates", "[train]") {
  ScheduleOptions o;
  o.type = ScheduleType::cosine;
  o.warmup_steps = 0.1;
  const Schedule schedule(o, 1e-4, 411);
  CHECK(schedule.warmup() == 42);
  const std::pair<int, double> published[] = {
      {1, 0},     {2, 2.38095238e-06},  {10, 2.14285714e-05},  {42, 9.76190476e-05},
      {43, 1e-4}, {44, 9.99981879e-05}, {200, 6.15998178e-05}, {411, 1.81210934e-09}};
  for (const auto& [step, rate] : published) CHECK(fake::near(schedule.rate(step - 1), rate, 1e-8));
}

TEST_CASE("Plateau: the rate falls after evaluations without gain, as torch's does", "[train]") {
  const auto rates = [](const PlateauOptions& o, const std::vector<double>& metrics) {
    Plateau plateau(o, 1);
    std::vector<double> rates;
    for (const double metric : metrics) plateau.observe(metric), rates.push_back(plateau.rate());
    return rates;
  };
  CHECK(rates({.factor = 0.5, .patience = 1}, {3, 3, 3, 2, 2, 2}) == std::vector<double>{1, 1, 0.5, 0.5, 0.5, 0.25});
  CHECK(rates({.factor = 0.5, .patience = 0, .cooldown = 2}, {1, 1, 1, 1, 1}) ==
        std::vector<double>{1, 0.5, 0.5, 0.5, 0.25});
  CHECK(rates({.relative = false, .factor = 0.5, .threshold = 0.5, .patience = 0}, {3, 2.6, 2.4}) ==
        std::vector<double>{1, 0.5, 0.5});
  CHECK(rates({.seeks_greater = true, .factor = 0.5, .min_lr = 0.4, .patience = 0}, {1, 2, 1, 1}) ==
        std::vector<double>{1, 1, 0.5, 0.4});
}

TEST_CASE("Steps: the last batch and the last window of an epoch may be short", "[train]") {
  const StepCounts demo = count_steps(1096, 1, 8, 3, -1);
  CHECK(demo.steps_per_epoch == 137);
  CHECK(demo.total_steps == 411);
  CHECK(demo.epoch_at(10) == 80.0 / 1096);
  const StepCounts small = count_steps(11, 2, 2, 2, -1);
  CHECK(small.batches == 6);
  CHECK(count_steps(11, 2, 4, 2, -1).micro_batches(1) == 2);
  CHECK(small.total_steps == 6);
  CHECK(count_steps(9, 2, 2, 1, -1).epoch_at(2) == 0.8);
  CHECK(count_steps(11, 2, 2, 1.5, -1).total_steps == 5);
  CHECK(count_steps(11, 2, 2, 1.5, 7).epochs == 3);
  CHECK(steps_of(0.1, 411) == 42);
  CHECK(steps_of(10, 411) == 10);
  CHECK_THROWS_AS(count_steps(0, 1, 1, 1, -1), lamina::Error);
  CHECK_THROWS_AS(count_steps(3, 4, 1, 1, -1, true), lamina::Error);
  for (const auto& golden : nlohmann::json::parse(std::ifstream(LAMINA_GOLDEN_DIR "/data/batches.json"))) {
    INFO(golden.dump());
    const StepCounts plan = count_steps(golden["rows"], golden["batch"].get<int>() * golden["ranks"].get<int>(),
                                        golden["accumulation"], 2.5, -1, golden["drop_last"]);
    CHECK(plan.steps_per_epoch == golden["steps_per_epoch"]);
    CHECK(plan.total_steps == golden["total_steps"]);
    CHECK(plan.batches == std::ssize(golden["epochs"][0][0]));
  }
}
