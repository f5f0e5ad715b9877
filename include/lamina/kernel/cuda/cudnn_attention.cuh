#pragma once
#include <lamina/kernel/cuda/add.cuh>
#include <lamina/kernel/cuda/cudnn_attention.hpp>

#include <iostream>
#include <limits>
#include <map>
#include <memory>
#include <optional>
#include <type_traits>
#include <vector>

#include <lamina/kernel/cuda/cudnn_attention_graph.hpp>

#if LAMINA_HAS_CUDNN
namespace lamina::kernel::cuda {

/// What one device keeps: cuDNN's handle and the plans made so far.
class CudnnState {
 public:
  explicit CudnnState(CudaDevice& device) {
    try {
      const Cudnn& cudnn = Cudnn::get();
      if (cudnn.GetVersion() < oldest) fail("cuDNN ", cudnn.version(), ": attention needs 9.11 or newer");
      if (device.compute_capability() < 90) fail("cuDNN attention: ", device.name(), " is older than sm_90");
      cudnn.check(cudnn.Create(&handle_), "cudnnCreate");
      cudnn.check(cudnn.SetStream(handle_, device.stream().handle), "cudnnSetStream");
    } catch (const Error& e) {
      tell(e);
      handle_ = nullptr;
    }
  }
  ~CudnnState() {
    plans_.clear();
    if (handle_) Cudnn::get().Destroy(handle_);
  }
  CudnnState(const CudnnState&) = delete;
  CudnnState& operator=(const CudnnState&) = delete;

  cudnnHandle_t handle() const { return handle_; }
  /// Null where cuDNN has no plan, which is told the first time.
  const CudnnPlan* plan(const CudnnAttentionKey& key) {
    if (!handle_) return nullptr;
    const auto [at, fresh] = plans_.try_emplace(key);
    if (fresh) {
      try {
        at->second.emplace(CudnnAttentionGraph(key).plan(handle_));
        if (at->second->workspace_bytes() > cudnn_engine_bytes(key.sequences))
          fail("cuDNN ", Cudnn::get().version(), ": ", at->second->engine(), " wants ", at->second->workspace_bytes(),
               " bytes of workspace, ", cudnn_engine_bytes(key.sequences), " are foreseen");
      } catch (const Error& e) {
        at->second.reset();
        tell(Error(cat(e.what(), "\n  in ", key.backward ? "backward" : "forward", " of ", key.sequences, " x ",
                       key.longest, " tokens, ", key.heads, "/", key.kv_heads, " heads of ", key.head_dim,
                       key.causal ? ", causal" : "")));
      }
    }
    return at->second ? &*at->second : nullptr;
  }

 private:
  static constexpr std::size_t oldest = 91100;  ///< 9.10.0 and 9.10.1 give wrong results; older ones mask differently
  static void tell(const Error& e) {
    std::cerr << "lamina: own attention kernels instead of " << e.what() << std::endl;
  }
  cudnnHandle_t handle_ = nullptr;
  std::map<CudnnAttentionKey, std::optional<CudnnPlan>> plans_;
};

/// Tensors whose sequences lie packed: elements from one token to the next.
struct CudnnTokenStrides {
  int tensors = 0;
  std::int64_t of[CudnnRagged::backward_tensors] = {};
};

/// offsets[t * pitch + b] = elements of tensor t before sequence b; lengths[b] = its tokens. The sequences from
/// `sequences` to `bucket` are empty and lie behind the last.
template <int Threads>  // one thread a sequence
__global__ void cudnn_attention_ragged(const int* cu, int sequences, int bucket, int pitch, CudnnTokenStrides strides,
                                       std::int64_t* offsets, int* lengths) {
  const int b = blockIdx.x * Threads + threadIdx.x;
  if (b > bucket) return;
  const int first = cu[min(b, sequences)];
  if (b < bucket) lengths[b] = cu[min(b + 1, sequences)] - first;
  for (int t = 0; t < strides.tensors; ++t) offsets[t * pitch + b] = first * strides.of[t];
}

/// Gathers what a plan runs on.
class CudnnAttentionCall {
  using Id = CudnnAttentionTensor;

