#include <lamina/data/tokenized.hpp>

#include "data/support.hpp"
#include "support/catch.hpp"

using namespace lamina;
using namespace lamina::data;
using namespace lamina::data::test;

TEST_CASE("tokenized_path: the second run has the samples of the first, without a look at the data") {
  const Folder folder;
  folder.write("dataset_info.json", R"({"a": {"file_name": "a.json", "columns": {"prompt": "q", "response": "a",
      "images": "images"}}, "b": {"file_name": "b.json", "ranking": true, "columns": {"prompt": "q", "chosen": "a", "rejected": "b"}}})");
  folder.write("a.json",
               R"([{"q": "<image>x", "a": "y", "images": ["p.bmp"]}, {"q": "u", "a": "v"}, {"q": "w", "a": "z"}])");
  folder.write("b.json", R"([{"q": "x", "a": "y", "b": "z"}])");
  folder.write("p.bmp", bmp(64, 64));
  const text::Tokenizer tokenizer = byte_tokenizer();
  const vision::Processor processor = qwen3_processor();
  DataOptions options;
  options.template_name = "qwen3_vl_nothink", options.dataset_dir = folder.path(), options.dataset = {"a"};
  options.val_size = 0.3, options.predict = true;
  const std::filesystem::path cache = folder.path() / "cache";
  const auto load = [&] { return load_tokenized(cache, options, tokenizer, processor, true); };
  const auto same = [](const std::vector<EncodedSample>& x, const std::vector<EncodedSample>& y) {
    return std::equal(x.begin(), x.end(), y.begin(), y.end(), [](const EncodedSample& s, const EncodedSample& t) {
      return s.ids == t.ids && s.labels == t.labels && s.answer == t.answer && s.images == t.images &&
             s.image_patches == t.image_patches && s.origin == t.origin && s.roles == t.roles && s.lost == t.lost &&
             s.sequence_count() == t.sequence_count();
    });
  };
  const Datasets first = load();
  CHECK(contains(first.notes.back(), "samples are stored in"));
  std::filesystem::remove(folder.path() / "a.json");
  const Datasets again = load();
  CHECK(contains(again.notes.back(), "as an earlier run stored them"));
  CHECK(same(first.train, again.train));
  CHECK(same(first.questions, again.questions));
  REQUIRE(again.eval.size() == 1);
  CHECK(again.eval[0].name.empty());
  CHECK(same(first.eval[0].samples, again.eval[0].samples));

  options.cutoff_len = 100;
  CHECK(contains(error_of(load), "cutoff_len was 2048, is 100"));
  folder.write("cache/dataset_dict.json", "{}");
  CHECK(contains(error_of(load), "Arrow files of LLaMA-Factory"));

  std::filesystem::remove_all(cache);
  options.stage = Stage::dpo, options.dataset = {"b"}, options.val_size = 0, options.predict = false;
  const Datasets pairs = load(), pairs_again = load();
  CHECK(same(pairs.train, pairs_again.train));
  CHECK(pairs_again.train[0].sequences.size() == 2);
  CHECK(pairs_again.train[0].sequences[1].end == pairs.train[0].sequences[1].end);
  folder.write("cache/samples.safetensors", "broken");
  CHECK(contains(error_of(load), "samples.safetensors"));
}
