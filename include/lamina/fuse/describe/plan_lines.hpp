#pragma once
#include <algorithm>
#include <functional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <lamina/compose/plan/costs.hpp>
#include <lamina/compose/plan/weights.hpp>
#include <lamina/fuse/type_text.hpp>
#include <lamina/kernel/plan.hpp>
#include <lamina/layer/adapter/learning_base.hpp>

/// The lines of a plan: a walk through a type, next to a record of what it launches.
namespace lamina {

struct DescribeOptions {
  int rank = 8;  ///< of adapters whose rank is decided at run time
  /// How frozen matrices of linear layers are stored.
  std::function<Quantization(const TensorSpec&)> stored = [](const TensorSpec&) { return Quantization{}; };
  /// Which of the tensors that may learn do.
  std::function<bool(const TensorSpec&)> learns = [](const TensorSpec&) { return true; };
};

/// One module of a plan.
struct PlanLine {
  int depth = 0;
  std::string name, what;  ///< "q_proj"; "AdaptedLinear 256 -> 512, nf4", or "" of a composition
  std::int64_t params = 0, learning = 0;
  // Of a row of the whole: a token, or in a vision tower a patch.
  std::size_t saved_bytes = 0;        ///< that forward leaves for backward
  std::int64_t flops = 0, bytes = 0;  ///< of forward: flops_per_row, bytes_per_row
  std::string forward, backward;      ///< what it launches by itself: "matmul_fwd x3"
};

namespace detail {

/// A module's place: `path` as launches are recorded, `tensors` as tensors are named (layer 0 for all layers).
struct PlanPlace {
  std::string path = {}, tensors = {};
  int depth = 0, times = 1, divisor = 1;  ///< times: layers of the stacks around it; divisor: rows joined before it

  PlanPlace below(std::string_view tag) const {
    PlanPlace place = *this;
    if (tag.empty()) return place;
    (place.path += path.empty() ? "" : ".") += tag;
    (place.tensors += tensors.empty() ? "" : ".") += tag;
    ++place.depth;
    return place;
  }
};

/// A layer of which the run decides what learns: a plan says what does, so that it is the layer itself there.
template <class L>
struct WithoutChoice {
  using type = L;
};
template <class A>
struct WithoutChoice<LearningBase<A>> {
  using type = A;
};
template <class L>
using without_choice_t = typename WithoutChoice<L>::type;

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

/// What the type of a module says in its line.
struct LineFacts {
  std::int64_t flops = 0, bytes = 0;  ///< of a row
  std::string_view type = {};         ///< of a layer; a composition has none
  int in = 0, out = 0;                ///< widths, or rows and width of a table; 0: it has none
  int repeats = 0;                    ///< layers of a stack
};
template <class M, class T>
inline constexpr LineFacts line_facts = [] {
  LineFacts facts{.flops = flops_per_row<M>};
  if constexpr (Module<M>) facts.bytes = bytes_per_row<M, T>;
  if constexpr (requires { M::repeats; }) facts.repeats = M::repeats;
  using Inner = typename Innermost<M>::type;
  if constexpr (!HasChildren<Inner>) facts.type = type_text<without_choice_t<Inner>>();
  if constexpr (requires { Inner::vocab_size; })
    facts.in = Inner::vocab_size, facts.out = Inner::Out::width;
  else if constexpr (requires { Inner::In::width; })
    facts.in = Inner::In::width, facts.out = Inner::Out::width;
  return facts;
}();

/// " 256", " 256 -> 512"
inline std::string widths_text(const LineFacts& facts) {
  if (facts.in == 0) return "";
  return " " + std::to_string(facts.in) + (facts.in == facts.out ? "" : " -> " + std::to_string(facts.out));
}

/// The lines of a model's parts, with activations of type T. A base: who derives from it runs the model on the Plan
/// backend first, forward, then backward. What depends on a module's type is the walk alone: all else is compiled once.
template <class T>
class PlanLines {
 public:
  const std::vector<PlanLine>& lines() const { return lines_; }
  std::int64_t param_count() const { return weights_.param_count(); }
  std::size_t learning_count() const { return weights_.learning_count(); }

 protected:
  PlanLines(std::vector<TensorSpec> tensors, const DescribeOptions& options)
      : weights_(std::move(tensors), [&](const TensorSpec& tensor) {
          const bool learns = tensor.learns && options.learns(tensor);
          return TensorChoice{
              .rank = options.rank,
              .learns = learns,
              .quantization = learns || !tensor.takes_row_terms ? Quantization{} : options.stored(tensor)};
        }) {}
  /// Parameters at addresses that nobody reads.
  std::vector<Parameter> parameters(Arena& counting) const {
    return weights_.parameters_at(counting.take<std::byte>(weights_.frozen_bytes()),
                                  counting.take<float>(weights_.learning_count()),
                                  counting.take<float>(weights_.learning_count()));
  }

