// Which of two gates costs more? Both MLPs have the same parameters; forward, backward and what stays between them are
// timed in turns, beside this machine's own limits.
#include <lamina/kernel/cpu.hpp>
#include <lamina/lamina.hpp>
#include <lamina/testing/bench.hpp>

using namespace lamina;
using kernel::array_of, kernel::store;

/// y = relu(g)^2 u, for rows of g and u side by side.   source  Zhang et al. 2024, arXiv:2402.03804
template <int F>
struct SquaredReluGate {
  using In = Shape<Dyn, 2 * F>;
  using Out = Shape<Dyn, F>;
  using params = ParamList<>;
  static constexpr Traits traits{};
  static constexpr std::int64_t flops_per_row = 3 * F;  // the bench and describe count what a layer says of itself
  template <class Mode>
  static constexpr Saves saves{.input = true};
  template <class Mode>
  using Saved = SavedInput<Mode>;

  template <class R, class S, class X, class Y>
  static void forward(R run, const Parameter*, S& saved, X x, Y y) {
    saved.x = x;
    host_kernel(run.stream, "squared_relu_fwd", [&] {
      const auto g = array_of(x).leftCols(F).max(0), u = array_of(x).rightCols(F);
      store(y, g.square() * u);
    });
  }
  template <class R, class S, class DY, class DX>
  static void backward(R run, const Parameter*, S& saved, DY dy, DX dx) {
    if (!dx) return;
    host_kernel(run.stream, "squared_relu_bwd", [&] {
      const auto d = array_of(dy), g = array_of(saved.x).leftCols(F).max(0), u = array_of(saved.x).rightCols(F);
      store(dx.columns(0, F), d * 2 * g * u);
      store(dx.columns(F, F), d * g.square());
    });
  }
};

LAMINA_NAME(gate_up);
template <int D, int F, template <int> class Gate>
using Mlp = Chain<Named<gate_up, Linear<D, 2 * F>>, Gate<F>, Named<name::proj, Linear<F, D>>>;

int main(int argc, char** argv) {
  bench<Mlp<256, 768, SiluGate>>("silu", {.rows = 128});
  bench<Mlp<256, 768, SquaredReluGate>>("squared relu", {.rows = 128});
  return run_benches(argc, argv);
}
