#pragma once
#include <iomanip>
#include <memory>
#include <sstream>
#include <string>
#include <vector>

#include <lamina/compose/plan/costs.hpp>
#include <lamina/compose/plan/tables.hpp>
#include <lamina/compose/plan/weights.hpp>
#include <lamina/fuse/type_text.hpp>
#include <lamina/kernel/plan.hpp>

/// describe<Model>() prints a type as the plan of a training step. The kernels are those that the model's own forward
/// and backward launch, run on the Plan backend; the sizes are those of its own types.
namespace lamina {

struct DescribeOptions {
  int rank = 8;  ///< of adapters whose rank is decided at run time
};

namespace detail {

/// One module of the plan.
struct PlanLine {
  int depth = 0;
  std::string name, what;
  std::int64_t params = 0, learning = 0;
  std::size_t saved_bytes = 0;
  std::string forward, backward;
};

/// A module's place: `path` as launches are recorded, `tensors` as tensors are named (layer 0 for all layers).
struct PlanPlace {
  std::string path, tensors;
  int depth = 0, times = 1, divisor = 1;  ///< times: layers of the stacks around it; divisor: rows joined before it

  PlanPlace below(std::string_view tag) const {
    PlanPlace place = *this;
    (place.path += path.empty() ? "" : ".") += tag;
    (place.tensors += tensors.empty() ? "" : ".") += tag;
    ++place.depth;
    return place;
  }
};

template <class M, class Mode>
constexpr std::size_t saved_bytes_of() {
  if constexpr (requires { typename M::template Saved<Mode>; })
    return saved_row_bytes<M, Mode>();
  else
    return static_cast<std::size_t>(M::repeats) * saved_row_bytes<typename M::module, Mode>();
}
template <class M, std::size_t I, class Mode>
constexpr auto child_mode() {
  if constexpr (requires { typename M::template mode_of<I, Mode>; })
    return std::type_identity<typename M::template mode_of<I, Mode>>{};
  else
    return std::type_identity<Mode>{};
}

/// Runs one training step of a model on the Plan backend and walks its type.
template <class Model, class T>
class Describer {
 public:
  using Training = Mode<T, true, false>;
  explicit Describer(DescribeOptions options)
      : weights_([&](const TensorSpec&) {
          return typename Weights<Model, T>::Choice{DType::F32, options.rank, true};
        }) {
    run();
    const PlanPlace model = PlanPlace{}.below("model");
    walk<typename Model::Visual, typename Model::template visual_mode<Training>>(model);
    const PlanPlace language = model.below(Model::language_tag::text);
    lines_.push_back(line<typename Model::Language>(language, Model::template saved_bytes_per_token<Training>));
    walk<typename Model::Embed, typename Training::inference>(language);
    walk<typename Model::Stack_, typename Model::template stack_mode<Training>>(language);
    walk<typename Model::Norm, typename Model::template norm_mode<Training>>(language);
    PlanLine head = line<void>(PlanPlace{}.below(Model::Head::tag::text), 0);
    head.what = "head " + std::to_string(Model::hidden_size) + " -> " + std::to_string(Model::vocab_size) +
                (Model::Head::tied ? ", tied" : "");
    lines_.push_back(head);
  }
  const std::vector<PlanLine>& lines() const { return lines_; }
  std::int64_t param_count() const { return weights_.param_count(); }
  std::size_t learning_count() const { return weights_.learning_count(); }

 private:
  /// One image of two by two merged cells, then its tokens and some text.
  void run() {
    constexpr int side = 2 * Model::merge, image_token = 1;
    Batch batch;
    batch.grids = {{1, side, side}};
    batch.patches.resize(static_cast<std::size_t>(side * side) * Model::patch_width);
    batch.ids.assign(4, image_token);
    batch.ids.insert(batch.ids.end(), {0, 0, 0, 0});
    batch.cu_seqlens = {0, static_cast<int>(batch.ids.size())};
    Tables<Model> tables;
    Input<float> in = tables.template build<float>(batch, image_token);
    Arena memory, scratch;  // both count only
    const auto parameters = weights_.parameters_at(memory.take<std::byte>(weights_.frozen_bytes()),
                                                   memory.take<float>(weights_.learning_count()),
                                                   memory.take<float>(weights_.learning_count()));
    auto saved = std::make_unique<typename Model::template Saved<Training>>();
    Model::template allocate<Training>(*saved, memory, in.tokens, in.patches.rows);
    const Run<Plan, Training> run{Stream<Plan>{&record_}, &scratch, &in.text};
    const Matrix<T> hidden = scratch.matrix<T>(in.tokens, Model::hidden_size);
    Model::forward(run, parameters.data(), *saved, in, hidden);
    run.stream.enter(Model::Head::tag::text);
    kernel::head_loss<Plan>::run(run.stream);
    run.stream.leave();
    forward_launches_ = record_.launches.size();
    Model::backward(run, parameters.data(), *saved, in, Matrix<const T>(hidden));
  }

