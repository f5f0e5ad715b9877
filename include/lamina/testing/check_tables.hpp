#pragma once
#include <cmath>
#include <string_view>
#include <vector>

#include <lamina/compose/wrap/rewrite.hpp>
#include <lamina/core/run.hpp>
#include <lamina/testing/deterministic_weights.hpp>

namespace lamina::testing::detail {

/// n values in (-scale, scale), odd multiples of scale / 2048.
inline std::vector<float> grid_values(std::string_view name, std::uint64_t seed, std::size_t n, float scale) {
  std::vector<float> values(n);
  const std::uint64_t hash = splitmix64(fnv1a64(name) ^ seed);
  for (std::size_t i = 0; i < n; ++i)
    values[i] = (std::floor(deterministic_unit(hash, i) * 2048) + 0.5f) * 0x1p-10f * scale;
  return values;
}

/// Tables that a layer may look up: two sequences, short windows in reverse order, any rotation, any learned position.
template <class Layer>
class CheckTables {
 public:
  CheckTables(int rows, std::uint64_t seed) : rows_(rows) {
    constexpr int d = Layer::traits.row_divisor;
    sequences_ = {0, rows / d / 2 * d, rows};
    if (sequences_[1] == 0) sequences_ = {0, rows};
    for (int n = 0; n < rows; n += 2 * d) windows_.push_back(n);
    windows_.push_back(rows);
    for (int i = rows / d - 1; i >= 0; --i) merged_order_.push_back(i);
    for (int i = 0; i < rows; ++i) order_.push_back(merged_order_[i / d] * d + i % d);
    if constexpr (using_heads) half_ = find_t<Layer, lamina::detail::HasHeads>::HeadsOf::head_dim / 2;
    for (const float angle : grid_values("angle", seed, static_cast<std::size_t>(rows) * half_, 3)) {
      cos_.push_back(std::cos(angle));
      sin_.push_back(std::sin(angle));
    }
    if constexpr (using_table)
      for (const float u : grid_values("position", seed, static_cast<std::size_t>(rows) * 4, 1))
        position_rows_.push_back(static_cast<int>((u + 1) / 2 * find_t<Layer, lamina::detail::HasTable>::table_rows));
    position_weights_ = grid_values("position weight", seed, static_cast<std::size_t>(rows) * 4, 1);
    for (int s = 0; s <= sequences(); ++s) cu_latents_.push_back(s * own_rows);
    if constexpr (own_rows > 0)
      for (int i = 0; i < sequences() * own_rows; ++i) latent_rows_.push_back(i % own_rows);
  }
  int sequences() const { return static_cast<int>(sequences_.size()) - 1; }
  Context<float> context(const std::uint64_t* dropout_seed) const {
    Context<float> c;
    c.rows = rows_;
    c.cu_seqlens = sequences_.data();
    c.sequences = sequences();
    c.latent_rows = latent_rows_.data();
    c.cu_latents = cu_latents_.data();
    c.cu_windows = windows_.data();
    c.windows = static_cast<int>(windows_.size()) - 1;
    c.cos = {cos_.data(), rows_, half_};
    c.sin = {sin_.data(), rows_, half_};
    c.position_rows = position_rows_.data();
    c.position_weights = position_weights_.data();
    c.order = order_.data();
    c.merged_order = merged_order_.data();
    c.dropout_seed = dropout_seed;
    return c;
  }

 private:
  static constexpr bool using_heads = !std::is_void_v<find_t<Layer, lamina::detail::HasHeads>>;
  static constexpr bool using_table = !std::is_void_v<find_t<Layer, lamina::detail::HasTable>>;
  static constexpr int own_rows = Layer::traits.rows_per_sequence;
  int rows_, half_ = 0;
  std::vector<int> sequences_, windows_, order_, merged_order_, position_rows_, latent_rows_, cu_latents_;
  std::vector<float> cos_, sin_, position_weights_;
};

}  // namespace lamina::testing::detail
