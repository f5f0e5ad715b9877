#pragma once
#include <algorithm>
#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <new>

#include <lamina/core/backend.hpp>

#if defined(__linux__)
#include <sys/mman.h>
#endif

namespace lamina {

/// Where a backend's data lives, and how the host reaches it. upload, download and zero keep the stream's order;
/// upload and download return when the host's bytes may be touched again.
template <Backend B>
struct Memory {
  static constexpr std::size_t alignment = 256;
  static constexpr bool remote = false;  ///< the host cannot read and write it: it copies

  /// Aligned, not initialised; std::bad_alloc if there is not enough. Large blocks ask for large pages, whose
  /// addresses are quicker to translate, above all in a virtual machine: two cores of a Zen 4 read 50 GB/s of them and
  /// 28 of pages of 4 KB in one run, 37 and 32 in another, when neighbours used the memory too.
  static std::byte* allocate(std::size_t bytes) {
    constexpr std::size_t page = std::size_t{2} << 20;
    const std::size_t unit = bytes >= 4 * page ? page : alignment;
    const std::size_t rounded = (std::max(bytes, unit) + unit - 1) / unit * unit;
    void* p = std::aligned_alloc(unit, rounded);
    if (!p) throw std::bad_alloc();
#if defined(__linux__)
    if (unit == page) ::madvise(p, rounded, MADV_HUGEPAGE);  // a wish: without them all is slower, not wrong
#endif
    return static_cast<std::byte*>(p);
  }
  static void release(std::byte* p) { std::free(p); }
  /// Host memory that upload_later() reads from, and that download_later() and kernels write to.
  static std::byte* allocate_staging(std::size_t bytes) { return allocate(bytes); }
  static void release_staging(std::byte* p) { release(p); }
  static void upload(Stream<B>, void* to, const void* from, std::size_t bytes) { std::memcpy(to, from, bytes); }
  /// upload() that may return before the host's bytes, if they are staging memory, were read.
  static void upload_later(Stream<B> s, void* to, const void* from, std::size_t bytes) { upload(s, to, from, bytes); }
  /// The same of rows that are contiguous on the host, to_stride bytes apart there.
  static void upload_rows_later(Stream<B>, void* to, std::size_t to_stride, const void* from, std::size_t row_bytes,
                                std::size_t rows) {
    for (std::size_t r = 0; r < rows; ++r)
      std::memcpy(static_cast<std::byte*>(to) + r * to_stride, static_cast<const std::byte*>(from) + r * row_bytes,
                  row_bytes);
  }
  static void download(Stream<B>, void* to, const void* from, std::size_t bytes) { std::memcpy(to, from, bytes); }
  /// download() to staging memory that may return before the bytes are there: Device<B>::Mark tells when they are.
  static void download_later(Stream<B> s, void* to, const void* from, std::size_t bytes) {
    download(s, to, from, bytes);
  }
  static void zero(Stream<B>, void* to, std::size_t bytes) { std::memset(to, 0, bytes); }
};

/// Memory of the current GPU. Defined in kernel/cuda/device/device.cuh.
template <>
struct Memory<Cuda> {
  static constexpr std::size_t alignment = 256;
  static constexpr bool remote = true;

  /// Error, with what is free and what to do, if there is not enough.
  static std::byte* allocate(std::size_t bytes);
  static void release(std::byte* p);
  static std::byte* allocate_staging(std::size_t bytes);
  static void release_staging(std::byte* p);
  static void upload_later(Stream<Cuda>, void* to, const void* from, std::size_t bytes);
  static void upload(Stream<Cuda>, void* to, const void* from, std::size_t bytes);
  static void upload_rows_later(Stream<Cuda>, void* to, std::size_t to_stride, const void* from, std::size_t row_bytes,
                                std::size_t rows);
  static void download(Stream<Cuda>, void* to, const void* from, std::size_t bytes);
  static void download_later(Stream<Cuda>, void* to, const void* from, std::size_t bytes);
  static void zero(Stream<Cuda>, void* to, std::size_t bytes);
};

}  // namespace lamina
