#pragma once

/// Marks what both the host and a GPU may call.
#if defined(__CUDACC__)
#define LAMINA_HD __host__ __device__
#else
#define LAMINA_HD
#endif
