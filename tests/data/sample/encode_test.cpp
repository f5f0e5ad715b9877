#include "data/support.hpp"
#include "support/catch.hpp"

#include <lamina/data/sample/encode.hpp>

using namespace lamina;
using namespace lamina::data;
using namespace lamina::data::test;

namespace {

Conversation talk(std::vector<Turn> turns, std::vector<std::string> images = {}) {
  Conversation c;
  c.turns = std::move(turns), c.images = std::move(images), c.origin = "x.json row 1";
  return c;
}
Turn user(const std::string& text) { return {Role::user, text}; }
Turn model(const std::string& text) { return {Role::assistant, text}; }

/// The texts of all pairs, "source|target" each, pieces joined.
std::vector<std::string> rendered(const std::string& layout, const Conversation& c, const RenderOptions& options = {}) {
  std::vector<std::string> out;
  for (const RenderedPair& pair : render_pairs(ChatLayout::named(layout), c.turns, c.system, c.tools, options)) {
    std::string text;
    for (const auto& piece : pair.source) text += piece;
    text += "|";
    for (const auto& piece : pair.target) text += piece;
    out.push_back(text);
  }
  return out;
}
const std::string user_a = "<|im_start|>user\na<|im_end|>\n<|im_start|>assistant\n";

/// A folder with one 64 x 64 image (64 tokens on Qwen3-VL), and an encoder over bytes.
struct Workshop {
  Folder folder;
  text::Tokenizer tokenizer = byte_tokenizer();
  vision::Processor processor = qwen3_processor();
  Workshop() {
    folder.write("p.bmp", bmp(64, 64));
    folder.write("broken.png", "\x89PNG\r\n\x1a\nrubbish");
  }
  Encoded encode(const Conversation& c, const EncodeOptions& options, const std::string& layout = "qwen3_vl_nothink") {
    return Encoder(tokenizer, ChatLayout::named(layout), options, {processor}, folder.path()).encode(c);
  }
  EncodedSample sample(const Conversation& c, const EncodeOptions& options,
                       const std::string& layout = "qwen3_vl_nothink") {
    return std::get<EncodedSample>(encode(c, options, layout));
  }
  std::string text(const std::vector<int>& ids) const { return tokenizer.decode(ids); }
  std::string learned(const EncodedSample& sample) const {
    std::string out;
    for (const int id : sample.labels) out += id == ignored_label ? std::string("_") : text({id});
    return out;
  }
};
EncodeOptions cutoff(int length) {
  EncodeOptions options;
  options.cutoff_len = length;
  return options;
}
std::string blank(std::size_t count) { return std::string(count, '_'); }

}  // namespace

TEST_CASE("ChatLayout: the three layouts differ in system prompt and thought only") {
  const Conversation c = talk({user("a"), model("b")});
  CHECK(rendered("qwen2_vl", c)[0] ==
        "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n" + user_a + "|b<|im_end|>\n");
  CHECK(rendered("qwen3_vl_nothink", c)[0] == user_a + "|b<|im_end|>\n");
  CHECK(rendered("qwen3_vl", c)[0] == user_a + "|<think>\n\n</think>\n\nb<|im_end|>\n");
}

TEST_CASE("ChatLayout: an empty thought is learned, given, or absent as enable_thinking says") {
  const Conversation c = talk({user("a"), model("<think>\nt\n</think>\n\nb"), user("a"), model("c")});
  const std::string thought = "<think>\nt\n</think>\n\n", empty = "<think>\n\n</think>\n\n", end = "<|im_end|>\n";
  using Texts = std::vector<std::string>;
  CHECK(rendered("qwen3_vl", c) == Texts{user_a + "|" + thought + "b" + end, user_a + "|" + empty + "c" + end});
  CHECK(rendered("qwen3_vl", c, {.enable_thinking = false, .drop_history_thoughts = false}) ==
        Texts{user_a + empty + "|b" + end, user_a + empty + "|c" + end});
  CHECK(rendered("qwen3_vl", c, {.enable_thinking = std::nullopt, .drop_history_thoughts = false}) ==
        Texts{user_a + "|" + thought + "b" + end, user_a + empty + "|c" + end});
  CHECK(rendered("qwen3_vl", c, {.enable_thinking = true, .drop_history_thoughts = true}) ==
        Texts{user_a + "|b" + end, user_a + "|" + empty + "c" + end});
  CHECK(rendered("qwen3_vl_nothink", c, {.enable_thinking = false, .drop_history_thoughts = true})[0] ==
        user_a + "|" + thought + "b" + end);
}