  template <class M, class Mode>
  void walk(const PlanPlace& around) {
    if constexpr (M::traits.joins) add_joint(around.below(M::name), line_facts<M, T>);
    if constexpr (requires { typename M::tag; }) {
      const std::size_t saved = saved_bytes_of<M, Mode>() / static_cast<std::size_t>(around.divisor);
      PlanPlace place = add(around.below(M::tag::text), line_facts<M, T>, saved);
      if constexpr (requires { M::kind_of(0); })
        walk_kinds<M, Mode>(place);
      else
        walk_children<M, Mode>(place);
    } else {
      walk_children<M, Mode>(around);
    }
  }

  /// Adds a module's line. Returns the place of what is below it.
  PlanPlace add(PlanPlace place, const LineFacts& facts, std::size_t saved_bytes) {
    PlanPlace below = place;
    if (facts.repeats > 0) place.times *= facts.repeats;
    lines_.push_back(line(place, saved_bytes, facts));
    if (facts.repeats == 0) return place;
    lines_.back().name += " x " + std::to_string(facts.repeats);
    return below;
  }
  PlanLine line(const PlanPlace& place, std::size_t saved_bytes, const LineFacts& facts) const {
    PlanLine out;
    out.depth = place.depth - 1;
    out.name = place.path.substr(place.path.rfind('.') + 1);
    out.saved_bytes = saved_bytes;
    const std::string below = place.tensors + (place.tensors.empty() ? "" : ".");
    for (const TensorSlot& slot : weights_.slots()) {
      if (!slot.name().starts_with(below)) continue;
      out.params += slot.spec.count();
      if (slot.learns) out.learning += slot.spec.count();
    }
    out.forward = launches(place, 0, forward_launches_);
    out.backward = launches(place, forward_launches_, record_.launches.size());
    out.flops = facts.flops / place.divisor;
    out.bytes = facts.bytes / place.divisor;
    if (!facts.type.empty()) out.what = std::string(facts.type) + widths_text(facts) + storage(below + "weight");
    return out;
  }

  TensorMemory<T, Cpu> weights_;
  PlanRecord record_;
  std::size_t forward_launches_ = 0;
  std::vector<PlanLine> lines_;

 private:
  /// place: without the layers of M, if M is a stack.
  template <class M, class Mode>
  void walk_children(PlanPlace place) {
    if constexpr (requires { M::repeats; }) {
      place.times *= M::repeats;
      place.tensors += ".0";
    }
    if constexpr (requires { typename M::children; }) {
      for_constants<M::children::size>([&](auto i) {
        using C = at<typename M::children, i>;
        walk<C, typename decltype(child_mode<M, i, Mode>())::type>(place);
        place.divisor *= C::traits.row_divisor;
      });
    }
  }
  /// The kinds of a stack's layers, each with the numbers of its layers.
  template <class M, class Mode>
  void walk_kinds(const PlanPlace& stack) {
    for_constants<M::kinds>([&](auto k) {
      using C = typename M::template kind<k>;
      using KindMode = typename M::template mode_of<k, Mode>;
      std::vector<int> numbers;
      for (int i = 0; i < M::repeats; ++i)
        if (M::kind_of(i) == static_cast<int>(k)) numbers.push_back(i);
      walk<C, KindMode>(add_kind(stack, M::kind_text(k), numbers, line_facts<C, T>, saved_bytes_of<C, KindMode>()));
    });
  }

  /// Adds the line of layers that are joined; their children have its FLOP and bytes.
  void add_joint(const PlanPlace& place, LineFacts facts) {
    facts.flops = facts.bytes = 0;
    lines_.push_back(line(place, 0, facts));
    lines_.back().what = "Joint" + widths_text(facts);
  }
  /// Adds the line of the layers of one kind, by their numbers. Returns their place.
  PlanPlace add_kind(const PlanPlace& stack, std::string_view kind, const std::vector<int>& numbers,
                     const LineFacts& facts, std::size_t saved_bytes) {
    PlanPlace place = stack.below(kind);
    place.tensors = stack.tensors + "." + std::to_string(numbers.at(0));
    place.times *= static_cast<int>(numbers.size());
    lines_.push_back(line(place, saved_bytes, facts));
    std::string& name = lines_.back().name;
    name.clear();
    for (const int number : numbers) name += (name.empty() ? "" : " ") + std::to_string(number);
    return place;
  }
  /// ", nf4" of a matrix that is quantised.
  std::string storage(const std::string& tensor) const {
    for (const TensorSlot& slot : weights_.slots())
      if (slot.quantization && slot.name() == tensor) return ", " + name_of(slot.quantization);
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
};

}  // namespace detail
}  // namespace lamina
