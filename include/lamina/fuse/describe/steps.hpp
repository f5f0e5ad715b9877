#pragma once
#include <memory>

#include <lamina/compose/plan/tables.hpp>
#include <lamina/fuse/describe/plan_lines.hpp>

/// What a plan is made of: one training step on the Plan backend, whose kernels are those that the type's own forward
/// and backward launch.
namespace lamina::detail {

/// Of a whole model.
template <class Model, class T>
class ModelPlan : public PlanLines<T> {
 public:
  using Training = Mode<T, true, false>;
  explicit ModelPlan(const DescribeOptions& options) : PlanLines<T>(list_tensors<Model>(), options) {
    run();
    const PlanPlace model = PlanPlace{}.below(Model::towers_name);
    if constexpr (Model::reads_images)
      this->template walk<typename Model::Visual, typename Model::template visual_mode<Training>>(model);
    const PlanPlace language = model.below(Model::language_tag::text);
    this->add(language, line_facts<typename Model::Language, T>, Model::template saved_bytes_per_token<Training>);
    this->template walk<typename Model::Embed, typename Training::inference>(language);
    this->template walk<typename Model::Stack_, typename Model::template stack_mode<Training>>(language);
    this->template walk<typename Model::Norm, typename Model::template norm_mode<Training>>(language);
    PlanLine head = this->line(PlanPlace{}.below(Model::Head::tag::text), 0, {});
    head.what = "head " + std::to_string(Model::hidden_size) + " -> " + std::to_string(Model::vocab_size) +
                (Model::Head::tied ? ", tied" : "");
    head.flops = std::int64_t{2} * Model::hidden_size * Model::vocab_size;
    this->lines_.push_back(head);
  }
  /// What a row costs, for the head of the page.
  static std::string totals() {
    return cat("saved: ", saved_bytes_per_token<Model, T>, " bytes a token, ", saved_bytes_per_patch<Model, T>,
               " a patch; forward: ", flops_per_token<Model>, " FLOP a token, ", flops_per_patch<Model>, " a patch");
  }

 private:
  /// One image of two by two merged cells, if the model reads images, then its tokens and some text.
  void run() {
    constexpr int side = 2 * Model::merge, image_token = 1;
    Batch batch;
    if (Model::reads_images) {
      batch.grids = {{1, side, side}};
      batch.patches.resize(static_cast<std::size_t>(side * side) * Model::patch_width);
      batch.ids.assign(static_cast<std::size_t>(Model::visual_tokens(batch.grids[0])), image_token);
    }
    batch.ids.insert(batch.ids.end(), {0, 0, 0, 0});
    batch.cu_seqlens = {0, static_cast<int>(batch.ids.size())};
    Tables<Model> tables;
    Input<T> in = tables.template build<T>(batch, image_token);
    Arena memory, scratch;  // both count only
    const std::vector<Parameter> parameters = this->parameters(memory);
    auto saved = std::make_unique<typename Model::template Saved<Training>>();
    Model::template allocate<Training>(*saved, memory, in.tokens, in.patches.rows);
    const Run<Plan, Training> run{Stream<Plan>{&this->record_}, &scratch, &in.text};
    const Matrix<T> hidden = scratch.matrix<T>(in.tokens, Model::hidden_size);
    Model::forward(run, parameters.data(), *saved, in, hidden);
    run.stream.enter(Model::Head::tag::text);
    kernel::head_loss<Plan>::run(run.stream);
    run.stream.leave();
    this->forward_launches_ = this->record_.launches.size();
    Model::backward(run, parameters.data(), *saved, in, Matrix<const T>(hidden));
  }
};

/// Of a layer, or of a composition that maps rows to rows.
template <class L, class T>
class LayerPlan : public PlanLines<T> {
 public:
  using Training = Mode<T, true, true>;
  explicit LayerPlan(const DescribeOptions& options) : PlanLines<T>(list_tensors<L>(), options) {
    run();
    if constexpr (!requires { typename L::tag; }) {
      this->lines_.push_back(this->line(PlanPlace{.depth = 1}, saved_row_bytes<L, Training>(), line_facts<L, T>));
      this->lines_.back().name = std::string(type_text<L>());
      if constexpr (HasChildren<L>) this->template walk<L, Training>(PlanPlace{.depth = 1});
    } else {
      this->template walk<L, Training>(PlanPlace{});
    }
  }
  static std::string totals() {
    return cat("saved: ", saved_row_bytes<L, Training>(), " bytes a row; forward: ", flops_per_row<L>, " FLOP, ",
               bytes_per_row<L, T>, " bytes a row");
  }

 private:
  void run() {
    constexpr int rows = 8 * L::traits.row_divisor;
    Arena memory, scratch;  // both count only
    const std::vector<Parameter> parameters = this->parameters(memory);
    auto saved = std::make_unique<typename L::template Saved<Training>>();
    allocate_saved<L, Training>(*saved, memory, rows);
    Context<T> context;
    context.rows = context.longest = context.longest_window = rows;
    context.sequences = context.windows = 1;
    const Run<Plan, Training> run{Stream<Plan>{&this->record_}, &scratch, &context};
    const Matrix<T> x = memory.matrix<T>(rows, L::In::width), dx = memory.matrix<T>(rows, L::In::width),
                    y = memory.matrix<T>(out_rows<L>(rows, 1), L::Out::width);
    L::forward(run, parameters.data(), *saved, Matrix<const T>(x), y);
    this->forward_launches_ = this->record_.launches.size();
    L::backward(run, parameters.data(), *saved, Matrix<const T>(y), dx);
  }
};

}  // namespace lamina::detail
