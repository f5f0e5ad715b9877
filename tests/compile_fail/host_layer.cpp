// expect: host_kernel: plain loops run on the Cpu backend; for another one, write the layer a kernel
#include <lamina/kernel/cuda.hpp>
#include <lamina/lamina.hpp>
using namespace lamina;
LAMINA_NAME(fc1);
struct Halved {
  using In = Shape<Dyn, 16>;
  using Out = Shape<Dyn, 16>;
  using params = ParamList<>;
  static constexpr Traits traits{};
  template <class Mode> static constexpr Saves saves{};
  template <class Mode> struct Saved {};
  template <class R, class S, class X, class Y>
  static void forward(R run, const Parameter*, S&, X x, Y y) {
    host_kernel(run.stream, "halved_fwd", [&] { y(0, 0) = round_to<typename R::T>(to_f32(x(0, 0)) / 2); });
  }
  template <class R, class S, class DY, class DX>
  static void backward(R, const Parameter*, S&, DY, DX) {}
};
struct Model : Chain<Named<fc1, Linear<16, 16>>, Halved> {};
using Inference = Mode<bf16, false, false>;
void run(Run<Cuda, Inference> run, const Parameter* p, Matrix<const bf16> x, Matrix<bf16> y) {
  Model::Saved<Inference> saved;
  Model::forward(run, p, saved, x, y);
}
