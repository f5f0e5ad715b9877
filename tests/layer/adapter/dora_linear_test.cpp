#include <vector>

#include <lamina/compose/plan/initialise.hpp>
#include <lamina/kernel/cpu.hpp>
#include <lamina/layer.hpp>

#include "support/catch.hpp"

using namespace lamina;
using kernel::array_of, kernel::RowMajorArray;

namespace {
constexpr int rows = 5, In = 7, Out = 9;
using Base = Linear<In, Out, Bias>;
using Dora = DoraLinear<Base, Rank<2>, Alpha<4>>;
using Low = AdaptedLinear<Base, Rank<2>, Alpha<4>>;
using Kind = WeightDecomposed<Rank<2>, Alpha<4>>;

RowMajorArray numbers(int n, int width, int seed) {
  return RowMajorArray::NullaryExpr(n, width, [&](Eigen::Index r, Eigen::Index c) {
    return static_cast<float>((r * 31 + c * 17 + seed * 7) % 23) / 23 - 0.5f;
  });
}
Matrix<float> matrix(RowMajorArray& a) { return {a.data(), static_cast<int>(a.rows()), static_cast<int>(a.cols())}; }
RowMajorArray value(const Parameter& p) { return array_of(p.value); }

/// A layer with parameters, and one pass through it.
template <class L>
struct Pass {
  using Training = Mode<float, true, true>;
  Weights<L, float> weights = initialised<L>(3);
  Arena scratch{1 << 16};
  RowMajorArray x = numbers(rows, In, 1), y{rows, Out}, dx{rows, In};

  explicit Pass(bool with_b = true) {
    if (with_b) fill(3, numbers(Out, 2, 5));
  }
  void fill(int tensor, const RowMajorArray& values) {
    const auto& slot = weights.slots()[static_cast<std::size_t>(tensor)];
    std::copy(values.data(), values.data() + values.size(), static_cast<float*>(weights.data(slot)));
  }
  const Parameter& p(int i) const { return weights.parameters()[i]; }
  void run(RowMajorArray dy) {
    Context<float> context;
    context.rows = rows;
    const Run<Cpu, Training> run{{}, &scratch, &context};
    typename L::template Saved<Training> saved{};
    L::forward(run, weights.parameters(), saved, Matrix<const float>(matrix(x)), matrix(y));
    L::backward(run, weights.parameters(), saved, Matrix<const float>(matrix(dy)), matrix(dx));
  }
  Eigen::ArrayXf gradient(int i) const { return kernel::grad_of(p(i)); }
};
}  // namespace

TEST_CASE("DoraLinear: begins with magnitudes of |W|, and so as the layer that it adapts") {
  Pass<Dora> dora(false);
  Pass<Low> low(false);
  dora.fill(0, value(low.p(0))), dora.fill(1, value(low.p(1)));
  dora.fill(4, value(low.p(0)).square().rowwise().sum().sqrt());
  CHECK((value(initialised<Dora>(3).parameters()[4]).transpose() -
         value(initialised<Dora>(3).parameters()[0]).square().rowwise().sum().sqrt())
            .abs()
            .maxCoeff() < 1e-6f);
  dora.run(numbers(rows, Out, 2)), low.run(numbers(rows, Out, 2));
  CHECK((dora.y - low.y).abs().maxCoeff() < 1e-6f);
  CHECK((dora.dx - low.dx).abs().maxCoeff() < 1e-6f);
}

TEST_CASE("DoraLinear: merged, the linear layer computes the same") {
  Pass<Dora> dora;
  dora.run(numbers(rows, Out, 2));
  RowMajorArray w = value(dora.p(0));
  const Eigen::ArrayXf m = value(dora.p(4)).row(0).transpose();
  Kind::merge(w.matrix(), dora.p(3).scale, value(dora.p(2)).matrix(), value(dora.p(3)).matrix(), m);
  const RowMajorArray merged = (dora.x.matrix() * w.matrix().transpose()).array().rowwise() + value(dora.p(1)).row(0);
  CHECK((dora.y - merged).abs().maxCoeff() < 1e-5f);
}

TEST_CASE("DoraLinear: A and B learn as LoRA's do from a gradient times m / |W + s B A|") {
  Pass<Dora> dora;
  Pass<Low> low;
  for (int i : {0, 1, 2, 3}) low.fill(i, value(dora.p(i)));
  dora.fill(4, value(dora.p(4)) * 1.25f + 0.01f);
  const RowMajorArray v =
      value(dora.p(0)) + dora.p(3).scale * (value(dora.p(3)).matrix() * value(dora.p(2)).matrix()).array();
  const Eigen::ArrayXf c = value(dora.p(4)).row(0).transpose() / v.square().rowwise().sum().sqrt();
  const RowMajorArray dy = numbers(rows, Out, 2);
  dora.run(dy), low.run(dy.rowwise() * c.transpose());
  for (int i : {2, 3}) CHECK((dora.gradient(i) - low.gradient(i)).abs().maxCoeff() < 1e-5f);
  CHECK((dora.dx - low.dx).abs().maxCoeff() < 1e-5f);
}
