// lamina-draw-tables: draws images of small tables and writes what they say, as a dataset that lamina-train and
// LLaMA-Factory read. The images of data/ are made by it:
//
//     lamina-draw-tables --out data --train 200 --heldout 50 --seed 1
#include "images/dataset.hpp"
#include "images/write.hpp"
#include "tables/content.hpp"
#include "tables/image.hpp"

#include <cstdio>
#include <iostream>
#include <set>

#include <CLI/CLI.hpp>

namespace {

using nlohmann::ordered_json;
namespace fs = std::filesystem;

const std::vector<std::string> prompts{"Write this table in Markdown.", "What does the table say? Answer in Markdown.",
                                       "Give me the table as Markdown.", "Copy the table into Markdown.",
                                       "Markdown, please."};
constexpr tables::Room room{128, 96, 224, 160};  // of an image, in pixels

/// Draws `count` tables that are not in `seen` yet and writes them with their list, tables_<split>.json.
void write_split(const fs::path& out, const std::string& split, int count, tables::Random& random,
                 std::set<std::string>& seen) {
  ordered_json records = ordered_json::array();
  while (static_cast<int>(records.size()) < count) {
    const tables::Table table = tables::random_table(random, 4, 3);
    if (!seen.insert(tables::to_markdown(table)).second) continue;
    char stem[32];
    std::snprintf(stem, sizeof stem, "%s_%04d", split.c_str(), static_cast<int>(records.size()));
    const tables::Style style = tables::random_style(random, table, room);
    const bool jpeg = style.noise > 0 || random.chance(25);  // PNG does not pack grain
    const std::string file = lamina::cat("tables/", stem, jpeg ? ".jpg" : ".png");
    images::write_image(out / file, tables::draw_table(random, table, style, room), jpeg ? 72 : 0);
    records.push_back(images::record(random.pick(prompts), tables::to_markdown(table), file));
  }
  const std::string list = "tables/tables_" + split + ".json";
  images::write_text(out / list, records.dump(1) + "\n");
  images::enter(out, "tables_" + split, list);
}

}  // namespace

int main(int argc, char** argv) try {
  fs::path out = "data";
  int train = 200, heldout = 50;
  std::uint64_t seed = 1;
  CLI::App app("Draws images of small tables, with what they say, as a training dataset.", "lamina-draw-tables");
  app.add_option("--out", out, "dataset folder: gets tables/ and dataset_info.json")->required();
  app.add_option("--train", train, "images to train on")->check(CLI::Range(0, 10000))->capture_default_str();
  app.add_option("--heldout", heldout, "images held out")->check(CLI::Range(0, 10000))->capture_default_str();
  app.add_option("--seed", seed, "equal seeds give equal datasets")->capture_default_str();
  CLI11_PARSE(app, argc, argv);
  fs::create_directories(out / "tables");
  tables::Random random(seed);
  std::set<std::string> seen;
  write_split(out, "train", train, random, seen);
  write_split(out, "heldout", heldout, random, seen);
  std::cout << "drew " << train << " + " << heldout << " tables into " << (out / "tables").string() << "\n";
} catch (const std::exception& error) {
  std::cerr << "lamina-draw-tables: " << error.what() << "\n";
  return 1;
}
