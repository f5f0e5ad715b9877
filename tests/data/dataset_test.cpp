#include "data/support.hpp"
#include "support/catch.hpp"

#include <lamina/data/dataset.hpp>
#include <lamina/data/order/collate.hpp>
#include <lamina/data/sample_stream.hpp>

using namespace lamina;
using namespace lamina::data;
using namespace lamina::data::test;

namespace {

/// Two text data sets of 4 and 6 rows and one with images, in a folder.
struct Shelf {
  Folder folder;
  text::Tokenizer tokenizer = byte_tokenizer();
  vision::Processor processor = qwen3_processor();
  Shelf() {
    folder.write("dataset_info.json", R"({"four": {"file_name": "four.json"}, "six": {"file_name": "six.json"},
      "sampled": {"file_name": "six.json", "num_samples": 9}, "pairs": {"file_name": "six.json", "ranking": true},
      "answers": {"file_name": "pairs.json", "ranking": true,
                  "columns": {"prompt": "q", "chosen": "a", "rejected": "b"}},
      "judged": {"file_name": "judged.json", "columns": {"prompt": "q", "response": "a", "kto_tag": "good"}},
      "pictures": {"file_name": "pictures.json", "columns": {"prompt": "q", "response": "a", "images": "images"}}})");
    folder.write("four.json", rows("f", 4));
    folder.write("six.json", rows("s", 6));
    folder.write("p.bmp", bmp(64, 64));
  }
  static std::string rows(const std::string& name, int count) {
    Json list = Json::array();
    for (int i = 0; i < count; ++i) list.push_back({{"instruction", "q"}, {"output", cat(name, i)}});
    return list.dump();
  }
  DataOptions options(std::vector<std::string> dataset) const {
    DataOptions options;
    options.template_name = "qwen3_vl_nothink", options.dataset = std::move(dataset);
    options.dataset_dir = folder.path();
    return options;
  }
  Datasets load(const DataOptions& options) const { return load_datasets(options, tokenizer, processor); }
  std::string error(const DataOptions& options) const {
    return error_of([&] { load(options); });
  }
  /// The answers in order: "f0 f1 ..."
  std::string answers(const std::vector<EncodedSample>& samples) const {
    std::string out;
    for (const EncodedSample& sample : samples) {
      std::vector<int> learned;
      for (const int id : sample.labels) {
        if (id != ignored_label && id < 256 && id != '\n') learned.push_back(id);
      }
      out += (out.empty() ? "" : " ") + tokenizer.decode(learned);
    }
    return out;
  }
};

EncodedSample tokens(std::vector<int> labels, const std::string& origin = "x row 1") {
  return {.ids = std::vector<int>(labels.size(), 7), .labels = std::move(labels), .images = {}, .origin = origin};
}

}  // namespace

TEST_CASE("Dataset: sets are concatenated in the listed order, each cut to max_samples") {
  const Shelf shelf;
  CHECK(shelf.answers(shelf.load(shelf.options({"six", "four"})).train) == "s0 s1 s2 s3 s4 s5 f0 f1 f2 f3");
  DataOptions options = shelf.options({"four", "six"});
  options.max_samples = 2;
  const Datasets few = shelf.load(options);
  CHECK(shelf.answers(few.train) == "f0 f1 s0 s1");
  CHECK(few.train[3].origin == shelf.folder.file("six.json") + " row 2");
  CHECK(few.notes.empty());
}

TEST_CASE("Dataset: num_samples takes rows at random, each once before any twice") {
  const Shelf shelf;
  const auto train = shelf.load(shelf.options({"sampled"})).train;
  CHECK(train.size() == 9);
  std::string sorted = shelf.answers({train.begin(), train.begin() + 6});
  for (int i = 0; i < 6; ++i) CHECK(contains(sorted, cat("s", i)));
  CHECK(shelf.answers(train) == shelf.answers(shelf.load(shelf.options({"sampled"})).train));
}

