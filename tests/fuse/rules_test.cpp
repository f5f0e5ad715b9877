#include <cstring>
#include <lamina/compose/plan/weights.hpp>
#include <lamina/fuse.hpp>
#include <lamina/kernel/cpu.hpp>
#include <lamina/model/qwen2_5_vl/model.hpp>
#include <lamina/model/qwen3_vl/model.hpp>

#include "support/catch.hpp"

using namespace lamina;

namespace {
template <class M>
struct IsJoint : std::bool_constant<M::traits.joins> {};
template <class M>
struct IsJoinedResiduals : std::false_type {};
template <class A, class B>
struct IsJoinedResiduals<JoinedResiduals<A, B>> : std::true_type {};
template <class M>
struct IsGated : std::false_type {};
template <class A, class B, class C>
struct IsGated<Gated<A, B, C>> : std::true_type {};
template <class M>
struct IsFork : std::false_type {};
template <class... L>
struct IsFork<Fork<L...>> : std::true_type {};
template <class M, template <class> class Is>
constexpr bool has = !std::is_void_v<find_t<M, Is>>;

template <class Model>
constexpr bool decoder_fused =
    has<typename Model::Language, IsJoint>&& has<typename Model::Language, IsJoinedResiduals>&&
        has<typename Model::Language, IsGated> &&
    !has<typename Model::Language, IsFork>;
template <class Base>
using Adapted = LoRA<Base, Rank<Dyn>, Alpha<Dyn>, Within<qwen3_vl::language_model>>;
template <class Base>
constexpr bool fuses = decoder_fused<fused_for<Cpu, Base>>&& decoder_fused<fused_for<Cpu, Adapted<Base>>>&&
    has<typename fused_for<Cpu, Base>::Visual, IsJoinedResiduals>&&
        has<typename fused_for<Cpu, Adapted<Base>>::Visual, IsJoinedResiduals>;
static_assert(fuses<qwen3_vl::Qwen3VL_2B> && fuses<qwen3_vl::Qwen3VL_4B> && fuses<qwen3_vl::Qwen3VL_8B> &&
              fuses<qwen3_vl::Qwen3VL_32B>);
static_assert(fuses<qwen2_5_vl::Qwen2_5VL_3B> && fuses<qwen2_5_vl::Qwen2_5VL_7B>);
static_assert(has<fused_for<Cpu, qwen2_5_vl::Qwen2_5VL_3B>::Visual, IsGated>);  // its vision MLP is gated, with biases
static_assert(!has<qwen3_vl::Qwen3VL_2B::Language, IsJoint>);

// Counts do not change.
using Fused2B = fused_for<Cpu, LoRA<qwen3_vl::Qwen3VL_2B, Rank<16>, Alpha<32>, Targets<name::q_proj, name::v_proj>>>;
static_assert(param_count<Fused2B> == param_count<Fused2B::unfused> &&
              trainable_count<Fused2B> == trainable_count<Fused2B::unfused>);
static_assert(
    has<Fused2B::Language, IsJoint>);  // adapters on q and v alone: k is frozen, as are the matrices of q and v

// Layers that differ in what learns stay apart.
using Mixed = Fork<Named<name::q_proj, Linear<8, 4>>, Named<name::k_proj, Frozen<Linear<8, 4>>>>;
static_assert(!JoinLinears::applies<Mixed, List<>> && JoinLinears::applies<Fork<Linear<8, 4>, Linear<8, 2>>, List<>>);

// A rule from outside: 4-wide linears become frozen.
struct FreezeNarrow {
  template <class M, class Path>
  static constexpr bool applies = std::is_same_v<M, Linear<4, 4>>;
  template <class M, class Path>
  using apply = Frozen<M>;
};
using Two = Chain<Named<name::q_proj, Linear<4, 4>>, Named<name::k_proj, Linear<4, 8>>>;
static_assert(std::is_base_of_v<Chain<Named<name::q_proj, Frozen<Linear<4, 4>>>, Named<name::k_proj, Linear<4, 8>>>,
                                fused_for<Cpu, Two, append_t<FusionRules<Cpu>::type, FreezeNarrow>>>);

template <class M>
std::vector<std::string> names() {
  std::vector<std::string> out;
  for_each_tensor<M>([&](const TensorSpec& spec) { out.emplace_back(spec.path.view()); });
  return out;
}

using Odd = Joint<Named<name::q_proj, Frozen<Linear<5, 3, Bias>>>,
                  Named<name::k_proj, Frozen<Linear<5, 1, Bias>>>>;  // 60 bytes: not 64
using Inference = Mode<float, false, false>;
std::vector<float> run_odd(const Parameter* p) {
  std::vector<float> x{1, 2, 3, 4, 5}, y(4);
  Arena scratch(1 << 16);
  Odd::Saved<Inference> saved;
  Odd::forward(Run<Cpu, Inference>{{}, &scratch, nullptr}, p, saved, Matrix<const float>(x.data(), 1, 5),
               Matrix<float>(y.data(), 1, 4));
  return y;
}
}  // namespace

TEST_CASE("Fusion: names of tensors and their order stay") {
  CHECK(names<Fused2B>() == names<Fused2B::unfused>());
  CHECK(names<fused_for<Cpu, qwen2_5_vl::Qwen2_5VL_3B>>() == names<qwen2_5_vl::Qwen2_5VL_3B>());
}

TEST_CASE("Joint: frozen matrices and biases of any size lie without gaps and give each part's result") {
  Weights<Odd, float> weights([](const TensorSpec&) { return Weights<Odd, float>::Choice{}; });
  weights.allocate(false);
  for (const TensorSlot& slot : weights.slots())
    for (int i = 0; i < slot.spec.count(); ++i) static_cast<float*>(weights.data(slot))[i] = static_cast<float>(i + 1);
  // q rows (1..5), (6..10), (11..15), k row (1..5), each times (1..5); q's bias 1 2 3, k's 1
  CHECK(run_odd(weights.parameters()) == std::vector<float>{55 + 1, 130 + 2, 205 + 3, 55 + 1});
}

TEST_CASE("Joint: weights that are not neighbours are an error, never another path") {
  Weights<Odd, float> weights([](const TensorSpec&) { return Weights<Odd, float>::Choice{}; });
  weights.allocate(false);
  std::vector<Parameter> p(weights.parameters(), weights.parameters() + 4);
  const std::vector<float> elsewhere(5);
  p[2].value.data = elsewhere.data();
  CHECK_THROWS_WITH(
      run_odd(p.data()),
      "Joint q_proj+k_proj: the weight of part 1 (F32) does not follow that of part 0 (F32) in memory: let "
      "Weights place the fused model, with one element type for all parts, all learning or all frozen");
}
