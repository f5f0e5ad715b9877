#pragma once
#if __has_include(<cudnn_graph.h>) && __has_include(<cuda_runtime_api.h>)
#define LAMINA_HAS_CUDNN 1
#include <cudnn_graph.h>
#include <dlfcn.h>

#include <array>
#include <cstdint>
#include <deque>
#include <initializer_list>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include <lamina/core/error.hpp>

/// cuDNN 9 through its backend API: descriptors, graphs of operations, execution plans. The library is opened when it
/// is first asked for, so a program that was built with its headers also starts if it is not installed.
/// source: NVIDIA cuDNN, "Backend API" (cudnn_graph.h is its reference for names and types)
namespace lamina::kernel::cuda {

/// The functions of libcudnn.so.9 that are called here.
#define LAMINA_CUDNN_FUNCTIONS(X) \
  X(GetVersion)                   \
  X(GetErrorString)               \
  X(GetLastErrorString)           \
  X(Create)                       \
  X(Destroy)                      \
  X(SetStream)                    \
  X(BackendCreateDescriptor)      \
  X(BackendDestroyDescriptor) X(BackendSetAttribute) X(BackendGetAttribute) X(BackendFinalize) X(BackendExecute)
struct Cudnn {
#define LAMINA_CUDNN_MEMBER(name) decltype(&::cudnn##name) name = nullptr;
  LAMINA_CUDNN_FUNCTIONS(LAMINA_CUDNN_MEMBER)
#undef LAMINA_CUDNN_MEMBER

  /// The library, or Error that says why it cannot be used. It stays open until the process ends.
  static const Cudnn& get() {
    static const Cudnn library;
    return library;
  }
  /// "9.19.0"
  std::string version() const {
    const std::size_t v = GetVersion();
    return cat(v / 10000, ".", v / 100 % 100, ".", v % 100);
  }
  /// Error, in cuDNN's own words, if a call failed.
  void check(cudnnStatus_t status, const std::string& what) const {
    if (status == CUDNN_STATUS_SUCCESS) return;
    char details[1024] = "";
    GetLastErrorString(details, sizeof details);
    fail("cuDNN ", version(), ": ", what, ": ", GetErrorString(status), " (", static_cast<int>(status), ") ", details);
  }

 private:
  Cudnn() {
    void* const library = dlopen("libcudnn.so.9", RTLD_NOW | RTLD_LOCAL);
    if (!library) fail("cuDNN: ", dlerror());
#define LAMINA_CUDNN_FIND(name) find(library, "cudnn" #name, name);
    LAMINA_CUDNN_FUNCTIONS(LAMINA_CUDNN_FIND)
#undef LAMINA_CUDNN_FIND
  }
  template <class F>
  static void find(void* library, const char* name, F& function) {
    function = reinterpret_cast<F>(dlsym(library, name));
    if (!function) fail("cuDNN: libcudnn.so.9 has no ", name);
  }
};
#undef LAMINA_CUDNN_FUNCTIONS

/// The tag that goes with an attribute's values. A descriptor is a void* to C, so that descriptors are distinguished by
/// CudnnDescriptor::set.
template <class V>
inline constexpr cudnnBackendAttributeType_t cudnn_type_of = CUDNN_TYPE_VOID_PTR;
template <>
inline constexpr cudnnBackendAttributeType_t cudnn_type_of<std::int64_t> = CUDNN_TYPE_INT64;
template <>
inline constexpr cudnnBackendAttributeType_t cudnn_type_of<bool> = CUDNN_TYPE_BOOLEAN;
template <>
inline constexpr cudnnBackendAttributeType_t cudnn_type_of<char> = CUDNN_TYPE_CHAR;
template <>
inline constexpr cudnnBackendAttributeType_t cudnn_type_of<cudnnHandle_t> = CUDNN_TYPE_HANDLE;
template <>
inline constexpr cudnnBackendAttributeType_t cudnn_type_of<cudnnDataType_t> = CUDNN_TYPE_DATA_TYPE;
template <>
inline constexpr cudnnBackendAttributeType_t cudnn_type_of<cudnnPointwiseMode_t> = CUDNN_TYPE_POINTWISE_MODE;
template <>
inline constexpr cudnnBackendAttributeType_t cudnn_type_of<cudnnReduceTensorOp_t> = CUDNN_TYPE_REDUCTION_OPERATOR_TYPE;
template <>
inline constexpr cudnnBackendAttributeType_t cudnn_type_of<cudnnBackendHeurMode_t> = CUDNN_TYPE_HEUR_MODE;

/// Owns one descriptor. Its name leads every error message.
class CudnnDescriptor {
 public:
  CudnnDescriptor(cudnnBackendDescriptorType_t type, std::string name) : name_(std::move(name)) {
    library().check(library().BackendCreateDescriptor(type, &handle_), name_ + ": create");
  }
  CudnnDescriptor(CudnnDescriptor&& other) noexcept
      : name_(std::move(other.name_)), handle_(std::exchange(other.handle_, nullptr)) {}
  CudnnDescriptor& operator=(CudnnDescriptor&& other) noexcept {
    std::swap(name_, other.name_);
    std::swap(handle_, other.handle_);
    return *this;
  }
  ~CudnnDescriptor() {
    if (handle_) library().BackendDestroyDescriptor(handle_);
  }

