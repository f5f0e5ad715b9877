#pragma once
#include <lamina/kernel/matmul/magnitude.hpp>
#include <lamina/layer/adapter/adapted_linear.hpp>

namespace lamina {

struct lora_magnitude_vector {
  static constexpr std::string_view text = "lora_magnitude_vector";
};

/// A frozen linear layer whose rows' directions have a low-rank branch, and whose rows' lengths are trained apart.
///
///     y = c (W x + s B A x) + b,   c = m / |W + s B A|
///
/// |.| is the length of each row. As in the paper's section 4.3 it counts as constant in backward. With dropout, as in
/// PEFT, the layer that is trained sees drop(x):  y = W x + b + c (W + s B A) drop(x) - W drop(x).
///
/// shapes      A: (rank, In);  B: (Out, rank);  m: (Out), fp32, at first |W|;  rank 0: the linear layer alone
/// numerics    norms, c and dm in fp32
/// backward    saves its input; z = (W + s B A) x is computed again.  dm += sum_n dy z / |.|;  dz = c dy;
///             A, B and dx get of dz what they get of dy in LoRA
/// checkpoint  "<path>.lora_A.weight", "<path>.lora_B.weight", "<path>.lora_magnitude_vector", as PEFT names them
/// source      Liu et al. 2024, arXiv:2402.09353, eq. 5 and 11
template <class L, class Rank_, class Alpha_>
struct DoraLinear
    : AdapterOn<L, Param<lora_A_weight, Shape<Rank_::value, L::In::width>, init::kaiming>,
                Param<lora_B_weight, Shape<L::Out::width, Rank_::value>, init::zeros>,
                Param<lora_magnitude_vector, Shape<Rank_::value == Dyn ? Dyn : L::Out::width>, init::row_norms, Fp32>> {
  using Low = AdaptedLinear<L, Rank_, Alpha_>;
  static constexpr int rank = Rank_::value, In_ = L::In::width, Out_ = L::Out::width, own = Low::own;
  static constexpr float scale = Low::scale;

  template <class R, class S, class X, class Y>
  static void forward(R run, const Parameter* p, S& saved, X x, Y y) {
    using T = typename R::T;
    saved.x = x;
    if (p[own].value.rows == 0) return DoraLinear::forward_base(run, p, x, y);
    Arena::Scope scope(*run.scratch);
    if (!LowRankBranch::drops(run, p[own])) {
      adapted_product(run, p, Matrix<const T>(x), Matrix<T>(y));
      return rescale(run, p, Matrix<const T>(y), Matrix<T>(y), bias<T>(p), 0);
    }
    const Matrix<const T> dropped = LowRankBranch::drop(run, p[own], Matrix<const T>(x));
    const Matrix<T> z = run.scratch->template matrix<T>(y.rows, Out_);
    DoraLinear::forward_base(run, p, x, y);
    kernel::matmul<typename R::backend>::forward(
        run.stream, kernel::MatmulFwd<T>{.x = dropped, .w = p[0].value, .y = y, .alpha = -1, .beta = 1});
    adapted_product(run, p, Matrix<const T>(x), z);
    rescale(run, p, Matrix<const T>(z), Matrix<T>(y), static_cast<const T*>(nullptr), 1);
  }
  template <class R, class S, class DY, class DX>
  static void backward(R run, const Parameter* p, S& saved, DY dy, DX dx) {
    using T = typename R::T;
    if (p[own].value.rows == 0) return DoraLinear::backward_base(run, p, dy, dx);
    Arena::Scope scope(*run.scratch);
    const Matrix<T> dz = run.scratch->template matrix<T>(dy.rows, Out_);
    Matrix<const T> z = dy;
    if constexpr (R::mode::train) {
      adapted_product(run, p, Matrix<const T>(saved.x), dz);
      z = dz;
    }
    kernel::magnitude<typename R::backend>::backward(
        run.stream, kernel::MagnitudeBwd<T>{
                        .dy = dy, .z = z, .m = magnitudes(p), .norms = row_norms(run, p), .dz = dz, .dm = dm<R>(p)});
    if (dx) base_input_gradient(run, p, Matrix<const T>(dy), Matrix<const T>(dz), Matrix<T>(dx));
    Low::branch_backward(run, p, saved.x, dz, dx);
  }

 private:
  template <class T>
  static const T* bias(const Parameter* p) {
    if constexpr (L::has_bias)
      return static_cast<const T*>(p[1].value.data);
    else
      return nullptr;
  }
  static const float* magnitudes(const Parameter* p) { return p[own + 2].template vector<float, Out_>().data(); }
  template <class R>
  static float* dm(const Parameter* p) {
    return R::mode::train ? p[own + 2].grad : nullptr;
  }
  /// z = (W + s B A) drop(x).
  template <class R, class T>
  static void adapted_product(R run, const Parameter* p, Matrix<const T> x, Matrix<T> z) {
    Arena::Scope scope(*run.scratch);
    kernel::matmul<typename R::backend>::forward(
        run.stream, kernel::MatmulFwd<T>{.x = LowRankBranch::drop(run, p[own], x), .w = p[0].value, .y = z});
    Low::add_branch(run, p, x, z);
  }
  /// |W + s B A|, in scratch.
  template <class R>
  static const float* row_norms(R run, const Parameter* p) {
    float* const norms = run.scratch->template take<float>(Out_);
    kernel::magnitude<typename R::backend>::norms(
        run.stream,
        kernel::RowNorms<typename R::T>{
            .w = p[0].value, .a = p[own].value, .b = p[own + 1].value, .scale = p[own + 1].scale, .norms = norms});
    return norms;
  }
  /// y = c z + bias + beta y.
  template <class R, class T>
  static void rescale(R run, const Parameter* p, Matrix<const T> z, Matrix<T> y, const T* bias, float beta) {
    kernel::magnitude<typename R::backend>::forward(
        run.stream, kernel::MagnitudeFwd<T>{
                        .z = z, .m = magnitudes(p), .norms = row_norms(run, p), .bias = bias, .y = y, .beta = beta});
  }
  /// dx = dz W; with dropout dx = dy W + drop((dz - dy) W).
  template <class R, class T>
  static void base_input_gradient(R run, const Parameter* p, Matrix<const T> dy, Matrix<const T> dz, Matrix<T> dx) {
    using matmul = kernel::matmul<typename R::backend>;
    if (!LowRankBranch::drops(run, p[own])) return DoraLinear::backward_base(run, p, dz, dx);
    DoraLinear::backward_base(run, p, dy, dx);
    Arena::Scope scope(*run.scratch);
    const Matrix<T> d = run.scratch->template matrix<T>(dx.rows, In_);
    matmul::backward_input(run.stream, kernel::MatmulBwdInput<T>{.dy = dz, .w = p[0].value, .dx = d});
    matmul::backward_input(run.stream,
                           kernel::MatmulBwdInput<T>{.dy = dy, .w = p[0].value, .dx = d, .alpha = -1, .beta = 1});
    kernel::add<typename R::backend>::forward(
        run.stream, kernel::Add<T>{.x = LowRankBranch::drop(run, p[own], Matrix<const T>(d)), .y = dx});
  }
};

/// The kind of DoRA:  W' = m (W + s B A) / |W + s B A|, row by row.
template <class Rank_, class Alpha_>
struct WeightDecomposed {
  template <class L>
  using layer = DoraLinear<L, Rank_, Alpha_>;
  static constexpr std::string_view peft_type = "LORA";
  static void peft_config(auto& config, const auto& modules) {
    detail::low_rank_config<Rank_, Alpha_>(config, modules);
    config["use_dora"] = true;
  }
  /// w: some rows of W, an Eigen matrix of fp32; B and m: the same rows of them.
  static void merge(auto&& w, float s, const auto& A, const auto& B, const auto& m) {
    w.noalias() += (s * B) * A;
    w.array().colwise() *= m.array() / w.rowwise().norm().array();
  }
};

}  // namespace lamina
