#include <lamina/core/error.hpp>
#include <lamina/model/qwen_vl/chat.hpp>
#include <lamina/text/tokenizer.hpp>
#include <lamina/text/tokenizer/stream_decoder.hpp>
#include "support.hpp"

#include <sstream>
#include <thread>
#include <vector>

using namespace lamina;
using namespace lamina::text;
using test_text::golden;

namespace {

std::string stream(const Tokenizer& tokenizer, const std::vector<int>& ids, bool skip_special) {
  StreamDecoder decoder(tokenizer, skip_special);
  std::string out;
  for (const int id : ids) {
    const std::string piece = decoder.push(id);
    REQUIRE(io::is_valid_utf8(piece));
    out += piece;
  }
  return out + decoder.finish();
}

/// The ids of a text that somebody wrote into a message.
std::vector<int> encode_content(const Tokenizer& tokenizer, const std::string& text) {
  const std::vector<PromptSegment> prompt{{text, false}};
  return tokenizer.encode(prompt);
}

void check_decoding(const Tokenizer& tokenizer, std::string_view file) {
  for (const auto& test : test_text::read_json(file)) {
    const auto ids = test["ids"].get<std::vector<int>>();
    CAPTURE(ids);
    CHECK(tokenizer.decode(ids) == test["text"].get<std::string>());
    CHECK(tokenizer.decode(ids, true) == test["skipped"].get<std::string>());
    CHECK(stream(tokenizer, ids, false) == test["text"].get<std::string>());
    CHECK(stream(tokenizer, ids, true) == test["skipped"].get<std::string>());
  }
}

void check_tiny(const Tokenizer& tokenizer) {
  const auto cases = test_text::read_json("tiny_cases.json");
  REQUIRE(cases.size() > 400);
  for (const auto& test : cases) {
    const auto text = test["text"].get<std::string>();
    CAPTURE(text);
    CHECK(tokenizer.encode(text) == test["ids"].get<std::vector<int>>());
    CHECK(encode_content(tokenizer, text) == test["as_text"].get<std::vector<int>>());
  }
}

std::string unescape(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '\\') {
      out += text[i];
    } else {
      ++i;
      out += text[i] == 'n' ? '\n' : text[i] == 'r' ? '\r' : '\\';
    }
  }
  return out;
}

}  // namespace

TEST_CASE("Tokenizer: a small tokenizer.json gives the tokenizers library's ids") {
  check_tiny(Tokenizer::load(golden("tiny_json"), lamina::qwen_vl::control_tokens));
}

TEST_CASE("Tokenizer: vocab.json, merges.txt and tokenizer_config.json give the ids of tokenizer.json") {
  const Tokenizer tokenizer = Tokenizer::load(golden("tiny_vocab"), lamina::qwen_vl::control_tokens);
  CHECK(tokenizer.size() == Tokenizer::load(golden("tiny_json"), lamina::qwen_vl::control_tokens).size());
  check_tiny(tokenizer);
}

TEST_CASE("Tokenizer: merges spelt \"a b\" in tokenizer.json give the same ids") {
  auto json = test_text::read_json("tiny_json/tokenizer.json");
  for (auto& merge : json["model"]["merges"]) {
    merge = merge[0].get<std::string>() + " " + merge[1].get<std::string>();
  }
  const test_text::TemporaryFolder folder("merges");
  folder.write("tokenizer.json", json.dump());
  check_tiny(Tokenizer::load(folder.path, lamina::qwen_vl::control_tokens));
}

TEST_CASE("Tokenizer: decodes any ids as the tokenizers library does, at once and as a stream") {
  check_decoding(Tokenizer::load(golden("tiny_json"), lamina::qwen_vl::control_tokens), "tiny_decode.json");
}

TEST_CASE("Tokenizer: ids that name no token decode to nothing") {
  const Tokenizer tokenizer = Tokenizer::load(golden("tiny_json"), lamina::qwen_vl::control_tokens);
  CHECK(tokenizer.decode(std::vector<int>{-1, tokenizer.size(), 1 << 30}).empty());
  CHECK_FALSE(tokenizer.is_special(-1));
  CHECK_FALSE(tokenizer.is_special(tokenizer.size()));
}

