#pragma once
#include <cuda.h>

#include <lamina/kernel/cuda/device/mma.cuh>

/// The copy engine of sm_90 (TMA): one thread asks for a box of a matrix, the engine writes it to shared memory, with
/// zeros for what is outside the matrix, and tells a barrier. source: PTX ISA 8.8, sections 9.7.9.27 and 9.7.13.15
namespace lamina::kernel::cuda {

#if __CUDA_ARCH__ >= 900
#define LAMINA_BULK_ASM(...) asm volatile(__VA_ARGS__)
#else
#define LAMINA_BULK_ASM(...)
#endif

/// Boxes of 64 columns and `box_rows` rows of a half-precision matrix whose rows consist of 16-byte pieces. In shared
/// memory a box is a panel of 64 columns, swizzled as SharedTile<64>, at a multiple of 1024 bytes.
template <class T>
CUtensorMap boxes_of(const Matrix<const T>& m, int box_rows) {
  using Encode = decltype(&cuTensorMapEncodeTiled);
  static const Encode encode = [] {  // the driver is not linked: a program with GPU kernels also starts without one
    void* found = nullptr;
    cudaDriverEntryPointQueryResult result{};
    check(cudaGetDriverEntryPointByVersion("cuTensorMapEncodeTiled", &found, 12000, cudaEnableDefault, &result),
          "finding cuTensorMapEncodeTiled");
    if (result != cudaDriverEntryPointSuccess) fail("CUDA: the driver has no cuTensorMapEncodeTiled");
    return reinterpret_cast<Encode>(found);
  }();
  CUtensorMap map;
  const cuuint64_t extents[] = {static_cast<cuuint64_t>(m.cols), static_cast<cuuint64_t>(m.rows)};
  const cuuint64_t strides[] = {static_cast<cuuint64_t>(m.stride) * sizeof(T)};
  const cuuint32_t box[] = {64, static_cast<cuuint32_t>(box_rows)}, step[] = {1, 1};
  const CUresult status =
      encode(&map, dtype_of<T> == DType::BF16 ? CU_TENSOR_MAP_DATA_TYPE_BFLOAT16 : CU_TENSOR_MAP_DATA_TYPE_FLOAT16, 2,
             const_cast<T*>(m.data), extents, strides, box, step, CU_TENSOR_MAP_INTERLEAVE_NONE,
             CU_TENSOR_MAP_SWIZZLE_128B, CU_TENSOR_MAP_L2_PROMOTION_L2_256B, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
  if (status != CUDA_SUCCESS) fail("CUDA: boxes of a ", m.rows, " x ", m.cols, " matrix: error ", int{status});
  return map;
}

/// A barrier in shared memory that counts arrivals and bytes of copies; its phases have alternating parity, from 0 on.
class CopyBarrier {
 public:
  __device__ explicit CopyBarrier(const std::uint64_t* at) : at_(shared_address(at)) {}
  /// Before anyone uses it; then publish_barriers() and a barrier of the block.
  __device__ void begin(int arrivals) const {
    LAMINA_BULK_ASM("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(at_), "r"(arrivals) : "memory");
  }
  __device__ void arrive() const { LAMINA_BULK_ASM("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(at_) : "memory"); }
  /// Arrives; the phase also waits for so many bytes of copies.
  __device__ void arrive_expecting(int bytes) const {
    LAMINA_BULK_ASM("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(at_), "r"(bytes) : "memory");
  }
  /// Returns when the phase of this parity has ended.
  __device__ void wait(int parity) const {
    LAMINA_BULK_ASM(
        "{\n\t.reg .pred done;\n\t"
        "wait: mbarrier.try_wait.parity.shared::cta.b64 done, [%0], %1;\n\t"
        "@!done bra wait;\n\t}" ::"r"(at_),
        "r"(parity)
        : "memory");
  }
  /// Asks for the box that begins at this column and row.
  __device__ void copy_box(unsigned to, const CUtensorMap& map, int column, int row) const {
    LAMINA_BULK_ASM(
        "cp.async.bulk.tensor.2d.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1, {%2, %3}], [%4];" ::"r"(
            to),
        "l"(&map), "r"(column), "r"(row), "r"(at_)
        : "memory");
  }

 private:
  unsigned at_;
};
/// The engine reads a description of boxes when it is first used; this asks for it earlier.
__device__ inline void prefetch_boxes(const CUtensorMap& map) {
  LAMINA_BULK_ASM("prefetch.tensormap [%0];" ::"l"(&map) : "memory");
}
__device__ inline void publish_barriers() {
  LAMINA_BULK_ASM("fence.mbarrier_init.release.cluster;" ::: "memory");
  LAMINA_BULK_ASM("fence.proxy.async.shared::cta;" ::: "memory");
}
#undef LAMINA_BULK_ASM

}  // namespace lamina::kernel::cuda
