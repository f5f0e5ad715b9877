#pragma once
#include <lamina/compose/fork.hpp>
#include <lamina/layer/activation.hpp>
#include <lamina/layer/join_rows.hpp>

namespace lamina {

/// y = down(silu(gate(x)) * up(x)).   source: Shazeer 2020, arXiv:2002.05202
template <class Gate, class Up, class Down>
struct SwiGLU : Chain<Fork<Gate, Up>, SiluGate<Down::In::width>, Down> {};

/// y = fc2(act(fc1(x))).
template <class Fc1, class Act, class Fc2>
struct MLP : Chain<Fc1, typename Act::template layer<Fc1::Out::width>, Fc2> {};

/// Where a merger normalises: each patch before patches are joined, or the joined row.
enum class NormAt { patch, merged };

namespace detail {
template <int M, NormAt Where, class Norm, class Fc1, class Act, class Fc2>
struct MergerChain {
  using act = typename Act::template layer<Fc1::Out::width>;
  using type =
      std::conditional_t<Where == NormAt::patch, Chain<Norm, JoinRows<M * M, Fc1::In::width / (M * M)>, Fc1, act, Fc2>,
                         Chain<JoinRows<M * M, Fc1::In::width / (M * M)>, Norm, Fc1, act, Fc2>>;
};
}  // namespace detail

/// Joins each M x M square of patches (M^2 neighbouring rows) into one row and maps it to the language model's width.
template <int M, NormAt Where, class Norm, class Fc1, class Act, class Fc2>
struct Merger : detail::MergerChain<M, Where, Norm, Fc1, Act, Fc2>::type {};

}  // namespace lamina
