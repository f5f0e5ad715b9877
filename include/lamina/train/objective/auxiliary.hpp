#pragma once
#include <string_view>

#include <lamina/compose/wrap/rewrite.hpp>
#include <lamina/core/objective/auxiliary.hpp>
#include <lamina/model/train_session.hpp>

namespace lamina::train {

/// The loss that a model's layers declare (core/objective/auxiliary.hpp), and how much it counts.
struct AuxiliaryLoss {
  static constexpr std::string_view metric = "aux_loss";  ///< its mean over micro-batches, as transformers calls it
  int sums = 0;                                           ///< numbers of a micro-batch; 0: no layer declares one
  double (*loss)(const float* sums) = nullptr;
  float coefficient = 0;  ///< 0: it is not asked for

  /// The place in a batch of N tokens for its sums. Each micro-batch counts alike.
  AuxiliarySums of(const std::vector<int>& cu_parts) const {
    if (sums == 0 || coefficient == 0) return {};
    const int parts = static_cast<int>(cu_parts.size()) - 1;
    return {
        .cu_parts = cu_parts.data(), .parts = parts, .each = sums, .weight = coefficient / static_cast<float>(parts)};
  }
  /// Adds it to a step's loss, given its sums on the host.
  void add_to(BatchLoss& batch, const AuxiliarySums& from, const float* found) const {
    Metric mean{metric};
    for (int part = 0; part < from.parts; ++part) mean.sum += loss(found + std::ptrdiff_t{part} * from.each);
    mean.weight = from.parts;
    batch.loss += static_cast<double>(from.weight) * mean.sum;
    batch.metrics.push_back(mean);
  }
};

namespace detail {
template <class M>
struct DeclaresAuxiliary {
  static constexpr bool value = requires { typename M::auxiliary; };
};
template <class A>
struct DeclaresOtherThan {
  template <class M>
  struct Is {
    static constexpr bool value = [] {
      if constexpr (DeclaresAuxiliary<M>::value)
        return !std::is_same_v<typename M::auxiliary, A>;
      else
        return false;
    }();
  };
};
}  // namespace detail

/// That of a model's decoder, not asked for; none if its layers declare different ones, which have no sums in common.
template <class Model>
constexpr AuxiliaryLoss auxiliary_of() {
  using Decoder = typename Model::Language;
  using First = find_t<Decoder, detail::DeclaresAuxiliary>;
  if constexpr (!std::is_void_v<First>) {
    using A = typename First::auxiliary;
    if constexpr (std::is_void_v<find_t<Decoder, detail::DeclaresOtherThan<A>::template Is>>) return {A::sums, A::loss};
  }
  return {};
}

}  // namespace lamina::train
