#pragma once
#include <lamina/core/host/device.hpp>

namespace lamina {

/// A loss that layers of a decoder declare, besides what a run minimises: a function of sums over the rows of a
/// micro-batch and over all layers that declare it. A layer L says `using auxiliary = A`, of an A with
///
///     static constexpr int sums               numbers for a micro-batch
///     static double loss(const float* sums)   the loss of a micro-batch, on the host
///
/// In forward, L adds its share to `sums` if `gathers`. Backward begins after all layers have; there L adds the
/// gradient of the micro-batches' losses, times `weight`, if `sums` is not null. Pointers are the backend's.
struct AuxiliarySums {
  const int* cu_parts = nullptr;  ///< (parts + 1) first row of each micro-batch, then N
  int parts = 0;                  ///< 0: nobody asks for the loss
  int each = 0;                   ///< A::sums
  float weight = 0;               ///< of the loss of a micro-batch in the loss of the step
  float* sums = nullptr;          ///< (parts, each)
  bool gathers = false;

  LAMINA_HD int part_of(int row) const {
    int part = 0;
    while (row >= cu_parts[part + 1]) ++part;
    return part;
  }
};

}  // namespace lamina
