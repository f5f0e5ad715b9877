// An adapter of one's own: DoRA as its paper has it, a kind that Adapt puts into any model, here Qwen3-VL, and trains.
#include <iostream>

#include <lamina/kernel/cpu.hpp>
#include <lamina/lamina.hpp>
#include <lamina/model/qwen3_vl/model.hpp>
#include <lamina/testing/overfit.hpp>
#include <lamina/testing/random_batch.hpp>

using namespace lamina;
using kernel::array_of, kernel::grad_of, kernel::store;

namespace mine {

/// y = c (W x + s B A x),  c = m / |V|,  V = W + s B A; |.| is the length of each row, and m starts as |W|. As in the
/// paper's section 4.3, |V| counts as constant in backward.   source: Liu et al. 2024, arXiv:2402.09353
template <class L, class Rank, class Alpha>
struct DoraLinear : AdaptedLinear<L, Rank, Alpha> {
  using Low = AdaptedLinear<L, Rank, Alpha>;
  static constexpr int O = Low::Out_, at = Low::own;  // parameters: L's own, then A, B, m
  using added_params = append_t<typename Low::added_params, Param<lora_magnitude_vector, Shape<O>, init::row_norms>>;
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
    return array_of(p[at + 2].vector<float, O>()) / v.square().rowwise().sum().sqrt();
  }
};

/// The kind: what becomes of a layer that Targets<...> names. Every other layer is frozen.
template <class Rank, class Alpha>
struct DoRA {
  template <class L>
  using layer = DoraLinear<L, Rank, Alpha>;
};

}  // namespace mine

using Projections = Targets<name::q_proj, name::v_proj>;
struct Mine : Adapt<qwen3_vl::Qwen3VL_Tiny, mine::DoRA<Rank<4>, Alpha<8>>, Projections> {};
struct Theirs : DoRA<qwen3_vl::Qwen3VL_Tiny, Rank<4>, Alpha<8>, Projections> {};  // the library's, for the CPU and GPUs
static_assert(trainable_count<Mine> == trainable_count<Theirs>);

template <class Model>
std::vector<double> losses() {
  auto weights = initialised<Model>(1);
  constexpr int image_token = Model::vocab_size - 1;
  const Batch batch = testing::random_batch<Model>({1, 4, 4}, 8, image_token, 1);
  return testing::overfit(weights, batch, image_token, 5, {.learning_rate = 1e-3});
}

int main() {
  const std::vector<double> mine = losses<Mine>(), theirs = losses<Theirs>();
  bool same = true;
  for (std::size_t i = 0; i < mine.size(); ++i) {
    std::cout << "loss " << mine[i] << ", the library's " << theirs[i] << "\n";
    same = same && std::abs(mine[i] - theirs[i]) < 1e-5;
  }
  return same && std::is_sorted(mine.rbegin(), mine.rend()) ? 0 : 1;
}
