#pragma once
#include <lamina/compose/fork.hpp>
#include <lamina/compose/wrap/wrapper.hpp>
#include <lamina/core/error.hpp>
#include <lamina/core/quantization/matrix.hpp>
#include <lamina/layer/adapter/adapted_linear.hpp>
#include <lamina/layer/adapter/learning_base.hpp>

namespace lamina {
namespace detail {

/// What Joint must know of a branch: its linear layer, and whether its matrix learns or an adapter goes with it.
template <class M, bool frozen = false>
struct JointPart {
  static constexpr bool fits = false, learns = false, adapted = false, has_bias = false;
  static constexpr std::string_view name = "";
};
template <class M, bool frozen>
requires(M::traits.transparent) struct JointPart<M, frozen>
    : JointPart<typename M::module, frozen || M::traits.freezes> {
  using Inside = JointPart<typename M::module, frozen || M::traits.freezes>;
  static constexpr std::string_view name = [] {
    if constexpr (requires { M::tag::text; })
      return M::tag::text;
    else
      return Inside::name;
  }();
};
template <int In, int Out, class WithBias, bool frozen>
struct JointPart<Linear<In, Out, WithBias>, frozen> {
  static constexpr bool fits = true, learns = !frozen, adapted = false, has_bias = Linear<In, Out, WithBias>::has_bias;
  static constexpr std::string_view name = "linear";
};
template <class L, class R, class A>
struct JointPart<AdaptedLinear<L, R, A>, false> : JointPart<L, true> {
  using adapter = AdaptedLinear<L, R, A>;
  static constexpr bool adapted = true;
};
template <class A>
struct JointPart<LearningBase<A>, false> : JointPart<A, false> {
  static constexpr bool learns = true;
};

/// "q_proj+k_proj+v_proj": how a plan calls the product of all three.
template <class... P>
struct JointName {
  static constexpr auto text = [] {
    std::array<char, (P::name.size() + ... + sizeof...(P))> out{};
    std::size_t n = 0;
    const auto put = [&](std::string_view name) {
      if (n > 0) out[n++] = '+';
      for (char c : name) out[n++] = c;
    };
    (put(P::name), ...);
    return out;
  }();
  static constexpr std::string_view view{text.data(), text.size() - 1};
};

}  // namespace detail

/// Linear layers that read the same x, as one product: their matrices are neighbours in memory, so together they are
/// the matrix of one wider layer. Names, tensors and results are those of Fork<L...>; adapters stay one a part.
///
/// backward    one product for dx, one for all dW; saves its input if a part does
/// memory      Weights places the parts side by side because `joins` asks for it; if something else owns the
///             parameters and did not, forward and backward fail
template <class... L>
struct Joint {
  using Branches = Fork<L...>;
  using composition = Joint;
  using children = List<L...>;
  template <class... C>
  using rebuild = Joint<C...>;
  using In = typename Branches::In;
  using Out = typename Branches::Out;
  static constexpr std::string_view name = detail::JointName<detail::JointPart<L>...>::view;
  static constexpr std::size_t size = sizeof...(L);
  static constexpr Traits traits{
      .learns = (learns<L> || ...), .strided_y = true, .strided_dx = true, .saves_input_alone = true, .joins = true};
  static constexpr bool weights_learn = (detail::JointPart<L>::learns && ...),
                        has_bias = (detail::JointPart<L>::has_bias && ...);
  static_assert(
      ((detail::JointPart<L>::fits && detail::JointPart<L>::learns == weights_learn &&
        detail::JointPart<L>::has_bias == has_bias) &&
       ...),
      "Joint: every part must be a linear layer, all of them learning or all frozen, all with a bias or none");

  template <std::size_t I, class Mode>
  using mode_of = typename Branches::template mode_of<I, Mode>;
  template <class Mode>
  static constexpr Saves saves = Branches::template saves<Mode>;
  template <class Mode>
  using Saved = SavedInput<Mode>;
  template <class S, class X>
  static void save_input(S& saved, X x) {
    saved.x = x;
  }

