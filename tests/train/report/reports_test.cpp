#include <lamina/train/report/plot.hpp>
#include <lamina/train/report/progress.hpp>
#include <lamina/train/report/results.hpp>

#include <fstream>
#include <limits>
#include <set>
#include <sstream>

#include "support/catch.hpp"
#include "train/fake_run.hpp"
#include "train/helpers.hpp"

using namespace lamina::train;

TEST_CASE("Reports: times, progress and console lines have the usual form", "[train]") {
  CHECK(clock_text(31.9) == "0:00:31");
  CHECK(clock_text(86400 + 7384) == "1 day, 2:03:04");
  CHECK(clock_text(3 * 86400) == "3 days, 0:00:00");
  CHECK(console_line({{"loss", 6.354296684265137}, {"epoch", 1.0}, {"step", 2}}) == "{'loss': '6.354', 'epoch': '1'}");
  const Progress resumed{.step = 200, .total_steps = 400, .first_step = 190, .elapsed_s = 20};
  CHECK(resumed.remaining_s() == 400);  // 2 s a step of this process, not of the run before it
  CHECK(bar_text({171, 411, 0, 171}, 1.4931).find("171/411 [02:51<04:00, 1.00s/it, loss=1.493]") != std::string::npos);
  CHECK(lamina::train::detail::with_thousands(16515072) == "16,515,072");
  CHECK(bar_text({0, 411, 0, 0}, NAN).find("0/411 [00:00<?, ?s/it]") != std::string::npos);
}

TEST_CASE("Reports: results are printed and merged as transformers does", "[train]") {
  std::ostringstream out;
  print_metrics(out, "train",
                {{"epoch", 2.0},
                 {"total_flos", 0.0},
                 {"train_loss", 5.35073455174764},
                 {"train_runtime", 0.1277},
                 {"train_samples_per_second", 172.305},
                 {"train_steps_per_second", 46.992}});
  CHECK(out.str() ==
        "***** train metrics *****\n  epoch                    =        2.0\n  total_flos               =        0GF\n"
        "  train_loss               =     5.3507\n  train_runtime            = 0:00:00.12\n"
        "  train_samples_per_second =    172.305\n  train_steps_per_second   =     46.992\n");
  const auto dir = fake::fresh_directory("results");
  for (const char* split : {"train", "eval"}) {
    const auto golden = std::string(LAMINA_GOLDEN_DIR "/train/") + split + "_results.json";
    save_metrics(dir, split, OrderedJson::parse(std::ifstream(golden)));
  }
  const auto text = [](const std::filesystem::path& path) { return lamina::io::read_text(path); };
  for (const char* name : {"train_results.json", "all_results.json"})
    CHECK(text(dir / name) == text(std::filesystem::path(LAMINA_GOLDEN_DIR "/train") / name));
}

TEST_CASE("Plot: smoothing has LLaMA-Factory's weights, and the image is a 640x480 PNG", "[train]") {
  // w = 0.112 for 5 values: s_1 = w * 0 + (1 - w) * 1
  CHECK(std::abs(smoothed({0, 1, 1, 1, 1})[1] - (1 - 0.112)) < 5e-4);
  CHECK(axis_ticks(-0.5, 10.5) == std::vector<double>{0, 2, 4, 6, 8, 10});
  CHECK(axis_ticks(0, 0).empty());
  CHECK(axis_ticks(1, NAN).empty());
  CHECK(axis_ticks(-INFINITY, INFINITY).empty());
  const auto dir = fake::fresh_directory("plot");
  auto history = OrderedJson::array();
  CHECK(plot_curve(dir, history, "loss") == "No metric loss to plot.");
  for (int i = 1; i <= 41; ++i) history.push_back({{"step", i * 10}, {"loss", 1.5 * std::exp(-i / 15.0)}});
  const std::string said = plot_curve(dir, history, "loss");
#if defined(LAMINA_HAS_CAIRO)
  CHECK(said == "Figure saved at: " + (dir / "training_loss.png").string());
  const std::string png = lamina::io::read_text(dir / "training_loss.png");
  REQUIRE(png.size() > 4000);
  CHECK(png.substr(1, 3) == "PNG");
  CHECK(png.substr(16, 8) == std::string("\0\0\x02\x80\0\0\x01\xe0", 8));  // width, height
#else
  CHECK(said.find("without cairo") != std::string::npos);
#endif
}

TEST_CASE("Plot: any series has an axis of a few labels that differ", "[train]") {
  const double next = std::nextafter(11.25, 12.0), tiny = std::numeric_limits<double>::denorm_min();
  const std::vector<std::vector<double>> series = {
      {11.25, next, 11.25},  // equal but for the last bit: this was an endless loop
      {0.1 + 0.2, 0.3},
      {1, 1 + 1e-9},
      {1, 1.00005},
      {7, 7, 7},
      {5},
      {0},
      {0, 0},
      {-3, -3.0000000001},
      {-5, 5},
      {1e300, -1e300},
      {1e18, 1e18 + 256},
      {1e-300, 2e-300},
      {tiny, 2 * tiny},
      {0, tiny},
      {1e-12, 3e-12},
      {2.5, NAN, 3.5, INFINITY, -INFINITY},
      {1, std::numeric_limits<double>::max()}};
  for (const auto& values : series) {
    OrderedJson history = OrderedJson::array();
    for (std::size_t i = 0; i < values.size(); ++i) history.push_back({{"step", i + 1}, {"loss", values[i]}});
    const Curve curve = curve_of(history, "loss");
    INFO(history.dump());
    REQUIRE_FALSE(curve.values.empty());
    const auto [least, most] = std::minmax_element(curve.values.begin(), curve.values.end());
    const auto [low, high] = axis_ends(*least, *most);
    CHECK((low < *least || *least == low));
    const std::vector<double> ticks = axis_ticks(low, high);
    CHECK(ticks.size() <= 10);
    std::set<std::string> labels;
    for (double tick : ticks) labels.insert(lamina::cat(tick));
    CHECK(labels.size() == ticks.size());
    if (*most > 1e-290 || *least < -1e-290) CHECK(ticks.size() >= 3);
    CHECK_FALSE(plot_curve(fake::fresh_directory("series"), history, "loss").empty());
  }
  CHECK(curve_of({{{"step", 1}, {"loss", NAN}}}, "loss").values.empty());
}
