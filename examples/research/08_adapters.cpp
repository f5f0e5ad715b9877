// Other kinds of adapters: (IA)^3, LoRA-FA and VeRA, each as its paper has it, trained and merged; and
// two ranks on two parts of a model.
//
//     08_adapters [DIR]        writes the adapter folders there
#include <filesystem>
#include <iostream>

#include <lamina/checkpoint/adapter/save_adapter.hpp>
#include <lamina/compose/plan/costs.hpp>
#include <lamina/kernel/cpu.hpp>
#include <lamina/lamina.hpp>
#include <lamina/model/qwen3_vl/model.hpp>
#include <lamina/testing/overfit.hpp>
#include <lamina/testing/random_batch.hpp>

using namespace lamina;
using namespace lamina::qwen3_vl;
using kernel::array_of, kernel::grad_of, kernel::RowMajorArray, kernel::store;
LAMINA_NAME(ia3_l);
LAMINA_NAME(vera_lambda_b);
LAMINA_NAME(vera_lambda_d);

/// (IA)^3: y = l W x, a learned length for each output.   source: Liu et al. 2022, arXiv:2205.05638, eq. 5
struct IA3 {
  static constexpr std::string_view peft_type = "IA3";
  template <class L>
  struct layer : AdapterOn<L, Param<ia3_l, Shape<L::Out::width, 1>, init::ones>> {
    using On = AdapterOn<L, Param<ia3_l, Shape<L::Out::width, 1>, init::ones>>;
    static_assert(!L::has_bias, "IA3: a bias would be rescaled too");
    static auto lengths(const Parameter* p) { return array_of(p[On::own].value).col(0).transpose().eval(); }

    static void forward(auto run, const Parameter* p, auto& saved, auto x, auto y) {
      saved.x = x;
      On::forward_base(run, p, x, y);
      host_kernel(run.stream, "ia3_fwd", [&] { store(y, array_of(y).rowwise() * lengths(p)); });
    }
    static void backward(auto run, const Parameter* p, auto& saved, auto dy, auto dx) {
      Arena::Scope scope(*run.scratch);
      const Matrix<float> z = run.scratch->template matrix<float>(dy.rows, On::Out_);  // W x, then its gradient
      On::forward_base(run, p, saved.x, z);
      host_kernel(run.stream, "ia3_bwd", [&] {
        const RowMajorArray d = array_of(Matrix<const float>(dy));
        grad_of(p[On::own]) += (d * array_of(z)).colwise().sum().transpose();
        store(z, d.rowwise() * lengths(p));
      });
      On::backward_base(run, p, Matrix<const float>(z), dx);
    }
  };
  static void merge(auto w, float, const auto& l) { w = l.col(0).asDiagonal() * w; }
  static void peft_config(auto& config, const auto&) { config["feedforward_modules"] = std::vector<std::string>(); }
};

/// LoRA-FA: y = W x + s B A x, where A stays as it was drawn, so that forward keeps A x and not x.
/// source: Zhang et al. 2023, arXiv:2308.03303
template <int r, int alpha>
struct LoRAFA {
  static constexpr std::string_view peft_type = "LORA";
  template <class L>
  struct layer : AdaptedLinear<L, Rank<r>, Alpha<alpha>> {
    using Low = AdaptedLinear<L, Rank<r>, Alpha<alpha>>;
    using added_params = ParamList<Param<lora_A_weight, Shape<r, Low::In_>, init::kaiming, Fixed>,
                                   Param<lora_B_weight, Shape<Low::Out_, r>, init::zeros>>;
    static constexpr Traits traits = [] {
      Traits t = Low::traits;
      t.saves_input_alone = false;
      return t;
    }();
    template <class Mode>
    static constexpr Saves saves{};
    template <class Mode>
    struct Saved {
      BOOST_HANA_DEFINE_STRUCT(Saved, (Kept<r>, h));
    };

    static void forward(auto run, const Parameter* p, auto& saved, auto x, auto y) {
      Low::forward_base(run, p, x, y);
      host_kernel(run.stream, "lora_fa_fwd", [&] {
        const RowMajorArray h = array_of(x).matrix() * array_of(p[Low::own].value).matrix().transpose();
        const auto& B = p[Low::own + 1];
        store(y, array_of(y) + B.scale * (h.matrix() * array_of(B.value).matrix().transpose()).array());
        if (saved.h.data) store(saved.h, h);
      });
    }
    static void backward(auto run, const Parameter* p, auto& saved, auto dy, auto dx) {
      Low::backward_base(run, p, dy, dx);
      host_kernel(run.stream, "lora_fa_bwd", [&] {
        const auto& B = p[Low::own + 1];
        const auto d = B.scale * array_of(Matrix<const float>(dy)).matrix();
        if (B.grad) array_of(B.matrix_grad()).matrix() += d.transpose() * array_of(saved.h).matrix();
        if (dx) array_of(dx).matrix() += (d * array_of(B.value).matrix()).eval() * array_of(p[Low::own].value).matrix();
      });
    }
  };
  static void merge(auto w, float s, const auto& A, const auto& B) { w.noalias() += (s * B) * A; }
  static void peft_config(auto& config, const auto&) { config["r"] = r, config["lora_alpha"] = alpha; }
};

