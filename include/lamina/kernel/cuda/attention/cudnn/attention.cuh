#pragma once
#include <lamina/core/log.hpp>
#include <lamina/kernel/cuda/attention/cudnn/attention.hpp>
#include <lamina/kernel/cuda/elementwise/add.cuh>

#include <limits>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <type_traits>
#include <utility>
#include <vector>

#include <lamina/kernel/cuda/attention/cudnn/attention_graph.hpp>

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
      keys_apart_ = cudnn.GetVersion() >= first_apart;
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
  /// How far apart backward's engines want the rows of k or v, whose gradient is dx.
  template <class T>
  std::ptrdiff_t key_stride(const Matrix<const T>& x, const Matrix<T>& dx) const {
    return keys_apart_ ? x.stride : dx.stride;
  }
  /// Whether equal lengths of these sizes get plans of their own. The first most_equal_sizes do and no more, since data
  /// of all lengths would go on asking for others.
  bool takes(const CudnnAttentionKey& key) {
    const std::pair sizes(key.sequences, key.longest);
    if (equal_sizes_.contains(sizes)) return true;
    return equal_sizes_.size() < most_equal_sizes && equal_sizes_.insert(sizes).second;
  }
  /// Null if cuDNN has no plan, which is reported the first time.
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
  static constexpr std::size_t most_equal_sizes = 16;
  static constexpr std::size_t oldest = 91100;  ///< 9.10.0 and 9.10.1 give wrong results; older ones mask differently
  static constexpr std::size_t first_apart = 91900;  ///< of those tried: 9.14 steps through k, v as through dk, dv
  static void tell(const Error& e) { log_warning(log_name(), ": own attention kernels instead of ", e.what()); }
  cudnnHandle_t handle_ = nullptr;
  bool keys_apart_ = false;
  std::map<CudnnAttentionKey, std::optional<CudnnPlan>> plans_;
  std::set<std::pair<int, int>> equal_sizes_;  ///< sequences, tokens of each
};

/// Tensors whose sequences are packed: elements from one token to the next.
struct CudnnTokenStrides {
  int tensors = 0;
  std::int64_t of[CudnnRagged::tensors] = {};
};

/// offsets[t * pitch + b] = elements of tensor t before sequence b; lengths[b] = its tokens. The sequences from
/// `sequences` to `bucket` are empty and come after the last.
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
  CudnnAttentionCall(Stream<Cuda> s, const int* cu, int sequences, const AttentionShape& shape, bool equal)
      : s_(s), cu_(cu), sequences_(sequences), scale_(shape.scale), equal_(equal) {
    bind(Id::scale, &scale_);
    if (shape.causal) bind(Id::masked_by_diagonal, &masked_);
    if (equal_) return;
    const auto pitch = static_cast<std::size_t>(CudnnRagged::pitch(sequences));
    offsets_ = s.scratch->take<std::int64_t>(pitch * CudnnRagged::tensors);
    lengths_ = s.scratch->take<int>(pitch);
    bind(Id::q_length, lengths_);
    bind(Id::kv_length, lengths_);
    bind(Id::masked_by_length, &masked_);
  }

  void bind(Id id, const void* memory) { bindings_.push_back({id_of(id), memory}); }
  /// A tensor of packed sequences; its token stride is `stride` elements.
  void bind(Id id, const void* memory, std::int64_t stride) {
    bind(id, memory);
    if (equal_) return;
    bindings_.push_back({ragged_id_of(id), offsets_ + strides_.tensors * CudnnRagged::pitch(sequences_)});
    strides_.of[strides_.tensors++] = stride;
  }
  template <class T>
  void bind(Id id, Matrix<T> m) {
    bind(id, m.data, m.stride);
  }
  void bind_one() { bind(Id::one, &one_); }

  void run(const CudnnState& state, const CudnnPlan& plan) {
    if (!equal_) find_sequences();
    plan.execute(state.handle(), bindings_, s_.scratch->take<std::byte>(cudnn_engine_bytes(sequences_)));
  }

 private:
  void find_sequences() {
    constexpr int threads = 128;
    const int bucket = cudnn_sequences(sequences_);
    cudnn_attention_ragged<threads><<<ceil_div(bucket + 1, threads), threads, 0, s_.handle>>>(
        cu_, sequences_, bucket, CudnnRagged::pitch(sequences_), strides_, offsets_, lengths_);
    check_launch("cudnn_attention_ragged");
  }

  Stream<Cuda> s_;
  const int* cu_;
  int sequences_;
  float scale_, one_ = 1, masked_ = -std::numeric_limits<float>::infinity();
  bool equal_;
  std::int64_t* offsets_ = nullptr;
  int* lengths_ = nullptr;
  CudnnTokenStrides strides_;
  std::vector<CudnnBinding> bindings_;
};

