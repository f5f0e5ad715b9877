// A layer of one's own: sizes, parameters, equations, and a check that its backward is the derivative of its forward.
#include <cmath>
#include <iostream>

#include <lamina/kernel/cpu.hpp>
#include <lamina/lamina.hpp>
#include <lamina/testing/gradient_check.hpp>

using namespace lamina;
LAMINA_NAME(alpha);  // a tag: one component of a tensor's name

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
  static constexpr bool learns = true;
  template <class Mode>
  static constexpr bool saves_input = true;  // so whoever composes this layer keeps x for us
  template <class Mode>
  struct Saved {
    Matrix<const typename Mode::T> x;
  };

  template <class R, class S, class X, class Y>
  static void forward(R run, const Parameter* p, S& saved, X x, Y y) {
    using T = typename R::T;
    saved.x = x;
    const auto a = p[0].vector<T, 1>();
    const auto g = p[1].vector<T, D>(), b = p[2].vector<T, D>();
    host_kernel(run.stream, "dynamic_tanh_fwd", [&] {
      for (int n = 0; n < x.rows; ++n)
        for (int i = 0; i < D; ++i)
          y(n, i) = round_to<T>(to_f32(g(i)) * std::tanh(to_f32(a(0)) * to_f32(x(n, i))) + to_f32(b(i)));
    });
  }
  template <class R, class S, class DY, class DX>  // t = tanh(a x):  dx = dy g (1 - t^2) a
  static void backward(R run, const Parameter* p, S& saved, DY dy, DX dx) {
    using T = typename R::T;
    const auto a = p[0].vector<T, 1>();
    const auto g = p[1].vector<T, D>();
    host_kernel(run.stream, "dynamic_tanh_bwd", [&] {
      for (int n = 0; n < dy.rows; ++n)
        for (int i = 0; i < D; ++i) {
          const float x = to_f32(saved.x(n, i)), d = to_f32(dy(n, i)), t = std::tanh(to_f32(a(0)) * x);
          const float inner = d * to_f32(g(i)) * (1 - t * t);
          if (p[0].grad) p[0].grad[0] += inner * x;
          if (p[1].grad) p[1].grad[i] += d * t;
          if (p[2].grad) p[2].grad[i] += d;
          if (dx) dx(n, i) = round_to<T>(inner * to_f32(a(0)));
        }
    });
  }
};

struct Block : Residual<Named<name::norm, DynamicTanh<16>>, Named<name::proj, Linear<16, 16>>> {};
static_assert(param_count<Block> == 1 + 16 + 16 + 16 * 16);

int main() {
  const auto alone = testing::check_gradients<DynamicTanh<16>>(), composed = testing::check_gradients<Block>();
  std::cout << "DynamicTanh<16>\n" << alone.text() << "Block\n" << composed.text();
  return alone.passed() && composed.passed() ? 0 : 1;
}
