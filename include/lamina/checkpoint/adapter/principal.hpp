#pragma once
#include <Eigen/Core>
#include <Eigen/Eigenvalues>
#include <Eigen/QR>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <random>

#include <lamina/checkpoint/load_weights.hpp>
#include <lamina/core/error.hpp>

namespace lamina::checkpoint {

/// How the largest singular values of a weight are found.
struct PrincipalOptions {
  int rank = 8;
  float scale = 1;         ///< of the adapter
  int iterations = 16;     ///< rounds of subspace iteration from a random start; -1: the whole decomposition
  std::uint64_t seed = 0;  ///< of that start
};

namespace detail {

using RowMajorF = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;

/// An orthonormal basis of the columns of y.
inline Eigen::MatrixXf basis_of(const Eigen::MatrixXf& y) {
  const Eigen::HouseholderQR<Eigen::MatrixXf> qr(y);
  return qr.householderQ() * Eigen::MatrixXf::Identity(y.rows(), y.cols());
}

/// Columns that span the left singular vectors of w's largest singular values, and some more.
inline Eigen::MatrixXf leading_basis(const Eigen::Map<const RowMajorF>& w, const PrincipalOptions& o) {
  constexpr int spare = 8;  // more columns than asked for make the last ones exact sooner
  std::mt19937_64 random(o.seed);
  std::normal_distribution<float> normal;
  const auto columns = std::min<Eigen::Index>(o.rank + spare, std::min(w.rows(), w.cols()));
  const Eigen::MatrixXf start = Eigen::MatrixXf::NullaryExpr(w.cols(), columns, [&] { return normal(random); });
  Eigen::MatrixXf q = basis_of(w * start);
  for (int i = 0; i < o.iterations; ++i) q = basis_of(w * basis_of(w.transpose() * q));
  return q;
}

}  // namespace detail

/// The adapter that holds the principal part of a weight W (out, in), scale * B A = sum over the `rank` largest
/// singular values s of s u v^T, with the square root of s in each of A and B.
/// source  Meng et al. 2024, arXiv:2404.02948 (PiSSA); Halko et al. 2011, arXiv:0909.4061, algorithm 4.4
inline AdapterLayer principal_layer(const Eigen::Map<const detail::RowMajorF>& w, const PrincipalOptions& o) {
  if (o.rank > std::min(w.rows(), w.cols()))
    fail("pissa_init: lora_rank ", o.rank, " is above the rank of a weight of ", w.rows(), " x ", w.cols());
  const bool whole = o.iterations < 0, wide = whole && w.rows() > w.cols();
  const Eigen::MatrixXf basis = whole ? Eigen::MatrixXf() : detail::leading_basis(w, o);
  // The eigenvectors of m m^T are left singular vectors of m.
  const Eigen::MatrixXd m = whole ? (wide ? Eigen::MatrixXd(w.transpose().cast<double>()) : w.cast<double>())
                                  : Eigen::MatrixXd((basis.transpose() * w).cast<double>());
  const Eigen::SelfAdjointEigenSolver<Eigen::MatrixXd> solved(m * m.transpose());
  AdapterLayer layer{.rank = o.rank, .scale = o.scale, .a = {}, .b = {}};
  detail::RowMajorF a(o.rank, w.cols()), b(w.rows(), o.rank);
  for (int r = 0; r < o.rank; ++r) {
    const Eigen::Index at = m.rows() - 1 - r;  // eigenvalues ascend
    const double s = std::max(std::sqrt(std::max(solved.eigenvalues()[at], 0.0)), std::numeric_limits<double>::min()),
                 root = std::sqrt(s / static_cast<double>(o.scale));
    const Eigen::VectorXd left = solved.eigenvectors().col(at), right = m.transpose() * left / s;
    const Eigen::VectorXf u = (wide ? right : left).cast<float>(), v = (wide ? left : right).cast<float>();
    b.col(r) = static_cast<float>(root) * (whole ? u : Eigen::VectorXf(basis * u));
    a.row(r) = static_cast<float>(root) * v.transpose();
  }
  layer.a.assign(a.data(), a.data() + a.size());
  layer.b.assign(b.data(), b.data() + b.size());
  return layer;
}

}  // namespace lamina::checkpoint