/// What a call asks for: equal lengths as they are, others rounded up. longest: 0 if it is not known.
template <class T>
CudnnAttentionKey cudnn_attention_key(const AttentionShape& shape, bool equal, int rows, int sequences, int longest) {
  static_assert(std::is_same_v<T, bf16> || std::is_same_v<T, f16>, "cuDNN's attention engines take bf16 or f16");
  return {.causal = shape.causal,
          .equal = equal,
          .type = std::is_same_v<T, bf16> ? CUDNN_DATA_BFLOAT16 : CUDNN_DATA_HALF,
          .sequences = equal ? sequences : cudnn_sequences(sequences),
          .longest = equal ? longest : cudnn_length(longest > 0 ? longest : rows),
          .heads = shape.heads,
          .kv_heads = shape.kv_heads,
          .head_dim = shape.head_dim};
}
/// TMA copies 16-byte pieces.
template <class... Matrices>
bool cudnn_aligned(const Matrices&... m) {
  return ((reinterpret_cast<std::uintptr_t>(m.data) % 16 == 0 && m.stride % 8 == 0) && ...);
}

/// x with rows that are `stride` elements apart.
template <class T>
Matrix<const T> cudnn_spaced(Stream<Cuda> s, const Matrix<const T>& x, std::ptrdiff_t stride) {
  if (x.stride == stride) return x;
  const Matrix<T> spaced = s.scratch->matrix<T>(x.rows, x.cols, static_cast<int>(stride) - x.cols);
  add<Cuda>::copy(s, Add<T>{.x = x, .y = spaced});
  return spaced;
}

}  // namespace lamina::kernel::cuda

namespace lamina::kernel {

template <class T>
bool cudnn_attention_forward(Stream<Cuda> s, const AttentionFwd<T>& a) {
  using Id = cuda::CudnnAttentionTensor;
  if (a.q.rows == 0 || a.cu_q != a.cu_k || a.shape.head_dim % 8 != 0 || !cuda::cudnn_aligned(a.q, a.k, a.v, a.o))
    return false;
  if (s.device->batch_invariant) return false;  // its plans follow the sequences' lengths
  auto& state = s.device->state<cuda::CudnnState>();
  const auto key_of = [&](bool equal) {
    auto key = cuda::cudnn_attention_key<T>(a.shape, equal, a.q.rows, a.sequences, a.longest);
    key.saves_lse = a.lse != nullptr;
    key.strides = {.q = a.q.stride, .k = a.k.stride, .v = a.v.stride, .o = a.o.stride};
    return key;
  };
  bool equal = cuda::cudnn_equal_lengths(a.q.rows, a.sequences, a.longest) && state.takes(key_of(true));
  const cuda::CudnnPlan* plan = equal ? state.plan(key_of(true)) : nullptr;
  if (!plan) equal = false, plan = state.plan(key_of(false));
  if (!plan) return false;

  Arena::Scope scope(*s.scratch);
  cuda::CudnnAttentionCall call(s, a.cu_q, a.sequences, a.shape, equal);
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
  if (s.device->deterministic || !cuda::cudnn_equal_lengths(a.q.rows, a.sequences, a.longest) ||
      a.shape.head_dim % 16 != 0 || !cuda::cudnn_aligned(a.q, a.k, a.v, a.o, a.dout, a.dq, a.dk, a.dv))
    return false;
  auto& state = s.device->state<cuda::CudnnState>();
  auto key = cuda::cudnn_attention_key<T>(a.shape, true, a.q.rows, a.sequences, a.longest);
  key.backward = key.saves_lse = true;
  key.strides = {.q = a.dq.stride,
                 .k = state.key_stride(a.k, a.dk),
                 .v = state.key_stride(a.v, a.dv),
                 .o = a.o.stride,
                 .dout = a.dout.stride,
                 .dk = a.dk.stride,
                 .dv = a.dv.stride};
  const cuda::CudnnPlan* plan = state.takes(key) ? state.plan(key) : nullptr;
  if (!plan) return false;

  Arena::Scope scope(*s.scratch);
  const CudnnBackwardSums sums(a);
  cuda::CudnnAttentionCall call(s, a.cu, a.sequences, a.shape, true);
  call.bind(Id::q, cuda::cudnn_spaced(s, a.q, key.strides.q));
  call.bind(Id::k, cuda::cudnn_spaced(s, a.k, key.strides.k));
  call.bind(Id::v, cuda::cudnn_spaced(s, a.v, key.strides.v));
  call.bind(Id::o, a.o);
  call.bind(Id::dout, a.dout);
  call.bind(Id::dq, a.dq);
  call.bind(Id::dk, a.dk);
  call.bind(Id::dv, a.dv);
  call.bind(Id::lse, a.lse);
  call.bind(Id::delta, s.scratch->take<float>(sums.delta));
  call.bind(Id::dq_sum, s.scratch->take<float>(sums.dq));
  if (sums.heads > 0) {
    call.bind(Id::dk_heads, s.scratch->take<float>(sums.heads));
    call.bind(Id::dv_heads, s.scratch->take<float>(sums.heads));
  }
  call.bind_one();
  call.run(state, *plan);
  return true;
}

}  // namespace lamina::kernel
#else   // the headers of cuDNN were not found when this was compiled
namespace lamina::kernel {
namespace cuda {
inline bool no_cudnn() {
  static const bool told = [] {
    log_warning(log_name(), ": own attention kernels instead of cuDNN, whose headers were missing at build time");
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
