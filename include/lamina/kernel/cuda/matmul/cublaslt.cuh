#pragma once
#include <cublasLt.h>

#include <array>
#include <bit>
#include <map>

#include <lamina/kernel/cuda/device/launch.cuh>

/// cuBLASLt in the library's own terms: row-major matrices, scratch and algorithms kept with the device.
namespace lamina::kernel::cuda {

inline void check(cublasStatus_t status, const char* what) {
  if (status != CUBLAS_STATUS_SUCCESS) fail("cuBLASLt: ", what, ": ", cublasLtGetStatusString(status));
}

/// out[i,j] = alpha * sum_k left[i,k] right[j,k] + bias[j] + beta * out[i,j]. Row-major; left is stored (rows, depth),
/// or (depth, rows) if left_by_depth; right (cols, depth), or (depth, cols) if right_by_depth.
template <class T, class Out>
struct Product {
  int rows = 0, cols = 0, depth = 0;
  const T* left = nullptr;
  std::ptrdiff_t left_stride = 0;
  bool left_by_depth = false;
  const T* right = nullptr;
  std::ptrdiff_t right_stride = 0;
  bool right_by_depth = false;
  Out* out = nullptr;
  std::ptrdiff_t out_stride = 0;
  const T* bias = nullptr;
  float alpha = 1, beta = 0;
  const float* device_scale = nullptr;  ///< two floats on the device, in place of alpha and beta
};

template <class T>
inline constexpr cudaDataType_t cuda_type = CUDA_R_32F;
template <>
inline constexpr cudaDataType_t cuda_type<bf16> = CUDA_R_16BF;
template <>
inline constexpr cudaDataType_t cuda_type<f16> = CUDA_R_16F;

/// The library's handle, its workspace and the algorithm of every kind of product met so far. Algorithms are the first
/// that the heuristic names; they keep partial sums in fp32 and add them in a fixed order, so results are repeatable.
class CublasLt {
 public:
  static constexpr std::size_t workspace_bytes = std::size_t{32} << 20;  ///< NVIDIA's advice for sm_90

  explicit CublasLt(CudaDevice&) : workspace_(Memory<Cuda>::allocate(workspace_bytes)) {
    check(cublasLtCreate(&handle_), "cublasLtCreate");
  }
  ~CublasLt() {
    cublasLtDestroy(handle_);
    Memory<Cuda>::release(workspace_);
  }
  CublasLt(const CublasLt&) = delete;
  CublasLt& operator=(const CublasLt&) = delete;

  /// False if the library has no kernel for these types, sizes, strides and alignments; nothing ran then.
  template <class T, class Out>
  bool run(CUstream_st* stream, const Product<T, Out>& p) {
    MatmulPlan& plan = plan_for(p);
    if (!plan.found) return false;
    cublasLtMatmulDescOpaque_t operation = plan.operation;
    if (p.bias) set(operation, CUBLASLT_MATMUL_DESC_BIAS_POINTER, p.bias);
    const float* scale = p.device_scale;
    check(cublasLtMatmul(handle_, &operation, scale ? scale : &p.alpha, p.right, &plan.right, p.left, &plan.left,
                         scale ? scale + 1 : &p.beta, p.out, &plan.out, p.out, &plan.out, &plan.algorithm, workspace_,
                         workspace_bytes, stream),
          "cublasLtMatmul");
    return true;
  }

 private:
  /// A column-major library sees row-major matrices transposed, so it is asked for out^T = right left^T.
  struct MatmulPlan {
    bool found = false;
    cublasLtMatmulDescOpaque_t operation;
    cublasLtMatrixLayoutOpaque_t left, right, out;
    cublasLtMatmulAlgo_t algorithm;
  };
  using Key = std::array<std::int64_t, 8>;
  static constexpr std::size_t most_plans = 4096;  ///< every number of tokens has its own

  template <class V>
  static void set(cublasLtMatmulDescOpaque_t& operation, cublasLtMatmulDescAttributes_t what, const V& value) {
    check(cublasLtMatmulDescSetAttribute(&operation, what, &value, sizeof value), "cublasLtMatmulDescSetAttribute");
  }
  /// The largest power of two, at most 256, that divides an address.
  static std::uint32_t alignment(const void* p) {
    return 1u << std::min(8, std::countr_zero(reinterpret_cast<std::uintptr_t>(p) | 256));
  }

  template <class T, class Out>
  MatmulPlan& plan_for(const Product<T, Out>& p) {
    const std::array<std::uint32_t, 3> aligned = {alignment(p.right), alignment(p.left), alignment(p.out)};
    const bool flags[] = {p.left_by_depth, p.right_by_depth, p.bias != nullptr, p.device_scale != nullptr};
    std::int64_t kind = cuda_type<T> * 64 + cuda_type<Out>;
    for (bool flag : flags) kind = 2 * kind + flag;
    for (std::uint32_t a : aligned) kind = 16 * kind + std::countr_zero(a);
    const Key key = {kind, p.rows, p.cols, p.depth, p.left_stride, p.right_stride, p.out_stride};
    if (const auto at = plans_.find(key); at != plans_.end()) return at->second;
    if (plans_.size() >= most_plans) plans_.clear();
    return plans_.emplace(key, make_plan(p, aligned)).first->second;
  }