 public:
  CudnnAttentionCall(Stream<Cuda> s, const int* cu, int sequences, const AttentionShape& shape, int tensors)
      : s_(s),
        cu_(cu),
        sequences_(sequences),
        scale_(shape.scale),
        offsets_(s.scratch->take<std::int64_t>(static_cast<std::size_t>(CudnnRagged::pitch(sequences)) * tensors)),
        lengths_(s.scratch->take<int>(static_cast<std::size_t>(CudnnRagged::pitch(sequences)))) {
    bind(Id::q_length, lengths_);
    bind(Id::kv_length, lengths_);
    bind(Id::scale, &scale_);
    bind(Id::masked_by_length, &masked_);
    if (shape.causal) bind(Id::masked_by_diagonal, &masked_);
  }

  void bind(Id id, const void* memory) { bindings_.push_back({id_of(id), memory}); }
  /// A tensor with its own offsets; its token stride is `stride` elements.
  void bind(Id id, const void* memory, std::int64_t stride) {
    bind(id, memory);
    bindings_.push_back({ragged_id_of(id), offsets_ + strides_.tensors * CudnnRagged::pitch(sequences_)});
    strides_.of[strides_.tensors++] = stride;
  }
  template <class T>
  void bind(Id id, Matrix<T> m) {
    bind(id, m.data, m.stride);
  }
  void bind_one() { bind(Id::one, &one_); }

  void run(const CudnnState& state, const CudnnPlan& plan) {
    constexpr int threads = 128;
    const int bucket = cudnn_sequences(sequences_);
    cudnn_attention_ragged<threads><<<ceil_div(bucket + 1, threads), threads, 0, s_.handle>>>(
        cu_, sequences_, bucket, CudnnRagged::pitch(sequences_), strides_, offsets_, lengths_);
    check_launch("cudnn_attention_ragged");
    plan.execute(state.handle(), bindings_, s_.scratch->take<std::byte>(cudnn_engine_bytes(sequences_)));
  }

 private:
  Stream<Cuda> s_;
  const int* cu_;
  int sequences_;
  float scale_, one_ = 1, masked_ = -std::numeric_limits<float>::infinity();
  std::int64_t* offsets_;
  int* lengths_;
  CudnnTokenStrides strides_;
  std::vector<CudnnBinding> bindings_;
};

template <class T>
CudnnAttentionKey cudnn_attention_key(const AttentionShape& shape, int sequences, int longest) {
  static_assert(std::is_same_v<T, bf16> || std::is_same_v<T, f16>, "cuDNN's attention engines take bf16 or f16");
  return {.causal = shape.causal,
          .type = std::is_same_v<T, bf16> ? CUDNN_DATA_BFLOAT16 : CUDNN_DATA_HALF,
          .sequences = cudnn_sequences(sequences),
          .longest = cudnn_length(longest),
          .heads = shape.heads,
          .kv_heads = shape.kv_heads,
          .head_dim = shape.head_dim};
}
/// TMA copies 16-byte pieces.
template <class... Matrices>
bool cudnn_aligned(const Matrices&... m) {
  return ((reinterpret_cast<std::uintptr_t>(m.data) % 16 == 0 && m.stride % 8 == 0) && ...);
}

/// What backward reads and writes of q, k or v: x and dx themselves where their rows are equally far apart, else both
/// without gaps in scratch.
template <class T>
struct CudnnAlike {
  Matrix<const T> x;
  Matrix<T> dx, wanted;

  CudnnAlike(Stream<Cuda> s, const Matrix<const T>& given, const Matrix<T>& d) : x(given), dx(d), wanted(d) {
    if (x.stride == dx.stride) return;
    dx = s.scratch->matrix<T>(d.rows, d.cols);
    if (x.stride == x.cols) return;
    const Matrix<T> dense = s.scratch->matrix<T>(x.rows, x.cols);
    add<Cuda>::copy(s, Add<T>{.x = x, .y = dense});
    x = dense;
  }
  void finish(Stream<Cuda> s) const {
    if (dx.data != wanted.data) add<Cuda>::copy(s, Add<T>{.x = dx, .y = wanted});
  }
};

}  // namespace lamina::kernel::cuda