TEST_CASE("ChatLayout: tools follow the system prompt, calls and results have their tags") {
  Conversation c = talk({user("a"),
                         {Role::function, R"([{"name":"f","arguments":{"x":"é"}},{"name":"g","arguments":1}])"},
                         {Role::observation, "o"},
                         model("b")});
  c.tools = R"([{"name":"f"},{"type":"function","function":{"name":"g"}}])";
  const auto texts = rendered("qwen3_vl_nothink", c);
  CHECK(contains(texts[0], "<|im_start|>system\n\n\n# Tools\n\nYou may call"));
  CHECK(contains(texts[0],
                 "<tools>\n{\"type\": \"function\", \"function\": {\"name\": \"f\"}}\n"
                 "{\"type\": \"function\", \"function\": {\"name\": \"g\"}}\n</tools>"));
  CHECK(contains(texts[0],
                 "|<tool_call>\n{\"name\": \"f\", \"arguments\": {\"x\": \"é\"}}\n</tool_call>\n"
                 "<tool_call>\n{\"name\": \"g\", \"arguments\": 1}\n</tool_call><|im_end|>\n"));
  CHECK(contains(texts[1],
                 "<|im_start|>user\n<tool_response>\no\n</tool_response><|im_end|>\n<|im_start|>assistant\n|b"));
}

TEST_CASE("ChatLayout: arguments written as text become the object, and every call stays in its place") {
  const std::string call = "<tool_call>\n{\"name\": \"f\", \"arguments\": {\"x\": 1}}\n</tool_call>";
  CHECK(function_text(R"({"name": "f", "arguments": "{\"x\": 1}"})", qwen_vl::tools) == call);
  CHECK(function_text(R"({"name": "f", "arguments": ""})", qwen_vl::tools) ==
        "<tool_call>\n{\"name\": \"f\", \"arguments\": {}}\n</tool_call>");
  const std::string written = R"(<tool_call>{"name":"f","arguments":"{\"x\":1}"}</tool_call>)";
  CHECK(function_text("Look. " + written + "!", qwen_vl::tools) == "Look. !" + call);
  CHECK(function_text("Look.\n" + written + "\n" + written, qwen_vl::tools) == "Look.\n" + call + "\n" + call);
}

TEST_CASE("ChatLayout: wrong names, tools and calls are refused") {
  CHECK(contains(error_of([] { ChatLayout::named("qwen3_vl_no_think"); }), "did you mean qwen3_vl_nothink?"));
  CHECK(contains(error_of([] { ChatLayout::named(""); }), "template: not set"));
  CHECK(ChatLayout::named("qwen3_vl", "s").default_system == "s");
  CHECK(contains(error_of([] { tools_text("[{", qwen_vl::tools); }), "\"tools\" is not valid JSON"));
  CHECK(contains(error_of([] { tools_text(R"({"name": "f"})", qwen_vl::tools); }),
                 "must be a JSON list of functions, got object"));
  CHECK(contains(error_of([] { tools_text("[3]", qwen_vl::tools); }), "it holds 3"));
  CHECK(tools_text("[]", qwen_vl::tools) == "");
  CHECK(
      contains(error_of([] { function_text("call f", qwen_vl::tools); }), "a function_call message is not valid JSON"));
  CHECK(contains(error_of([] { function_text(R"({"name": "f"})", qwen_vl::tools); }),
                 "{\"name\": ..., \"arguments\": ...}"));
  CHECK(contains(error_of([] { function_text(R"({"name": "f", "arguments": "[1]"})", qwen_vl::tools); }),
                 "wanted the JSON of an object"));
}

TEST_CASE("Encoder: split_lengths is LLaMA-Factory's") {
  CHECK(split_lengths(100, 200, 2048) == SplitLengths{100, 200});
  CHECK(split_lengths(3000, 100, 2048) == SplitLengths{1948, 100});
  CHECK(split_lengths(100, 3000, 2048) == SplitLengths{100, 1948});
  CHECK(split_lengths(3000, 3000, 2048) == SplitLengths{1024, 1024});
  CHECK(split_lengths(1000, 2000, 2048) == SplitLengths{1000, 1048});
  CHECK(split_lengths(2000, 1000, 2048) == SplitLengths{1048, 1000});
  CHECK(split_lengths(1500, 1023, 2048) == SplitLengths{1025, 1023});
  CHECK(split_lengths(10, 10, 1) == SplitLengths{1, 0});
}

