#pragma once
#include <lamina/layer/linear.hpp>

namespace lamina {

/// Pixels of one patch to one row. The checkpoint's Conv3d has kernel = stride, so it is a matrix product:
///
///     y[p,o] = sum_e W[o,e] x[p,e] + b[o],   e runs over (channel, frame, y, x), x fastest
///
/// shapes      x: (P, channels * frames * patch^2);  y: (P, D);  W: (D, channels, frames, patch, patch)
/// checkpoint  "<path>.proj.weight", with Bias "<path>.proj.bias"
template <int Channels, int Frames, int Patch, int D, class WithBias = Bias>
struct PatchEmbed : Linear<Channels * Frames * Patch * Patch, D, WithBias> {
  static constexpr int in_channels = Channels, temporal_patch_size = Frames, patch_size = Patch;
  struct proj_weight {
    static constexpr std::string_view text = "proj.weight";
  };
  struct proj_bias {
    static constexpr std::string_view text = "proj.bias";
  };
  using weight = Param<proj_weight, Shape<D, Channels, Frames, Patch, Patch>, init::normal>;
  using params = std::conditional_t<std::is_same_v<WithBias, Bias>,
                                    ParamList<weight, Param<proj_bias, Shape<D>, init::zeros>>, ParamList<weight>>;
};

}  // namespace lamina
