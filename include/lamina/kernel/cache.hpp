#pragma once
#include <lamina/core/backend.hpp>
#include <lamina/core/view.hpp>

namespace lamina::kernel {

/// The keys and values of new tokens join a sequence's cache: they become the last N of its first *end rows.
///
/// k, v (N, W); k_cache, v_cache (capacity, W); end lies in the backend's memory, so that a recorded launch can run
/// again when the sequence has grown.
template <class T>
struct CacheAppend {
  Matrix<const T> k, v;
  const int* end = nullptr;
  Matrix<T> k_cache, v_cache;
};

template <class B>
struct cache {
  static_assert(always_false<B>,
                "cache has no kernel for this backend: include <lamina/kernel/cpu/cache.hpp> or "
                "<lamina/kernel/cuda/attention/cache.cuh>");
  static void append(auto...) {}
};

}  // namespace lamina::kernel