  cudnnBackendDescriptor_t handle() const { return handle_; }
  template <class V>
  CudnnDescriptor& set(cudnnBackendAttributeName_t attribute, const V* values, std::size_t count) {
    return set(attribute, cudnn_type_of<V>, values, count);
  }
  template <class V>
  requires(std::is_scalar_v<V>) CudnnDescriptor& set(cudnnBackendAttributeName_t attribute, V value) {
    return set(attribute, &value, 1);
  }
  CudnnDescriptor& set(cudnnBackendAttributeName_t attribute, const CudnnDescriptor& other) {
    return set(attribute, CUDNN_TYPE_BACKEND_DESCRIPTOR, &other.handle_, 1);
  }
  CudnnDescriptor& set(cudnnBackendAttributeName_t attribute, const std::deque<CudnnDescriptor>& others) {
    std::vector<cudnnBackendDescriptor_t> handles;
    for (const CudnnDescriptor& other : others) handles.push_back(other.handle_);
    return set(attribute, CUDNN_TYPE_BACKEND_DESCRIPTOR, handles.data(), handles.size());
  }
  CudnnDescriptor& finalize() {
    library().check(library().BackendFinalize(handle_), name_ + ": finalize");
    return *this;
  }
  /// An attribute that holds one integer.
  std::int64_t get(cudnnBackendAttributeName_t attribute) const {
    std::int64_t value = 0, count = 0;
    const auto status = library().BackendGetAttribute(handle_, attribute, CUDNN_TYPE_INT64, 1, &count, &value);
    library().check(status, cat(name_, ": reading attribute ", static_cast<int>(attribute)));
    return value;
  }

 private:
  static const Cudnn& library() { return Cudnn::get(); }
  CudnnDescriptor& set(cudnnBackendAttributeName_t attribute, cudnnBackendAttributeType_t type, const void* values,
                       std::size_t count) {
    const auto status =
        library().BackendSetAttribute(handle_, attribute, type, static_cast<std::int64_t>(count), values);
    library().check(status, cat(name_, ": attribute ", static_cast<int>(attribute)));
    return *this;
  }
  std::string name_;
  cudnnBackendDescriptor_t handle_ = nullptr;
};

/// What a plan is run on: the tensor's number in the graph, and memory; of by-value tensors, memory of the host.
struct CudnnBinding {
  std::int64_t id = 0;
  const void* memory = nullptr;
};

/// An executable graph: the engine that cuDNN's heuristics prefer, compiled.
class CudnnPlan {
 public:
  CudnnPlan(CudnnDescriptor plan, std::string engine)
      : plan_(std::move(plan)),
        engine_(std::move(engine)),
        workspace_bytes_(static_cast<std::size_t>(plan_.get(CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE))) {}

