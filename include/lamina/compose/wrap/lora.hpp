#pragma once
#include <lamina/compose/wrap/adapt.hpp>
#include <lamina/layer/adapter/dora_linear.hpp>

namespace lamina {

/// M with low-rank adapters on its target layers and everything else frozen. Rank<Dyn>, Alpha<Dyn> and
/// AllLinears leave the choice to run time, as programs that read YAML need. Around another LoRA it adapts further
/// layers: LoRA<LoRA<M, Rank<8>, ...>, Rank<4>, ...> has two ranks.
template <class M, class R, class A, class T>
struct LoRA : Adapt<M, LowRank<R, A>, T> {};
/// The same, with the lengths of the layers' rows trained apart from their directions.
template <class M, class R, class A, class T>
struct DoRA : Adapt<M, WeightDecomposed<R, A>, T> {};

}  // namespace lamina
