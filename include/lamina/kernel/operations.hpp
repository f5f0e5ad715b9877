#pragma once

/// The list of operations. It is here once: the Plan backend (plan.hpp), the kernels that are compiled once for the
/// CPU (cpu_elsewhere.hpp) and those for CUDA (a .cu file with LAMINA_CUDA_KERNELS for each header, which
/// cmake/cuda_kernels.cmake writes) are made from it. OPERATION(name, header): header is the .cuh below kernel/cuda/
/// that defines the operation.
///
/// A row is PASS(operation, function, "name in a plan", (arguments), ...): the arguments after the stream, for elements
/// of type T, in brackets for each of the function's overloads that are compiled; none for a function that is no
/// template or has a width as template argument.
// clang-format off
#define LAMINA_OPERATIONS(OPERATION)                                                                                   \
  OPERATION(across_ranks, ranks/across_ranks) OPERATION(activation, elementwise/activation)                            \
  OPERATION(add, elementwise/add) OPERATION(add_adapters, matmul/adapters/add_adapters)                                \
  OPERATION(add_layer_norm, norm/norm_rows) OPERATION(add_rms_norm, norm/norm_rows)                                    \
  OPERATION(adjust_logits, logits/adjust_logits) OPERATION(attention, attention/attention)                             \
  OPERATION(convert, elementwise/convert) OPERATION(dropout, elementwise/dropout) OPERATION(embedding, rows/embedding) \
  OPERATION(embedding_noise, elementwise/embedding_noise)                                                              \
  OPERATION(gated_product, matmul/gated_product) OPERATION(grouped_matmul, matmul/grouped_matmul)                      \
  OPERATION(head_loss, logits/head_loss)                                                                               \
  OPERATION(layer_norm, norm/norm_rows) OPERATION(learned_position, rows/embedding)                                    \
  OPERATION(logprobs, logits/logprobs) OPERATION(magnitude, matmul/magnitude) OPERATION(matmul, matmul/matmul)         \
  OPERATION(norm_rope, norm/norm_rope) OPERATION(norm_rows, norm/norm_rows)                                            \
  OPERATION(optimizer, optimizer/optimizer) OPERATION(paged_attention, attention/paged_attention)                      \
  OPERATION(preference, logits/preference) OPERATION(rms_norm, norm/norm_rows) OPERATION(route, rows/route)            \
  OPERATION(rows, rows/rows)                                                                                           \
  OPERATION(sample, logits/sample) OPERATION(silu_gate, elementwise/activation)                                        \
  OPERATION(token_inputs, rows/token_inputs)

#define LAMINA_OPERATION_across_ranks(PASS, T)                                                                         \
  PASS(across_ranks, sum, "all_reduce", (const RankSum<T>&))                                                           \
  PASS(across_ranks, sum_norm, "all_reduce_add_norm", (const RankSumNorm<T>&))                                         \
  PASS(across_ranks, gather, "all_gather", (const RankGather<T>&))                                                     \
  PASS(across_ranks, broadcast, "broadcast")
#define LAMINA_OPERATION_activation(PASS, T)                                                                           \
  PASS(activation, forward, "activation_fwd", (GeluErf, const ActivationFwd<T>&), (GeluTanh, const ActivationFwd<T>&)) \
  PASS(activation, backward, "activation_bwd", (GeluErf, const ActivationBwd<T>&), (GeluTanh, const ActivationBwd<T>&))
#define LAMINA_OPERATION_add(PASS, T)                                                                                  \
  PASS(add, forward, "add", (const Add<T>&))                                                                           \
  PASS(add, copy, "copy", (const Add<T>&))
#define LAMINA_OPERATION_add_adapters(PASS, T)                                                                         \
  PASS(add_adapters, forward, "add_adapters", (const AddAdapters<T>&))                                                 \
  PASS(add_adapters, finish, "adapted_product", (const AdaptedProduct<T>&))
#define LAMINA_OPERATION_add_layer_norm(PASS, T)                                                                       \
  PASS(add_layer_norm, forward, "add_layer_norm_fwd")                                                                  \
  PASS(add_layer_norm, backward, "add_layer_norm_bwd")
#define LAMINA_OPERATION_add_rms_norm(PASS, T)                                                                         \
  PASS(add_rms_norm, forward, "add_rms_norm_fwd")                                                                      \
  PASS(add_rms_norm, backward, "add_rms_norm_bwd")
#define LAMINA_OPERATION_adjust_logits(PASS, T)                                                                        \
  PASS(adjust_logits, forward, "adjust_logits", (const AdjustLogits<T>&))
#define LAMINA_OPERATION_attention(PASS, T)                                                                            \
  PASS(attention, forward, "attention_fwd", (const AttentionFwd<T>&))                                                  \
  PASS(attention, backward, "attention_bwd", (const AttentionBwd<T>&))