TEST_CASE("Dataset: interleaving is that of the datasets library") {
  using Picks = std::vector<MixedRow>;
  const std::vector<int> lengths = {2, 3};
  CHECK(mix(MixStrategy::interleave_under, lengths, {}, 1) == Picks{{0, 0}, {1, 0}, {0, 1}, {1, 1}});
  CHECK(mix(MixStrategy::interleave_over, lengths, {}, 1) == Picks{{0, 0}, {1, 0}, {0, 1}, {1, 1}, {0, 0}, {1, 2}});
  CHECK(mix(MixStrategy::interleave_once, lengths, {}, 1) == Picks{{0, 0}, {1, 0}, {0, 1}, {1, 1}, {1, 2}});
  CHECK(mix(MixStrategy::concat, lengths, {}, 1) == Picks{{0, 0}, {0, 1}, {1, 0}, {1, 1}, {1, 2}});
}

TEST_CASE("Dataset: interleave_probs draw data sets in those proportions") {
  const auto picks = mix(MixStrategy::interleave_over, {1000, 1000}, {0.8, 0.2}, 3);
  const auto first =
      std::count_if(picks.begin(), picks.begin() + 2000, [](const MixedRow& p) { return p.dataset == 0; });
  CHECK(first > 1600 - 90);  // five standard deviations of a binomial: 5 * sqrt(2000 * 0.8 * 0.2) = 89.4
  CHECK(first < 1600 + 90);
  CHECK(mix(MixStrategy::interleave_once, {5, 7}, {0.5, 0.5}, 3).size() == 12);
  CHECK(contains(error_of([] { mix(MixStrategy::concat, {1, 1}, {0.5, 0.5}, 1); }), "not with concat"));
  CHECK(contains(error_of([] { mix(MixStrategy::interleave_over, {1, 1}, {1.0}, 1); }), "1 numbers for 2 data sets"));
  CHECK(contains(error_of([] { mix(MixStrategy::interleave_over, {1, 1}, {0.5, 0.4}, 1); }), "add up to 0.9"));
  CHECK(contains(error_of([] { mix(MixStrategy::interleave_over, {1, 1}, {0.5, 0.4999999}, 1); }), "not to 1"));
  CHECK(contains(error_of([] { mix(MixStrategy::interleave_over, {1, 1}, {1.5, -0.5}, 1); }), "is not positive"));
  CHECK(contains(error_of([] { mix_strategy_named("interleave"); }), "mix_strategy: interleave is unknown"));
}

TEST_CASE("Dataset: val_size holds records out, a fraction rounded up") {
  const Shelf shelf;
  DataOptions options = shelf.options({"six", "four"});
  options.val_size = 0.11;
  const Datasets split = shelf.load(options);
  CHECK(split.train.size() == 8);
  REQUIRE(split.eval.size() == 1);
  CHECK(split.eval[0].samples.size() == 2);
  const SplitRows rows = split_rows(10, 3, 42);  // np.random.default_rng(42).permutation(10)
  CHECK(rows.validation == std::vector<int>{5, 6, 0});
  CHECK(rows.train == std::vector<int>{7, 3, 2, 4, 9, 1, 8});
  options.val_size = 1;
  CHECK(contains(shelf.error(options), "val_size: 1 is neither a fraction"));
  options.val_size = 10;
  CHECK(contains(shelf.error(options), "takes 10 of 10 records"));
  options.eval_dataset = {"four"};
  CHECK(shelf.error(options) == "val_size and eval_dataset exclude each other");
}

TEST_CASE("Dataset: eval_dataset gives one set, or one each") {
  const Shelf shelf;
  DataOptions options = shelf.options({"six"});
  options.eval_dataset = {"four", "six"};
  const Datasets one = shelf.load(options);
  REQUIRE(one.eval.size() == 1);
  CHECK(one.eval[0].name == "");
  CHECK(one.eval[0].samples.size() == 10);
  options.eval_on_each_dataset = true;
  const Datasets each = shelf.load(options);
  REQUIRE(each.eval.size() == 2);
  CHECK(each.eval[0].name == "four");
  CHECK(each.eval[1].samples.size() == 6);
}

