#pragma once
#include <string>
#include <string_view>
#include <vector>

#include <lamina/kernel/activation.hpp>
#include <lamina/kernel/add.hpp>
#include <lamina/kernel/add_norm.hpp>
#include <lamina/kernel/attention.hpp>
#include <lamina/kernel/cache.hpp>
#include <lamina/kernel/cuda.hpp>
#include <lamina/kernel/dropout.hpp>
#include <lamina/kernel/head_loss.hpp>
#include <lamina/kernel/layer_norm.hpp>
#include <lamina/kernel/matmul.hpp>
#include <lamina/kernel/norm_rope.hpp>
#include <lamina/kernel/paged_attention.hpp>
#include <lamina/kernel/rms_norm.hpp>
#include <lamina/kernel/rows.hpp>
#include <lamina/kernel/sample.hpp>
#include <lamina/kernel/token_inputs.hpp>

/// A backend that computes nothing: a model run on it tells which kernels it launches and, with counting arenas, how
/// many bytes it takes. Plans are therefore made by the very code that runs.
namespace lamina {

struct Plan {};
template <>
inline constexpr bool is_backend<Plan> = true;

/// What ran on the Plan backend, in order.
struct PlanRecord {
  struct Launch {
    std::string path, kernel;
  };
  std::vector<Launch> launches;
  std::vector<std::string_view> path;
};

template <>
struct Stream<Plan> {
  PlanRecord* record = nullptr;
  Arena* cuda_scratch = nullptr;  ///< if a plan is made for Cuda: counts what its kernels take during a call

  void enter(std::string_view tag) const {
    if (record) record->path.push_back(tag);
  }
  void leave() const {
    if (record) record->path.pop_back();
  }
  void launch(std::string_view kernel) const {
    if (!record) return;
    std::string path;
    for (std::string_view tag : record->path) (path += path.empty() ? "" : ".") += tag;
    record->launches.push_back({path, std::string(kernel)});
  }
};

/// A plan of what runs on B, whose kernels' own memory is counted in scratch.
template <Backend B>
Stream<Plan> plan_stream(PlanRecord* record, Arena& scratch) {
  return {record, std::same_as<B, Cuda> ? &scratch : nullptr};
}

namespace kernel {
namespace detail {
/// Counts what Op takes during a call with these arguments.
template <class Op, class... Args>
void reserve(Stream<Plan> s, const Args&... args) {
  if constexpr (requires { Op::workspace_bytes(args...); }) {
    if (!s.cuda_scratch) return;
    Arena::Scope scope(*s.cuda_scratch);
    s.cuda_scratch->take<std::byte>(Op::workspace_bytes(args...));
  }
}
}  // namespace detail

#define LAMINA_PLAN_FORWARD_BACKWARD(op)                        \
  template <>                                                   \
  struct op<Plan> {                                             \
    static void forward(Stream<Plan> s, const auto&... args) {  \
      s.launch(#op "_fwd");                                     \
      detail::reserve<op<Cuda>>(s, args...);                    \
    }                                                           \
    static void backward(Stream<Plan> s, const auto&... args) { \
      s.launch(#op "_bwd");                                     \
      detail::reserve<op<Cuda>>(s, args...);                    \
    }                                                           \
  }
LAMINA_PLAN_FORWARD_BACKWARD(activation);
LAMINA_PLAN_FORWARD_BACKWARD(add_layer_norm);
LAMINA_PLAN_FORWARD_BACKWARD(add_rms_norm);
LAMINA_PLAN_FORWARD_BACKWARD(attention);
LAMINA_PLAN_FORWARD_BACKWARD(dropout);
LAMINA_PLAN_FORWARD_BACKWARD(embedding);
LAMINA_PLAN_FORWARD_BACKWARD(layer_norm);
LAMINA_PLAN_FORWARD_BACKWARD(learned_position);
LAMINA_PLAN_FORWARD_BACKWARD(norm_rope);
LAMINA_PLAN_FORWARD_BACKWARD(rms_norm);
LAMINA_PLAN_FORWARD_BACKWARD(silu_gate);
#undef LAMINA_PLAN_FORWARD_BACKWARD

template <>
struct add<Plan> {
  static void forward(Stream<Plan> s, const auto&...) { s.launch("add"); }
  static void copy(Stream<Plan> s, const auto&...) { s.launch("copy"); }
};
template <>
struct cache<Plan> {
  static void append(Stream<Plan> s, const auto&...) { s.launch("cache_append"); }
};
template <>
struct paged_attention<Plan> {
  static void edit(Stream<Plan> s, const auto&) { s.launch("paged_edit"); }
  static void write(Stream<Plan> s, const auto&) { s.launch("paged_write"); }
  static void rotate_and_write(Stream<Plan> s, const auto&) { s.launch("rotate_and_write"); }
  static void split(Stream<Plan> s, const auto&) { s.launch("split_keys"); }
  static void decode(Stream<Plan> s, const auto& args) {
    s.launch("paged_attention_decode");
    detail::reserve<paged_attention<Cuda>>(s, args);
  }
  static void forward(Stream<Plan> s, const auto&) { s.launch("paged_attention_fwd"); }
};
template <>
struct matmul<Plan> {
  static void forward(Stream<Plan> s, const auto& args) { launch(s, "matmul_fwd", args); }
  static void backward_input(Stream<Plan> s, const auto& args) { launch(s, "matmul_bwd_input", args); }
  static void backward_weight(Stream<Plan> s, const auto& args) { launch(s, "matmul_bwd_weight", args); }

 private:
  static void launch(Stream<Plan> s, std::string_view name, const auto& args) {
    s.launch(name);
    detail::reserve<matmul<Cuda>>(s, args);
  }
};
template <>
struct rows<Plan> {
  static void gather(Stream<Plan> s, const auto&...) { s.launch("rows_gather"); }
  static void scatter(Stream<Plan> s, const auto&...) { s.launch("rows_scatter"); }
  static void scatter_add(Stream<Plan> s, const auto&...) { s.launch("rows_scatter_add"); }
  static void zero(Stream<Plan> s, const auto&...) { s.launch("zero"); }
};
template <>
struct sample<Plan> {
  static void forward(Stream<Plan> s, const auto& args) {
    s.launch("sample");
    detail::reserve<sample<Cuda>>(s, args);
  }
  static void rows(Stream<Plan> s, const auto&) { s.launch("sample_rows"); }
};
template <>
struct token_inputs<Plan> {
  static void forward(Stream<Plan> s, const auto&) { s.launch("token_inputs"); }
};
template <>
struct head_loss<Plan> {
  static void run(Stream<Plan> s, const auto&... args) {
    s.launch("head_loss");
    detail::reserve<head_loss<Cuda>>(s, args...);
  }
};

}  // namespace kernel
}  // namespace lamina
