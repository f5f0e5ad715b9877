#include <lamina/checkpoint/adapter/principal.hpp>

#include <random>

#include "support/catch.hpp"

using namespace lamina;
namespace ckpt = lamina::checkpoint;
using Matrix_ = ckpt::detail::RowMajorF;

namespace {

/// A weight of these singular values, largest first.
Matrix_ weight_of(int out, int in, const std::vector<float>& values) {
  std::mt19937 random(3);
  std::normal_distribution<float> normal;
  const auto basis = [&](int rows) {
    return ckpt::detail::basis_of(
        Eigen::MatrixXf::NullaryExpr(rows, static_cast<Eigen::Index>(values.size()), [&] { return normal(random); }));
  };
  const Eigen::MatrixXf u = basis(out), v = basis(in);
  return u * Eigen::Map<const Eigen::VectorXf>(values.data(), std::ssize(values)).asDiagonal() * v.transpose();
}

}  // namespace

TEST_CASE("principal_layer: the adapter's product is the best approximation of its rank, its halves alike in size") {
  for (const auto& [out, in] : {std::pair{20, 33}, {33, 20}})
    for (const int iterations : {-1, 4}) {
      CAPTURE(out, in, iterations);
      const Matrix_ w = weight_of(out, in, {9, 7, 5, 1, 0.5f});
      const ckpt::AdapterLayer layer =
          ckpt::principal_layer({w.data(), out, in}, {.rank = 3, .scale = 2, .iterations = iterations});
      const Eigen::Map<const Matrix_> a(layer.a.data(), 3, in), b(layer.b.data(), out, 3);
      const float rest = (w - layer.scale * b * a).norm();
      CHECK(rest == Approx(std::sqrt(1 + 0.25f)).epsilon(1e-4));
      for (int r = 0; r < 3; ++r) CHECK(a.row(r).norm() == Approx(b.col(r).norm()).epsilon(1e-4));
      CHECK(a.row(0).squaredNorm() == Approx(4.5f).epsilon(1e-4));
    }
}

TEST_CASE("principal_layer: a rank above the weight's is refused") {
  const Matrix_ w = Matrix_::Identity(4, 6);
  CHECK_THROWS_AS(ckpt::principal_layer({w.data(), 4, 6}, {.rank = 5}), Error);
}
