#pragma once
#include <compare>

#include <lamina/kernel/cuda/attention/cudnn/library.hpp>
#if LAMINA_HAS_CUDNN

/// Attention over packed sequences as cuDNN graphs. Its fused engines are found by pattern: operations, their order and
/// the layouts of the tensors between them are those of NVIDIA's cudnn-frontend 1.23 (composite SDPA nodes, MIT).
///
/// A tensor has dims (S, heads, L, Dh): S sequences of at most L tokens each, both rounded up so that one plan serves
/// many batches. Sequence b starts `ragged[b]` elements into the memory and is `length[b]` long; the sequences that
/// rounding added are empty. Sequences of exactly L tokens need neither offsets nor lengths, and run faster.
namespace lamina::kernel::cuda {

/// What a plan depends on.
struct CudnnAttentionKey {
  bool backward = false, saves_lse = false, causal = false;
  bool equal = false;  ///< all sequences are `longest` tokens long; backward takes no others
  cudnnDataType_t type = CUDNN_DATA_BFLOAT16;
  int sequences = 0, longest = 0, heads = 0, kv_heads = 0, head_dim = 0;
  /// Elements from one token to the next; q's are dq's too. 0 if there is no such tensor.
  struct Strides {
    std::int64_t q = 0, k = 0, v = 0, o = 0, dout = 0, dk = 0, dv = 0;
    auto operator<=>(const Strides&) const = default;
  } strides;

  auto operator<=>(const CudnnAttentionKey&) const = default;
};

/// The tensors that a plan is given when it runs.
enum class CudnnAttentionTensor : std::int64_t {
  // clang-format off
  q = 1, k, v, o, dout, dq, dk, dv, lse,             // the contract's
  dq_sum, dk_heads, dv_heads, delta,                 // in scratch: dq, dk and dv of every query head in fp32, and D
  q_length, kv_length,                               // (S) int32
  scale, one, masked_by_length, masked_by_diagonal,  // fp32, on the host
  ragged                                             // + another tensor's number: (S + 1) int64, in elements
  // clang-format on
};
constexpr std::int64_t id_of(CudnnAttentionTensor t) { return static_cast<std::int64_t>(t); }
constexpr std::int64_t ragged_id_of(CudnnAttentionTensor t) { return id_of(CudnnAttentionTensor::ragged) + id_of(t); }

class CudnnAttentionGraph {
  using Tensor = CudnnGraph::Tensor;
  using Extents = CudnnGraph::Extents;
  using Id = CudnnAttentionTensor;

 public:
  explicit CudnnAttentionGraph(const CudnnAttentionKey& key) : key_(key) {
    key_.backward ? build_backward() : build_forward();
  }
  CudnnPlan plan(cudnnHandle_t handle, const std::string& device_json = {}) const {
    return graph_.plan(handle, device_json);
  }

 private:
  /// softmax(scale q k^T) v, with lse = max + log sum.
  void build_forward() {
    const Tensor q = packed(Id::q, "q", H, key_.strides.q), kt = transposed(Id::k, "k", key_.strides.k);
    const Tensor v = packed(Id::v, "v", K, key_.strides.v), o = packed(Id::o, "o", H, key_.strides.o);
    const Tensor s = masked_diagonal(masked_lengths(scores(q, kt)));
    const Tensor top = graph_.reduction(CUDNN_REDUCE_TENSOR_MAX, s, per_row());
    const Tensor e = unary(CUDNN_POINTWISE_EXP, binary(CUDNN_POINTWISE_SUB, s, top, per_score()), per_score());
    const Tensor sum = graph_.reduction(CUDNN_REDUCE_TENSOR_ADD, e, per_row());
    const Tensor log_sum = unary(CUDNN_POINTWISE_LOG, sum, per_row());
    binary(CUDNN_POINTWISE_ADD, top, log_sum, key_.saves_lse ? lse() : per_row());
    const Tensor p = binary(CUDNN_POINTWISE_DIV, e, sum, per_score(key_.type));
    graph_.matmul(p, v, o, {.m = q_length_, .k = kv_length_});
  }

