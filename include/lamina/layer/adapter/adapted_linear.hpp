#pragma once
#include <lamina/layer/adapter/adapter_on.hpp>
#include <lamina/layer/adapter/low_rank_branch.hpp>

namespace lamina {

namespace detail {
template <int r>
struct RankCheck {  // apart from Rank, whose number stays good: one mistake is one error
  static constexpr bool seen = true;
  static_assert(r == Dyn || r > 0, "Rank<r>: an adapter's rank must be positive, or Dyn");
};
}  // namespace detail

/// An adapter's inner width; Rank<Dyn>: decided at run time, 0 = no adapter here.
template <int r>
struct Rank {
  static constexpr int value = r;
  static_assert(Checked<detail::RankCheck<r>>::seen);
};
/// The weight of an adapter: its product counts alpha / rank times. Alpha<Dyn>: decided at run time.
template <int a>
struct Alpha {
  static constexpr int value = a;
};

/// Columns for adapters after a folded matrix's own, and after what is multiplied with it (fuse/folded.hpp): the
/// maximum of the sum of its layers' ranks. 64 of 2 bytes keep rows at multiples of 128 bytes.
inline constexpr int adapter_tail = 64;

struct lora_A_weight {
  static constexpr std::string_view text = "lora_A.weight";
};
struct lora_B_weight {
  static constexpr std::string_view text = "lora_B.weight";
};

/// A frozen linear layer with a trainable low-rank branch.
///
///     y = W x + b + s B (A drop(x)),   s = alpha / rank
///
/// shapes      A: (rank, In);  B: (Out, rank), both fp32;  the input's dropout is the parameter's
/// backward    saves its input; h = A x is computed again.  dB += s dy^T h;  dA += s (dy B)^T x;  dx = dy W + s dy B A
/// checkpoint  "<path>.lora_A.weight", "<path>.lora_B.weight", as PEFT names them
/// source      Hu et al. 2021, arXiv:2106.09685
template <class L, class Rank_, class Alpha_>
struct AdaptedLinear : AdapterOn<L, Param<lora_A_weight, Shape<Rank_::value, L::In::width>, init::kaiming>,
                                 Param<lora_B_weight, Shape<L::Out::width, Rank_::value>, init::zeros>> {
  using adder = AdaptedLinear;
  static constexpr int rank = Rank_::value, own = static_cast<int>(L::params::size);
  static constexpr float scale =
      rank == Dyn || Alpha_::value == Dyn ? 0 : static_cast<float>(Alpha_::value) / static_cast<float>(rank);

  template <class R, class S, class X, class Y>
  static void forward(R run, const Parameter* p, S& saved, X x, Y y) {
    saved.x = x;
    AdaptedLinear::forward_base(run, p, x, y);
    add_branch(run, p, x, y);
  }
  template <class R, class S, class X, class Y>
  static void forward_add(R run, const Parameter* p, S& saved, X x, Y y) {
    saved.x = x;
    typename L::template Saved<typename R::mode::inference> nothing{};
    L::forward_add(run, p, nothing, x, y);
    add_branch(run, p, x, y);
  }
  template <class R, class S, class DY, class DX>
  static void backward(R run, const Parameter* p, S& saved, DY dy, DX dx) {
    AdaptedLinear::backward_base(run, p, dy, dx);
    branch_backward(run, p, saved.x, dy, dx);
  }

  /// The low-rank branch alone; p is this layer's.
  template <class R, class X, class Y>
  static void add_branch(R run, const Parameter* p, X x, Y y) {
    using T = typename R::T;
    LowRankBranch::forward(run, p + own, Matrix<const T>(x), Matrix<T>(y));
  }
  template <class R, class X, class DY, class DX>
  static void branch_backward(R run, const Parameter* p, X x, DY dy, DX dx) {
    using T = typename R::T;
    LowRankBranch::backward(run, p + own, Matrix<const T>(x), Matrix<const T>(dy), Matrix<T>(dx));
  }
};

namespace detail {
/// What PEFT's config says of a kind with a rank; further kinds around the first have patterns of their own.
template <class Rank_, class Alpha_>
void low_rank_config(auto& config, const auto& modules) {
  if (!config.contains("r")) {
    config["r"] = Rank_::value, config["lora_alpha"] = Alpha_::value;
    return;
  }
  for (const auto& module : modules)
    config["rank_pattern"][module] = Rank_::value, config["alpha_pattern"][module] = Alpha_::value;
}
}  // namespace detail

/// The kind of LoRA:  W' = W + s B A.
template <class Rank_, class Alpha_>
struct LowRank {
  template <class L>
  using layer = AdaptedLinear<L, Rank_, Alpha_>;
  static constexpr std::string_view peft_type = "LORA";
  static void peft_config(auto& config, const auto& modules) {
    detail::low_rank_config<Rank_, Alpha_>(config, modules);
  }
  /// w: some rows of W, an Eigen matrix of fp32; B: the same rows of it.
  static void merge(auto&& w, float s, const auto& A, const auto& B) { w.noalias() += (s * B) * A; }
};

}  // namespace lamina
