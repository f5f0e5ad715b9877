#pragma once
#include <concepts>
#include <string_view>
#include <type_traits>

#include <lamina/core/tensor/dtype.hpp>
#include <lamina/core/threads/cancelled.hpp>

namespace lamina {

/// Plain C++ and Eigen on the host's cores.
struct Cpu {};
/// NVIDIA GPUs; its kernels live in .cuh headers.
struct Cuda {};

template <class B>
inline constexpr bool is_backend = false;
template <>
inline constexpr bool is_backend<Cpu> = true;
template <>
inline constexpr bool is_backend<Cuda> = true;

/// Something that kernels run on. A user's own backend specialises is_backend.
template <class B>
concept Backend = is_backend<B>;
static_assert(Backend<Cpu> && !Backend<int>);

/// An element type that activations may have.
template <class T>
concept Real = std::same_as<T, float> || std::same_as<T, bf16> || std::same_as<T, f16>;
static_assert(Real<float> && Real<bf16> && !Real<int>);

/// The order that a backend's launches keep. enter and leave tell it which named module runs: Plan writes that down.
template <Backend B>
struct Stream {
  void enter(std::string_view) const {}
  void leave() const {}
};

namespace parallel {
template <Backend B>
class DeviceGroup;  // parallel/gpu/device_group.hpp
}

/// Launches on the host have ended when they return, so that this is the place to give up between two of them.
template <>
struct Stream<Cpu> {
  const std::stop_token* cancelled = nullptr;   ///< null: what runs is not cancelled
  parallel::DeviceGroup<Cpu>* ranks = nullptr;  ///< that share a model; null: none do

  /// Throws Cancelled.
  void enter(std::string_view) const {
    if (cancelled) throw_if_stopped(*cancelled);
  }
  void leave() const {}
};

class Arena;
}  // namespace lamina
struct CUstream_st;  // CUDA's own name for a stream, so that plain C++ can hold one
namespace lamina {
class CudaDevice;

/// A CUDA stream with what its kernels need: library handles, and memory that lasts until a launch returns.
template <>
struct Stream<Cuda> {
  CUstream_st* handle = nullptr;
  CudaDevice* device = nullptr;
  Arena* scratch = nullptr;                      ///< on the device; work in the stream's order may use it again at once
  parallel::DeviceGroup<Cuda>* ranks = nullptr;  ///< that share a model; null: none do

  void enter(std::string_view) const {}
  void leave() const {}
};

/// What runs until the end of a block of code belongs to the named module.
template <class S>
class InModule {
 public:
  InModule(S stream, std::string_view tag) : stream_(stream) { stream_.enter(tag); }
  ~InModule() { stream_.leave(); }
  InModule(const InModule&) = delete;
  InModule& operator=(const InModule&) = delete;

 private:
  S stream_;
};

/// Always true, but instantiates Assertion, whose static_assert then is one error: clang gives up on whatever depends
/// on a class with a failed assertion, and would report each user of it again.
template <class Assertion>
struct Checked {
  static constexpr bool seen = true;
  using assertion = std::bool_constant<Assertion::seen>;
};

/// False for every type: a static_assert that fires only when its template is used.
template <class...>
inline constexpr bool always_false = false;

}  // namespace lamina