#define LAMINA_OPERATION_convert(PASS, T)                                                                              \
  PASS(convert, run, "convert", (const Convert<T, float>&), (const Convert<T, bf16>&), (const Convert<T, f16>&))
#define LAMINA_OPERATION_dropout(PASS, T)                                                                              \
  PASS(dropout, forward, "dropout_fwd", (DropoutMask, const Dropout<T>&))
#define LAMINA_OPERATION_embedding(PASS, T)                                                                            \
  PASS(embedding, forward, "embedding_fwd", (const EmbeddingFwd<T>&))                                                  \
  PASS(embedding, backward, "embedding_bwd", (const EmbeddingBwd<T>&))
#define LAMINA_OPERATION_embedding_noise(PASS, T)                                                                      \
  PASS(embedding_noise, add, "embedding_noise", (const EmbeddingNoise<T>&))
#define LAMINA_OPERATION_gated_product(PASS, T)                                                                        \
  PASS(gated_product, forward, "gated_product", (const GatedProduct<T>&))
#define LAMINA_OPERATION_grouped_matmul(PASS, T)                                                                       \
  PASS(grouped_matmul, forward, "grouped_matmul_fwd", (const GroupedFwd<T>&))                                          \
  PASS(grouped_matmul, backward_input, "grouped_matmul_bwd_input", (const GroupedBwdInput<T>&))                        \
  PASS(grouped_matmul, backward_weight, "grouped_matmul_bwd_weight", (const GroupedBwdWeight<T>&))
#define LAMINA_OPERATION_head_loss(PASS, T)                                                                            \
  PASS(head_loss, run, "head_loss", (const HeadLoss<T>&))
#define LAMINA_OPERATION_layer_norm(PASS, T)                                                                           \
  PASS(layer_norm, forward, "layer_norm_fwd")                                                                          \
  PASS(layer_norm, backward, "layer_norm_bwd")
#define LAMINA_OPERATION_learned_position(PASS, T)                                                                     \
  PASS(learned_position, forward, "learned_position_fwd", (const LearnedPositionFwd<T>&))                              \
  PASS(learned_position, backward, "learned_position_bwd", (const LearnedPositionBwd<T>&))
#define LAMINA_OPERATION_logprobs(PASS, T)                                                                             \
  PASS(logprobs, rows, "logprobs", (const Logprobs<T>&))
#define LAMINA_OPERATION_magnitude(PASS, T)                                                                            \
  PASS(magnitude, norms, "row_norms", (const RowNorms<T>&))                                                            \
  PASS(magnitude, forward, "magnitude_fwd", (const MagnitudeFwd<T>&))                                                  \
  PASS(magnitude, backward, "magnitude_bwd", (const MagnitudeBwd<T>&))
#define LAMINA_OPERATION_matmul(PASS, T)                                                                               \
  PASS(matmul, forward, "matmul_fwd", (const MatmulFwd<T>&))                                                           \
  PASS(matmul, backward_input, "matmul_bwd_input", (const MatmulBwdInput<T>&))                                         \
  PASS(matmul, backward_weight, "matmul_bwd_weight", (const MatmulBwdWeight<T>&))
#define LAMINA_OPERATION_norm_rope(PASS, T)                                                                            \
  PASS(norm_rope, forward, "norm_rope_fwd", (const NormRopeFwd<T>&), (const NormRopeFwd<T>&, const NormRopeFwd<T>&))   \
  PASS(norm_rope, backward, "norm_rope_bwd", (const NormRopeBwd<T>&))
#define LAMINA_OPERATION_norm_rows(PASS, T)                                                                            \
  PASS(norm_rows, forward, "norm_rows_fwd", (const NormRowsFwd<T>&))                                                   \
  PASS(norm_rows, backward, "norm_rows_bwd", (const NormRowsBwd<T>&))
#define LAMINA_OPERATION_optimizer(PASS, T)                                                                            \
  PASS(optimizer, clip, "clip")                                                                                        \
  PASS(optimizer, update, "update", (OptimizerKind, const UpdateStep<T>&))                                             \
  PASS(optimizer, update_8bit, "update_8bit", (OptimizerKind, const UpdateStep8Bit<T>&))                               \
  PASS(optimizer, update_bf16, "update_bf16", (OptimizerKind, const UpdateStepBf16<T>&))                               \
  PASS(optimizer, adafactor, "adafactor")                                                                              \
  PASS(optimizer, muon, "muon")                                                                                        \
  PASS(optimizer, clipped, "clipped")                                                                                  \
  PASS(optimizer, join, "join_clips")
