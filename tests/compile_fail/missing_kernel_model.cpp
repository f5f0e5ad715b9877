// expect: no kernel for this backend: include <lamina/kernel/cpu.hpp>
#include <lamina/kernel/cpu/elementwise/activation.hpp>
#include <lamina/lamina.hpp>
using namespace lamina;
LAMINA_NAME(linear_fc1); LAMINA_NAME(linear_fc2);
using Training = Mode<float, true, true>;
struct Model : MLP<Named<linear_fc1, Linear<8, 16>>, Gelu, Named<linear_fc2, Linear<16, 8>>> {};
void run(Run<Cpu, Training> run, const Parameter* p, Model::Saved<Training>& saved, Matrix<const float> x, Matrix<float> y) {
  Model::forward(run, p, saved, x, y);
}