TEST_CASE("Dataset: the rows taken and their order are LLaMA-Factory's") {
  const Shelf shelf;
  for (const auto& [name, count] : {std::pair{"a", 6}, {"b", 91}, {"c", 150}}) {
    shelf.folder.write(cat(name, ".json"), Shelf::rows(name, count));
  }
  const auto names = [](const Json& rows) {
    std::string out;
    for (const Json& row : rows) {
      out += cat(out.empty() ? "" : " ", row[0].get<std::string>(), row[1].get<int>());
    }
    return out;
  };
  for (const Json& run : read_json(golden("draws.json"))) {
    Json info = Json::object();
    for (const std::string name : {"a", "b", "c"}) {
      info[name]["file_name"] = name + ".json";
      for (const char* key : {"num_samples", "split"})
        if (run.contains(key) && run[key].contains(name)) info[name][key] = run[key][name];
    }
    shelf.folder.write("dataset_info.json", info.dump());
    DataOptions options = shelf.options(run["dataset"].get<std::vector<std::string>>());
    if (run.contains("eval_dataset")) options.eval_dataset = run["eval_dataset"].get<std::vector<std::string>>();
    if (run.contains("max_samples")) options.max_samples = run["max_samples"].get<int>();
    options.val_size = run.value("val_size", 0.0);
    options.mix_strategy = run.value("mix_strategy", "concat");
    std::istringstream probabilities(run.value("interleave_probs", ""));
    for (std::string p; std::getline(probabilities, p, ',');) options.interleave_probs.push_back(std::stod(p));
    options.seed = run.value("seed", 42);
    INFO(run["dataset"] << " " << options.mix_strategy << " seed " << options.seed);
    const Datasets taken = shelf.load(options);
    CHECK(shelf.answers(taken.train) == names(run["train"]));
    if (!run["eval"].is_null()) CHECK(shelf.answers(taken.eval.at(0).samples) == names(run["eval"]));
  }
}

TEST_CASE("Dataset: split takes a part of the file, and an unknown one is an error") {
  const Shelf shelf;
  const auto with_split = [&](const std::string& split) {
    shelf.folder.write("dataset_info.json", R"({"six": {"file_name": "six.json", "split": ")" + split + "\"}}");
  };
  with_split("train[:2]");
  CHECK(shelf.answers(shelf.load(shelf.options({"six"})).train) == "s0 s1");
  with_split("test");
  CHECK(contains(shelf.error(shelf.options({"six"})),
                 "dataset six: \"split\" in dataset_info.json: split \"test\" is unknown"));
}

TEST_CASE("Dataset: a broken line is an error with its number, or left out and reported") {
  const Shelf shelf;
  const std::string good = R"({"instruction": "q", "output": "g)";
  shelf.folder.write("six.json", good + "0\"}\n" + good + "\n" + good + "1\"}\n");
  const std::string error = shelf.error(shelf.options({"six"}));
  CHECK(contains(error, "dataset: 1 record is wrong:"));
  CHECK(contains(error, shelf.folder.file("six.json") + " row 2: not valid JSON: line 2, column 34"));
  CHECK(contains(error, "skip_bad_samples: true"));
  DataOptions options = shelf.options({"six"});
  options.skip_bad_samples = true;
  const Datasets kept = shelf.load(options);
  CHECK(shelf.answers(kept.train) == "g0 g1");
  REQUIRE(kept.notes.size() == 1);
  CHECK(contains(kept.notes[0], "six.json row 2: not valid JSON"));
}

TEST_CASE("Dataset: keys without effect are said once") {
  const Shelf shelf;
  shelf.folder.write("dataset_info.json", R"({"six": {"file_name": "six.json", "subset": "s"}})");
  DataOptions options = shelf.options({"six"});
  options.eval_dataset = {"six"};
  const auto notes = shelf.load(options).notes;
  REQUIRE(notes.size() == 1);
  CHECK(contains(notes[0], "data set six: \"subset\" has no effect"));
}

