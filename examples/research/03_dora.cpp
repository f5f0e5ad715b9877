// A wrapper of one's own: DoRA puts an adapter of its own kind into any model, here Qwen3-VL, and trains it.
#include <iostream>
#include <numeric>

#include <lamina/kernel/cpu.hpp>
#include <lamina/lamina.hpp>
#include <lamina/model/qwen3_vl.hpp>
#include <lamina/train/optimizer.hpp>
#include <lamina/train/step.hpp>

using namespace lamina;
LAMINA_NAME(lora_magnitude_vector);

/// y = c (W x + s B A x),  c = m |W| / |V|,  V = W + s B A; |.| is the length of each row, and m starts at one. As in the
/// paper's section 4.3, |V| counts as constant in backward.   source: Liu et al. 2024, arXiv:2402.09353
template <class L, class Rank, class Alpha>
struct DoraLinear : AdaptedLinear<L, Rank, Alpha> {
  using Low = AdaptedLinear<L, Rank, Alpha>;
  static constexpr int O = Low::Out_, D = Low::In_, at = Low::own;  // parameters: L's own, then A, B, m
  using adapter_params = append_t<typename Low::adapter_params, Param<lora_magnitude_vector, Shape<O>, init::ones>>;

  template <class R, class S, class X, class Y>
  static void forward(R run, const Parameter* p, S& saved, X x, Y y) {
    Arena::Scope scope(*run.scratch);
    Low::forward(run, p, saved, x, y);
    const float* c = factors(run, p);
    host_kernel(run.stream, "dora_fwd", [&] {
      for (int n = 0; n < y.rows; ++n)
        for (int o = 0; o < O; ++o) y(n, o) *= c[o];
    });
  }
  template <class R, class S, class DY, class DX>
  static void backward(R run, const Parameter* p, S& saved, DY dy, DX dx) {
    Arena::Scope scope(*run.scratch);
    const Matrix<float> z = run.scratch->template matrix<float>(dy.rows, O);  // first y / c, then its gradient
    Low::forward(run, p, saved, saved.x, z);
    const float* c = factors(run, p);
    host_kernel(run.stream, "dora_bwd", [&] {
      for (int n = 0; n < dy.rows; ++n)
        for (int o = 0; o < O; ++o) {
          p[at + 2].grad[o] += dy(n, o) * z(n, o) * c[o] / p[at + 2].template vector<float, O>()(o);
          z(n, o) = dy(n, o) * c[o];
        }
    });
    Low::backward(run, p, saved, Matrix<const float>(z), dx);
  }

 private:
  template <class R>
  static const float* factors(R run, const Parameter* p) {
    using B = typename R::backend;
    const auto f32 = [](const Parameter& q) { return Matrix<const float>(static_cast<const float*>(q.value.data), q.value.rows, q.value.cols); };
    const Matrix<const float> w = f32(p[0]);
    const Matrix<float> v = run.scratch->template matrix<float>(O, D);
    float* c = run.scratch->template take<float>(O);
    kernel::add<B>::copy(run.stream, kernel::Add<float>{.x = w, .y = v});
    kernel::matmul<B>::backward_input(run.stream, kernel::MatmulBwdInput<float>{.dy = f32(p[at + 1]), .w = p[at].value, .dx = v, .alpha = p[at + 1].scale, .beta = 1});
    const auto length = [](const float* row) { return std::sqrt(std::inner_product(row, row + D, row, 0.0f)); };
    host_kernel(run.stream, "dora_factors", [&] {
      for (int o = 0; o < O; ++o) c[o] = p[at + 2].template vector<float, O>()(o) * length(w.row(o)) / length(v.row(o));
    });
    return c;
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
  Weights<Model, float> weights([](const TensorSpec& spec) { return Weights<Model, float>::Choice{.rank = spec.rank}; });
