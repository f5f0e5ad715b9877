#pragma once
#include <cstdint>
#if defined(_OPENMP)
#include <omp.h>
#endif

namespace lamina {

/// Threads that parallel_for uses: OMP_NUM_THREADS, else every core.
inline int thread_count() {
#if defined(_OPENMP)
  return omp_get_max_threads();
#else
  return 1;
#endif
}

/// From here on parallel_for keeps to the calling thread: for workers, which are many themselves, and beside a GPU,
/// where threads that wait for the next parallel_for would spin on the workers' cores.
inline void use_one_thread() {
#if defined(_OPENMP)
  omp_set_num_threads(1);
#endif
}

/// Calls f(i) for i in [0, n), one contiguous run of i a thread. f must write only what belongs to its i: then the
/// result does not depend on the number of threads.
template <class F>
void parallel_for(std::int64_t n, F f) {
#if defined(_OPENMP)
#pragma omp parallel for schedule(static) if (n > 1)
#endif
  for (std::int64_t i = 0; i < n; ++i) f(i);
}

}  // namespace lamina
