#include <lamina/train/report/trackers.hpp>

#include <cstdlib>
#include <fstream>
#include <sstream>

#include "support/catch.hpp"
#include "support/python.hpp"
#include "train/fake_run.hpp"

using namespace lamina;
using namespace lamina::train;

namespace {

/// What TensorBoard's own reader finds; nothing, and a warning, where Python does not have it.
std::optional<std::string> read_by_tensorboard(const std::filesystem::path& folder) {
  if (!testing::has_modules("tensorboard")) return std::nullopt;
  const auto out = folder / "read.txt";
  REQUIRE(
      std::system(cat("'", testing::python(), "' -W ignore ", LAMINA_SOURCE_DIR,
                      "/tests/reference/tensorboard_events.py ", folder.string(), " > ", out.string(), " 2>/dev/null")
                      .c_str()) == 0);
  return io::read_text(out);
}

}  // namespace

TEST_CASE("TensorBoard: records have the lengths and checksums of TensorFlow's files", "[train]") {
  // CRC-32C of "123456789" is e3069283 (RFC 3720's polynomial); turned by 15 bits, plus a282ead8.
  const std::uint32_t crc = 0xe3069283u;
  CHECK(train::detail::record_checksum("123456789") == (crc >> 15 | crc << 17) + 0xa282ead8u);
  const std::string record = train::detail::record("123456789");
  CHECK(record.size() == 8 + 4 + 9 + 4);
  CHECK(record.substr(0, 8) == std::string("\x09\0\0\0\0\0\0\0", 8));
  CHECK(record.substr(12, 9) == "123456789");
}

TEST_CASE("TensorBoard: tags are those of transformers", "[train]") {
  CHECK(train::detail::tensorboard_tag("loss") == "train/loss");
  CHECK(train::detail::tensorboard_tag("eval_loss") == "eval/loss");
  CHECK(train::detail::tensorboard_tag("test_runtime") == "test/runtime");
  CHECK(train::detail::tensorboard_tag("evaluation") == "train/evaluation");
}

TEST_CASE("Trackers: TensorBoard reads values, settings and the model's config; secrets are left out", "[train]") {
  const auto folder = fake::fresh_directory("tensorboard");
  std::ofstream(folder / "config.json") << R"({"model_type": "made up"})";
  Arguments a;
  a.output_dir = folder, a.model_name_or_path = folder, a.logging_dir = folder / "events";
  a.report_to = {"tensorboard"};
  a.given["learning_rate"] = {1e-4, "test"};
  a.given["hf_hub_token"] = {"hf_secret", "test"};
  std::ostringstream out;
  Console console(out, false);
  {
    Trackers trackers(a, console);
    trackers.log({{"loss", 2.5}, {"learning_rate", 0.001}, {"note", "no number"}, {"step", 10}});
    trackers.log({{"eval_loss", 1.25}, {"step", 1000000}});
  }
  CHECK(out.str().find((a.logging_dir / "events.out.tfevents.").string()) != std::string::npos);
  const auto read = read_by_tensorboard(a.logging_dir);
  if (!read) return;
  CHECK(*read ==
        "eval/loss 1000000 1.25\ntrain/learning_rate 10 0.001\ntrain/loss 10 2.5\n"
        "args/text_summary: {\n  \"hf_hub_token\": \"<not shown>\",\n  \"learning_rate\": 0.0001\n}\n"
        "model_config/text_summary: {\"model_type\": \"made up\"}\n");
}

TEST_CASE("Trackers: without a folder of their own events go to runs/ below the output; none writes nothing",
          "[train]") {
  const auto folder = fake::fresh_directory("tensorboard");
  std::ofstream(folder / "config.json") << "{}";
  Arguments a;
  a.output_dir = folder / "out", a.model_name_or_path = folder;
  std::ostringstream out;
  Console console(out, false);
  Trackers(a, console).log({{"loss", 1.0}, {"step", 1}});
  CHECK(!std::filesystem::exists(a.output_dir));
  CHECK(out.str().empty());
  a.report_to = {"all"};
  Trackers(a, console).log({{"loss", 1.0}, {"step", 1}});
  CHECK(std::filesystem::is_directory(a.output_dir / "runs"));
}

TEST_CASE("Trackers: a tracker that fails is given up with a warning, and the run goes on", "[train]") {
  const auto folder = fake::fresh_directory("tensorboard");
  std::ofstream(folder / "config.json") << "{}";
  std::ofstream(folder / "file") << "no folder";
  Arguments a;
  a.output_dir = folder, a.model_name_or_path = folder, a.logging_dir = folder / "file", a.report_to = {"tensorboard"};
  std::ostringstream out;
  Console console(out, false);
  Trackers trackers(a, console);
  trackers.log({{"loss", 1.0}, {"step", 1}});
  CHECK(out.str().find("warning: report_to: tensorboard: ") == 0);
  CHECK(out.str().find("the run goes on") != std::string::npos);
  const std::string said = out.str();
  CHECK(std::count(said.begin(), said.end(), '\n') == 1);
}
