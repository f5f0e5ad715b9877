#include <lamina/compose.hpp>
#include <lamina/fuse/folded.hpp>
#include <lamina/fuse/gated.hpp>
#include <lamina/fuse/joined_residuals.hpp>
#include <lamina/kernel/cpu.hpp>
#include <lamina/layer.hpp>
#include <lamina/testing/gradient_check.hpp>

#include "support/catch.hpp"

using namespace lamina;
using namespace lamina::name;
LAMINA_NAME(norm);
LAMINA_NAME(norm1);
LAMINA_NAME(norm2);
LAMINA_NAME(mlp);
LAMINA_NAME(gate_proj);
LAMINA_NAME(up_proj);
LAMINA_NAME(down_proj);
LAMINA_NAME(layers);

namespace {

/// A wrapper that writes nothing of its own.
template <class M>
struct Plain : Wrapper<M> {
  using composition = Plain;
  template <class C>
  using rebuild = Plain<C>;
};

/// Every trait has another value than a module's own would have by default.
struct Odd : Linear<8, 8> {
  static constexpr Traits traits{.learns = true,
                                 .row_divisor = 4,
                                 .input_tail = 16,
                                 .gradient_tail = 32,
                                 .strided_y = true,
                                 .strided_dx = true,
                                 .sums = true,
                                 .saves_input_alone = true};
  template <class Mode>
  static constexpr Saves saves{.input = true, .output = true};
};

using Head = AttentionCore<Heads<2, 1, 8>, Causal, InterleavedMRoPE<10000, Section<2, 1, 1>>>;
using Adapted = AdaptedLinear<Linear<8, 8>, Rank<2>, Alpha<4>>;
using Examples =
    List<Odd, Linear<8, 8>, Adapted, RMSNorm<8>, LayerNorm<8>, Gelu::layer<8>, SiluGate<8>, JoinRows<4, 8>,
         LearnedPosition<9, 8>, PatchEmbed<3, 2, 2, 8>, Head, Embedding<8, 8>, Joint<Linear<8, 8>, Linear<8, 4>>,
         FoldedAdapters<Named<q_proj, Adapted>>, Chain<RMSNorm<8>, JoinRows<4, 8>>, Fork<RMSNorm<8>, RMSNorm<8>>,
         Residual<RMSNorm<8>, Linear<8, 8>>, Stack<layers, 2, Linear<8, 8>>>;

template <class W, class M>
constexpr bool same_values() {
  using Training = Mode<float, true, true>;
  return W::traits.row_divisor == M::traits.row_divisor && W::traits.input_tail == M::traits.input_tail &&
         W::traits.gradient_tail == M::traits.gradient_tail && W::traits.strided_y == M::traits.strided_y &&
         W::traits.strided_dx == M::traits.strided_dx && std::is_same_v<typename W::In, typename M::In> &&
         std::is_same_v<typename W::Out, typename M::Out> && stays<W, Training>.output == stays<M, Training>.output &&
         param_count<W> == param_count<M>;
}
template <class W, class M>
constexpr bool same_offers() {
  return W::traits.sums == M::traits.sums && W::traits.saves_input_alone == M::traits.saves_input_alone &&
         adds<W> == adds<M>;
}
/// Whether a wrapper around M says what M says, its own facts apart.
template <class M>
constexpr bool forwards() {
  using Training = Mode<float, true, true>;
  static_assert(Module<M> && Module<Plain<M>> && Module<Named<proj, M>> && Module<Frozen<M>> && Module<Scaled<M, -8>> &&
                Module<Recompute<M>> && Module<Windowed<2, M>>);
  constexpr auto saves_same = []<class W>(std::type_identity<W>) {
    return saved_row_bytes<W, Training>() == saved_row_bytes<M, Training>() &&
           stays<W, Training>.input == stays<M, Training>.input && W::traits.learns == M::traits.learns;
  };
  static_assert(Plain<M>::traits == forwarded<M>);
  static_assert(same_values<Named<proj, M>, M>() && same_offers<Named<proj, M>, M>() &&
                saves_same(std::type_identity<Named<proj, M>>{}));
  static_assert(same_values<Scaled<M, -8>, M>() && same_offers<Scaled<M, -8>, M>() &&
                saves_same(std::type_identity<Scaled<M, -8>>{}));
  static_assert(same_values<Frozen<M>, M>() && same_offers<Frozen<M>, M>() && !learns<Frozen<M>>);
  static_assert(Recompute<M>::traits.row_divisor == M::traits.row_divisor && learns<Recompute<M>> == learns<M>);
  static_assert(Recompute<M>::traits.input_tail == M::traits.input_tail &&
                Recompute<M>::traits.strided_y == M::traits.strided_y);
  static_assert(Windowed<2, M>::traits.row_divisor == M::traits.row_divisor && learns<Windowed<2, M>> == learns<M>);
  return true;
}
template <class... M>
constexpr bool all_forward(List<M...>) {
  return (forwards<M>() && ...);
}
static_assert(all_forward(Examples{}));

// A layer derived from one that can add to its output does not promise that for a forward of its own.
struct Overriding : Linear<8, 8> {
  template <class R, class S, class X, class Y>
  static void forward(R, const Parameter*, S&, X, Y) {}
};
static_assert(adds<Linear<8, 8>> && adds<Named<proj, Frozen<Linear<8, 8>>>> && adds<Chain<RMSNorm<8>, Linear<8, 8>>>);
static_assert(!adds<Overriding> && !adds<Named<proj, Overriding>> && !adds<Chain<RMSNorm<8>, Overriding>>);
static_assert(!adds<Recompute<Linear<8, 8>>> && !adds<RMSNorm<8>>);

// A wrapper's own facts do not leave it: a name around Frozen or Scaled freezes and scales nothing more.
static_assert(Frozen<RMSNorm<8>>::traits.freezes && !Named<norm, Frozen<RMSNorm<8>>>::traits.freezes);
static_assert(matrix_exponent_of<Named<proj, Scaled<Linear<8, 8>, -8>>> == -8);
static_assert(matrix_exponent_of<Recompute<Scaled<Linear<8, 8>, -8>>> == 0);

// Rules look through any transparent wrapper, in any order, and through no other.
template <class M>
using joins = detail::JoinFork<Fork<M, Linear<8, 4>>>;
static_assert(joins<Named<q_proj, Linear<8, 8>>>::applies && !joins<Frozen<Linear<8, 8>>>::applies);
static_assert(!joins<Recompute<Linear<8, 8>>>::applies && !joins<Plain<Linear<8, 8>>>::applies);
static_assert(std::is_same_v<detail::Innermost<Frozen<Named<proj, Scaled<Linear<8, 8>, 1>>>>::type, Linear<8, 8>>);
template <class N>
using JoinsWith = detail::JoinNeighbours<Chain<Residual<N, Linear<8, 8>>, Residual<Named<norm, N>, Linear<8, 8>>>>;
static_assert(JoinsWith<RMSNorm<8>>::applies && JoinsWith<Frozen<LayerNorm<8>>>::applies);
static_assert(!JoinsWith<Linear<8, 8>>::applies);

// Whatever a family calls its output head, adapters of all linear layers leave it out.
LAMINA_NAME(words_out);
using Headed = LoRA<Chain<Named<proj, Linear<8, 8>>, OwnHead<words_out, Linear<8, 16>>>, Rank<2>, Alpha<4>, AllLinears>;
static_assert(trainable_count<Headed> == 2 * (8 + 8) && param_count<merged_t<Headed>> == 8 * 8 + 8 * 16);

template <class M>
void check(const testing::GradientOptions& options = {}) {
  const testing::GradientReport report = testing::check_gradients<M>(options);
  INFO(report.text());
  CHECK(report.passed());
}

}  // namespace

