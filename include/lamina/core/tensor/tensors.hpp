#pragma once
#include <array>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include <lamina/core/module.hpp>
#include <lamina/core/tensor/distinct_names.hpp>
#include <lamina/core/tensor/param.hpp>

/// What a type owns: its tensors with their checkpoint names, counted and listed at compile time.
namespace lamina {

/// A tensor's name, built up from tags and layer numbers; usable at compile time.
class Path {
 public:
  constexpr Path() = default;
  [[gnu::noinline]] constexpr Path operator/(std::string_view component) const {
    Path longer = *this;
    if (size_ > 0) longer.push('.');
    for (char c : component) longer.push(c);
    return longer;
  }
  constexpr Path operator/(int number) const {
    char digits[12]{};
    int n = 0;
    do digits[n++] = static_cast<char>('0' + number % 10);
    while ((number /= 10) > 0);
    char text[12]{};
    for (int i = 0; i < n; ++i) text[i] = digits[n - 1 - i];
    return *this / std::string_view(text, static_cast<std::size_t>(n));
  }
  constexpr std::string_view view() const { return {text_.data(), static_cast<std::size_t>(size_)}; }

 private:
  constexpr void push(char c) { text_[static_cast<std::size_t>(size_++)] = c; }
  std::array<char, 160> text_{};
  int size_ = 0;
};

/// One tensor of a model: what a checkpoint must hold. A Dyn extent is decided at run time.
struct TensorSpec {
  Path path;
  std::array<int, 5> extents{};
  int rank = 0;
  bool learns = true;   ///< false below Frozen
  bool added = false;   ///< of a branch next to the model's own (added_params): kept in a file apart
  bool joined = false;  ///< a fused layer reads it together with the one of its kind before: no gap between them
  /// A fused layer keeps matrices and branches of several linear layers in one matrix (Weights): the first of them, a
  /// later one, or not so.
  enum class Fold : std::uint8_t { none, first, later } fold = Fold::none;
  bool fp32 = false;             ///< read in fp32 even if activations are half precision
  bool takes_row_terms = false;  ///< the matrix of a linear layer whose rows may have Parameter::row_terms
  bool table = false;            ///< a table, read by rows that the data names
  bool mixture = false;          ///< of a mixture of experts: their router's, or an expert's
  float scale = 1;               ///< of a branch: its output is multiplied by it; 0: decided at run time
  int exponent =
      0;  ///< memory holds its values times 2^exponent (compose/wrap/scaled.hpp), files the values themselves
  /// The extents are those of one of so many equal parts of the file's tensor: of its first extent, or of its columns.
  /// So many neighbouring ranks have the same part.
  int row_shards = 1, column_shards = 1, shard_copies = 1;
  enum class Init : std::uint8_t { zeros, ones, normal, kaiming, row_norms } init = Init::normal;

  constexpr std::int64_t count() const {
    std::int64_t n = 1;
    for (int i = 0; i < rank; ++i) n *= extents[static_cast<std::size_t>(i)];
    return n;
  }
  /// As the matrix that kernels see: every extent but the first joined.
  constexpr int rows() const { return rank == 1 ? 1 : extents[0]; }
  constexpr int cols() const {
    int n = 1;
    for (int i = rank == 1 ? 0 : 1; i < rank; ++i) n *= extents[static_cast<std::size_t>(i)];
    return n;
  }
};

namespace detail {
template <class Init>
constexpr TensorSpec::Init init_of() {
  if constexpr (std::is_same_v<Init, init::zeros>)
    return TensorSpec::Init::zeros;
  else if constexpr (std::is_same_v<Init, init::ones>)
    return TensorSpec::Init::ones;
  else if constexpr (std::is_same_v<Init, init::kaiming>)
    return TensorSpec::Init::kaiming;
  else if constexpr (std::is_same_v<Init, init::row_norms>)
    return TensorSpec::Init::row_norms;
  else
    return TensorSpec::Init::normal;
}

/// Called for each tensor. Virtual, so that a module's visit is compiled once and not once for every caller.
struct TensorVisitor {
  constexpr virtual void visit(const TensorSpec&) = 0;

