// A layer of one's own: sizes, parameters, equations, and a check that its backward is the derivative of its forward.
#include <iostream>

#include <lamina/kernel/cpu.hpp>
#include <lamina/lamina.hpp>
#include <lamina/testing/gradient_check.hpp>

using namespace lamina;
using kernel::array_of, kernel::grad_of, kernel::store, kernel::RowMajorArray;
LAMINA_NAME(alpha);  // a tag: one component of a tensor's name
LAMINA_NAME(norm1);

/// A stand-in for a norm that computes no statistics.
///
///     y[n,i] = g[i] tanh(a x[n,i]) + b[i]
///
/// shapes      x, y, dx, dy: (N, D);  a: (1);  g, b: (D)
/// source      Zhu et al. 2025, arXiv:2503.10622, section 4
template <int D>
struct DynamicTanh {
  using In = Shape<Dyn, D>;
  using Out = Shape<Dyn, D>;
  using params = ParamList<Param<alpha, Shape<1>, init::ones>, Param<name::weight, Shape<D>, init::ones>,
                           Param<name::bias, Shape<D>, init::zeros>>;
  static constexpr Traits traits{.learns = true};
  template <class Mode>
  static constexpr Saves saves{.input = true};  // so whoever composes this layer keeps x for us
  template <class Mode>
  using Saved = SavedInput<Mode>;

  template <class R, class S, class X, class Y>
  static void forward(R run, const Parameter* p, S& saved, X x, Y y) {
    using T = typename R::T;
    saved.x = x;
    host_kernel(run.stream, "dynamic_tanh_fwd", [&] {
      const float a = to_f32(p[0].vector<T, 1>()(0));
      const auto g = array_of(p[1].vector<T, D>()), b = array_of(p[2].vector<T, D>());
      store(y, ((a * array_of(x)).tanh().rowwise() * g.transpose()).rowwise() + b.transpose());
    });
  }
  template <class R, class S, class DY, class DX>  // t = tanh(a x):  dx = dy g (1 - t^2) a
  static void backward(R run, const Parameter* p, S& saved, DY dy, DX dx) {
    using T = typename R::T;
    host_kernel(run.stream, "dynamic_tanh_bwd", [&] {
      const float a = to_f32(p[0].vector<T, 1>()(0));
      const auto g = array_of(p[1].vector<T, D>());
      const auto x = array_of(saved.x), d = array_of(Matrix<const T>(dy));
      const RowMajorArray t = (a * x).tanh(), inner = (d * (1 - t * t)).rowwise() * g.transpose();
      if (p[0].grad) grad_of(p[0]) += (inner * x).sum();
      if (p[1].grad) grad_of(p[1]) += (d * t).colwise().sum().transpose();
      if (p[2].grad) grad_of(p[2]) += d.colwise().sum().transpose();
      if (dx) store(dx, inner * a);
    });
  }
};

struct Block : Residual<Named<norm1, DynamicTanh<16>>, Named<name::proj, Linear<16, 16>>> {};
static_assert(param_count<Block> == 1 + 16 + 16 + 16 * 16);

int main() {
  const auto alone = testing::check_gradients<DynamicTanh<16>>(), composed = testing::check_gradients<Block>();
  std::cout << "DynamicTanh<16>\n" << alone.text() << "Block\n" << composed.text();
  return alone.passed() && composed.passed() ? 0 : 1;
}
