#pragma once
#include <string>
#include <string_view>
#include <vector>

#include <lamina/kernel/cuda.hpp>  // with it, the contract of every operation
#include <lamina/kernel/operations.hpp>

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
    for (std::string_view tag : record->path) (path += path.empty() || tag.empty() ? "" : ".") += tag;
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

#define LAMINA_PLAN_PASS(op, pass, name, ...)             \
  static void pass(Stream<Plan> s, const auto&... args) { \
    s.launch(name);                                       \
    detail::reserve<op<Cuda>>(s, args...);                \
  }
#define LAMINA_PLAN_OPERATION(op, header)     \
  template <>                                 \
  struct op<Plan> {                           \
    LAMINA_OPERATION_##op(LAMINA_PLAN_PASS, ) \
  };
LAMINA_OPERATIONS(LAMINA_PLAN_OPERATION)
#undef LAMINA_PLAN_OPERATION
#undef LAMINA_PLAN_PASS

}  // namespace kernel
}  // namespace lamina
