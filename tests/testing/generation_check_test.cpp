#include <lamina/compose/plan/windows.hpp>
#include <lamina/kernel/cpu.hpp>
#include <lamina/model/qwen3/model.hpp>
#include <lamina/testing/generation_check.hpp>

#include "support/catch.hpp"
#include "support/error_of.hpp"

using namespace lamina;
using namespace lamina::qwen3;

namespace {

struct Small {
  static constexpr int vocab_size = 96, num_key_value_heads = 1, head_dim = 16;
  static constexpr std::int64_t rope_theta = 10'000;
  static constexpr int hidden_size = 32, num_hidden_layers = 2, num_attention_heads = 2, intermediate_size = 48;
};
using Head = TiedHead<embed_tokens, lm_head>;
struct Plain : TextOnly<Decoder<Small>, Head> {};
struct Windows
    : TextOnly<Decoder<Small, Repeating<layers, 4, DecoderLayer<Small, Sliding<5>>, DecoderLayer<Small>>>, Head> {};

struct AllWindows
    : TextOnly<Decoder<Small, Repeating<layers, 4, DecoderLayer<Small, Sliding<5>>, DecoderLayer<Small, Sliding<9>>>>,
               Head> {};
static_assert(attention_window<Plain> == 0 && attention_window<Windows> == 0 && attention_window<AllWindows> == 9);

/// y[n] = x[n] + x[n - 1] within the rows at hand: it reads an earlier token and keeps nothing of it.
template <int D>
struct AddPrevious {
  using In = Shape<Dyn, D>;
  using Out = In;
  using params = ParamList<>;
  static constexpr Traits traits{};
  template <class Mode>
  static constexpr Saves saves{};
  template <class Mode>
  struct Saved {};
  template <class R, class S, class X, class Y>
  static void forward(R, const Parameter*, S&, X x, Y y) {
    if constexpr (std::is_same_v<typename R::backend, Cpu>)
      for (int n = 0; n < x.rows; ++n)
        for (int d = 0; d < D; ++d) y(n, d) = x(n, d) + (n > 0 ? x(n - 1, d) : 0.0f);
  }
  static void backward(auto&&...) {}
};
struct Forgetful : TextOnly<Decoder<Small, Stack<layers, 2, Chain<DecoderLayer<Small>, AddPrevious<32>>>>, Head> {};

}  // namespace

TEST_CASE("check_generation: attention, in windows too, generates as it trains") {
  for (const testing::GenerationReport& report :
       {testing::check_generation<Plain>(), testing::check_generation<Windows>(),
        testing::check_generation<Windows>({.tokens = 150, .prompt = 2})}) {
    INFO(report.text());
    CHECK(report.passed());
    CHECK(report.rows.size() > 2);
  }
}

TEST_CASE("check_generation: a layer that forgets earlier tokens fails in its steps, with the reason") {
  const testing::GenerationReport report = testing::check_generation<Forgetful>();
  INFO(report.text());
  CHECK(report.wrong().size() == 15);
  CHECK(report.wrong().front() == "step to token 10");
  CHECK(testing::contains(report.text(), "it must keep them, as attention does"));
}

TEST_CASE("check_generation: a prompt that leaves no steps is refused") {
  CHECK(testing::contains(testing::error_of([] { testing::check_generation<Plain>({.tokens = 4, .prompt = 4}); }),
                          "wanted 1 or more, and fewer"));
}
