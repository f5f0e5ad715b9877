#pragma once
#include <initializer_list>
#include <utility>

#include <lamina/kernel/logits/preference.hpp>
#include <lamina/model/train_session.hpp>
#include <lamina/train/objective/head_rows.hpp>

namespace lamina::train {

/// Scores all answers, then lets each token learn with the weight that its answer's score gives it. The head runs
/// twice: logits of all rows are never held.
template <class R, class T>
void run_head(R run, const PreferenceLoss& loss, const HeadRows<T>& rows) {
  using B = typename R::backend;
  Arena::Scope scope(*run.scratch);
  kernel::head_loss<B>::run(run.stream, rows.scored());
  if constexpr (R::mode::train) {
    const LabelledRowsView& labelled = rows.labelled;
    float* const weight = run.scratch->template take<float>(static_cast<std::size_t>(labelled.count));
    kernel::preference<B>::weigh(run.stream,
                                 kernel::WeighAnswers{.sequences = labelled.judged,
                                                      .count = labelled.sequences,
                                                      .nll = rows.found.nll,
                                                      .reference = rows.found.reference,
                                                      .share = labelled.weight,
                                                      .scores = run.scratch->template take<kernel::AnswerScore>(
                                                          static_cast<std::size_t>(labelled.sequences)),
                                                      .weight = weight,
                                                      .loss = loss});
    kernel::head_loss<B>::run(run.stream, rows.learned(weight));
  }
}

namespace detail {

/// The columns of a log, which are the same for every batch.
inline std::vector<Metric> preference_metrics(PreferenceLoss::Kind kind) {
  using Kind = PreferenceLoss::Kind;
  if (kind == Kind::kto)
    return {{"rewards/chosen"},
            {"logps/chosen"},
            {"logits/chosen"},
            {"rewards/rejected"},
            {"logps/rejected"},
            {"logits/rejected"},
            {"kl"}};
  std::vector<Metric> all = {{"rewards/chosen"}, {"rewards/rejected"}, {"rewards/accuracies"}, {"rewards/margins"},
                             {"logps/chosen"},   {"logps/rejected"},   {"logits/chosen"},      {"logits/rejected"}};
  if (kind == Kind::orpo) all.insert(all.end(), {{"sft_loss"}, {"odds_ratio_loss"}});
  return all;
}
inline void add_to(std::vector<Metric>& metrics, std::string_view name, double value, double weight) {
  for (Metric& m : metrics)
    if (m.name == name) m.sum += weight * value, m.weight += weight;
}

/// What is known of one answer: log p as the loss takes it, its reward, the mean logit of its tokens.
struct AnswerFacts {
  double logp = 0, reward = 0, logit = 0, mean_logp = 0;
};
inline AnswerFacts facts_of(const PreferenceLoss& how, const kernel::JudgedSequence& answer,
                            const kernel::AnswerScore& score, const RowScores& found) {
  const double length = answer.rows, divisor = how.averages() ? length : 1;
  AnswerFacts facts{.logp = score.model / divisor, .mean_logp = score.model / length};
  facts.reward = how.beta * (facts.logp - (how.has_reference() ? score.reference / divisor : 0));
  for (int m = answer.first_row; m < answer.first_row + answer.rows; ++m)
    facts.logit += static_cast<double>(found.mean_logit[m]) / length;
  return facts;
}

/// rewards, logps and logits of a pair; each pair weighs as in the loss.
inline void add_pair(std::vector<Metric>& metrics, const PreferenceLoss& how, const AnswerFacts& c,
                     const AnswerFacts& r, double loss, double share) {
  for (const auto& [name, value] :
       std::initializer_list<std::pair<std::string_view, double>>{{"rewards/chosen", c.reward},
                                                                  {"rewards/rejected", r.reward},
                                                                  {"rewards/accuracies", c.reward > r.reward ? 1 : 0},
                                                                  {"rewards/margins", c.reward - r.reward},
                                                                  {"logps/chosen", c.logp},
                                                                  {"logps/rejected", r.logp},
                                                                  {"logits/chosen", c.logit},
                                                                  {"logits/rejected", r.logit}})
    add_to(metrics, name, value, share);
  if (how.kind != PreferenceLoss::Kind::orpo) return;
  add_to(metrics, "sft_loss", -c.mean_logp, share);
  add_to(metrics, "odds_ratio_loss", (loss + c.mean_logp) / how.beta, share);
}

}  // namespace detail

/// Losses and LLaMA-Factory's log columns. Columns of pairs are means in which each pair weighs as in the loss; those
/// of kto are means over all answers of their kind. source  LLaMA-Factory 0.9.5, get_batch_loss_metrics() and log() of
/// train/dpo/trainer.py and train/kto/trainer.py
inline BatchLoss report(const PreferenceLoss& how, const LabelledRows& labelled, int sequences,
                        const RowScores& found) {
  BatchLoss result;
  result.sequence_losses.assign(static_cast<std::size_t>(sequences), 0.0);
  result.metrics = detail::preference_metrics(how.kind);
  const bool kto = how.kind == PreferenceLoss::Kind::kto;
  const auto& judged = labelled.judged;
  std::vector<kernel::AnswerScore> scores;
  for (const kernel::JudgedSequence& answer : judged)
    scores.push_back(kernel::score_of(answer, found.nll, found.reference));
  const auto facts = [&](std::size_t s) { return detail::facts_of(how, judged[s], scores[s], found); };
  for (std::size_t s = 0; s < judged.size(); ++s) {
    const kernel::JudgedSequence& own = judged[s];
    const double share =
                     own.rows > 0 ? static_cast<double>(labelled.weight[static_cast<std::size_t>(own.first_row)]) : 0,
                 loss = kernel::answer_loss(how, judged.data(), scores.data(), static_cast<int>(s)).loss;
    result.loss += result.sequence_losses[s] = share * loss;
    if (kto && own.group == static_cast<int>(s))
      detail::add_to(result.metrics, "kl", kernel::group_kl(judged.data(), scores.data(), own.group), 1);
    if (own.role == SequenceRole::baseline || own.rows == 0) continue;
    const bool chosen = own.role == SequenceRole::chosen;
    if (kto) {
      const detail::AnswerFacts f = facts(s);
      detail::add_to(result.metrics, chosen ? "rewards/chosen" : "rewards/rejected", f.reward, 1);
      detail::add_to(result.metrics, chosen ? "logps/chosen" : "logps/rejected", f.logp, 1);
      detail::add_to(result.metrics, chosen ? "logits/chosen" : "logits/rejected", f.logit, 1);
    } else if (chosen) {
      detail::add_pair(result.metrics, how, facts(s), facts(s + 1), loss, share);
    }
  }
  return result;
}

}  // namespace lamina::train
