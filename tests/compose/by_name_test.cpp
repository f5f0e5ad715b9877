#include <lamina/compose/plan/named_tensor.hpp>
#include <lamina/kernel/cpu/arrays.hpp>
#include <lamina/lamina.hpp>
#include <lamina/model/qwen3_vl/model.hpp>

#include <sstream>

#include "support/catch.hpp"
#include "support/error_of.hpp"

using namespace lamina;
using namespace lamina::qwen3_vl;
using lamina::testing::contains, lamina::testing::error_of;

namespace {
struct Adapted : LoRA<Qwen3VL_Tiny, Rank<4>, Alpha<8>, Targets<q_proj, v_proj>> {};

template <class Model, class Place>
std::string name_at(Place place) {
  return std::string(list_tensors<Model>()[static_cast<std::size_t>(place.first)].path.view());
}
}  // namespace

TEST_CASE("Tensors by name: a path of tags is the place of the tensor of that name") {
  constexpr auto model = tensors<Qwen3VL_Tiny>[name::model{}];
  CHECK(name_at<Qwen3VL_Tiny>(model[language_model{}][layers{}[1]][mlp{}][up_proj{}][name::weight{}]) ==
        "model.language_model.layers.1.mlp.up_proj.weight");
  CHECK(name_at<Qwen3VL_Tiny>(model[visual{}][blocks{}[2]][attn{}][qkv{}][name::bias{}]) ==
        "model.visual.blocks.2.attn.qkv.bias");
  CHECK(name_at<Qwen3VL_Tiny>(model[visual{}][deepstack_merger_list{}[1]][linear_fc2{}]) ==
        "model.visual.deepstack_merger_list.1.linear_fc2.weight");
  constexpr auto v = tensors<Adapted>[name::model{}][language_model{}][layers{}[0]][self_attn{}][v_proj{}];
  static_assert(v.count == 3);
  CHECK(name_at<Adapted>(v) == "model.language_model.layers.0.self_attn.v_proj.weight");
  CHECK(contains(error_of([&] { model[language_model{}][layers{}[99]]; }), "tensors[layers{}[99]]: there are"));
}

TEST_CASE("Weights by name: read, write and print, in any element type") {
  const auto choose = [](const TensorSpec& spec) {
    return TensorChoice{spec.rank == 1 ? DType::F32 : DType::BF16, 0, false};
  };
  Weights<Qwen3VL_Tiny, float> weights(choose);
  weights.allocate(false);
  initialise(weights, 1);
  const auto up = named(weights)[name::model{}][language_model{}][layers{}[1]][mlp{}][up_proj{}];
  std::vector<float> values = up.values();
  values[0] = 1.0f + 0x1p-10f;  // more bits than bf16 has
  up.set(values);
  CHECK(up.values()[0] == 1.0f);
  CHECK(up.values()[5] == values[5]);
  CHECK(contains(error_of([&] { up.matrix(); }), "values of BF16"));
  std::ostringstream text;
  text << up;
  CHECK(contains(text.str(), "model.language_model.layers.1.mlp.up_proj.weight ("));
  CHECK(contains(text.str(), ") BF16 frozen, norm "));
  CHECK(contains(error_of([&] { up.set(std::vector<float>(3)); }), "values, got 3"));
}

TEST_CASE("Weights by name: an fp32 tensor is an Eigen array in place, and parts are frozen by name") {
  constexpr auto tower = tensors<Qwen3VL_Tiny>[name::model{}][visual{}];
  Weights<Qwen3VL_Tiny, float> weights(all_but<Qwen3VL_Tiny>(tower));
  weights.allocate(true);
  initialise(weights, 1);
  const auto model = named(weights)[name::model{}];
  const auto up = model[language_model{}][layers{}[1]][mlp{}][up_proj{}];
  const float before = up.values()[7];
  kernel::array_of(up.matrix()) *= 2;
  CHECK(up.values()[7] == 2 * before);
  CHECK(up.slot().learns);
  CHECK(up.gradient().rows == up.matrix().rows);
  const auto fc1 = model[visual{}][blocks{}[0]][mlp{}][linear_fc1{}];
  CHECK_FALSE(fc1.slot().learns);
  CHECK(contains(error_of([&] { fc1.gradient(); }), "the tensor is frozen"));
}