  /// With P = exp(s - lse), D = rowsum(dout * o), dS = scale P * (dout v^T - D):
  /// dv = P^T dout, dk = dS^T q, dq = dS k; dk and dv summed over the query heads of a group. Sequences are equally
  /// long.
  void build_backward() {
    const Tensor q = packed(Id::q, "q", H, key_.strides.q), kt = transposed(Id::k, "k", key_.strides.k);
    const Tensor vt = transposed(Id::v, "v", key_.strides.v), o = packed(Id::o, "o", H, key_.strides.o);
    const Tensor dout = packed(Id::dout, "dout", H, key_.strides.dout);
    const Tensor stats = lse();

    const Tensor products = binary(CUDNN_POINTWISE_MUL, dout, o,
                                   graph_.between({CUDNN_DATA_FLOAT, {S, H, L, Dh}, {H * L * Dh, L * Dh, H * Dh, 1}}));
    const Tensor delta =
        binary(CUDNN_POINTWISE_MUL, graph_.reduction(CUDNN_REDUCE_TENSOR_ADD, products, per_row()),
               graph_.scalar(id_of(Id::one), "one"),
               graph_.tensor(id_of(Id::delta), "D", {CUDNN_DATA_FLOAT, {S, H, L, 1}, {H * L, L, 1, 1}}));

    const Tensor s = scores(q, kt);
    const Tensor p =
        unary(CUDNN_POINTWISE_EXP, masked_diagonal(binary(CUDNN_POINTWISE_SUB, s, stats, per_score())), per_score());
    into_heads(p, dout, Id::dv, Id::dv_heads, key_.strides.dv);

    Tensor ds = graph_.matmul(dout, vt, per_score(), {});
    ds = binary(CUDNN_POINTWISE_SUB, ds, delta, per_score());
    ds = binary(CUDNN_POINTWISE_MUL, ds, p, per_score());
    ds = binary(CUDNN_POINTWISE_MUL, ds, scale_, per_score());
    into_heads(ds, q, Id::dk, Id::dk_heads, key_.strides.dk);

    const Extents &d = kt->dims, &st = kt->strides;
    const Tensor k =
        graph_.reshape(kt, graph_.between({CUDNN_DATA_FLOAT, {d[0], d[1], d[3], d[2]}, {st[0], st[1], st[3], st[2]}}));
    const Tensor dq_sum = graph_.tensor(id_of(Id::dq_sum), "dq in fp32", every_head(CUDNN_DATA_FLOAT));
    graph_.matmul(ds, k, dq_sum, {});
    unary(CUDNN_POINTWISE_IDENTITY, dq_sum, packed(Id::dq, "dq", H, key_.strides.q));
  }

  /// to[b, kv head] = sum over its query heads of weights^T rows: the gradient of k or v.
  void into_heads(Tensor weights, Tensor rows, Id to, Id heads_id, std::int64_t stride) {
    const Tensor wt = graph_.reshape(weights, graph_.between({key_.type, {S, H, L, L}, {H * L * L, L * L, 1, L}}));
    const Tensor sum = packed(to, "dk or dv", K, stride);
    if (H == K) {
      graph_.matmul(wt, rows, sum, {});
    } else {
      const Tensor heads = graph_.tensor(id_of(heads_id), "dk or dv of every query head", every_head(key_.type));
      graph_.reduction(CUDNN_REDUCE_TENSOR_ADD, graph_.matmul(wt, rows, heads, {}), sum);
    }
  }