/// VeRA: y = W x + b B d A x, where A and B are random and the same in every layer; vectors b and d are learned.
/// source: Kopiczko et al. 2023, arXiv:2310.11454, eq. 2
template <int r, int widest_in, int widest_out>
struct VeRA {
  static constexpr std::string_view peft_type = "VERA";
  static RowMajorArray drawn(int rows, int cols, std::uint64_t seed) {  // no checkpoint needs them: a seed makes them
    TorchGenerator random(seed);
    const float bound = linear_init_bound(cols);
    return RowMajorArray::NullaryExpr(rows, cols, [&](auto, auto) { return random.uniform(-bound, bound); });
  }
  static auto A(int in) {
    static const RowMajorArray whole = drawn(r, widest_in, 1);
    return whole.leftCols(in).matrix();
  }
  static auto B(int out) {
    static const RowMajorArray whole = drawn(widest_out, r, 2);
    return whole.topRows(out).matrix();
  }

  template <class L>
  struct layer : AdapterOn<L, Param<vera_lambda_b, Shape<L::Out::width>, init::zeros>,
                           Param<vera_lambda_d, Shape<r>, init::ones>> {
    using On = AdapterOn<L, Param<vera_lambda_b, Shape<L::Out::width>, init::zeros>,
                         Param<vera_lambda_d, Shape<r>, init::ones>>;
    static constexpr int D = On::In_, O = On::Out_, own = On::own;
    static_assert(D <= widest_in && O <= widest_out, "VeRA: its factors must reach the widest layer");
    static auto b(const Parameter* p) { return array_of(p[own].template vector<float, O>()).transpose(); }
    static auto d(const Parameter* p) { return array_of(p[own + 1].template vector<float, r>()).transpose(); }

    static void forward(auto run, const Parameter* p, auto& saved, auto x, auto y) {
      saved.x = x;
      On::forward_base(run, p, x, y);
      host_kernel(run.stream, "vera_fwd", [&] {
        const RowMajorArray u = (array_of(x).matrix() * A(D).transpose()).array().rowwise() * d(p);
        store(y, array_of(y) + (u.matrix() * B(O).transpose()).array().rowwise() * b(p));
      });
    }
    static void backward(auto run, const Parameter* p, auto& saved, auto dy, auto dx) {
      On::backward_base(run, p, dy, dx);
      host_kernel(run.stream, "vera_bwd", [&] {
        const RowMajorArray g = array_of(Matrix<const float>(dy)), h = array_of(saved.x).matrix() * A(D).transpose();
        const RowMajorArray v = (h.rowwise() * d(p)).matrix() * B(O).transpose();
        const RowMajorArray du = (g.rowwise() * b(p)).matrix() * B(O);
        grad_of(p[own]) += (g * v).colwise().sum().transpose();
        grad_of(p[own + 1]) += (du * h).colwise().sum().transpose();
        if (dx) array_of(dx).matrix() += (du.rowwise() * d(p)).matrix() * A(D);
      });
    }
  };
  static void merge(auto w, float, const auto& b, const auto& d) {
    w += b.asDiagonal() * B(static_cast<int>(w.rows())) * d.asDiagonal() * A(static_cast<int>(w.cols()));
  }
  static void peft_config(auto& config, const auto&) { config["r"] = r, config["save_projection"] = true; }
  static auto shared_tensors() {
    return std::map<std::string, RowMajorArray>{{"vera_A", A(widest_in)}, {"vera_B", B(widest_out)}};
  }
};

/// Trains five steps; merged, the model computes what it did with its adapters.
template <class Model>
bool learns_and_merges(const char* what, const std::filesystem::path& folder) {
  auto weights = initialised<Model>(1);
  constexpr int image_token = Model::vocab_size - 1;
  const Batch batch = testing::random_batch<Model>({1, 4, 4}, 8, image_token, 1);
  const std::vector<double> losses = testing::overfit(weights, batch, image_token, 5, {.learning_rate = 1e-2});
  const auto loss_of = [&](auto& w) { return testing::overfit(w, batch, image_token, 1, {.learning_rate = 0})[0]; };
  auto plain = merged(weights);
  const double trained = loss_of(weights), after = loss_of(plain);
  std::cout << what << ": " << trainable_count<Model> << " of " << param_count<Model> << " learn; loss " << losses[0]
            << " -> " << trained << ", merged " << after << "\n";
  if (!folder.empty()) save_adapter(weights, folder / what, "Qwen3VL_Tiny");
  return trained < losses[0] && std::abs(trained - after) < 1e-4;
}

struct Rescaled : Adapt<Qwen3VL_Tiny, IA3, Targets<k_proj, v_proj, up_proj>> {};
struct HalfFixed : Adapt<Qwen3VL_Tiny, LoRAFA<8, 16>, Targets<q_proj, v_proj>> {};
struct Random : Adapt<Qwen3VL_Tiny, VeRA<16, 256, 512>, Targets<q_proj, v_proj>> {};
struct Attentive : LoRA<Qwen3VL_Tiny, Rank<8>, Alpha<16>, Targets<q_proj, v_proj>> {};
struct TwoRanks : LoRA<Attentive, Rank<2>, Alpha<4>, Targets<down_proj>> {};

// What is fixed does not learn, and A x is a thirty-second of x.
static_assert(trainable_count<HalfFixed> == trainable_count<Attentive> - 4 * 2 * 8 * TextTiny::hidden_size);
static_assert(saved_bytes_per_token<HalfFixed> < saved_bytes_per_token<Attentive>);
static_assert(std::same_as<merged_t<merged_t<TwoRanks>>, Qwen3VL_Tiny>);

int main(int argc, char** argv) {
  const std::filesystem::path folder = argc > 1 ? argv[1] : "";
  bool good = learns_and_merges<Rescaled>("ia3", folder);
  good = learns_and_merges<HalfFixed>("lora_fa", folder) && good;
  good = learns_and_merges<Random>("vera", folder) && good;
  return learns_and_merges<TwoRanks>("two_ranks", folder) && good ? 0 : 1;
}
