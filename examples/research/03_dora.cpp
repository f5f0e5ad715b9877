// A wrapper of one's own: DoRA puts an adapter of its own kind into any model, here Qwen3-VL, and trains it.
#include <iostream>

#include <lamina/kernel/cpu.hpp>
#include <lamina/lamina.hpp>
#include <lamina/model/qwen3_vl/model.hpp>
#include <lamina/testing/overfit.hpp>
#include <lamina/testing/random_batch.hpp>

using namespace lamina;
using kernel::array_of, kernel::grad_of, kernel::store;
LAMINA_NAME(lora_magnitude_vector);

/// y = c (W x + s B A x),  c = m |W| / |V|,  V = W + s B A; |.| is the length of each row, and m starts at one. As in
/// the paper's section 4.3, |V| counts as constant in backward.   source: Liu et al. 2024, arXiv:2402.09353
template <class L, class Rank, class Alpha>
struct DoraLinear : AdaptedLinear<L, Rank, Alpha> {
  using Low = AdaptedLinear<L, Rank, Alpha>;
  static constexpr int O = Low::Out_, D = Low::In_, at = Low::own;  // parameters: L's own, then A, B, m
  using added_params = append_t<typename Low::added_params, Param<lora_magnitude_vector, Shape<O>, init::ones>>;
  static_assert(!L::has_bias, "DoraLinear: scales W x alone, so the layer must have no bias");

  static void forward(auto run, const Parameter* p, auto& saved, auto x, auto y) {
    Low::forward(run, p, saved, x, y);
    host_kernel(run.stream, "dora_fwd", [&] { store(y, array_of(y).rowwise() * factors(p).transpose()); });
  }
  static void backward(auto run, const Parameter* p, auto& saved, auto dy, auto dx) {
    Arena::Scope scope(*run.scratch);
    const Matrix<float> z = run.scratch->template matrix<float>(dy.rows, O);  // y / c, then its gradient
    Low::forward(run, p, saved, saved.x, z);
    host_kernel(run.stream, "dora_bwd", [&] {
      const Eigen::ArrayXf c = factors(p), m = array_of(p[at + 2].vector<float, O>());
      const auto d = array_of(Matrix<const float>(dy));
      grad_of(p[at + 2]) += (d * array_of(z)).colwise().sum().transpose() * c / m;
      store(z, d.rowwise() * c.transpose());
    });
    Low::backward(run, p, saved, Matrix<const float>(z), dx);
  }
  static Eigen::ArrayXf factors(const Parameter* p) {
    const kernel::RowMajorArray w = array_of(p[0].value), a = array_of(p[at].value), b = array_of(p[at + 1].value);
    const kernel::RowMajorArray v = w + p[at + 1].scale * (b.matrix() * a.matrix()).array();
    return array_of(p[at + 2].vector<float, O>()) * (w.square().rowwise().sum() / v.square().rowwise().sum()).sqrt();
  }
};

/// The rule: a target becomes a DoraLinear, every other layer with parameters is frozen.
template <class R, class A, class T>
struct DoraRule {
  template <class M, class Path>
  static constexpr bool applies = ParametricLayer<M>;
  template <class M, class Path>
  using apply = std::conditional_t<is_linear<M> && T::template match<Path>, DoraLinear<M, R, A>, Frozen<M>>;
};
template <class M, class R, class A, class T>
struct DoRA : rewrite_t<M, DoraRule<R, A, T>> {};
struct Model : DoRA<qwen3_vl::Qwen3VL_Tiny, Rank<4>, Alpha<8>, Targets<name::q_proj, name::v_proj>> {};

int main() {
  auto weights = initialised<Model>(1);
  constexpr int image_token = Model::vocab_size - 1;
  const Batch batch = testing::random_batch<Model>({1, 4, 4}, 8, image_token, 1);
  const std::vector<double> losses = testing::overfit(weights, batch, image_token, 5, {.learning_rate = 1e-3});
  for (const double loss : losses) std::cout << "loss " << loss << "\n";
  return std::is_sorted(losses.rbegin(), losses.rend()) ? 0 : 1;
}
