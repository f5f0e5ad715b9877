#include <lamina/engine/request/answer.hpp>
#include <lamina/model/qwen_vl/chat.hpp>

#include <chrono>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "support/catch.hpp"

using namespace lamina;
using namespace lamina::engine;

namespace {

const text::Tokenizer& tokenizer() {
  static const auto loaded = text::Tokenizer::load(LAMINA_SOURCE_DIR "/data/qwen3_vl_tiny", qwen_vl::control_tokens);
  return loaded;
}

/// What an answer gave out.
struct Collected final : AnswerSink {
  bool piece(Delta delta) override {
    text += delta.text;
    ++pieces;
    return pieces != enough;
  }
  void finished(const Completion& completion) override { done = completion, ++ends; }
  void failed(const std::string& message) override { error = message, ++ends; }

  std::string text, error;
  Completion done;
  int pieces = 0, ends = 0, enough = -1;
};

/// Pushes ids until no more are wanted; the last one is the last of the answer. Returns how many were taken.
std::size_t push(AnswerListener& answer, const std::vector<int>& ids, Last last) {
  answer.started(7);
  for (std::size_t i = 0; i < ids.size(); ++i)
    if (!answer.token({.id = 1, .token = ids[i]}, i + 1 == ids.size() ? last : Last::no)) return i + 1;
  return ids.size();
}

}  // namespace

TEST_CASE("answer: pieces join to the text of all ids, in whole characters") {
  const std::string text = "Grüße 日本語 🙂 fin";
  const auto ids = tokenizer().encode(text);
  const auto sink = std::make_shared<Collected>();
  AnswerListener answer(tokenizer(), {}, 11, sink);
  push(answer, ids, Last::length);
  CHECK(sink->text == text);
  CHECK(sink->done.finish == FinishReason::length);
  CHECK(sink->done.completion_tokens == static_cast<int>(ids.size()));
  CHECK((sink->done.prompt_tokens == 11 && sink->done.cached_tokens == 7));
  answer.cancelled();
  CHECK(sink->ends == 1);
}

TEST_CASE("answer: an end token is no text and counts; one that was asked for is the reason") {
  auto ids = tokenizer().encode("Hello world");
  ids.push_back(tokenizer().encode("!").front());
  for (const bool include : {false, true})
    for (const bool is_eos : {false, true}) {
      GenerationParams params;
      (is_eos ? params.eos : params.stop_token_ids).assign(1, ids.back());
      params.include_stop_str_in_output = include;
      const auto sink = std::make_shared<Collected>();
      AnswerListener answer(tokenizer(), params, 1, sink);
      push(answer, ids, Last::end_token);
      CHECK(sink->text == (include ? "Hello world!" : "Hello world"));
      CHECK(sink->done.finish == FinishReason::stop);
      CHECK(sink->done.completion_tokens == static_cast<int>(ids.size()));
      CHECK(std::holds_alternative<int>(sink->done.stop_reason) == !is_eos);
    }
}

TEST_CASE("answer: a stop string ends it and asks for no more tokens") {
  const auto ids = tokenizer().encode("one two three four five");
  GenerationParams params;
  params.stop = {"ee f"};
  const auto sink = std::make_shared<Collected>();
  AnswerListener answer(tokenizer(), params, 1, sink);
  CHECK(push(answer, ids, Last::no) < ids.size());
  answer.cancelled();  // what the engine does with a request that wants no more
  CHECK(sink->text == "one two thr");
  CHECK(sink->done.finish == FinishReason::stop);
  CHECK(std::get<std::string>(sink->done.stop_reason) == "ee f");
  CHECK(sink->ends == 1);
}

TEST_CASE("answer: ends once, aborted, failed or given up by its sink") {
  const auto ids = tokenizer().encode("one two three four five");
  const auto aborted = std::make_shared<Collected>(), failed = std::make_shared<Collected>();
  AnswerListener first(tokenizer(), {}, 1, aborted), second(tokenizer(), {}, 1, failed);
  push(first, ids, Last::no);
  first.cancelled();
  first.failed("late");
  CHECK((aborted->ends == 1 && aborted->done.finish == FinishReason::abort));
  second.failed("broken");
  second.cancelled();
  CHECK((failed->ends == 1 && failed->error == "broken"));
  const auto full = std::make_shared<Collected>();
  full->enough = 2;
  AnswerListener third(tokenizer(), {}, 1, full);
  CHECK(push(third, ids, Last::no) == 2);
  third.cancelled();
  CHECK((full->ends == 0 && full->pieces == 2));
}

TEST_CASE("StopMatcher: the result does not depend on how the text is cut") {
  const std::string text = "Hello wor wörld! END of it";
  for (const auto& stops : std::vector<std::vector<std::string>>{
           {"END"}, {"wör", "wörld"}, {"world", "ld! E"}, {"nothing"}, {"H"}, {"of it"}}) {
    StopMatcher whole(stops);
    std::string expected = whole.push(text);
    expected += whole.finish();
    for (std::size_t step = 1; step < text.size(); ++step) {
      StopMatcher matcher(stops);
      std::string got;
      for (std::size_t at = 0; at < text.size(); at += step)
        got += matcher.push(std::string_view(text).substr(at, step));
      got += matcher.finish();
      CHECK(got == expected);
      CHECK(matcher.matched() == whole.matched());
    }
  }
}

TEST_CASE("StopMatcher: holds back only what may begin a stop string") {
  StopMatcher matcher({"<end>"});
  CHECK(matcher.push("a<e") == "a");
  CHECK(matcher.push("x") == "<ex");
  CHECK(matcher.push("b<en") == "b");
  CHECK(matcher.push("d>c") == "");
  CHECK(matcher.matched() == std::string("<end>"));
  CHECK(matcher.push("more") == "");
  StopMatcher including({"<end>"}, true);
  CHECK(including.push("a<end>c") == "a<end>");
}

TEST_CASE("answer: the time to the first token counts from asking") {
  const auto ids = tokenizer().encode("Hello world");
  const auto sink = std::make_shared<Collected>();
  GenerationParams params;
  params.max_tokens = static_cast<int>(ids.size());
  AnswerListener answer(tokenizer(), params, 1, sink);
  std::this_thread::sleep_for(std::chrono::milliseconds(5));
  answer.started(0);
  push(answer, ids, Last::length);
  CHECK(sink->done.prefill_s >= 0.005);
}
