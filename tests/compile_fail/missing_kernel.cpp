// expect: no kernel for this backend: include <lamina/kernel/cpu.hpp>
#include <lamina/lamina.hpp>
using namespace lamina;
using Inference = Mode<float, false, false>;
void run(Run<Cpu, Inference> run, const Parameter* p, Matrix<const float> x, Matrix<float> y) {
  RMSNorm<64>::Saved<Inference> saved;
  RMSNorm<64>::forward(run, p, saved, x, y);
}
