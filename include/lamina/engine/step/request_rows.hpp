#pragma once
#include <algorithm>
#include <array>
#include <cstddef>
#include <memory>
#include <optional>
#include <span>
#include <unordered_map>
#include <utility>
#include <vector>

#include <lamina/core/batch.hpp>
#include <lamina/engine/images/images.hpp>
#include <lamina/engine/schedule/step_plan.hpp>
#include <lamina/engine/session.hpp>
#include <lamina/engine/step/adjust_inputs.hpp>
#include <lamina/engine/step/sampler.hpp>
#include <lamina/engine/step/step_inputs.hpp>
#include <lamina/kernel/rows/token_inputs.hpp>

namespace lamina::engine {

/// A request whose steps may be planned.
struct RunningRequest {
  std::shared_ptr<const Batch> prompt;
  std::vector<std::array<int, 3>> positions;  ///< of the prompt's tokens
  int next = 0;                               ///< position of the first token after it, on all axes
  kernel::SamplingRule rule;
  std::optional<Sampler> sampler;  ///< if more than the rule is asked for
  /// Alternatives with each token of the answer or of the prompt, as SamplingParams has them; nothing: no logprobs.
  std::optional<int> logprobs, prompt_logprobs;

  /// Whether the host computes the logprobs of the answer or of the prompt, from logits that it fetches: the request
  /// wants more alternatives than the backend lists.
  bool answer_scored_by_host() const { return exceed_backend(logprobs); }
  bool prompt_scored_by_host() const { return exceed_backend(prompt_logprobs); }
  /// Whether the host draws the next token, from logits that it fetches.
  bool drawn_by_host() const { return sampler && (answer_scored_by_host() || !AdjustInputs::fits(*sampler)); }
  /// Alternatives that the backend finds with the next token; -1: it finds no logprobs.
  int alternatives() const { return logprobs && !drawn_by_host() ? *logprobs : -1; }
  /// The same for a token of the prompt.
  int prompt_alternatives() const { return prompt_logprobs && !prompt_scored_by_host() ? *prompt_logprobs : -1; }
  /// Whether the backend adjusts its logits before it draws.
  bool adjusted() const { return sampler && !drawn_by_host(); }
  /// The token that was drawn of adjusted logits. A step that started before the rules had ended draws so once more.
  void drew(int token) {
    if (!sampler) return;
    sampler->drew(token);
    if (!sampler->adjusts()) sampler.reset();  // min_tokens was all: the host need not know what comes next
  }

 private:
  static bool exceed_backend(const std::optional<int>& alternatives) {
    return alternatives && (*alternatives < 0 || *alternatives > kernel::RowLogprobs::most);
  }
};

/// What the host knows of the sequences that steps read: the requests, the tokens of each request row, the page tables.
/// Fills the arrays of a step from its plan.
class RequestRows {
 public:
  explicit RequestRows(const SessionLimits& limits)
      : limits_(limits),
        pages_(static_cast<std::size_t>(limits.rows) * static_cast<std::size_t>(limits.pages_per_row()), 0),
        tokens_(static_cast<std::size_t>(limits.rows)) {}

  void begin(RequestId id, RunningRequest request) { requests_.insert_or_assign(id, std::move(request)); }
  void end(RequestId id) { requests_.erase(id); }
  bool has(RequestId id) const { return requests_.count(id) != 0; }
  RunningRequest& at(RequestId id) { return requests_.at(id); }
  const RunningRequest& at(RequestId id) const { return requests_.at(id); }
  /// The request's, if it is here and has one.
  Sampler* sampler(RequestId id) {
    const auto found = requests_.find(id);
    return found != requests_.end() && found->second.sampler ? &*found->second.sampler : nullptr;
  }

  /// Sequences that enter rows, and edits of page tables.
  void edit(const StepPlan& plan) {
    for (const RowStart& start : plan.starts) tokens_[static_cast<std::size_t>(start.row)] = start.tokens;
    for (const PageEdit& edit : plan.pages) pages_[static_cast<std::size_t>(place_of(edit))] = edit.page;
  }
  /// Where row `i` of an image is stored.
  int image_row(const ImageRows& images, const ImageHash& hash, int i) const {
    const int block = images.blocks(hash)[static_cast<std::size_t>(i / limits_.image_block_rows)];
    return block * limits_.image_block_rows + i % limits_.image_block_rows;
  }
  /// Writes the arrays of a plan that edit() has been called for.
  void fill(const StepPlan& plan, const ImageRows& images, const StepInputs& in) const;