  template <class R, class S, class X, class Y>
  static void forward(R run, const Parameter* p, S& saved, X x, Y y) {
    using T = typename R::T;
    saved.x = x;
    const T* bias = nullptr;
    if constexpr (has_bias) bias = static_cast<const T*>(p[1].value.data);
    run.stream.enter(name);
    multiply_rows(run, p[0], joined(p), bias, x, y);
    run.stream.leave();
    for_each_adapter([&]<class Part>(std::type_identity<Part>, int tensor, int column, int width) {
      run.stream.enter(Part::name);
      Part::adapter::add_branch(run, p + tensor, x, y.columns(column, width));
      run.stream.leave();
    });
  }
  template <class R, class S, class DY, class DX>
  static void backward(R run, const Parameter* p, S& saved, DY dy, DX dx) {
    using T = typename R::T;
    using matmul = kernel::matmul<typename R::backend>;
    run.stream.enter(name);
    if (dx) matmul::backward_input(run.stream, kernel::MatmulBwdInput<T>{.dy = dy, .w = joined(p), .dx = dx});
    if constexpr (R::mode::train && weights_learn) {
      float* db = nullptr;
      if constexpr (has_bias) db = p[1].grad;
      const Matrix<float> dw(p[0].grad, Out::width, In::width);
      if (dw)
        matmul::backward_weight(run.stream, kernel::MatmulBwdWeight<T>{.dy = dy, .x = saved.x, .dw = dw, .db = db});
    }
    run.stream.leave();
    for_each_adapter([&]<class Part>(std::type_identity<Part>, int tensor, int column, int width) {
      run.stream.enter(Part::name);
      Part::adapter::branch_backward(run, p + tensor, saved.x, dy.columns(column, width), dx);
      run.stream.leave();
    });
  }

  /// Whether forward is one product and nothing else: that with joined().
  static constexpr bool one_product = !has_bias && !(detail::JointPart<L>::adapted || ...);
  /// The parts' matrices, one above the other.
  static Weight joined(const Parameter* p) {
    expect_neighbours(p);
    Weight w = p[0].value;
    w.rows = Out::width;
    return w;
  }

 private:
  template <class F>
  static void for_each_adapter(F f) {
    for_constants<size>([&](auto i) {
      using Part = detail::JointPart<at<children, i>>;
      if constexpr (Part::adapted)
        f(std::type_identity<Part>{}, Branches::template first_tensor<i>, Branches::template first_column<i>,
          at<children, i>::Out::width);
    });
  }
  /// Whether b begins where a ends, with its gradient.
  static bool follows(const Parameter& a, const Parameter& b) {
    if (a.value.quantized || b.value.quantized) return a.value.quantized && b.value.quantized == a.value.quantized + 1;
    const std::ptrdiff_t count = std::ptrdiff_t{a.value.rows} * a.value.cols;
    const auto end =
        reinterpret_cast<std::uintptr_t>(a.value.data) + static_cast<std::size_t>(count) * size_bytes(a.value.dtype);
    return a.value.dtype == b.value.dtype && end == reinterpret_cast<std::uintptr_t>(b.value.data) &&
           (a.grad == nullptr ? b.grad == nullptr : b.grad == a.grad + count);
  }
  static void expect_neighbours(const Parameter* p) {
    for_constants<size - 1>([&](auto i) {
      for (int t = 0; t < (has_bias ? 2 : 1); ++t) {
        const Parameter &a = p[Branches::template first_tensor<i> + t],
                        &b = p[Branches::template first_tensor<i + 1> + t];
        if (!follows(a, b))
          fail("Joint ", name, ": the ", t == 0 ? "weight" : "bias", " of part ", i + 1, " (", name_of(b.value.dtype),
               b.grad ? ", learning" : "", ") does not follow that of part ", +i, " (", name_of(a.value.dtype),
               a.grad ? ", learning" : "",
               ") in memory: let Weights place the fused model, with one element type for all parts, all learning or "
               "all frozen");
      }
    });
  }
};

namespace detail {
template <class M>
struct JoinFork {
  static constexpr bool applies = false;
};
template <class First, class... Rest>
struct JoinFork<Fork<First, Rest...>> {
  using A = JointPart<First>;
  static constexpr bool applies = A::fits && sizeof...(Rest) > 0 &&
                                  ((JointPart<Rest>::fits && JointPart<Rest>::learns == A::learns &&
                                    JointPart<Rest>::has_bias == A::has_bias) &&
                                   ...);
  using type = Joint<First, Rest...>;
};
}  // namespace detail

/// Fusion rule: Fork of linear layers becomes Joint.
struct JoinLinears {
  template <class M, class Path>
  static constexpr bool applies = detail::JoinFork<M>::applies;
  template <class M, class Path>
  using apply = typename detail::JoinFork<M>::type;
};

}  // namespace lamina
