#pragma once
#include <iomanip>
#include <sstream>
#include <string>
#include <vector>

#include <lamina/fuse/describe/steps.hpp>

/// describe<M>() prints a model, a layer or a composition as the plan of a training step.
namespace lamina {

/// How a plan is written: a table; an object for programs; a chart for pages that draw Mermaid.
enum class PlanFormat { text, json, mermaid };

namespace detail {

inline std::string plan_text(const std::string& totals, const std::vector<PlanLine>& lines) {
  std::ostringstream out;
  out << totals << "\n";
  const auto cell = [&](int width, const auto& value) { out << std::setw(width) << value; };
  out << std::left << std::setw(70) << "module" << std::right;
  cell(14, "parameters"), cell(12, "learning"), cell(10, "saved"), cell(14, "FLOP"), cell(10, "bytes");
  out << "  forward | backward\n";
  for (const PlanLine& line : lines) {
    const std::string name = std::string(static_cast<std::size_t>(2 * line.depth), ' ') + line.name;
    out << std::left << std::setw(38) << name << std::setw(32) << line.what << std::right;
    cell(14, line.params), cell(12, line.learning), cell(10, line.saved_bytes), cell(14, line.flops);
    cell(10, line.bytes);
    if (!line.forward.empty() || !line.backward.empty()) out << "  " << line.forward << " | " << line.backward;
    out << "\n";
  }
  return out.str();
}
/// {"totals": "...", "modules": [{"depth": 0, "name": "q_proj", ...}, ...]}
inline std::string plan_json(const std::string& totals, const std::vector<PlanLine>& lines) {
  std::ostringstream out;
  out << "{\"totals\": \"" << totals << "\", \"modules\": [";
  for (const PlanLine& line : lines)
    out << (&line == &lines.front() ? "\n" : ",\n") << "  {\"depth\": " << line.depth << ", \"name\": \"" << line.name
        << "\", \"what\": \"" << line.what << "\", \"parameters\": " << line.params
        << ", \"learning\": " << line.learning << ", \"saved_bytes\": " << line.saved_bytes
        << ", \"flops\": " << line.flops << ", \"bytes\": " << line.bytes << ", \"forward\": \"" << line.forward
        << "\", \"backward\": \"" << line.backward << "\"}";
  out << "\n]}\n";
  return out.str();
}
/// A box for each module, an arrow from what contains it.
inline std::string plan_mermaid(const std::vector<PlanLine>& lines) {
  std::ostringstream out;
  out << "flowchart LR\n";
  std::vector<std::size_t> above;  // the last module of each depth
  for (std::size_t i = 0; i < lines.size(); ++i) {
    const PlanLine& line = lines[i];
    out << "  m" << i << "[\"" << line.name << (line.what.empty() ? "" : "<br/>") << line.what << "<br/>" << line.params
        << " parameters\"]\n";
    const auto depth = static_cast<std::size_t>(line.depth);
    above.resize(depth);
    if (depth > 0) out << "  m" << above.back() << " --> m" << i << "\n";
    above.push_back(i);
  }
  return out.str();
}

template <class M, class T>
struct PlanOf {
  using type = LayerPlan<M, T>;
};
template <class M, class T>
requires requires { typename M::Visual; }
struct PlanOf<M, T> {
  using type = ModelPlan<M, T>;
};

}  // namespace detail

/// The plan of a training step of M with activations of type T: a line a module with its shape, its parameters (all,
/// learning), and what a row of it costs (a token; below the vision tower, a patch): bytes saved for backward, FLOP and
/// bytes of forward (compose/plan/costs.hpp); then what it launches, forward | backward.
template <class M, class T = float>
std::string describe(const DescribeOptions& options = {}, PlanFormat format = PlanFormat::text) {
  const typename detail::PlanOf<M, T>::type plan(options);
  const std::string totals = cat(plan.param_count(), " parameters, ", plan.learning_count(), " learn; ", plan.totals());
  if (format == PlanFormat::json) return detail::plan_json(totals, plan.lines());
  if (format == PlanFormat::mermaid) return detail::plan_mermaid(plan.lines());
  return detail::plan_text(totals, plan.lines());
}

}  // namespace lamina
