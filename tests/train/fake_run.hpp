#pragma once
#include <lamina/checkpoint/safetensors.hpp>
#include <lamina/kernel/optimizer/optimizer.hpp>
#include <lamina/train/loop.hpp>

#include <cmath>
#include <filesystem>
#include <numeric>
#include <random>
#include <sstream>
#include <string>
#include <vector>

/// A run whose model is small enough to follow by hand: every label pulls every weight towards a number of its own.
namespace lamina::train::fake {

/// A token with this id makes the loss NaN.
inline constexpr int poison = 13;

/// loss = sum_i weight[i] * 0.5 * sum_j (v_j - sin(id_i + j))^2, trained by AdamW in fp32.
class Session : public TrainSession {
 public:
  explicit Session(float first = 0.5f) {
    for (auto* t : {&a_, &b_}) {
      std::iota(t->value.begin(), t->value.end(), first);
      for (auto* state : {&t->gradient, &t->exp_avg, &t->exp_avg_sq}) state->assign(t->value.size(), 0.0f);
    }
  }
  void prepare(const Batch& batch) override { batch_ = batch; }
  void start(const OptimizerSettings& settings, double max_gradient_norm) override {
    const Batch batch = std::move(batch_);
    windows.push_back(static_cast<int>(batch.cu_seqlens.size()) - 1);
    const BatchLoss loss = visit(batch, true);
    const double norm = gradient_norm();
    if (std::isfinite(loss.loss) && std::isfinite(norm)) update(settings, kernel::clip_scale(norm, max_gradient_norm));
    under_way_.push_back({loss, norm});
    most_under_way = std::max(most_under_way, under_way_.size());
  }
  StepResult finish() override {
    const StepResult first = under_way_.at(0);
    under_way_.erase(under_way_.begin());
    return first;
  }
  BatchLoss evaluate(const Batch& batch) override {
    if (!under_way_.empty()) fail("evaluate() while a step is under way");
    return visit(batch, false);
  }
  double gradient_norm() const {
    double sum = 0;
    for (const auto* t : {&a_, &b_})
      for (float g : t->gradient) sum += double{g} * g;
    return std::sqrt(sum);
  }
  void update(const OptimizerSettings& o, double scale) {
    ++steps_;
    rates.push_back(o.learning_rate);
    const double c1 = 1 - std::pow(o.beta1, steps_), c2 = 1 - std::pow(o.beta2, steps_);
    for (auto* t : {&a_, &b_})
      for (std::size_t i = 0; i < t->value.size(); ++i) {
        const float g = t->gradient[i] * static_cast<float>(scale);
        t->exp_avg[i] = static_cast<float>(o.beta1 * t->exp_avg[i] + (1 - o.beta1) * g);
        t->exp_avg_sq[i] = static_cast<float>(o.beta2 * t->exp_avg_sq[i] + (1 - o.beta2) * g * g);
        t->value[i] -=
            static_cast<float>(o.learning_rate * (t->exp_avg[i] / c1) / (std::sqrt(t->exp_avg_sq[i] / c2) + o.epsilon));
        t->gradient[i] = 0;
      }
  }
  std::vector<TrainableTensor> trainable() override {
    if (!under_way_.empty()) fail("trainable() while a step is under way");
    const std::string base = "base_model.model.model.language_model.layers.0.self_attn.q_proj.";
    return {{base + "lora_A.weight", {2, 3}, a_.value, state_of(a_, {2, 3}), true},
            {base + "lora_B.weight", {4, 2}, b_.value, state_of(b_, {4, 2}), true}};
  }
  std::uint64_t weights_hash() override { return 0; }
  std::int64_t optimizer_steps() const override { return steps_; }
  void set_optimizer_steps(std::int64_t n) override { steps_ = n; }
  std::int64_t param_count() const override { return 26; }
  std::int64_t trainable_count() const override { return 14; }
  std::string describe() const override { return "a plan\n"; }
  MemoryPlan plan(int, int, int) const override { return {}; }

  std::vector<float> all() {
    std::vector<float> out;
    for (auto* t : {&a_, &b_})
      for (auto* part : {&t->value, &t->exp_avg, &t->exp_avg_sq}) out.insert(out.end(), part->begin(), part->end());
    return out;
  }
  std::vector<int> windows;   ///< sequences of each window seen
  std::vector<double> rates;  ///< learning rate of each step
  std::size_t most_under_way = 0;