  std::size_t workspace_bytes() const { return workspace_bytes_; }
  const std::string& engine() const { return engine_; }
  void execute(cudnnHandle_t handle, const std::vector<CudnnBinding>& bindings, void* workspace) const {
    std::vector<std::int64_t> ids;
    std::vector<void*> memory;
    for (const CudnnBinding& b : bindings) {
      ids.push_back(b.id);
      memory.push_back(const_cast<void*>(b.memory));  // one list holds what is read and what is written
    }
    CudnnDescriptor pack(CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR, "variant pack");
    pack.set(CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS, ids.data(), ids.size())
        .set(CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS, memory.data(), memory.size())
        .set(CUDNN_ATTR_VARIANT_PACK_WORKSPACE, workspace)
        .finalize();
    Cudnn::get().check(Cudnn::get().BackendExecute(handle, plan_.handle(), pack.handle()), "execute " + engine_);
  }

 private:
  CudnnDescriptor plan_;
  std::string engine_;
  std::size_t workspace_bytes_;
};

/// A graph of operations on tensors of four dimensions (batch, head, row, column), in the order in which it was built.
class CudnnGraph {
 public:
  using Extents = std::array<std::int64_t, 4>;
  struct GraphTensor {
    CudnnDescriptor descriptor;
    Extents dims, strides;
  };
  using Tensor = const GraphTensor*;  ///< lives as long as the graph
  struct Layout {
    cudnnDataType_t type;
    Extents dims, strides;
    Tensor ragged = nullptr;  ///< (batch + 1) offsets in elements, if sequences are packed
  };

  /// A tensor in memory, known by its id when the plan runs.
  Tensor tensor(std::int64_t id, const char* name, const Layout& layout) { return add(id, name, layout, false, false); }
  /// One fp32 number, read from the host's memory when the plan runs.
  Tensor scalar(std::int64_t id, const char* name) {
    return add(id, name, {CUDNN_DATA_FLOAT, {1, 1, 1, 1}, {1, 1, 1, 1}}, false, true);
  }
  /// A result that never reaches memory.
  Tensor between(const Layout& layout) { return add(next_++, "", layout, true, false); }

