// A program in one .cu file that has only the installed Lamina: a norm on the CPU and on the GPU.
#include <lamina/kernel/cpu.hpp>
#include <lamina/lamina.cuh>

#include <cmath>
#include <cstdio>
#include <vector>

using namespace lamina;
using Norm = RMSNorm<64>;

/// x normed row by row on a backend.
template <class B>
std::vector<float> normed(Stream<B> stream, const std::vector<float>& x) {
  const int rows = static_cast<int>(x.size() / 64);
  Arena memory(std::size_t{1} << 20, Memory<B>{});
  float *from = memory.take<float>(x.size()), *gain = memory.take<float>(64), *to = memory.take<float>(x.size()),
        *r = memory.take<float>(x.size() / 64);
  Memory<B>::upload(stream, from, x.data(), x.size() * sizeof(float));
  Memory<B>::upload(stream, gain, std::vector<float>(64, 2).data(), 64 * sizeof(float));
  kernel::rms_norm<B>::forward(stream,
                               kernel::RMSNormFwd<float, 64>{.x = View<const float, Dyn, 64>(from, rows),
                                                             .g = View<const float, 64>(gain),
                                                             .y = Matrix<float>(to, rows, 64),
                                                             .r = r},
                               Norm::eps);
  std::vector<float> y(x.size());
  Memory<B>::download(stream, y.data(), to, y.size() * sizeof(float));
  return y;
}

int main() {
  std::vector<float> x(64 * 8);
  for (std::size_t i = 0; i < x.size(); ++i) x[i] = std::sin(static_cast<float>(i));
  const std::vector<float> on_cpu = normed(Stream<Cpu>{}, x);
  std::string why_not;
  if (!CudaDevice::available(&why_not)) {
    std::printf("SKIPPED: %s\n", why_not.c_str());
    return 77;
  }
  const auto gpu = CudaDevice::open();
  const std::vector<float> on_gpu = normed(gpu->stream(), x);
  for (std::size_t i = 0; i < x.size(); ++i)
    if (!(std::fabs(on_cpu[i] - on_gpu[i]) <= 64 * 0x1p-24f * std::fabs(on_cpu[i]))) return 1;
  return 0;
}