TEST_CASE("ImageGrids: the tokens of an image follow from its size by both resizes") {
  struct Case {
    std::int64_t limit;
    int width, height, qwen2, qwen3;
  };
  const std::vector<Case> cases = {
      {589824, 300, 168, 66, 66},     {589824, 300, 199, 77, 70},     {589824, 64, 64, 4, 64},
      {589824, 20, 20, 4, 64},        {589824, 100, 30, 4, 75},       {589824, 29, 300, 11, 78},
      {589824, 1000, 4, 36, 96},      {589824, 6000, 20, 180, 158},   {589824, 8000, 30, 193, 169},
      {262144, 1920, 1080, 336, 252}, {262144, 1080, 1920, 336, 252}, {262144, 640, 480, 336, 252},
      {262144, 512, 512, 324, 256},   {589824, 1920, 1080, 777, 576}, {589824, 1024, 768, 768, 588},
      {589824, 640, 480, 391, 300},   {589824, 768, 768, 729, 576}};
  const vision::Processor qwen2 = qwen2_processor(), qwen3 = qwen3_processor();
  const Folder folder;
  for (const Case& c : cases) {
    INFO(c.width << "x" << c.height << " limit " << c.limit);
    const auto path = folder.write(cat(c.width, "x", c.height, ".bmp"), bmp(c.width, c.height));
    CHECK(qwen2.visual_tokens()(ImageGrids(qwen2, {c.limit, 1024}).of(path)) == c.qwen2);
    CHECK(qwen3.visual_tokens()(ImageGrids(qwen3, {c.limit, 1024}).of(path)) == c.qwen3);
  }
}

TEST_CASE("Encoder: an image becomes its run of tokens, and answers with their newline are learned") {
  Workshop shop;
  const EncodedSample s = shop.sample(talk({user("<image>q"), model("a")}, {"p.bmp"}), {});
  std::string pads;
  for (int i = 0; i < 64; ++i) pads += "<|image_pad|>";
  CHECK(shop.text(s.ids) == "<|im_start|>user\n<|vision_start|>" + pads +
                                "<|vision_end|>q<|im_end|>\n<|im_start|>assistant\na<|im_end|>\n");
  CHECK(shop.learned(s) == blank(s.ids.size() - 3) + "a<|im_end|>\n");
  CHECK(s.images == std::vector<std::filesystem::path>{shop.folder.path() / "p.bmp"});
  CHECK(s.origin == "x.json row 1");
}

TEST_CASE("Encoder: an image has as many tokens as the model's type says, and its patches are counted beside them") {
  Workshop shop;
  shop.processor.set_visual_tokens({.merge = 2, .per_frame = 7}, "m");
  const EncodedSample s = shop.sample(talk({user("<image>q"), model("a")}, {"p.bmp"}), {});
  CHECK(std::count(s.ids.begin(), s.ids.end(), image_pad_id) == 7);
  CHECK(s.image_patches == std::vector<int>{256});
  CHECK(contains(error_of([&] { shop.processor.set_visual_tokens({.merge = 1, .per_frame = 7}, "m"); }),
                 "merge_size of the image processor is 2, and the model's tower joins 1 x 1 patches"));
}

TEST_CASE("Encoder: train_on_prompt learns all, mask_history the last answer only") {
  Workshop shop;
  const Conversation c = talk({user("q"), model("a"), user("r"), model("b")});
  EncodeOptions options;
  options.train_on_prompt = true;
  CHECK(shop.sample(c, options).labels == shop.sample(c, options).ids);
  options.mask_history = true;
  CHECK(error_of([&] { shop.encode(c, options); }) == "mask_history and train_on_prompt exclude each other");
  options.train_on_prompt = false;
  const EncodedSample s = shop.sample(c, options);
  CHECK(shop.learned(s) == blank(s.ids.size() - 3) + "b<|im_end|>\n");
  CHECK(s.ids == shop.sample(c, {}).ids);
}

TEST_CASE("Encoder: with mask_history the last turn gets the room first") {
  Workshop shop;
  EncodeOptions options = cutoff(30);  // a pair of one letter each is 1+5+1+1+1+1+10+... bytes: about one pair fits
  options.mask_history = true;
  const Conversation c = talk({user("q"), model("aaaaaaaaaaaaaaaaaaaa"), user("r"), model("b")});
  const EncodedSample s = shop.sample(c, options);
  CHECK(s.ids.size() == 30);
  CHECK(contains(shop.text(s.ids), "user\nr<|im_end|>\n<|im_start|>assistant\nb<|im_end|>\n"));
  CHECK(contains(shop.learned(s), "b<|im_end|>\n"));
}