  /// y = mode(x, b, t), elementwise; an axis if mode is GEN_INDEX.
  Tensor pointwise(cudnnPointwiseMode_t mode, std::initializer_list<Tensor> inputs, Tensor y,
                   cudnnDataType_t precision = CUDNN_DATA_FLOAT, std::int64_t axis = -1) {
    static constexpr cudnnBackendAttributeName_t ports[] = {CUDNN_ATTR_OPERATION_POINTWISE_XDESC,
                                                            CUDNN_ATTR_OPERATION_POINTWISE_BDESC,
                                                            CUDNN_ATTR_OPERATION_POINTWISE_TDESC};
    CudnnDescriptor& how = part(CUDNN_BACKEND_POINTWISE_DESCRIPTOR, cat("pointwise mode ", static_cast<int>(mode)));
    how.set(CUDNN_ATTR_POINTWISE_MODE, mode).set(CUDNN_ATTR_POINTWISE_MATH_PREC, precision);
    if (axis >= 0) how.set(CUDNN_ATTR_POINTWISE_AXIS, axis);
    CudnnDescriptor& op = operation(CUDNN_BACKEND_OPERATION_POINTWISE_DESCRIPTOR,
                                    cat("operation pointwise, mode ", static_cast<int>(mode)));
    op.set(CUDNN_ATTR_OPERATION_POINTWISE_PW_DESCRIPTOR, how.finalize());
    std::size_t port = 0;
    for (const Tensor input : inputs) op.set(ports[port++], input->descriptor);
    op.set(CUDNN_ATTR_OPERATION_POINTWISE_YDESC, y->descriptor).finalize();
    return y;
  }
  /// y = sum (or maximum) of x along the dimensions in which y has extent 1, or a divisor of x's.
  Tensor reduction(cudnnReduceTensorOp_t mode, Tensor x, Tensor y) {
    CudnnDescriptor& how = part(CUDNN_BACKEND_REDUCTION_DESCRIPTOR, "reduction");
    how.set(CUDNN_ATTR_REDUCTION_COMP_TYPE, CUDNN_DATA_FLOAT).set(CUDNN_ATTR_REDUCTION_OPERATOR, mode);
    operation(CUDNN_BACKEND_OPERATION_REDUCTION_DESCRIPTOR, "operation reduction")
        .set(CUDNN_ATTR_OPERATION_REDUCTION_DESC, how.finalize())
        .set(CUDNN_ATTR_OPERATION_REDUCTION_XDESC, x->descriptor)
        .set(CUDNN_ATTR_OPERATION_REDUCTION_YDESC, y->descriptor)
        .finalize();
    return y;
  }
  /// How many of a product's rows, columns and terms each batch entry really has; null: all.
  struct Lengths {
    Tensor m = nullptr, n = nullptr, k = nullptr;
  };
  /// c = a b for each batch entry and head.
  Tensor matmul(Tensor a, Tensor b, Tensor c, Lengths lengths) {
    CudnnDescriptor& how = part(CUDNN_BACKEND_MATMUL_DESCRIPTOR, "matmul");
    how.set(CUDNN_ATTR_MATMUL_COMP_TYPE, CUDNN_DATA_FLOAT).finalize();
    CudnnDescriptor& op = operation(CUDNN_BACKEND_OPERATION_MATMUL_DESCRIPTOR, "operation matmul");
    op.set(CUDNN_ATTR_OPERATION_MATMUL_ADESC, a->descriptor)
        .set(CUDNN_ATTR_OPERATION_MATMUL_BDESC, b->descriptor)
        .set(CUDNN_ATTR_OPERATION_MATMUL_CDESC, c->descriptor)
        .set(CUDNN_ATTR_OPERATION_MATMUL_DESC, how);
    if (lengths.m) op.set(CUDNN_ATTR_OPERATION_MATMUL_GEMM_M_OVERRIDE_DESC, lengths.m->descriptor);
    if (lengths.n) op.set(CUDNN_ATTR_OPERATION_MATMUL_GEMM_N_OVERRIDE_DESC, lengths.n->descriptor);
    if (lengths.k) op.set(CUDNN_ATTR_OPERATION_MATMUL_GEMM_K_OVERRIDE_DESC, lengths.k->descriptor);
    op.finalize();
    return c;
  }
  /// y = x under another shape.
  Tensor reshape(Tensor x, Tensor y) {
    operation(CUDNN_BACKEND_OPERATION_RESHAPE_DESCRIPTOR, "operation reshape")
        .set(CUDNN_ATTR_OPERATION_RESHAPE_XDESC, x->descriptor)
        .set(CUDNN_ATTR_OPERATION_RESHAPE_YDESC, y->descriptor)
        .finalize();
    return y;
  }

  /// The first engine of the heuristics that supports the graph, for the current device or for one that device_json
  /// describes (CUDNN_ATTR_DEVICEPROP_JSON_REPRESENTATION: plans without a GPU). Error if there is none.
  CudnnPlan plan(cudnnHandle_t handle, const std::string& device_json = {}) const {
    CudnnDescriptor graph(CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR, "operation graph");
    graph.set(CUDNN_ATTR_OPERATIONGRAPH_OPS, operations_);
    if (handle) graph.set(CUDNN_ATTR_OPERATIONGRAPH_HANDLE, handle);
    graph.finalize();

    CudnnDescriptor device(CUDNN_BACKEND_DEVICEPROP_DESCRIPTOR, "device properties");
    if (!device_json.empty())
      device.set(CUDNN_ATTR_DEVICEPROP_JSON_REPRESENTATION, device_json.data(), device_json.size()).finalize();
    CudnnDescriptor heuristics(CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR, "heuristics");
    heuristics.set(CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH, graph).set(CUDNN_ATTR_ENGINEHEUR_MODE, CUDNN_HEUR_MODE_A);
    if (!device_json.empty()) heuristics.set(CUDNN_ATTR_ENGINEHEUR_DEVICEPROP, device);
    heuristics.finalize();

    std::string refusals;
    for (const CudnnDescriptor& engine : engines(heuristics)) {
      try {
        CudnnDescriptor plan(CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR, "execution plan");
        if (handle) plan.set(CUDNN_ATTR_EXECUTION_PLAN_HANDLE, handle);

        plan.set(CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG, engine).finalize();
        return CudnnPlan(std::move(plan), name_of(engine));
      } catch (const Error& e) {
        refusals += cat("\n  ", e.what());
      }
    }
    fail("cuDNN ", Cudnn::get().version(), ": no engine supports the graph",
         refusals.empty() ? "; its heuristics offer none" : refusals);
  }