TEST_CASE("Dataset: all wrong records are named together, with file, row and counts") {
  const Shelf shelf;
  shelf.folder.write("pictures.json", R"([{"q": "<image>", "a": "b", "images": ["p.bmp"]},
    {"q": "<image><image>", "a": "b", "images": ["p.bmp"]}, {"q": "<image>", "a": "b", "images": ["lost.png"]},
    {"q": "no answer", "images": []}, {"q": "<video>", "a": "b"}, {"q": "no answer either"}])");
  const std::string error = shelf.error(shelf.options({"pictures"}));
  const std::string file = shelf.folder.file("pictures.json");
  CHECK(contains(error, "dataset: 3 records are wrong:"));
  CHECK(contains(error, file + " row 2: the messages hold 2 <image> and the record lists 1 image"));
  CHECK(contains(error, file + " row 3: image lost.png does not exist"));
  CHECK(contains(error, file + " row 5: the messages hold 1 <video> and the record lists 0 videos"));
  DataOptions options = shelf.options({"pictures"});
  options.skip_bad_samples = true;
  const Datasets kept = shelf.load(options);
  CHECK(kept.train.size() == 1);
  REQUIRE(kept.notes.size() == 2);
  CHECK(kept.notes[0] == "dropped 2 records (no text in \"a\"): " + file + " row 4, " + file + " row 6");
  CHECK(contains(kept.notes[1], "skipped 3 wrong record(s):"));
}

TEST_CASE("Dataset: of a pair both answers are sequences, with as much of the prompt as the longer one leaves") {
  const Shelf shelf;
  shelf.folder.write("pairs.json", R"([{"q": "question", "a": "yes", "b": "certainly not"}, {"q": "x", "a": "y"}])");
  DataOptions options = shelf.options({"answers"});
  options.stage = Stage::dpo;
  const Datasets whole = shelf.load(options);
  REQUIRE(whole.train.size() == 1);
  const EncodedSample& pair = whole.train[0];
  CHECK(shelf.answers(whole.train) == "yescertainly not");
  CHECK(pair.roles == std::vector{SequenceRole::chosen, SequenceRole::rejected});
  REQUIRE(pair.sequences.size() == 2);
  const int prompt = pair.sequences[0].end - 5;  // the answer, and what ends a turn
  CHECK(std::equal(pair.ids.begin(), pair.ids.begin() + prompt, pair.ids.begin() + pair.sequences[0].end));
  CHECK(contains(whole.notes[0], "dropped 1 record"));
  options.cutoff_len = 24;
  const Datasets cut = shelf.load(options);
  CHECK(cut.train[0].sequences[0].end ==
        16 + 5);  // split_lengths(27, 15, 24): 16 of the prompt, 8 of the longer answer
  CHECK(std::ssize(cut.train[0].ids) == cut.train[0].sequences[0].end + 24);
}

TEST_CASE("Dataset: the baseline of a judged answer is the answer of the record before it in its preprocessing batch") {
  const Shelf shelf;
  shelf.folder.write("judged.json", R"([{"q": "1", "a": "one", "good": true}, {"q": "2", "a": "two", "good": false},
    {"q": "3", "a": "three", "good": true}, {"q": "4", "a": "four", "good": 1}])");
  DataOptions options = shelf.options({"judged"});
  options.stage = Stage::kto, options.preprocessing_batch_size = 2;
  const Datasets all = shelf.load(options);
  REQUIRE(all.train.size() == 2);  // the baseline of the third record is not judged
  CHECK(shelf.answers(all.train) == "onetwo twoone");
  CHECK(all.train[0].roles == std::vector{SequenceRole::chosen, SequenceRole::baseline});
  CHECK(all.train[1].roles == std::vector{SequenceRole::rejected, SequenceRole::baseline});
}

