#pragma once
#include <cstring>
#include <map>
#include <string>

#include <lamina/compose/plan/weights.hpp>
#include <lamina/compose/wrap/adapt.hpp>
#include <lamina/kernel/cpu/arrays.hpp>

/// Adapters of any kind, layer by layer: what they come to when their model is merged.
namespace lamina {

/// Calls f(std::type_identity<L>, i) for each adapted layer L of M; i is the number of its first tensor among M's.
template <class M, class F>
void for_each_adapted_layer(F&& f, int first = 0) {
  if constexpr (AdaptedLayer<M>) {
    f(std::type_identity<M>{}, first);
  } else if constexpr (HasChildren<M>) {
    const auto visit = [&]<class C>(std::type_identity<C>) {
      for_each_adapted_layer<C>(f, first);
      first += tensor_count<C>;
    };
    const auto each = [&]<class... C>(List<C...>) { (visit(std::type_identity<C>{}), ...); };
    if constexpr (requires { M::kind_of(0); }) {  // a stack of several kinds
      for (int i = 0; i < M::repeats; ++i)
        for_constants<M::children::size>([&](auto k) {
          if (M::kind_of(i) == static_cast<int>(k)) visit(std::type_identity<at<typename M::children, k>>{});
        });
    } else if constexpr (requires { M::repeats; }) {
      for (int i = 0; i < M::repeats; ++i) each(typename M::children{});
    } else {
      each(typename M::children{});
    }
  }
}
/// Whether L is what Kind makes of a layer.
template <class Kind, class L>
inline constexpr bool is_of_kind = std::is_same_v<typename Kind::template layer<typename L::base>, L>;

namespace detail {
/// A matrix of fp32 as Eigen has it.
inline auto matrix_of(const Parameter& p) {
  using Rows = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
  return Eigen::Map<Rows>(static_cast<float*>(const_cast<void*>(p.value.data)), p.value.rows, p.value.cols);
}
template <class P>
auto operand_of(const Parameter& p) {
  if constexpr (P::shape::rank == 1)
    return Eigen::Map<const Eigen::VectorXf>(static_cast<const float*>(p.value.data), p.value.cols);
  else
    return matrix_of(p);
}
/// W becomes what Kind's merge makes of it; p is the adapted layer's first parameter.
template <class Kind, class L>
void merge_layer(const Parameter* p, const Parameter& w) {
  const auto scale = p[L::own + static_cast<int>(L::added_params::size) - 1].scale;
  [&]<class... P, std::size_t... I>(List<P...>, std::index_sequence<I...>) {
    Kind::merge(matrix_of(w), scale, operand_of<P>(p[L::own + static_cast<int>(I)])...);
  }(typename L::added_params{}, std::make_index_sequence<L::added_params::size>{});
}
}  // namespace detail

/// The weights of the model that M adapts, in fp32: each layer of M's outermost Adapt merged as its kind says.
template <class M>
Weights<merged_t<M>, float> merged(Weights<M, float>& weights) {
  using Kind = typename M::adapter_kind;
  Weights<merged_t<M>, float> out;
  out.allocate(true);
  std::map<std::string, std::size_t> place;
  for (std::size_t i = 0; i < weights.slots().size(); ++i) place[weights.slots()[i].name()] = i;
  for (const TensorSlot& slot : out.slots())
    out.fill(slot, [&](std::span<std::byte> to) {
      std::memcpy(to.data(), weights.data(weights.slots()[place.at(slot.name())]), to.size());
    });
  std::map<std::string, std::size_t> place_out;
  for (std::size_t i = 0; i < out.slots().size(); ++i) place_out[out.slots()[i].name()] = i;
  for_each_adapted_layer<M>([&]<class L>(std::type_identity<L>, int first) {
    if constexpr (is_of_kind<Kind, L>) {
      const std::string name = weights.slots()[static_cast<std::size_t>(first)].name();
      detail::merge_layer<Kind, L>(weights.parameters() + first, out.parameters()[place_out.at(name)]);
    }
  });
  return out;
}

}  // namespace lamina
