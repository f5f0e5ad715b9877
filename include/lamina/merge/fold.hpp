#pragma once
#include <Eigen/Core>
#include <limits>

#include <lamina/checkpoint/adapter.hpp>
#include <lamina/core/threads.hpp>
#include <lamina/layer/adapter/dora_linear.hpp>

/// The arithmetic of a merge, on blocks of rows.
namespace lamina::merge {

using RowMajor = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;

/// What one adapter adds to one weight (out, in), in fp32.
struct AdapterDelta {
  RowMajor a;                    ///< (R, in)
  RowMajor b;                    ///< (out, R), times scale
  std::vector<float> magnitude;  ///< DoRA's m (out), or empty

  static AdapterDelta load(const checkpoint::Adapter& adapter, const checkpoint::LoraPair& pair) {
    AdapterDelta d;
    const std::vector<float> a = adapter.read(pair.a), b = adapter.read(pair.b);
    d.a = Eigen::Map<const RowMajor>(a.data(), pair.rank, pair.in_features);
    d.b = Eigen::Map<const RowMajor>(b.data(), pair.out_features, pair.rank) * static_cast<float>(pair.scale);
    if (!pair.magnitude.empty()) d.magnitude = adapter.read(pair.magnitude);
    return d;
  }
};

/// w, rows [first_row, first_row + w.rows()) of a weight, becomes W + s B A; with a magnitude m, each row of that is
/// scaled to m's length. Source: Hu et al. 2021, arXiv:2106.09685; Liu et al. 2024, arXiv:2402.09353, eq. 5.
inline void fold_rows(Eigen::Map<RowMajor> w, Eigen::Index first_row, const AdapterDelta& d) {
  const auto b = d.b.middleRows(first_row, w.rows());
  if (d.magnitude.empty()) return LowRank<Rank<Dyn>, Alpha<Dyn>>::merge(w, 1, d.a, b);
  const Eigen::Map<const Eigen::VectorXf> m(d.magnitude.data() + first_row, w.rows());
  WeightDecomposed<Rank<Dyn>, Alpha<Dyn>>::merge(w, 1, d.a, b, m);
}

/// The first magnitude that rounds to infinity in a floating type.
inline float overflow_of(DType t) {
  if (t == DType::F16) return 65520.0f;                            // halfway between 65504 and 2^16
  if (t == DType::BF16) return std::bit_cast<float>(0x7f7f8000u);  // halfway between the largest bf16 and 2^128
  return std::numeric_limits<float>::infinity();
}

/// Where a tensor's values come from before the deltas: the base model, or an adapter that replaces it whole.
struct TensorSource {
  const checkpoint::Checkpoint* weights = nullptr;
  const checkpoint::TensorInfo* info = nullptr;
};

/// Fills out, which holds elements of type `to`, with round(source + deltas): each block is read, computed in fp32 and
/// rounded once, on all threads. Bit-equal for any number of threads. Error, naming the tensor, on a value that is
/// not finite in the output. Memory: 1 MiB or one row per thread, plus the deltas.
inline void fold(const TensorSource& source, std::span<const AdapterDelta> deltas, DType to, std::span<std::byte> out) {
  const checkpoint::TensorInfo& info = *source.info;
  if (deltas.empty() && info.dtype == to) return source.weights->read(info.name, out);
  const std::int64_t count = checkpoint::element_count(info.shape);
  const std::int64_t width = deltas.empty() ? 1 : deltas.front().a.cols();
  const std::int64_t block = std::max<std::int64_t>(1, (1 << 18) / width) * width;  // elements, whole rows
  const std::size_t from_bytes = size_bytes(info.dtype), to_bytes = size_bytes(to);
  parallel_for((count + block - 1) / block, [&](std::int64_t i) {
    const std::int64_t first = i * block, n = std::min(block, count - first);
    std::vector<std::byte> raw(static_cast<std::size_t>(n) * from_bytes);
    std::vector<float> values(static_cast<std::size_t>(n));
    source.weights->read(info.name, static_cast<std::size_t>(first) * from_bytes, raw);
    checkpoint::widen(info.dtype, raw, values);
    for (const AdapterDelta& d : deltas) fold_rows({values.data(), n / width, width}, first / width, d);
    const float largest = Eigen::Map<Eigen::ArrayXf>(values.data(), n).abs().maxCoeff<Eigen::PropagateNaN>();
    if (!(largest < overflow_of(to)))
      fail(info.name, ": ", std::isnan(largest) ? "holds NaN" : "has values too large for ",
           std::isnan(largest) ? "" : name_of(to), " after the merge",
           to == DType::F16 && largest >= 65520 ? ": choose infer_dtype: bfloat16"
                                                : ": is the base or an adapter damaged?");
    checkpoint::narrow(values, to,
                       out.subspan(static_cast<std::size_t>(first) * to_bytes, static_cast<std::size_t>(n) * to_bytes));
  });
}

}  // namespace lamina::merge