  template <class T, class Out>
  MatmulPlan make_plan(const Product<T, Out>& p, const std::array<std::uint32_t, 3>& aligned) {
    MatmulPlan plan;
    const auto layout = [](cublasLtMatrixLayoutOpaque_t& l, cudaDataType_t type, int rows, int cols,
                           std::ptrdiff_t ld) { return cublasLtMatrixLayoutInit(&l, type, rows, cols, ld); };
    const auto stored = [](bool by_depth, int outer, int depth) {
      return by_depth ? std::pair{outer, depth} : std::pair{depth, outer};
    };
    const auto [right_rows, right_cols] = stored(p.right_by_depth, p.cols, p.depth);
    const auto [left_rows, left_cols] = stored(p.left_by_depth, p.rows, p.depth);
    check(layout(plan.right, cuda_type<T>, right_rows, right_cols, p.right_stride), "layout of the right factor");
    check(layout(plan.left, cuda_type<T>, left_rows, left_cols, p.left_stride), "layout of the left factor");
    check(layout(plan.out, cuda_type<Out>, p.cols, p.rows, p.out_stride), "layout of the product");
    check(cublasLtMatmulDescInit(&plan.operation, CUBLAS_COMPUTE_32F, CUDA_R_32F), "cublasLtMatmulDescInit");
    set(plan.operation, CUBLASLT_MATMUL_DESC_TRANSA, p.right_by_depth ? CUBLAS_OP_N : CUBLAS_OP_T);
    set(plan.operation, CUBLASLT_MATMUL_DESC_TRANSB, p.left_by_depth ? CUBLAS_OP_T : CUBLAS_OP_N);
    if (p.bias) {
      set(plan.operation, CUBLASLT_MATMUL_DESC_EPILOGUE, CUBLASLT_EPILOGUE_BIAS);
      set(plan.operation, CUBLASLT_MATMUL_DESC_BIAS_POINTER, p.bias);
      set(plan.operation, CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE, cuda_type<T>);
    }
    if (p.device_scale) set(plan.operation, CUBLASLT_MATMUL_DESC_POINTER_MODE, CUBLASLT_POINTER_MODE_DEVICE);
    plan.found = choose(plan, aligned);
    return plan;
  }

  bool choose(MatmulPlan& plan, const std::array<std::uint32_t, 3>& aligned) {
    cublasLtMatmulPreferenceOpaque_t preference;
    check(cublasLtMatmulPreferenceInit(&preference), "cublasLtMatmulPreferenceInit");
    const auto prefer = [&](cublasLtMatmulPreferenceAttributes_t what, const auto& value) {
      check(cublasLtMatmulPreferenceSetAttribute(&preference, what, &value, sizeof value), "a preference");
    };
    prefer(CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, workspace_bytes);
    prefer(CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK,
           std::uint32_t{CUBLASLT_REDUCTION_SCHEME_NONE | CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE});
    prefer(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, aligned[0]);
    prefer(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, aligned[1]);
    prefer(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, aligned[2]);
    prefer(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, aligned[2]);
    cublasLtMatmulHeuristicResult_t result{};
    int count = 0;
    const cublasStatus_t status = cublasLtMatmulAlgoGetHeuristic(handle_, &plan.operation, &plan.right, &plan.left,
                                                                 &plan.out, &plan.out, &preference, 1, &result, &count);
    if (status == CUBLAS_STATUS_NOT_SUPPORTED || status == CUBLAS_STATUS_INVALID_VALUE || count == 0) return false;
    check(status, "cublasLtMatmulAlgoGetHeuristic");
    plan.algorithm = result.algo;
    return result.state == CUBLAS_STATUS_SUCCESS;
  }

  cublasLtHandle_t handle_ = nullptr;
  std::byte* workspace_ = nullptr;
  std::map<Key, MatmulPlan> plans_;
};

/// The same product by plain fp32 sums: for what cuBLASLt declines (nothing to sum over, odd alignments). 16 x 16
/// tiles.
template <class T, class Out>
__global__ void product_plain(Product<T, Out> p) {
  constexpr int tile = 16;
  __shared__ float left[tile][tile + 1], right[tile][tile + 1];
  const int i0 = blockIdx.y * tile, j0 = blockIdx.x * tile, tx = threadIdx.x, ty = threadIdx.y;
  const auto load = [&](const T* from, std::ptrdiff_t stride, bool by_depth, int first, int end, int k0,
                        float(&to)[tile][tile + 1]) {
    const int outer = first + (by_depth ? tx : ty), k = k0 + (by_depth ? ty : tx);
    const bool inside = outer < end && k < p.depth;
    const float value = inside ? widen(from[by_depth ? k * stride + outer : outer * stride + k]) : 0.0f;
    to[by_depth ? tx : ty][by_depth ? ty : tx] = value;
  };
  float sum = 0;
  for (int k0 = 0; k0 < p.depth; k0 += tile) {
    load(p.left, p.left_stride, p.left_by_depth, i0, p.rows, k0, left);
    load(p.right, p.right_stride, p.right_by_depth, j0, p.cols, k0, right);
    __syncthreads();
    for (int k = 0; k < tile; ++k) sum += left[ty][k] * right[tx][k];
    __syncthreads();
  }
  const int i = i0 + ty, j = j0 + tx;
  if (i >= p.rows || j >= p.cols) return;
  const float alpha = p.device_scale ? p.device_scale[0] : p.alpha, beta = p.device_scale ? p.device_scale[1] : p.beta;
  Out& out = p.out[i * p.out_stride + j];
  const float value = alpha * sum + (p.bias ? widen(p.bias[j]) : 0.0f);
  out = narrow<Out>(beta == 0 ? value : value + beta * widen(out));
}

template <class T, class Out>
void multiply(Stream<Cuda> s, const Product<T, Out>& p) {
  if (p.rows == 0 || p.cols == 0) return;
  if (p.depth > 0 && s.device->state<CublasLt>().run(s.handle, p)) return;
  product_plain<<<dim3(ceil_div(p.cols, 16), ceil_div(p.rows, 16)), dim3(16, 16), 0, s.handle>>>(p);
  check_launch("product_plain");
}

}  // namespace lamina::kernel::cuda
