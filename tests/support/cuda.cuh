#pragma once
#include <cmath>
#include <string>
#include <vector>

#include <lamina/kernel/cuda/device/device.cuh>

/// Running kernels on the GPU from tests: memory that grows until release(), copies there and back.
namespace lamina::testing {

class Gpu {
 public:
  static Gpu& instance() {
    static Gpu gpu;
    return gpu;
  }
  CudaDevice& device() { return *device_; }
  Stream<Cuda> stream() { return device_->stream(&scratch_); }

  /// n elements that hold NaN patterns: what a kernel leaves unwritten shows.
  template <class T>
  T* poisoned(std::size_t n) {
    T* p = memory_.take<T>(n);
    kernel::cuda::check(cudaMemsetAsync(p, 0xff, n * sizeof(T), stream().handle), "memset");
    return p;
  }
  template <class T>
  T* upload(const std::vector<T>& host) {
    T* p = memory_.take<T>(host.size());
    if (!host.empty()) Memory<Cuda>::upload(stream(), p, host.data(), host.size() * sizeof(T));
    return p;
  }
  template <class T>
  std::vector<T> download(const T* from, std::size_t n) {
    std::vector<T> host(n);
    if (n > 0) Memory<Cuda>::download(stream(), host.data(), from, n * sizeof(T));
    device_->wait();
    return host;
  }
  /// At the start of a test: what earlier ones uploaded is gone.
  void release() { memory_.release_to(0); }

 private:
  Gpu() = default;
  std::unique_ptr<CudaDevice> device_ = CudaDevice::open();
  Arena memory_{std::size_t{2} << 30, Memory<Cuda>{}}, scratch_{std::size_t{1} << 30, Memory<Cuda>{}};
};
inline Gpu& gpu() { return Gpu::instance(); }

/// A (rows, cols) matrix on the GPU whose rows are stride apart.
template <class T>
Matrix<T> gpu_matrix(T* data, int rows, int cols, std::ptrdiff_t stride) {
  return {data, rows, cols, stride};
}

/// |a - b| / |b| over all elements, in double; infinite if a value is not finite.
template <class A, class B>
double relative_error(const std::vector<A>& a, const std::vector<B>& b) {
  double difference = 0, size = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    const double x = to_f32(a[i]), y = to_f32(b[i]);
    if (!std::isfinite(x)) return INFINITY;
    difference += (x - y) * (x - y);
    size += y * y;
  }
  return size > 0 ? std::sqrt(difference / size) : std::sqrt(difference);
}

}  // namespace lamina::testing