TEST_CASE("Tokenizer: tokens are found by their spelling") {
  const Tokenizer tokenizer = Tokenizer::load(golden("tiny_json"), lamina::qwen_vl::control_tokens);
  const auto end = tokenizer.id_of("<|im_end|>");
  REQUIRE(end);
  CHECK(tokenizer.is_special(*end));
  CHECK(tokenizer.encode("<|im_end|>") == std::vector<int>{*end});
  REQUIRE(tokenizer.id_of("\u0120"));  // a space
  CHECK(tokenizer.decode(std::vector<int>{*tokenizer.id_of("\u0120")}) == " ");
  CHECK_FALSE(tokenizer.id_of("no such token"));
  const auto think = tokenizer.id_of("<think>");
  REQUIRE(think);
  CHECK_FALSE(tokenizer.is_special(*think));
}

TEST_CASE("Tokenizer: control tokens in content are text") {
  const Tokenizer tokenizer = Tokenizer::load(golden("tiny_json"), lamina::qwen_vl::control_tokens);
  const std::string text = "a<|im_end|><|im_start|>b";
  const auto ids = encode_content(tokenizer, text);
  for (const int id : ids) CHECK_FALSE(tokenizer.is_special(id));
  CHECK(tokenizer.decode(ids, true) == text);
  CHECK(tokenizer.decode(tokenizer.encode(text), true) == "ab");
}

TEST_CASE("Tokenizer: a prompt has the ids of its joined text, wherever it is cut into segments") {
  const Tokenizer tokenizer = Tokenizer::load(golden("tiny_json"), lamina::qwen_vl::control_tokens);
  const std::string opening = "<|im_start|>user\n", text = "\n  naïve e\u0301a <think> x's", end = "<|im_end|>\n";
  const auto whole = tokenizer.encode(opening + text + end);
  std::vector<PromptSegment> prompt;
  append_segment(prompt, opening, true);
  for (const char c : text) append_segment(prompt, std::string(1, c), false);
  append_segment(prompt, end, true);
  CHECK(prompt.size() == 3);
  CHECK(joined(prompt) == opening + text + end);
  CHECK(tokenizer.encode(prompt) == whole);
}

TEST_CASE("Tokenizer: encoding ends at a number of ids, and when it is cancelled") {
  const Tokenizer tokenizer = Tokenizer::load(golden("tiny_json"), lamina::qwen_vl::control_tokens);
  const std::vector<PromptSegment> words{{std::string(2000, '7'), false}}, word{{std::string(1 << 22, 'x'), false}};
  CHECK(tokenizer.encode(words, {.max_ids = 2000}).size() == 2000);
  CHECK_THROWS_AS(tokenizer.encode(words, {.max_ids = 1999}), TooManyIds);
  CHECK_THROWS_AS(tokenizer.encode(word, {.max_ids = 1000}), TooManyIds);
  std::stop_source stop;
  stop.request_stop();
  CHECK_THROWS_AS(tokenizer.encode(words, {.cancelled = stop.get_token()}), Cancelled);
}

TEST_CASE("Tokenizer: bytes that are not UTF-8 count as U+FFFD") {
  const Tokenizer tokenizer = Tokenizer::load(golden("tiny_json"), lamina::qwen_vl::control_tokens);
  CHECK(tokenizer.encode("a\xff\xe4\xb8z") == tokenizer.encode("a\ufffd\ufffdz"));
  CHECK(tokenizer.encode("").empty());
}

TEST_CASE("Tokenizer: a long word takes time in proportion") {
  const Tokenizer tokenizer = Tokenizer::load(golden("tiny_json"), lamina::qwen_vl::control_tokens);
  const std::string word(1'000'000, 'a');
  CHECK(tokenizer.decode(tokenizer.encode(word)) == word);
}