TEST_CASE("Wrapper: a wrapper that writes nothing of its own runs as its module does, bit by bit") {
  using Block = Residual<Named<norm, RMSNorm<8>>, Named<proj, Linear<8, 8, Bias>>>;
  check<Plain<Block>>();
  CHECK(testing::run_gradients<Plain<Block>>() == testing::run_gradients<Block>());
}
TEST_CASE("Recompute: a module that joins rows runs again in backward") {
  check<Recompute<Chain<Named<norm, LayerNorm<4>>, JoinRows<4, 4>, Named<proj, Linear<16, 8>>>>>({.rows = 2});
}
TEST_CASE("Joined residuals: norms in any transparent wrapper add the residual stream in their own kernel") {
  using First = Residual<Named<norm1, Frozen<RMSNorm<8>>>, Named<proj, Linear<8, 8>>>;
  using Second = Residual<Frozen<Named<norm2, LayerNorm<8>>>, Named<mlp, Linear<8, 8>>>;
  check<JoinedResiduals<First, Second>>();
  check<JoinedResiduals<Residual<RMSNorm<8>, Named<proj, Linear<8, 8>>>,
                        Residual<Named<norm2, RMSNorm<8>>, Named<mlp, Linear<8, 8>>>>>();
}
TEST_CASE("Gated: sets the input of any module again that needs nothing else of forward") {
  using GateUp = Joint<Named<gate_proj, Linear<8, 6>>, Named<up_proj, Linear<8, 6>>>;
  check<Gated<GateUp, SiluGate<6>, Named<down_proj, Linear<6, 8>>>>();
  check<Gated<GateUp, SiluGate<6>, Recompute<Named<down_proj, Linear<6, 8>>>>>();
}