TEST_CASE("Dataset: records of another stage are refused") {
  const Shelf shelf;
  const auto error = [&](const char* name, Stage stage) {
    DataOptions options = shelf.options({name});
    options.stage = stage;
    return shelf.error(options);
  };
  CHECK(contains(error("answers", Stage::sft), "preference pairs"));
  CHECK(contains(error("judged", Stage::dpo), "stage: kto"));
  CHECK(contains(error("pairs", Stage::dpo), "columns \"chosen\" and \"rejected\""));
  CHECK(contains(error("four", Stage::kto), "kto_tag"));
}

TEST_CASE("Dataset: a set without any valid record, and settings that are not supported, are refused") {
  const Shelf shelf;
  shelf.folder.write("pictures.json", R"([{"q": "x", "a": null, "images": []}])");
  CHECK(contains(shelf.error(shelf.options({"pictures"})), "no valid sample is left to train on\ndropped 1 record"));
  CHECK(contains(shelf.error(shelf.options({"pairs"})), "preference pairs"));
  CHECK(contains(shelf.error(shelf.options({"fuor"})), "dataset: fuor is not in"));
  const auto with = [&](auto change) {
    DataOptions options = shelf.options({"four"});
    change(options);
    return shelf.error(options);
  };
  CHECK(contains(with([](DataOptions& o) { o.packing = true, o.cutoff_len = 1; }), "leaves no token for packing"));
  CHECK(contains(with([](DataOptions& o) { o.tool_format = "glm4"; }), "tool_format: glm4 is not supported"));
  CHECK(contains(with([](DataOptions& o) { o.cutoff_len = 0; }), "cutoff_len: 0 is not positive"));
  CHECK(contains(with([](DataOptions& o) { o.max_samples = 0; }), "max_samples: 0 is not positive"));
  CHECK(contains(with([](DataOptions& o) { o.images = {100, 200}; }), "image_max_pixels: 100 is below"));
  CHECK(contains(with([](DataOptions& o) { o.images = {100, 0}; }), "image_min_pixels: 0 is not positive"));
  CHECK(contains(with([](DataOptions& o) { o.mask_history = o.train_on_prompt = true; }), "exclude each other"));
  CHECK(contains(with([](DataOptions& o) { o.template_name = "llama3"; }), "template: llama3 is unknown"));
  CHECK(contains(with([](DataOptions& o) { o.dataset.clear(), o.val_size = 2; }), "no dataset to take it from"));
}

TEST_CASE("Dataset: a reasoning template says that it teaches empty thoughts") {
  const Shelf shelf;
  DataOptions options = shelf.options({"four"});
  options.template_name = "qwen3_vl";
  REQUIRE(shelf.load(options).notes.size() == 1);
  CHECK(contains(shelf.load(options).notes[0], "for an Instruct model take qwen3_vl_nothink"));
  options.enable_thinking = false;
  CHECK(shelf.load(options).notes.empty());
}

TEST_CASE("Collate: weights give the mean of each micro-batch, over the number of micro-batches") {
  constexpr int no = ignored_label;
  const EncodedSample a = tokens({no, 5, 5}), b = tokens({5, no, 5, no, 5}), c = tokens({no, no, 5});
  const std::vector<std::vector<const EncodedSample*>> window = {{&a, &c}, {&b}};
  const Collated out = collate(window, {qwen3_processor(), {}, image_pad_id});
  CHECK(out.batch.cu_seqlens == std::vector<int>{0, 3, 6, 11});
  const float first = 1.0f / 6, second = 1.0f / 4;  // 3 learned tokens and 2, in 2 micro-batches
  CHECK(out.batch.loss_weights == std::vector<float>{0, first, first, 0, 0, first, 0, 0, second, 0, second});
  CHECK(out.batch.cu_parts == std::vector<int>{0, 6, 11});
  CHECK(out.batch.labels == std::vector<int>{no, 5, 5, no, no, 5, 5, no, 5, no, 5});
  CHECK(out.batch.ids.size() == 11);
  CHECK(out.batch.grids.empty());
  CHECK(out.origins.size() == 3);
  CHECK(out.warnings.empty());
}

