// lamina-draw-images: draws images of words, numbers, lines of text, shapes and tables, each with a question and
// its answer, as a dataset that lamina-train and LLaMA-Factory read. The model of data/qwen3_vl_nano learnt to read
// from it:
//
//     lamina-draw-images --out /tmp/images --name tables --count 100000 --mix table:3,lines:1 --seed 1
#include "images/dataset.hpp"
#include "images/scene.hpp"
#include "images/write.hpp"

#include <lamina/core/threads.hpp>
#include <lamina/io/flags.hpp>
#include <lamina/io/program/program.hpp>

#include <iostream>
#include <sstream>

#include <fmt/format.h>

namespace {

namespace fs = std::filesystem;

/// "word:3,table:1" as kinds, each as often as its share says.
std::vector<const images::Kind*> parse_mix(const std::string& mix) {
  std::vector<const images::Kind*> shares;
  std::istringstream in(mix);
  for (std::string part; std::getline(in, part, ',');) {
    const std::size_t colon = part.find(':');
    const int share = colon == std::string::npos ? 1 : std::atoi(part.c_str() + colon + 1);
    if (share < 1 || share > 1000) lamina::io::usage("--mix: ", part, ": wanted a kind and its share, as in table:3");
    shares.insert(shares.end(), share, &images::kind_named(part.substr(0, colon)));
  }
  if (shares.empty()) lamina::io::usage("--mix is empty");
  return shares;
}

/// Draws image `index`, whatever else is drawn, into its file below `out` and returns its record.
std::string draw(const fs::path& out, const std::string& name, const std::vector<const images::Kind*>& shares,
                 std::uint64_t seed, int index) {
  tables::Random random(seed * 0x9E3779B97F4A7C15u + static_cast<std::uint64_t>(index));
  const images::Scene scene = random.pick(shares)->draw(random);
  const std::string file = fmt::format("{:03}/{:03}.jpg", index / 1000, index % 1000);
  images::write_image(out / name / file, scene.canvas, random.between(75, 97));
  return images::record(scene.question, scene.answer, name + "/" + file).dump();
}

struct Flags {
  fs::path out;
  std::string name = "images", mix = "word:3,number:1,lines:2,shapes:1,table:3";
  int count = 1000;
  std::uint64_t seed = 1;
};

constexpr lamina::io::Key<Flags> flags[] = {
    lamina::io::honoured<&Flags::out>("out", "dataset folder: gets NAME/ and an entry in dataset_info.json"),
    lamina::io::honoured<&Flags::name>("name", "name of the dataset"),
    lamina::io::honoured<&Flags::count>("count", "number of images").within(1, 999999),
    lamina::io::honoured<&Flags::mix>("mix", "kinds of image and their shares"),
    lamina::io::honoured<&Flags::seed>("seed", "equal seeds make equal datasets, for any number of threads"),
};

Flags parse(const std::vector<std::string>& words) { return lamina::io::parse_flags<Flags>(flags, words, {"out"}); }

int run(const Flags& s) {
  const auto shares = parse_mix(s.mix);
  for (int folder = 0; folder <= (s.count - 1) / 1000; ++folder)
    fs::create_directories(s.out / s.name / fmt::format("{:03}", folder));
  std::vector<std::string> records(static_cast<std::size_t>(s.count));
  constexpr int block = 100;
  lamina::parallel_for((s.count + block - 1) / block, [&](std::int64_t b) {
    for (int i = static_cast<int>(b) * block; i < std::min(s.count, static_cast<int>(b + 1) * block); ++i)
      records[static_cast<std::size_t>(i)] = draw(s.out, s.name, shares, s.seed, i);
  });
  std::string lines;
  for (const std::string& record : records) lines += record + "\n";
  images::write_text(s.out / s.name / "records.jsonl", lines);
  images::enter(s.out, s.name, s.name + "/records.jsonl");
  std::cout << "drew " << s.count << " images into " << (s.out / s.name).string() << "\n";
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  return lamina::io::run_program({"lamina-draw-images", "--out DIR [--option VALUE]...",
                                  "Draws images with questions and answers, as a training dataset.\n\n" +
                                      lamina::io::help_lines<Flags>(flags, "--")},
                                 argc, argv, parse, run);
}