 private:
  struct Tensor {
    std::vector<float> value, gradient, exp_avg, exp_avg_sq;
  };
  static std::vector<TensorState> state_of(Tensor& t, const std::vector<std::int64_t>& shape) {
    return {{"exp_avg", DType::F32, shape, std::as_writable_bytes(std::span(t.exp_avg))},
            {"exp_avg_sq", DType::F32, shape, std::as_writable_bytes(std::span(t.exp_avg_sq))}};
  }
  BatchLoss visit(const Batch& batch, bool learn) {
    BatchLoss out;
    for (std::size_t s = 0; s + 1 < batch.cu_seqlens.size(); ++s) {
      double sum = 0;
      for (int i = batch.cu_seqlens[s]; i < batch.cu_seqlens[s + 1]; ++i) {
        int j = 0;
        for (auto* t : {&a_, &b_})
          for (std::size_t k = 0; k < t->value.size(); ++k, ++j) {
            const float miss =
                batch.ids[i] == poison ? NAN : t->value[k] - std::sin(static_cast<float>(batch.ids[i] + j));
            sum += batch.loss_weights[i] * 0.5 * miss * miss;
            if (learn) t->gradient[k] += batch.loss_weights[i] * miss;
          }
      }
      out.sequence_losses.push_back(sum);
      out.loss += sum;
    }
    return out;
  }
  Batch batch_;
  std::vector<StepResult> under_way_;
  Tensor a_{std::vector<float>(6), {}, {}, {}}, b_{std::vector<float>(8), {}, {}, {}};
  std::int64_t steps_ = 0;
};

/// Rows of one token each, id = row, shuffled by (seed, epoch).
class Rows : public TrainSource {
 public:
  Rows(const Arguments& a, int rows) : a_(a), rows_(rows) {}
  std::int64_t rows() const override { return rows_; }
  void seek(std::int64_t epoch, std::int64_t window) override {
    order_.resize(static_cast<std::size_t>(rows_));
    std::iota(order_.begin(), order_.end(), first_id);
    std::mt19937 generator(static_cast<unsigned>(a_.seed + static_cast<std::uint64_t>(epoch)));
    for (std::size_t i = order_.size(); i > 1; --i) std::swap(order_[i - 1], order_[generator() % i]);
    at_ = static_cast<std::size_t>(window * a_.per_device_train_batch_size * a_.gradient_accumulation_steps);
  }
  Window next() override {
    Window out;
    const std::size_t batch = static_cast<std::size_t>(a_.per_device_train_batch_size);
    const std::size_t end =
        std::min(order_.size(), at_ + batch * static_cast<std::size_t>(a_.gradient_accumulation_steps));
    const std::size_t micro_batches = (end - at_ + batch - 1) / batch;
    for (std::size_t first = at_; first < end; first += batch)
      for (std::size_t row = first; row < std::min(end, first + batch); ++row)
        append(out, order_[row],
               1.0f / static_cast<float>(std::min(end, first + batch) - first) / static_cast<float>(micro_batches));
    at_ = end;
    return out;
  }
  static void append(Window& out, int id, float weight) {
    out.batch.cu_seqlens.push_back(static_cast<int>(out.batch.ids.size()));
    if (out.batch.cu_seqlens.size() == 2 && out.batch.cu_seqlens[1] == 0) out.batch.cu_seqlens.pop_back();
    out.batch.ids.push_back(id);
    out.batch.labels.push_back(id);
    out.batch.loss_weights.push_back(weight);
    out.batch.cu_seqlens.resize(out.batch.ids.size() + 1);
    std::iota(out.batch.cu_seqlens.begin(), out.batch.cu_seqlens.end(), 0);
    out.origins.push_back("rows.json row " + std::to_string(id));
  }
  int first_id = 100;

 private:
  const Arguments& a_;
  int rows_;
  std::vector<int> order_;
  std::size_t at_ = 0;
};

/// Five rows in batches of two.
class Evaluation : public EvalSource {
 public:
  std::int64_t rows() const override { return 5; }
  std::int64_t batches() const override { return 3; }
  Window batch(std::int64_t index) override {
    Window out;
    const int rows = index == 2 ? 1 : 2;
    for (int i = 0; i < rows; ++i)
      Rows::append(out, 100 + static_cast<int>(index) * 2 + i, 1.0f / static_cast<float>(rows));
    return out;
  }
};

/// An empty directory of this process's own.
inline std::filesystem::path fresh_directory(const std::string& name) {
  const auto path =
      std::filesystem::temp_directory_path() / ("lamina-train-" + std::to_string(::getpid()) + "-" + name);
  std::filesystem::remove_all(path);
  std::filesystem::create_directories(path);
  return path;
}

/// 11 rows, batches of 2, windows of 2: 3 steps an epoch, the last window short; 2 epochs.
inline Arguments arguments(const std::filesystem::path& output_dir) {
  Arguments a;
  a.model_name_or_path = "base";
  a.template_name = "qwen3_vl";
  a.output_dir = output_dir;
  a.do_train = true;
  a.per_device_train_batch_size = 2;
  a.gradient_accumulation_steps = 2;
  a.num_train_epochs = 2;
  a.logging_steps = 2;
  a.save_steps = 4;
  a.optimizer.learning_rate = 0.05;
  a.schedule.type = ScheduleType::cosine;
  a.schedule.warmup_steps = 2;
  return a;
}

/// A run and all it touches.
struct Run {
  explicit Run(Arguments given, int row_count = 11, bool with_evaluation = false)
      : a(std::move(given)), rows(a, row_count), trainer(a, parts(with_evaluation)) {}
  TrainerParts parts(bool with_evaluation) {
    return {.session = session,
            .train = rows,
            .evaluations = with_evaluation ? std::vector<EvalPart>{{"eval", evaluation}} : std::vector<EvalPart>{},
            .console = console,
            .save_model =
                [this](const std::filesystem::path& to, const OrderedJson&) {
                  std::vector<checkpoint::TensorData> tensors;
                  for (const TrainableTensor& t : session.trainable())
                    tensors.push_back({t.name, DType::F32, t.shape, std::as_bytes(t.value)});
                  checkpoint::write_safetensors(to / "adapter_model.safetensors", tensors);
                  if (after_weights) after_weights();
                },
            .flops_per_token = 1};
  }
  Arguments a;
  Session session;
  Rows rows;
  Evaluation evaluation;
  std::ostringstream text;
  Console console{text, false};
  std::function<void()> after_weights;
  Trainer trainer;
};

}  // namespace lamina::train::fake