TEST_CASE("Collate: a micro-batch that teaches nothing adds nothing, keeps its share and is named") {
  const EncodedSample a = tokens({ignored_label, 5}), b = tokens({5, ignored_label}, "x row 2");
  const std::vector<std::vector<const EncodedSample*>> window = {{&a}, {&b}};
  const Collated out = collate(window, {qwen3_processor(), {}, image_pad_id});
  CHECK(out.batch.loss_weights == std::vector<float>{0, 0.5f, 0, 0});
  CHECK(out.warnings == std::vector<std::string>{"x row 2: a micro-batch without any learned token adds no loss"});
}

TEST_CASE("Collate: images become patches in the order of their placeholders, and changed files are noticed") {
  const Shelf shelf;
  shelf.folder.write("q.bmp", bmp(480, 160));
  EncodedSample a = tokens(std::vector<int>(75 + 64 + 2, 1), "x row 9");
  std::fill(a.ids.begin(), a.ids.begin() + 75, image_pad_id);
  std::fill(a.ids.begin() + 76, a.ids.begin() + 140, image_pad_id);
  a.images = {shelf.folder.path() / "q.bmp", shelf.folder.path() / "p.bmp"};
  a.image_patches = {300, 256};
  const std::vector<std::vector<const EncodedSample*>> window = {{&a}};
  const Collated out = collate(window, {shelf.processor, {}, image_pad_id});
  CHECK(out.batch.grids == std::vector<Grid>{{1, 10, 30}, {1, 16, 16}});
  CHECK(out.batch.patches.size() == (300 + 256) * std::size_t{1536});
  shelf.folder.write("p.bmp", bmp(480, 160));
  CHECK(contains(error_of([&] {
                   collate(window, {shelf.processor, {}, image_pad_id});
                 }),
                 "p.bmp gives 300 patches, 256 were counted"));
  shelf.folder.write("p.bmp", "BM");
  const std::string error = error_of([&] { collate(window, {shelf.processor, {}, image_pad_id}); });
  CHECK(contains(error, "x row 9: "));
  CHECK(contains(error, "p.bmp"));
}

TEST_CASE("SampleStream: an epoch has each row once, and none of those that are held out; wrong records are named") {
  const Shelf shelf;
  DataOptions options = shelf.options({"four", "six"});
  options.buffer_size = 3, options.preprocessing_batch_size = 4, options.stream_workers = 2, options.val_size = 3;
  Datasets found;
  const auto stream = open_stream(options, shelf.tokenizer, shelf.processor, found);
  REQUIRE(found.eval.size() == 1);
  const std::string held = shelf.answers(found.eval[0].samples);
  std::string first;
  for (int epoch = 0; epoch < 3; ++epoch) {
    CHECK(stream->epoch() == epoch);
    std::vector<EncodedSample> samples;
    for (auto batch = stream->batch(2, false); !batch.empty(); batch = stream->batch(2, false))
      samples.insert(samples.end(), batch.begin(), batch.end());
    std::istringstream words(shelf.answers(samples) + " " + held);
    const std::set<std::string> all{std::istream_iterator<std::string>(words), {}};
    CHECK(samples.size() == 7);
    CHECK(all.size() == 10);
    if (epoch == 0) first = shelf.answers(samples);
  }
  stream->restart();
  CHECK(first.starts_with(shelf.answers(stream->batch(2, false))));

  shelf.folder.write("four.json",
                     "{\"instruction\": \"q\", \"output\": \"a\"}\n{\"instruction\": 1, \"output\": \"b\"}\n[]\n");
  DataOptions wrong = shelf.options({"four"});
  const auto message = [&] {
    return error_of([&] { open_stream(wrong, shelf.tokenizer, shelf.processor, found)->batch(2, false); });
  };
  CHECK(contains(message(), "four.json row 3: the record is array"));
  wrong.skip_bad_samples = true;
  CHECK(message() == "");
  shelf.folder.write("four.csv", "instruction,output\nq,a\n");
  shelf.folder.write("dataset_info.json", R"({"four": {"file_name": "four.csv"}})");
  CHECK(contains(message(), "leave streaming out"));
}