#define LAMINA_OPERATION_paged_attention(PASS, T)                                                                      \
  PASS(paged_attention, edit, "paged_edit")                                                                            \
  PASS(paged_attention, write, "paged_write", (const PagedWrite<T>&))                                                  \
  PASS(paged_attention, rotate_and_write, "rotate_and_write", (const RotateAndWrite<T>&))                              \
  PASS(paged_attention, split, "split_keys")                                                                           \
  PASS(paged_attention, decode, "paged_attention_decode", (const PagedAttentionFwd<T>&))                               \
  PASS(paged_attention, forward, "paged_attention_fwd", (const PagedAttentionFwd<T>&))
#define LAMINA_OPERATION_preference(PASS, T) PASS(preference, weigh, "weigh_answers")
#define LAMINA_OPERATION_rms_norm(PASS, T)                                                                             \
  PASS(rms_norm, forward, "rms_norm_fwd")                                                                              \
  PASS(rms_norm, backward, "rms_norm_bwd")
#define LAMINA_OPERATION_route(PASS, T)                                                                                \
  PASS(route, choose, "route_choose", (const RouteChoose<T>&))                                                         \
  PASS(route, sort, "route_sort")                                                                                      \
  PASS(route, sum, "route_sum", (const RouteSums<T>&))                                                                                      \
  PASS(route, combine, "route_combine", (const RouteCombine<T>&))                                                      \
  PASS(route, split, "route_split", (const RouteSplit<T>&))                                                            \
  PASS(route, backward, "route_bwd", (const RouteBwd<T>&))
#define LAMINA_OPERATION_rows(PASS, T)                                                                                 \
  PASS(rows, gather, "rows_gather", (int, const Rows<T>&))                                                             \
  PASS(rows, scatter, "rows_scatter", (int, const Rows<T>&))                                                           \
  PASS(rows, scatter_add, "rows_scatter_add", (int, const Rows<T>&))                                                   \
  PASS(rows, zero, "zero", (Matrix<T>))
#define LAMINA_OPERATION_sample(PASS, T)                                                                               \
  PASS(sample, rows, "sample_rows", (const SampleRows<T>&))
#define LAMINA_OPERATION_silu_gate(PASS, T)                                                                            \
  PASS(silu_gate, forward, "silu_gate_fwd", (const SiluGateFwd<T>&))                                                   \
  PASS(silu_gate, backward, "silu_gate_bwd", (const SiluGateBwd<T>&))
#define LAMINA_OPERATION_token_inputs(PASS, T)                                                                         \
  PASS(token_inputs, forward, "token_inputs")
// clang-format on

/// prefix void operation<B>::function(Stream<B>, arguments) for each bracket of a row; at most three.
#define LAMINA_UNPACK(...) __VA_ARGS__
#define LAMINA_SIGNATURE(prefix, B, op, pass, arguments) prefix void op<B>::pass(Stream<B>, LAMINA_UNPACK arguments);
#define LAMINA_SIGNATURES_1(prefix, B, op, pass, name)
#define LAMINA_SIGNATURES_2(prefix, B, op, pass, name, a) LAMINA_SIGNATURE(prefix, B, op, pass, a)
#define LAMINA_SIGNATURES_3(prefix, B, op, pass, name, a, b) \
  LAMINA_SIGNATURE(prefix, B, op, pass, a) LAMINA_SIGNATURE(prefix, B, op, pass, b)
#define LAMINA_SIGNATURES_4(prefix, B, op, pass, name, a, b, c) \
  LAMINA_SIGNATURES_3(prefix, B, op, pass, name, a, b) LAMINA_SIGNATURE(prefix, B, op, pass, c)
#define LAMINA_SIGNATURES_OF(a, b, c, d, which, ...) which
#define LAMINA_SIGNATURES(prefix, B, op, pass, ...)                                                \
  LAMINA_SIGNATURES_OF(__VA_ARGS__, LAMINA_SIGNATURES_4, LAMINA_SIGNATURES_3, LAMINA_SIGNATURES_2, \
                       LAMINA_SIGNATURES_1, )                                                      \
  (prefix, B, op, pass, __VA_ARGS__)

/// In a .cu file that includes the operation's .cuh: compiles its kernels for every element type.
#define LAMINA_CUDA_PASS(op, pass, ...) LAMINA_SIGNATURES(template, ::lamina::Cuda, op, pass, __VA_ARGS__)
#define LAMINA_CUDA_KERNELS(op)                                                                                  \
  namespace lamina::kernel {                                                                                     \
  LAMINA_OPERATION_##op(LAMINA_CUDA_PASS, float) LAMINA_OPERATION_##op(LAMINA_CUDA_PASS, bf16) LAMINA_OPERATION_ \
      ##op(LAMINA_CUDA_PASS, f16)                                                                                \
  }                                                                                                              \
  static_assert(true)