 private:
  Tensor add(std::int64_t id, const char* name, const Layout& layout, bool is_virtual, bool by_value) {
    CudnnDescriptor d(CUDNN_BACKEND_TENSOR_DESCRIPTOR, is_virtual ? cat("tensor ", id) : cat("tensor ", name));
    d.set(CUDNN_ATTR_TENSOR_UNIQUE_ID, id)
        .set(CUDNN_ATTR_TENSOR_DATA_TYPE, layout.type)
        .set(CUDNN_ATTR_TENSOR_DIMENSIONS, layout.dims.data(), layout.dims.size())
        .set(CUDNN_ATTR_TENSOR_STRIDES, layout.strides.data(), layout.strides.size())
        .set(CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT, alignment_bytes);
    if (is_virtual) d.set(CUDNN_ATTR_TENSOR_IS_VIRTUAL, true);
    if (by_value) d.set(CUDNN_ATTR_TENSOR_IS_BY_VALUE, true);
    if (layout.ragged) d.set(CUDNN_ATTR_TENSOR_RAGGED_OFFSET_DESC, layout.ragged->descriptor);
    d.finalize();
    tensors_.push_back({std::move(d), layout.dims, layout.strides});
    return &tensors_.back();
  }
  CudnnDescriptor& part(cudnnBackendDescriptorType_t type, std::string name) {
    return parts_.emplace_back(type, std::move(name));
  }
  CudnnDescriptor& operation(cudnnBackendDescriptorType_t type, const std::string& name) {
    return operations_.emplace_back(type, cat(name, " (operation ", operations_.size(), " of the graph)"));
  }
  static std::vector<CudnnDescriptor> engines(const CudnnDescriptor& heuristics) {
    const Cudnn& cudnn = Cudnn::get();
    const auto read = [&](std::vector<cudnnBackendDescriptor_t>& into) {
      std::int64_t count = 0;
      cudnn.check(
          cudnn.BackendGetAttribute(heuristics.handle(), CUDNN_ATTR_ENGINEHEUR_RESULTS, CUDNN_TYPE_BACKEND_DESCRIPTOR,
                                    static_cast<std::int64_t>(into.size()), &count, into.data()),
          "heuristics: results");
      return static_cast<std::size_t>(count);
    };
    std::vector<cudnnBackendDescriptor_t> handles;
    std::vector<CudnnDescriptor> found;
    for (std::size_t i = 0, count = read(handles); i < count; ++i)
      handles.push_back(found.emplace_back(CUDNN_BACKEND_ENGINECFG_DESCRIPTOR, cat("engine choice ", i)).handle());
    if (!handles.empty()) read(handles);
    return found;
  }
  static std::string name_of(const CudnnDescriptor& choice) {
    const CudnnDescriptor engine(CUDNN_BACKEND_ENGINE_DESCRIPTOR, "engine");
    cudnnBackendDescriptor_t handle = engine.handle();
    std::int64_t count = 0;
    Cudnn::get().check(Cudnn::get().BackendGetAttribute(choice.handle(), CUDNN_ATTR_ENGINECFG_ENGINE,
                                                        CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &count, &handle),
                       "engine choice: engine");
    return cat("engine ", engine.get(CUDNN_ATTR_ENGINE_GLOBAL_INDEX));
  }

  static constexpr std::int64_t alignment_bytes = 16, first_between = 1000;
  std::int64_t next_ = first_between;
  std::deque<GraphTensor> tensors_;
  std::deque<CudnnDescriptor> parts_, operations_;
};

}  // namespace lamina::kernel::cuda
#else
#define LAMINA_HAS_CUDNN 0
#endif
