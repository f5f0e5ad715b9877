#pragma once
#include <cstddef>
#include <cstdint>

#include <lamina/core/backend.hpp>
#include <lamina/core/error.hpp>
#include <lamina/core/quantization/matrix.hpp>
#include <lamina/core/tensor/param.hpp>

namespace lamina {

/// Rows that are sorted into groups: group g has the rows [ends[g - 1], ends[g]). The numbers are in the backend's
/// memory, so that they may depend on data without the host waiting for them.
struct RowGroups {
  const int* ends = nullptr;  ///< (count)
  int count = 0;
};

/// The backend B for several modules of one type that run as one: each has a group of the rows, and parameters of its
/// own. Operations that treat every row alike are B's; products take the matrix of a row's group (kernel/grouped.hpp).
/// An operation that reads other parameters has no kernel here, so such a layer does not compile.
template <Backend B>
struct Grouped {};
template <Backend B>
inline constexpr bool is_backend<Grouped<B>> = true;

/// How far the same tensor of the next group is.
struct GroupStep {
  std::ptrdiff_t bytes = 0;
  std::ptrdiff_t quantized = 0;  ///< in QuantizedMatrix, if it is one
};

template <Backend B>
struct Stream<Grouped<B>> : Stream<B> {
  RowGroups groups;
  const Parameter* first = nullptr;  ///< parameters of group 0; those of each next group follow
  int each = 0;                      ///< parameters of a group

  /// Of a matrix of group 0, or a window of one.
  GroupStep step_of(const Weight& w) const {
    GroupStep step{.bytes = step_at(w.data, [](const Parameter& p) { return p.value.data; })};
    if (w.quantized && groups.count > 1)
      for (int t = 0; t < each; ++t)
        if (first[t].value.quantized == w.quantized) step.quantized = first[each + t].value.quantized - w.quantized;
    return step;
  }
  /// Of a vector of group 0; null: 0.
  std::ptrdiff_t step_of(const void* vector) const {
    return step_at(vector, [](const Parameter& p) { return p.value.data; });
  }
  /// Of a gradient of group 0; null: 0.
  std::ptrdiff_t gradient_step(const float* gradient) const {
    return step_at(gradient, [](const Parameter& p) { return static_cast<const void*>(p.grad); });
  }

  /// Error if the groups' parameters differ in more than their place, or their places are not the same distance apart.
  void expect_alike() const {
    const auto at = [](const void* p) { return static_cast<std::ptrdiff_t>(reinterpret_cast<std::uintptr_t>(p)); };
    for (int g = 1; g < groups.count; ++g)
      for (int t = 0; t < each; ++t) {
        const Parameter &a = first[t], &b = first[each + t], &own = first[g * each + t];
        const bool same = own.value.rows == a.value.rows && own.value.cols == a.value.cols &&
                          own.value.dtype == a.value.dtype && own.value.stride == a.value.stride &&
                          !own.grad == !a.grad && own.scale == a.scale;
        if (!same || at(own.value.data) - at(a.value.data) != g * (at(b.value.data) - at(a.value.data)) ||
            at(own.grad) - at(a.grad) != g * (at(b.grad) - at(a.grad)))
          fail(
              "experts: parameter ", t, " of expert ", g, " (", own.value.rows, ", ", own.value.cols,
              ") differs from that of expert 0 (", a.value.rows, ", ", a.value.cols,
              ") in its rank, its type, whether it learns, or where it is in memory: all experts of a layer run as one "
              "and must be alike");
      }
  }

 private:
  /// The tensor of group 0 that an address is in is the last one that begins at or before it.
  template <class Place>
  std::ptrdiff_t step_at(const void* address, Place place) const {
    if (!address || groups.count < 2) return 0;
    const auto begin = [&](const Parameter& p) { return reinterpret_cast<std::uintptr_t>(place(p)); };
    int found = -1;
    for (int t = 0; t < each; ++t)
      if (place(first[t]) && begin(first[t]) <= reinterpret_cast<std::uintptr_t>(address) &&
          (found < 0 || begin(first[t]) > begin(first[found])))
        found = t;
    if (found < 0) fail("experts: a product with a matrix that is none of theirs");
    return static_cast<std::ptrdiff_t>(begin(first[each + found]) - begin(first[found]));
  }
};

}  // namespace lamina