  template <class M, class Mode>
  void walk(PlanPlace place) {
    if constexpr (M::traits.joins) {
      PlanLine joint = line<M>(place.below(M::name), 0);
      joint.what = "Joint" + widths<M>();
      lines_.push_back(joint);
    }
    const std::size_t saved = saved_bytes_of<M, Mode>() / static_cast<std::size_t>(place.divisor);
    if constexpr (requires { typename M::tag; }) {
      place = place.below(M::tag::text);
      std::string name(M::tag::text);
      if constexpr (requires { M::repeats; }) {
        place.times *= M::repeats;
        name += " x " + std::to_string(M::repeats);
      }
      lines_.push_back(line<M>(place, saved));
      lines_.back().name = name;
      if constexpr (requires { M::repeats; }) place.tensors += ".0";
    }
    if constexpr (requires { typename M::children; }) {
      for_constants<M::children::size>([&](auto i) {
        using C = at<typename M::children, i>;
        walk<C, typename decltype(child_mode<M, i, Mode>())::type>(place);
        place.divisor *= C::traits.row_divisor;
      });
    }
  }

  template <class M>
  PlanLine line(const PlanPlace& place, std::size_t saved_bytes) const {
    PlanLine out;
    out.depth = place.depth - 1;
    out.name = place.path.substr(place.path.rfind('.') + 1);
    out.saved_bytes = saved_bytes;
    for (const TensorSlot& slot : weights_.slots()) {
      if (!slot.name().starts_with(place.tensors + ".")) continue;
      out.params += slot.spec.count();
      if (slot.learns) out.learning += slot.spec.count();
    }
    out.forward = launches(place, 0, forward_launches_);
    out.backward = launches(place, forward_launches_, record_.launches.size());
    if constexpr (!std::is_void_v<M>) {
      using Inner = typename Innermost<M>::type;
      if constexpr (!HasChildren<Inner>) out.what = std::string(type_text<Inner>()) + widths<Inner>();
    }
    return out;
  }
  template <class M>
  static std::string widths() {
    if constexpr (requires { M::vocab_size; })
      return " " + std::to_string(M::vocab_size) + " -> " + std::to_string(M::Out::width);
    else if constexpr (requires { M::In::width; })
      return " " + std::to_string(M::In::width) +
             (M::In::width == M::Out::width ? "" : " -> " + std::to_string(M::Out::width));
    else
      return "";
  }

  /// "matmul_fwd x3 add": what runs in this very module, each time it runs. The first layer of a stack may launch less
  /// in backward, so the count is that of the others.
  std::string launches(const PlanPlace& place, std::size_t first, std::size_t last) const {
    std::vector<std::pair<std::string, int>> counts;
    for (std::size_t i = first; i < last; ++i) {
      const auto& launch = record_.launches[i];
      if (launch.path != place.path) continue;
      auto at = std::find_if(counts.begin(), counts.end(), [&](const auto& c) { return c.first == launch.kernel; });
      if (at == counts.end()) at = counts.insert(at, {launch.kernel, 0});
      ++at->second;
    }
    std::string text;
    for (const auto& [kernel, count] : counts) {
      const int each = (count + place.times - 1) / place.times;
      (text += text.empty() ? "" : " ") += kernel + (each > 1 ? " x" + std::to_string(each) : "");
    }
    return text;
  }

  Weights<Model, T> weights_;
  PlanRecord record_;
  std::size_t forward_launches_ = 0;
  std::vector<PlanLine> lines_;
};

}  // namespace detail

/// The plan of a training step of Model with activations of type T: a line a module with its shape, its parameters
/// (all, learning), the bytes it saves for backward (a token; below the vision tower, a patch), and what it launches,
/// forward | backward.
template <class Model, class T = float>
std::string describe(DescribeOptions options = {}) {
  const detail::Describer<Model, T> plan(options);
  std::ostringstream out;
  out << plan.param_count() << " parameters, " << plan.learning_count()
      << " learn; saved: " << saved_bytes_per_token<Model, T> << " bytes a token, "
      << saved_bytes_per_patch<Model, T> << " a patch; forward: " << flops_per_token<Model> << " FLOP a token, "
      << flops_per_patch<Model> << " a patch\n";
  const auto cell = [&](int width, const auto& value) { out << std::setw(width) << value; };
  out << std::left << std::setw(70) << "module" << std::right;
  cell(14, "parameters"), cell(12, "learning"), cell(10, "saved");
  out << "  forward | backward\n";
  for (const detail::PlanLine& line : plan.lines()) {
    std::string name(static_cast<std::size_t>(2 * line.depth), ' ');
    name += line.name;
    out << std::left << std::setw(38) << name << std::setw(32) << line.what << std::right;
    cell(14, line.params), cell(12, line.learning), cell(10, line.saved_bytes);
    if (!line.forward.empty() || !line.backward.empty()) out << "  " << line.forward << " | " << line.backward;
    out << "\n";
  }
  return out.str();
}

}  // namespace lamina