  Tensor scores(Tensor q, Tensor kt) {
    const Tensor s = graph_.matmul(q, kt, per_score(), {.m = q_length_, .n = kv_length_});
    return binary(CUDNN_POINTWISE_MUL, s, scale_, per_score());
  }
  /// -infinity if the row or the column is after the end of its sequence.
  Tensor masked_lengths(Tensor s) {
    if (key_.equal) return s;
    const Tensor row = index(s, 2, CUDNN_DATA_INT32), column = index(s, 3, CUDNN_DATA_INT32);
    const auto boolean = [&](cudnnPointwiseMode_t mode, Tensor a, Tensor b) {
      return graph_.pointwise(mode, {a, b}, per_score(CUDNN_DATA_BOOLEAN), CUDNN_DATA_BOOLEAN);
    };
    const Tensor row_inside = boolean(CUDNN_POINTWISE_CMP_LT, row, q_length_);
    const Tensor column_inside = boolean(CUDNN_POINTWISE_CMP_LT, column, kv_length_);
    const Tensor inside = boolean(CUDNN_POINTWISE_LOGICAL_AND, row_inside, column_inside);
    return select(s, graph_.scalar(id_of(Id::masked_by_length), "mask by length"), inside);
  }
  /// -infinity if a key comes after its query. Queries and keys are the same tokens, so no shift is needed.
  Tensor masked_diagonal(Tensor s) {
    if (!key_.causal) return s;
    const Tensor row = index(s, 2, CUDNN_DATA_FLOAT), column = index(s, 3, CUDNN_DATA_FLOAT);
    const Tensor seen =
        graph_.pointwise(CUDNN_POINTWISE_CMP_GE, {row, column}, per_score(CUDNN_DATA_BOOLEAN), CUDNN_DATA_BOOLEAN);
    return select(s, graph_.scalar(id_of(Id::masked_by_diagonal), "mask by diagonal"), seen);
  }
  Tensor index(Tensor s, std::int64_t axis, cudnnDataType_t precision) {
    return graph_.pointwise(CUDNN_POINTWISE_GEN_INDEX, {s}, per_score(CUDNN_DATA_INT32), precision, axis);
  }
  Tensor select(Tensor s, Tensor otherwise, Tensor chosen) {
    return graph_.pointwise(CUDNN_POINTWISE_BINARY_SELECT, {s, otherwise, chosen}, per_score());
  }
  Tensor unary(cudnnPointwiseMode_t mode, Tensor x, Tensor y) { return graph_.pointwise(mode, {x}, y); }
  Tensor binary(cudnnPointwiseMode_t mode, Tensor a, Tensor b, Tensor y) { return graph_.pointwise(mode, {a, b}, y); }

  Extents token_major(std::int64_t stride) const { return {L * stride, Dh, stride, 1}; }
  Tensor ragged(Id of) {
    if (key_.equal) return nullptr;
    return graph_.tensor(ragged_id_of(of), "offsets", {CUDNN_DATA_INT64, {S + 1, 1, 1, 1}, {1, 1, 1, 1}});
  }
  Tensor lengths(Id id) {
    if (key_.equal) return nullptr;
    return graph_.tensor(id_of(id), "lengths", {CUDNN_DATA_INT32, {S, 1, 1, 1}, {1, 1, 1, 1}});
  }
  Tensor packed(Id id, const char* name, std::int64_t heads, std::int64_t stride) {
    return graph_.tensor(id_of(id), name, {key_.type, {S, heads, L, Dh}, token_major(stride), ragged(id)});
  }
  /// A tensor in scratch, head after head.
  CudnnGraph::Layout every_head(cudnnDataType_t type) const {
    return {type, {S, H, L, Dh}, {H * L * Dh, L * Dh, Dh, 1}};
  }
  /// k or v as the second factor of a product: rows and columns change places.
  Tensor transposed(Id id, const char* name, std::int64_t stride) {
    return graph_.tensor(id_of(id), name, {key_.type, {S, K, Dh, L}, {L * stride, Dh, 1, stride}, ragged(id)});
  }
  /// One fp32 number per token and head, (N, H) in memory.
  Tensor lse() {
    return graph_.tensor(id_of(Id::lse), "lse", {CUDNN_DATA_FLOAT, {S, H, L, 1}, {L * H, 1, H, 1}, ragged(Id::lse)});
  }
  Tensor per_score(cudnnDataType_t type = CUDNN_DATA_FLOAT) {
    return graph_.between({type, {S, H, L, L}, {H * L * L, L * L, L, 1}});
  }
  Tensor per_row() { return graph_.between({CUDNN_DATA_FLOAT, {S, H, L, 1}, {H * L, L, 1, 1}}); }

  CudnnAttentionKey key_;
  const std::int64_t S = key_.sequences, L = key_.longest, H = key_.heads, K = key_.kv_heads, Dh = key_.head_dim;
  CudnnGraph graph_;
  Tensor q_length_ = lengths(Id::q_length), kv_length_ = lengths(Id::kv_length);
  Tensor scale_ = graph_.scalar(id_of(Id::scale), "scale");
};

}  // namespace lamina::kernel::cuda
#endif  // LAMINA_HAS_CUDNN
