#include <lamina/kernel/cpu/optimizer/muon.hpp>

#include <Eigen/SVD>
#include <cmath>
#include <vector>

#include "kernel/random_matrix.hpp"
#include "support/catch.hpp"

using namespace lamina;
using namespace lamina::kernel;

namespace {

using Values = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;

/// What Muon makes of a gradient at its first step.
Values muon_update(Values g, Clip clip = {1, 1}) {
  Values m = Values::Zero(g.rows(), g.cols());
  MuonTensor t{.g = g.data(), .m = m.data(), .rows = int(g.rows()), .cols = int(g.cols()), .clip = &clip};
  Arena work(optimizer<Cpu>::muon_bytes(t));
  t.work = &work;
  optimizer<Cpu>::muon(Stream<Cpu>{}, t);
  return g;
}

}  // namespace

TEST_CASE("muon: an update's singular values are near 0.2 sqrt(its longer side), whatever the gradient's are") {
  for (const auto& [rows, cols] : {std::pair{4, 64}, {64, 4}, {24, 40}, {1, 16}}) {
    CAPTURE(rows, cols);
    const test::RandomMatrix<float> drawn(rows, cols, 1, 0);
    const Values g = Eigen::Map<const Values>(drawn.data.data(), rows, cols);
    const Values update = muon_update(g) / (0.2f * std::sqrt(float(std::max(rows, cols))));
    const Eigen::VectorXf values = Eigen::JacobiSVD<Eigen::MatrixXf>(update).singularValues();
    CHECK(values.maxCoeff() < 1.3f);
    CHECK(values.minCoeff() > 0.6f);
    CHECK((muon_update(g * 1000) - muon_update(g)).norm() <= 0.05f * muon_update(g).norm());
    CHECK(muon_update(g.transpose()) == Values(muon_update(g).transpose()));
    CHECK(muon_update(g, {1, 0.5f}) == muon_update(g * 0.5f));
    CHECK(muon_update(g, {NAN, 0}) == g);
  }
  CHECK(muon_update(Values::Zero(3, 5)) == Values::Zero(3, 5));
}