 protected:
  constexpr ~TensorVisitor() = default;
};

/// What the modules around a tensor say about it.
struct Around {
  bool learning = true, joined = false, output_head = false, takes_row_terms = false, table = false, mixture = false;
  TensorSpec::Fold fold = TensorSpec::Fold::none;
  int matrix_exponent = 0, vector_exponent = 0;
  int row_shards = 1, column_shards = 1, shard_copies = 1;
};

template <class M>
constexpr void visit_tensors(const Path& path, Around around, TensorVisitor& f);

/// A parameter as its type describes it: its own name instead of a path.
struct ParamSpec {
  std::string_view name;
  std::array<int, 5> extents{};
  int rank = 0;
  TensorSpec::Init init = TensorSpec::Init::normal;
  bool learns = true, fp32 = false;
};
template <class P>
constexpr ParamSpec param_spec() {
  ParamSpec spec{.name = P::name::text,
                 .rank = P::shape::rank,
                 .init = init_of<typename P::init>(),
                 .learns = P::learns,
                 .fp32 = P::fp32};
  for (int i = 0; i < spec.rank; ++i)
    spec.extents[static_cast<std::size_t>(i)] = P::shape::extents[static_cast<std::size_t>(i)];
  return spec;
}
template <class Params>
struct ParamTable;
template <class... P>
struct ParamTable<List<P...>> {
  static constexpr std::array<ParamSpec, sizeof...(P)> rows{param_spec<P>()...};
};
[[gnu::noinline]] constexpr void visit_params(std::span<const ParamSpec> params, const Path& path, TensorSpec spec,
                                              const Around& around, TensorVisitor& f) {
  const bool learns = spec.learns;
  for (const ParamSpec& p : params) {
    spec.learns = learns && p.learns;
    spec.fp32 = p.fp32;
    spec.path = path / p.name;
    spec.rank = p.rank;
    spec.extents = p.extents;
    spec.init = p.init;
    spec.takes_row_terms = around.takes_row_terms && p.rank == 2;
    spec.table = around.table && p.rank == 2;
    spec.mixture = around.mixture;
    spec.exponent = p.rank == 1 ? around.vector_exponent : around.matrix_exponent;
    spec.row_shards = around.row_shards, spec.shard_copies = around.shard_copies;
    spec.column_shards = p.rank == 1 ? 1 : around.column_shards;
    f.visit(spec);
  }
}
/// joins: the children's tensors are adjacent, each kind in one run; the first child begins it. folds: they share
/// one matrix.
template <class... C>
constexpr void visit_children(List<C...>, [[maybe_unused]] const Path& path, [[maybe_unused]] Around around,
                              [[maybe_unused]] bool joins, [[maybe_unused]] bool folds,
                              [[maybe_unused]] TensorVisitor& f) {
  if (folds) around.fold = TensorSpec::Fold::first;
  ((visit_tensors<C>(path, around, f), around.joined = around.joined || joins,
    around.fold = around.fold == TensorSpec::Fold::none ? around.fold : TensorSpec::Fold::later),
   ...);
}

template <class M>  // it runs when a model is opened: inlined into each other, visits of a model would fill 100 KB
[[gnu::noinline]] constexpr void visit_tensors(const Path& path, [[maybe_unused]] Around around,
                                               [[maybe_unused]] TensorVisitor& f) {
  constexpr Traits traits = M::traits;
  [[maybe_unused]] const bool branch_learns = around.learning;
  around.learning = around.learning && !traits.freezes;
  if constexpr (requires { M::tag::output_head; }) around.output_head = true;
  around.takes_row_terms = traits.takes_row_terms && !around.output_head;
  around.table = traits.table;
  around.mixture = around.mixture || traits.mixture;
  around.matrix_exponent += traits.matrix_exponent, around.vector_exponent += traits.vector_exponent;
  around.row_shards *= traits.row_shards, around.column_shards *= traits.column_shards;
  around.shard_copies *= traits.shard_copies;
  if constexpr (requires { M::kind_of(0); }) {  // a stack of several kinds: "<tag>.<i>"
    for (int i = 0; i < M::repeats; ++i)
      for_constants<M::children::size>([&](auto k) {
        if (M::kind_of(i) == static_cast<int>(k))
          visit_tensors<at<typename M::children, k>>(path / M::tag::text / i, around, f);
      });
  } else if constexpr (requires { M::repeats; }) {  // a Stack: the same
    for (int i = 0; i < M::repeats; ++i)
      visit_children(typename M::children{}, path / M::tag::text / i, around, false, false, f);
  } else {
    const Path below = [&] {
      if constexpr (requires { typename M::tag; })
        return path / M::tag::text;
      else
        return path;
    }();
    if constexpr (requires { requires(M::children::size > 0); })
      visit_children(typename M::children{}, below, around, traits.joins, traits.folds, f);
    if constexpr (requires { typename M::params; }) {
      TensorSpec spec;
      spec.learns = around.learning;
      spec.joined = around.joined;
      spec.fold = around.fold;
      visit_params(ParamTable<typename M::params>::rows, below, spec, around, f);
    }
    if constexpr (requires { typename M::added_params; }) {
      TensorSpec spec;
      spec.added = true;
      spec.learns = branch_learns;
      spec.fold = around.fold;
      spec.scale = M::scale;
      visit_params(ParamTable<typename M::added_params>::rows, below, spec, {}, f);
    }
  }
}
}  // namespace detail

/// Calls f(TensorSpec) for every tensor of M, in the order in which modules receive their parameters.
template <class M, class F>
constexpr void for_each_tensor(F&& f) {
  struct Visitor final : detail::TensorVisitor {
    constexpr explicit Visitor(F& callee) : f(callee) {}
    constexpr void visit(const TensorSpec& spec) override { f(spec); }
    F& f;
  } visitor(f);
  detail::visit_tensors<M>(Path{}, {}, visitor);
}
/// The same as a list. A type of which two tensors have one name does not compile.
template <class M>
std::vector<TensorSpec> list_tensors() {
  static_assert(Checked<detail::DistinctNames<M>>::seen);
  std::vector<TensorSpec> list;
  for_each_tensor<M>([&](const TensorSpec& spec) { list.push_back(spec); });
  return list;
}

namespace detail {
template <class M>
constexpr int count_tensors();
template <class M, class... C>
constexpr int count_children(List<C...>) {
  int tensors = 0;
  [[maybe_unused]] int k = 0;
  ((tensors += times_of<M>(k++) * count_tensors<C>()), ...);
  return tensors;
}
template <class M>
constexpr int count_tensors() {
  int n = 0;
  if constexpr (requires { typename M::children; }) n += count_children<M>(typename M::children{});
  if constexpr (requires { typename M::params; }) n += static_cast<int>(M::params::size);
  if constexpr (requires { typename M::added_params; }) n += static_cast<int>(M::added_params::size);
  return n;
}

template <class M>
constexpr std::int64_t count_elements(bool learning_only, bool learning);
template <class M, class... C>
constexpr std::int64_t count_child_elements(List<C...>, [[maybe_unused]] bool only, [[maybe_unused]] bool learning) {
  std::int64_t elements = 0;
  [[maybe_unused]] int k = 0;
  ((elements += times_of<M>(k++) * count_elements<C>(only, learning)), ...);
  return elements;
}
template <class... P>
constexpr std::int64_t count_param_elements(List<P...>, [[maybe_unused]] bool learning_only) {
  return ([&] {
    std::int64_t n = learning_only && !P::learns ? 0 : 1;
    for (int e : P::shape::extents) n *= e == Dyn ? 0 : e;  // a rank known at run time counts as nothing
    return n;
  }() + ... +
          std::int64_t{0});
}
template <class M>
constexpr std::int64_t count_elements([[maybe_unused]] bool only, [[maybe_unused]] bool learning) {
  [[maybe_unused]] const bool branch_learns = learning;
  learning = learning && !M::traits.freezes;
  std::int64_t n = 0;
  if constexpr (requires { typename M::children; })
    n += count_child_elements<M>(typename M::children{}, only, learning);
  if constexpr (requires { typename M::params; })
    if (!only || learning) n += count_param_elements(typename M::params{}, only);
  if constexpr (requires { typename M::added_params; })
    if (!only || branch_learns) n += count_param_elements(typename M::added_params{}, only);
  return n;
}
}  // namespace detail

/// Tensors below M.
template <class M>
inline constexpr int tensor_count = detail::count_tensors<M>();
/// Elements of all tensors of M, added ones included.
template <class M>
inline constexpr std::int64_t param_count = detail::count_elements<M>(false, true);
/// Elements of the tensors that training changes.
template <class M>
inline constexpr std::int64_t trainable_count = detail::count_elements<M>(true, true);

}  // namespace lamina
