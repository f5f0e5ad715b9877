#pragma once
#include <algorithm>

#include <lamina/compose/vision_language.hpp>
#include <lamina/layer/adapter/adapted_linear.hpp>

/// What a model costs, as constants of its type.
namespace lamina {
namespace detail {

template <int In, int Out, class WithBias>
constexpr std::int64_t linear_flops(const Linear<In, Out, WithBias>*) {
  return std::int64_t{2} * In * Out;
}
constexpr std::int64_t linear_flops(const void*) { return 0; }

/// How many of the modules of a child a row passes: all, but for a mixture of experts (compose/routed.hpp).
template <class M, class C>
constexpr std::int64_t share_of_row([[maybe_unused]] int child, std::int64_t cost) {
  if constexpr (requires { M::used(0); })
    return cost * M::used(child) / times_of<C>(0);
  else
    return cost;
}

template <class M>
constexpr std::int64_t row_flops();
/// Parts one after another: a part that joins rows leaves fewer of them to the next.
template <class M, class... C>
constexpr std::int64_t children_flops(List<C...>) {
  [[maybe_unused]] std::int64_t flops = 0, divisor = 1;
  [[maybe_unused]] int k = 0;
  ((flops += share_of_row<M, C>(k, times_of<M>(k) * row_flops<C>()) / divisor, ++k, divisor *= C::traits.row_divisor),
   ...);
  return flops;
}
template <class M>
constexpr std::int64_t row_flops() {
  std::int64_t flops = linear_flops(static_cast<const M*>(nullptr));
  if constexpr (requires { M::flops_per_row; }) flops += M::flops_per_row;
  if constexpr (AdaptedLayer<M> && requires { M::rank; })  // other kinds of adapters say flops_per_row
    if (M::rank != Dyn) flops += std::int64_t{2} * M::rank * (M::In::width + M::Out::width);
  if constexpr (requires { typename M::children; }) flops += children_flops<M>(typename M::children{});
  return flops;
}

template <class M, class T>
constexpr std::int64_t row_bytes_moved();
template <class M, class T, class... C>
constexpr std::int64_t children_bytes(List<C...>) {
  [[maybe_unused]] std::int64_t bytes = 0, divisor = 1;
  [[maybe_unused]] int k = 0;
  ((bytes += share_of_row<M, C>(k, times_of<M>(k) * row_bytes_moved<C, T>()) / divisor, ++k,
    divisor *= C::traits.row_divisor),
   ...);
  return bytes;
}
template <class M, class T>
constexpr std::int64_t row_bytes_moved() {
  std::int64_t bytes = 0;
  if constexpr (requires { M::template bytes_per_row<T>; })
    bytes = M::template bytes_per_row<T>;
  else if constexpr (requires { typename M::children; })
    bytes = children_bytes<M, T>(typename M::children{});
  else
    bytes =
        std::int64_t{sizeof(T)} * (std::max(M::In::width, 1) + M::Out::width / M::traits.row_divisor);  // Dyn: an id
  return bytes;
}

}  // namespace detail

/// Forward work of any module for one of its input rows: that of its linear layers, and what a layer says of itself as
/// `static constexpr std::int64_t flops_per_row`. A multiply-add is 2.
template <class M>
inline constexpr std::int64_t flops_per_row = detail::row_flops<M>();
/// Bytes that forward moves for an input row, parameters apart, if each layer reads its input and writes its output: a
/// layer that moves others says so as `template <class T> static constexpr std::int64_t bytes_per_row`.
template <class M, class T = float>
inline constexpr std::int64_t bytes_per_row = detail::row_bytes_moved<M, T>();

/// Bytes that a training step keeps of each token of the language model, with activations of type T.
template <class Model, class T = float>
inline constexpr std::size_t saved_bytes_per_token = Model::template saved_bytes_per_token<Mode<T, true, false>>;
/// The same of each patch of the vision tower: 0 if nothing in it learns.
template <class Model, class T = float>
inline constexpr std::size_t saved_bytes_per_patch = Model::template saved_bytes_per_patch<Mode<T, true, false>>;

/// Forward work of the linear layers for one token, head included; a multiply-add is 2. Attention's own products, which
/// grow with the sequence, and adapters whose rank is decided at run time are not in it.
template <class Model>
inline constexpr std::int64_t flops_per_token =
    detail::row_flops<typename Model::Language>() + std::int64_t{2} * Model::hidden_size* Model::vocab_size;
/// The same for one patch in the vision tower, its mergers included, but not rows of their own (compose/cross.hpp).
template <class Model>
inline constexpr std::int64_t flops_per_patch = detail::row_flops<typename Model::Visual>();

}  // namespace lamina