TEST_CASE("Encoder: a pair that would lose part of an image ends the sample before it") {
  Workshop shop;
  const Conversation c =
      talk({user("q"), model("a"), user("look: <image>"), model("b"), user("r"), model("c")}, {"p.bmp"});
  const EncodedSample whole = shop.sample(c, {}), first = shop.sample(talk({user("q"), model("a")}), {});
  CHECK(whole.images.size() == 1);
  for (const int length : {25, 40, 60, 90}) {
    const EncodedSample s = shop.sample(c, cutoff(length));
    INFO(length);
    CHECK(s.images.empty());
    CHECK(s.ids == std::vector<int>(first.ids.begin(), first.ids.begin() + std::min<int>(length, first.ids.size())));
  }
  const EncodedSample longer = shop.sample(c, cutoff(static_cast<int>(whole.ids.size()) - 5));
  CHECK(longer.images.size() == 1);  // the image fits: only the last turn is cut
  CHECK(longer.ids.size() == whole.ids.size() - 5);
  const Encoded none = shop.encode(talk({user("<image>"), model("a")}, {"p.bmp"}), cutoff(50));
  CHECK(std::get<Dropped>(none).reason == "an image or a video does not fit into cutoff_len 50");
}

TEST_CASE("Encoder: an image in the middle of its marks is never the end of a part") {
  Workshop shop;
  const Conversation c = talk({user("<image>"), model("a")}, {"p.bmp"});
  const int whole = static_cast<int>(shop.sample(c, {}).ids.size());
  for (int length = 1; length <= whole; ++length) {
    const Encoded result = shop.encode(c, cutoff(length));
    if (!std::holds_alternative<EncodedSample>(result)) continue;
    const std::vector<int>& ids = std::get<EncodedSample>(result).ids;
    CHECK(std::count(ids.begin(), ids.end(), image_pad_id) == 64);
    CHECK(contains(shop.text(ids), "<|image_pad|><|vision_end|>"));
  }
}

TEST_CASE("Encoder: an image inside a removed thought drops the record") {
  Workshop shop;
  EncodeOptions options;
  options.enable_thinking = false;
  const Conversation c = talk({user("q"), model("<think>\n<image>\n</think>\n\na")}, {"p.bmp"});
  CHECK(contains(std::get<Dropped>(shop.encode(c, options, "qwen3_vl")).reason, "inside a thought"));
  CHECK(std::holds_alternative<EncodedSample>(shop.encode(c, options, "qwen3_vl_nothink")));
}

TEST_CASE("Encoder: wrong media are errors that say what is wrong") {
  Workshop shop;
  const auto error = [&](const Conversation& c) { return error_of([&] { shop.encode(c, {}); }); };
  CHECK(contains(error(talk({user("<image><image>"), model("a")}, {"p.bmp"})),
                 "hold 2 <image> and the record lists 1 image"));
  CHECK(contains(error(talk({user("q"), model("a")}, {"p.bmp", "p.bmp"})),
                 "hold 0 <image> and the record lists 2 images"));
  CHECK(contains(error(talk({user("q"), model("an <image>")})), "hold 1 <image> and the record lists 0 images"));
  CHECK(contains(error(talk({user("<image>"), model("a")}, {"none.png"})), "none.png does not exist"));
  CHECK(contains(error(talk({user("<image>"), model("a")}, {"broken.png"})), "broken.png"));
  CHECK(contains(error(talk({user("<video>"), model("a")})), "hold 1 <video> and the record lists 0 videos"));
  CHECK(contains(error(talk({user("<audio>"), model("a")})), "audio is not supported"));
  CHECK(contains(error(talk({user("<|image_pad|>"), model("a")})), "which stands for an image"));
  Conversation video = talk({user("q"), model("a")});
  video.videos = {{"none.mp4", {}}};
  CHECK(contains(error(video), "hold 0 <video> and the record lists 1 video:"));
  video.turns[0].content = "<video>";
  CHECK(contains(error(video), "none.mp4 does not exist"));
}

TEST_CASE("Encoder: a path is taken under media_dir first, then as it is written") {
  Workshop shop;
  CHECK(resolve_media(shop.folder.path(), "p.bmp") == shop.folder.path() / "p.bmp");
  CHECK(resolve_media(shop.folder.path(), "q.bmp") == "q.bmp");
  const EncodedSample s = shop.sample(talk({user("<image>"), model("a")}, {shop.folder.file("p.bmp")}), {});
  CHECK(s.images[0] == shop.folder.file("p.bmp"));
}