 private:
  /// An edit's place in the page tables of all rows.
  int place_of(const PageEdit& edit) const { return edit.row * limits_.pages_per_row() + edit.index; }
  void fill_tokens(const StepRow& row, int at, const StepInputs& in) const;
  /// adjusted: rows of logits that are adjusted for requests before this one
  void fill_sampled(const StepRow& row, int last, int s, int& adjusted, const StepInputs& in) const;

  SessionLimits limits_;
  std::vector<int> pages_;                ///< (rows, pages_per_row)
  std::vector<std::vector<int>> tokens_;  ///< of each row, known when the sequence entered it
  std::unordered_map<RequestId, RunningRequest> requests_;
};

inline void RequestRows::fill(const StepPlan& plan, const ImageRows& images, const StepInputs& in) const {
  int n = 0, sequence = 0, sampled = 0, adjusted = 0, scored = plan.shape().sampled, visual = 0;
  in.cu_q[0] = in.cu_keys[0] = 0;
  for (const StepRow& row : plan.rows) {
    fill_tokens(row, n, in);
    for (const ImageSpan& image : row.images) {
      const int first = std::max(image.first, row.first),
                last = std::min(image.first + image.tokens, row.first + row.count);
      for (int token = first; token < last; ++token, ++visual) {
        in.given[in.visual_rows[visual] = n + token - row.first] = -1;
        in.visual_sources[visual] = image_row(images, image.hash, token - image.first);
      }
    }
    for (int i = 0; i < row.scored; ++i, ++scored) {
      const RunningRequest& request = requests_.at(row.id);
      in.sampled[scored] = n + i;
      in.asked[scored] = request.prompt->ids[static_cast<std::size_t>(row.first + 1 + i)];
      in.alternatives[scored] = request.prompt_alternatives();
    }
    n += row.count;
    in.sequence_rows[sequence] = row.row;
    in.cu_keys[sequence + 1] = in.cu_keys[sequence] + row.first + row.count;
    in.cu_q[++sequence] = n;
    if (row.samples) fill_sampled(row, n - 1, sampled++, adjusted, in);
  }
  for (std::size_t i = 0; i < plan.pages.size(); ++i) {
    in.edits_at[i] = place_of(plan.pages[i]);
    in.edits_to[i] = plan.pages[i].page;
  }
}
/// Ids, positions and slots of a sequence's tokens, from place `at` on.
inline void RequestRows::fill_tokens(const StepRow& row, int at, const StepInputs& in) const {
  const std::vector<int>& tokens = tokens_[static_cast<std::size_t>(row.row)];
  const RunningRequest& request = requests_.at(row.id);
  const int* table = &pages_[static_cast<std::size_t>(place_of({row.row, 0, 0}))];
  const int prompt = static_cast<int>(request.positions.size()), known = static_cast<int>(tokens.size());
  if (in.adapter_slots) std::fill_n(in.adapter_slots + at, row.count, row.adapter_slot);
  for (int n = row.first; n < row.first + row.count; ++n, ++at) {
    in.given[at] = n < known ? tokens[static_cast<std::size_t>(n)] : kernel::TokenInputs::newest_of(row.row);
    const int after = request.next + n - prompt;
    for (std::size_t axis = 0; axis < 3; ++axis)
      in.positions[3 * static_cast<std::size_t>(at) + axis] =
          n < prompt ? request.positions[static_cast<std::size_t>(n)][axis] : after;
    in.slots[at] = table[n / limits_.page_tokens] * limits_.page_tokens + n % limits_.page_tokens;
  }
}
inline void RequestRows::fill_sampled(const StepRow& row, int last, int s, int& adjusted, const StepInputs& in) const {
  const RunningRequest& request = requests_.at(row.id);
  in.sampled[s] = last;
  in.sampled_rows[s] = request.drawn_by_host() ? -1 : row.row;
  in.sources[s] = request.adjusted() ? adjusted++ : -1;
  in.chosen[s] = row.first + row.count - static_cast<int>(request.positions.size());
  in.rules[s] = request.rule;
  in.asked[s] = kernel::TokenInputs::newest_of(row.row);
  in.alternatives[s] = request.alternatives();
}

}  // namespace lamina::engine