TEST_CASE("Tokenizer: threads share one tokenizer") {
  const Tokenizer tokenizer = Tokenizer::load(golden("tiny_json"), lamina::qwen_vl::control_tokens);
  const auto cases = test_text::read_json("tiny_cases.json");
  std::vector<std::thread> threads;
  std::vector<int> wrong(4);
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      for (const auto& test : cases) {
        wrong[t] += tokenizer.encode(test["text"].get<std::string>()) != test["ids"].get<std::vector<int>>();
      }
    });
  }
  for (auto& thread : threads) thread.join();
  CHECK(wrong == std::vector<int>(4));
}

TEST_CASE("Tokenizer: 22000 lines have the tokenizers library's ids and text under Qwen3's real files") {
  const auto folder = test_text::qwen3_tokenizer();
  if (folder.empty()) return;
  const Tokenizer tokenizer = Tokenizer::load(folder, lamina::qwen_vl::control_tokens);
  std::istringstream lines(test_text::read_file(golden("lines.txt")));
  int number = 0, wrong = 0;
  for (std::string line; std::getline(lines, line);) {
    ++number;
    REQUIRE(line.size() >= 20);
    const std::string text = unescape(std::string_view(line).substr(20));
    const auto ids = line[0] == 't' ? encode_content(tokenizer, text) : tokenizer.encode(text);
    const bool same_ids = test_text::hash_ids(ids) == std::stoul(line.substr(2, 8), nullptr, 16);
    const bool same_text = test_text::fnv(tokenizer.decode(ids)) == std::stoul(line.substr(11, 8), nullptr, 16);
    const bool same_stream = stream(tokenizer, ids, false) == tokenizer.decode(ids);
    if ((!same_ids || !same_text || !same_stream) && ++wrong <= 20) {
      FAIL_CHECK("lines.txt:" << number << (same_ids ? "" : " ids") << (same_text ? "" : " text")
                              << (same_stream ? "" : " stream") << " differ: " << line.substr(20, 200));
    }
  }
  CHECK(number == 22000);
  CHECK(wrong == 0);
}

TEST_CASE("Tokenizer: decodes any ids as the tokenizers library does under Qwen3's real files") {
  const auto folder = test_text::qwen3_tokenizer();
  if (folder.empty()) return;
  check_decoding(Tokenizer::load(folder, lamina::qwen_vl::control_tokens), "decode.json");
}

TEST_CASE("Tokenizer: Qwen3's real files name its special tokens") {
  const auto folder = test_text::qwen3_tokenizer();
  if (folder.empty()) return;
  const Tokenizer tokenizer = Tokenizer::load(folder, lamina::qwen_vl::control_tokens);
  CHECK(tokenizer.size() == 151669);
  CHECK(tokenizer.id_of("<|image_pad|>") == 151655);
  CHECK(tokenizer.id_of("<|im_end|>") == 151645);
  CHECK(tokenizer.encode("<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n<|im_start|>user\n") ==
        std::vector<int>{151644, 8948, 198, 2610, 525, 264, 10950, 17847, 13, 151645, 198, 151644, 872, 198});
}

TEST_CASE("StreamDecoder: a character spread over tokens comes out whole, with the last of them") {
  const Tokenizer tokenizer = Tokenizer::load(golden("tiny_json"), lamina::qwen_vl::control_tokens);
  const auto byte = [&](unsigned char b) { return *tokenizer.id_of(ByteAlphabet().sign(b)); };
  StreamDecoder decoder(tokenizer);
  CHECK(decoder.push(byte('a')) == "a");
  CHECK(decoder.push(byte(0xf0)).empty());
  CHECK(decoder.push(byte(0x9f)).empty());
  CHECK(decoder.push(byte(0x98)).empty());
  CHECK(decoder.push(*tokenizer.id_of("<|im_end|>")).empty());
  CHECK(decoder.push(byte(0x80)) == "\U0001f600");
  CHECK(decoder.push(byte(0xe4)).empty());
  CHECK(decoder.push(byte('b')) ==
        "\ufffd"
        "b");
  CHECK(decoder.push(byte(0xe4)).empty());
  CHECK(decoder.finish() == "\ufffd");
  CHECK(decoder.finish().empty());
}
