// lamina-draw-tables: draws images of small tables and writes what they say, as a dataset that lamina-train and
// LLaMA-Factory read. The images of data/ are made by it:
//
//     lamina-draw-tables --out data --train 200 --heldout 50 --seed 1
#include "images/dataset.hpp"
#include "images/write.hpp"
#include "tables/content.hpp"
#include "tables/image.hpp"

#include <iostream>
#include <set>

#include <lamina/io/flags.hpp>
#include <lamina/io/program/program.hpp>

#include <fmt/format.h>

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
    const std::string stem = fmt::format("{}_{:04}", split, records.size());
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

struct Flags {
  fs::path out = "data";
  int train = 200, heldout = 50;
  std::uint64_t seed = 1;
};

constexpr lamina::io::Key<Flags> flags[] = {
    lamina::io::honoured<&Flags::out>("out", "dataset folder: gets tables/ and dataset_info.json"),
    lamina::io::honoured<&Flags::train>("train", "images to train on").within(0, 10000),
    lamina::io::honoured<&Flags::heldout>("heldout", "images held out").within(0, 10000),
    lamina::io::honoured<&Flags::seed>("seed", "equal seeds make equal datasets"),
};

Flags parse(const std::vector<std::string>& words) { return lamina::io::parse_flags<Flags>(flags, words, {"out"}); }

int run(const Flags& s) {
  fs::create_directories(s.out / "tables");
  tables::Random random(s.seed);
  std::set<std::string> seen;
  write_split(s.out, "train", s.train, random, seen);
  write_split(s.out, "heldout", s.heldout, random, seen);
  std::cout << "drew " << s.train << " + " << s.heldout << " tables into " << (s.out / "tables").string() << "\n";
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  return lamina::io::run_program({"lamina-draw-tables", "--out DIR [--option VALUE]...",
                                  "Draws images of small tables, with their text, as a training dataset.\n\n" +
                                      lamina::io::help_lines<Flags>(flags, "--")},
                                 argc, argv, parse, run);
}