namespace lamina::kernel {

template <class T>
bool cudnn_attention_forward(Stream<Cuda> s, const AttentionFwd<T>& a) {
  using Id = cuda::CudnnAttentionTensor;
  if (a.q.rows == 0 || a.cu_q != a.cu_k || a.shape.head_dim % 8 != 0 || !cuda::cudnn_aligned(a.q, a.k, a.v, a.o))
    return false;
  auto& state = s.device->state<cuda::CudnnState>();
  auto key = cuda::cudnn_attention_key<T>(a.shape, a.sequences, a.longest > 0 ? a.longest : a.q.rows);
  key.saves_lse = a.lse != nullptr;
  key.strides = {a.q.stride, a.k.stride, a.v.stride, a.o.stride};
  const cuda::CudnnPlan* plan = state.plan(key);
  if (!plan) return false;

  Arena::Scope scope(*s.scratch);
  cuda::CudnnAttentionCall call(s, a.cu_q, a.sequences, a.shape, cuda::CudnnRagged::forward_tensors);
  call.bind(Id::q, a.q);
  call.bind(Id::k, a.k);
  call.bind(Id::v, a.v);
  call.bind(Id::o, a.o);
  if (a.lse) call.bind(Id::lse, a.lse, a.shape.heads);
  call.run(state, *plan);
  return true;
}

template <class T>
bool cudnn_attention_backward(Stream<Cuda> s, const AttentionBwd<T>& a) {
  using Id = cuda::CudnnAttentionTensor;
  if (s.device->deterministic || a.q.rows == 0 || a.shape.head_dim % 16 != 0 ||
      !cuda::cudnn_aligned(a.q, a.k, a.v, a.o, a.dout, a.dq, a.dk, a.dv))
    return false;
  auto& state = s.device->state<cuda::CudnnState>();
  auto key = cuda::cudnn_attention_key<T>(a.shape, a.sequences, a.longest > 0 ? a.longest : a.q.rows);
  key.backward = key.saves_lse = true;
  const CudnnBackwardStrides strides(a);
  key.strides = {strides.q, strides.k, strides.v, a.o.stride, a.dout.stride, strides.q, strides.k, strides.v};
  const cuda::CudnnPlan* plan = state.plan(key);
  if (!plan) return false;

  Arena::Scope scope(*s.scratch);
  const cuda::CudnnAlike<T> q(s, a.q, a.dq), k(s, a.k, a.dk), v(s, a.v, a.dv);
  const CudnnBackwardSums sums(a);
  cuda::CudnnAttentionCall call(s, a.cu, a.sequences, a.shape, cuda::CudnnRagged::backward_tensors);
  call.bind(Id::q, q.x);
  call.bind(Id::k, k.x);
  call.bind(Id::v, v.x);
  call.bind(Id::o, a.o);
  call.bind(Id::dout, a.dout);
  call.bind(Id::dq, q.dx);
  call.bind(Id::dk, k.dx);
  call.bind(Id::dv, v.dx);
  call.bind(Id::lse, a.lse, a.shape.heads);
  call.bind(Id::delta, s.scratch->take<float>(sums.delta));
  call.bind(Id::dq_sum, s.scratch->take<float>(sums.dq));
  if (a.shape.heads != a.shape.kv_heads) {
    call.bind(Id::dk_heads, s.scratch->take<float>(sums.dk_heads));
    call.bind(Id::dv_heads, s.scratch->take<float>(sums.dv_heads));
  }
  call.bind_one();
  call.run(state, *plan);
  q.finish(s);
  k.finish(s);
  v.finish(s);
  return true;
}

}  // namespace lamina::kernel
#else   // the headers of cuDNN were not found when this was compiled
namespace lamina::kernel {
namespace cuda {
inline bool no_cudnn() {
  static const bool told = [] {
    std::cerr << "lamina: own attention kernels instead of cuDNN, whose headers were missing at build time"
              << std::endl;
    return true;
  }();
  return !told;
}
}  // namespace cuda
template <class T>
bool cudnn_attention_forward(Stream<Cuda>, const AttentionFwd<T>&) {
  return cuda::no_cudnn();
}
template <class T>
bool cudnn_attention_backward(Stream<Cuda>, const AttentionBwd<T>&) {
  return cuda::no_cudnn();
}
}  // namespace lamina::kernel
#endif  // LAMINA_HAS_CUDNN

/// Instantiates both for T, bf16 or f16; prefix may be `extern`.
#define LAMINA_CUDA_CUDNN_ATTENTION(prefix, T)                                                             \
  prefix template bool lamina::kernel::cudnn_attention_forward<T>(lamina::Stream<lamina::Cuda>,            \
                                                                  const lamina::kernel::AttentionFwd<T>&); \
  prefix template bool lamina::kernel::cudnn_attention_backward<T>(lamina::Stream<lamina::Cuda>,           \
                                                                   const lamina::kernel::AttentionBwd<T>&);
