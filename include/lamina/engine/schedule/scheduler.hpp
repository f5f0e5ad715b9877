#pragma once
#include <algorithm>
#include <cstdint>
#include <memory>
#include <set>
#include <unordered_map>
#include <utility>
#include <vector>

#include <lamina/core/error.hpp>
#include <lamina/engine/adapters/adapter_slots.hpp>
#include <lamina/engine/images/images.hpp>
#include <lamina/engine/request/request.hpp>
#include <lamina/engine/schedule/pages.hpp>
#include <lamina/engine/schedule/scheduler_limits.hpp>
#include <lamina/engine/schedule/sequence.hpp>
#include <lamina/engine/schedule/step_plan.hpp>

/// Which tokens of which requests the next step reads. Knows no model and no clock: the same calls in the same order
/// make the same plans.
namespace lamina::engine {

/// Counts since the start; tokens unless the name says otherwise.
struct SchedulerCounts {
  std::uint64_t preemptions = 0;  ///< times that a running sequence gave its pages back
  std::uint64_t prefix_queried = 0, prefix_hit = 0;
};

/// Running sequences go on first, one token each; then chunks of prompts fill the step. plan() may be called while the
/// step before it still runs: the token that a sequence is waiting for is then known to the runner alone. A runner
/// executes steps in the order of their plans, so pages and rows that are given back may be used by the next plan.
///
/// A prompt is admitted only if all of it fits and room is left for a share of what running sequences may still write.
/// If a running sequence finds no page, the last one in order gives up its pages and is computed again later.
///
/// A request whose adapter finds no slot keeps its place, and later ones go first, as many with adapters as there are
/// rows: then it is next, whatever adapters they have.
///
/// source      Yu et al. 2022 (Orca: iterations of a batch whose members come and go); Agrawal et al. 2024,
///             arXiv:2403.02310 (chunks of prompts next to running sequences)
class Scheduler {
 public:
  /// errors  lamina::Error if limits contradict each other, or if a sequence of context_tokens does not fit the pool.
  Scheduler(const SchedulerLimits& limits, PagePool& pages, ImageRows& images);

  /// Queues a request.
  /// errors  lamina::Error if it could never run: an empty prompt, no room for a token of answer, an image larger than
  ///         the image cache, spans out of order or outside the prompt.
  void add(Request request);
  /// Removes a request, wherever it is. Returns false if it is not here. Its token in flight, if any, is dropped.
  bool cancel(RequestId id);
  /// The next step; empty() if there is nothing to do before a result arrives or a request is added.
  StepPlan plan();
  /// Takes the result of the oldest step whose result is outstanding.
  std::vector<Arrival> received(const StepChoices& result);
  /// These steps, all that are under way, did not do what their plans say: removes their requests and returns their
  /// ids. No page that is known by its content is found again, and no image of these plans.
  std::vector<RequestId> failed(const std::vector<StepPlan>& plans);

  int running() const { return static_cast<int>(running_.size()); }
  int waiting() const { return static_cast<int>(waiting_.size()); }
  const SchedulerCounts& counts() const { return counts_; }
  /// Nothing runs or waits, and every page, image and row has been given back.
  bool idle() const {
    return sequences_.empty() && pages_.available() == pages_.total() && images_.referenced_images() == 0 &&
           adapters_.referenced() == 0 && static_cast<int>(free_rows_.size()) == limits_.rows;
  }

 private:
  int pages_for(int tokens) const { return (tokens + limits_.page_tokens - 1) / limits_.page_tokens; }
  bool ended(const Sequence& s) const { return s.left() <= 0 || s.length() >= limits_.context_tokens; }

  std::vector<int> find_prefix(const Sequence& s) const;
  void publish_full_pages(Sequence& s);

  bool find_page(Sequence& s, StepPlan& plan);
  void admit_waiting(StepPlan& plan);
  bool admit(Sequence& s, StepPlan& plan);
  void take_adapter_slot(Sequence& s, StepPlan& plan);
  void preempt(Sequence& s);
  void leave_row(Sequence& s);
  void remove(Sequence& s);
  int pages_still_written() const;

  int chunk(Sequence& s, int budget, StepPlan& plan);
  int before_missing_image(Sequence& s, int count, StepPlan& plan);
  int cut_to_scored(const Sequence& s, int count, const StepPlan& plan) const;
  void add_row(Sequence& s, int count, StepPlan& plan);
  void release_images(Sequence& s, int computed);
  void finish_plan(StepPlan& plan);

  SchedulerLimits limits_;
  PagePool& pages_;
  ImageRows& images_;
  std::unordered_map<RequestId, std::unique_ptr<Sequence>> sequences_;
  std::vector<Sequence*> running_;  ///< in the order of ServedFirst
  std::set<Sequence*, ServedFirst> waiting_;
  std::vector<int> free_rows_;
  AdapterSlots adapters_;
  SchedulerCounts counts_;
  std::uint64_t arrivals_ = 0, steps_ = 0;
  double write_share_ = most_share;  ///< of what running sequences may still write, kept free at admission

  static constexpr double most_share = 0.7, least_share = 0.1, share_step = 0.001;
  static constexpr int foreseen_tokens = 4096;  ///< an answer is not expected to grow by more
};

inline Scheduler::Scheduler(const SchedulerLimits& limits, PagePool& pages, ImageRows& images)
    : limits_(limits), pages_(pages), images_(images), adapters_(limits.adapter_slots) {
  check(limits, pages.total());
  for (int row = limits.rows - 1; row >= 0; --row) free_rows_.push_back(row);
}

inline void Scheduler::add(Request request) {
  const int length = static_cast<int>(request.tokens.size());
  if (length < 1) fail("request: the prompt is empty");
  if (request.max_tokens < 1) fail("request: max_tokens is ", request.max_tokens, "; it must be at least 1");
  if (length >= limits_.context_tokens)
    fail("request: the prompt has ", length, " tokens, the context ", limits_.context_tokens);
  int end = 0;
  for (const ImageSpan& image : request.images) {
    if (image.first < end || image.tokens < 1 || image.tokens > length - image.first)
      fail("request: an image of ", image.tokens, " tokens at token ", image.first, " of a prompt of ", length);
    if (images_.blocks_for(image.tokens) > images_.total_blocks())
      fail("request: an image of ", image.tokens, " tokens is larger than the image cache");
    end = image.first + image.tokens;
  }
  if (request.adapter && adapters_.total() == 0) fail("request: an adapter, and there is no slot for one");
  key_by_adapter(request);
  auto sequence = std::make_unique<Sequence>();
  sequence->tokens = request.tokens;
  sequence->holds.assign(request.images.size(), false);
  sequence->arrival = arrivals_++;
  sequence->request = std::move(request);
  const auto [place, added] = sequences_.try_emplace(sequence->request.id, std::move(sequence));
  if (!added) fail("request: id ", place->first, " is here already");
  waiting_.insert(place->second.get());
}

inline bool Scheduler::cancel(RequestId id) {
  const auto found = sequences_.find(id);
  if (found == sequences_.end()) return false;
  remove(*found->second);
  return true;
}

/// Computed pages that hold the beginning of a sequence. Its last token is never among them: it must be computed, since
/// the next token is chosen from its output.
inline std::vector<int> Scheduler::find_prefix(const Sequence& s) const {
  std::vector<int> found;
  if (!limits_.prefix_cache || s.scored < s.to_score()) return found;
  const int most = (static_cast<int>(s.tokens.size()) - 1) / limits_.page_tokens;
  std::uint64_t before = 0;
  for (int page = 0; page < most; ++page) {
    const auto known = pages_.find(page_content(s, page, before, limits_.page_tokens));
    if (!known) break;
    found.push_back(*known);
    before = pages_.serial(*known);
  }
  return found;
}

inline void Scheduler::publish_full_pages(Sequence& s) {
  if (!limits_.prefix_cache || s.row < 0) return;
  const int full = std::min(s.computed, static_cast<int>(s.tokens.size())) / limits_.page_tokens;
  for (; s.published < full; ++s.published)
    s.last_serial = pages_.publish(s.pages[static_cast<std::size_t>(s.published)],
                                   page_content(s, s.published, s.last_serial, limits_.page_tokens));
}

/// Tokens that running sequences are expected to write still, in pages.
inline int Scheduler::pages_still_written() const {
  double tokens = 0;
  const int most =
      limits_.window > 0 ? std::min(foreseen_tokens, limits_.window + limits_.page_tokens) : foreseen_tokens;
  for (const Sequence* s : running_) tokens += write_share_ * std::min(std::max(s->left(), 0), most);
  return pages_for(static_cast<int>(tokens));
}

inline bool Scheduler::admit(Sequence& s, StepPlan& plan) {
  const std::vector<int> prefix = find_prefix(s);
  const auto unused =
      std::count_if(prefix.begin(), prefix.end(), [&](int page) { return pages_.references(page) == 0; });
  const int all = pages_for(s.length()), fresh = all - static_cast<int>(prefix.size());
  if (fresh + static_cast<int>(unused) + (running_.empty() ? 0 : pages_still_written()) > pages_.available())
    return false;
  for (const int page : prefix) pages_.share(page);
  s.pages = prefix;
  while (static_cast<int>(s.pages.size()) < all) s.pages.push_back(pages_.take());
  s.computed = static_cast<int>(prefix.size()) * limits_.page_tokens;
  s.published = static_cast<int>(prefix.size());
  s.last_serial = prefix.empty() ? 0 : pages_.serial(prefix.back());
  s.row = free_rows_.back();
  free_rows_.pop_back();
  waiting_.erase(&s);
  running_.insert(std::upper_bound(running_.begin(), running_.end(), &s, ServedFirst{}), &s);
  if (limits_.prefix_cache) {
    counts_.prefix_queried += s.tokens.size();
    counts_.prefix_hit += static_cast<std::uint64_t>(s.computed);
  }
  take_adapter_slot(s, plan);
  plan.starts.push_back({s.request.id, s.row, s.computed, s.tokens});
  for (int i = 0; i < all; ++i) plan.pages.push_back({s.row, i, s.pages[static_cast<std::size_t>(i)]});
  return true;
}

inline void Scheduler::take_adapter_slot(Sequence& s, StepPlan& plan) {
  if (!s.request.adapter) return;
  const AdapterId id = s.request.adapter->id;
  const bool added = adapters_.hold(id) == AdapterSlots::Held::added;
  s.adapter_slot = adapters_.slot_of(id);
  if (added) plan.adapters.push_back({s.adapter_slot, s.request.adapter});
}

/// Gives back what a running sequence holds.
inline void Scheduler::leave_row(Sequence& s) {
  if (s.row < 0) return;
  release_images(s, static_cast<int>(s.request.tokens.size()));
  release_pages(s, pages_);
  free_rows_.push_back(s.row);
  if (s.request.adapter) adapters_.release(s.request.adapter->id);
  running_.erase(std::find(running_.begin(), running_.end(), &s));
  s.row = s.adapter_slot = -1;
  s.computed = s.published = 0;
  s.last_serial = 0;
}

inline void Scheduler::preempt(Sequence& s) {
  leave_row(s);
  waiting_.insert(&s);
  ++counts_.preemptions;
}

inline void Scheduler::remove(Sequence& s) {
  leave_row(s);
  waiting_.erase(&s);
  sequences_.erase(s.request.id);
}

/// A page for the next token of a sequence, if it needs one. Returns false if the sequence itself had to give up.
inline bool Scheduler::find_page(Sequence& s, StepPlan& plan) {
  if (s.computed < static_cast<int>(s.pages.size()) * limits_.page_tokens) return true;
  while (pages_.available() == 0) {
    Sequence& last = *running_.back();
    preempt(last);
    if (&last == &s) return false;
  }
  plan.pages.push_back({s.row, static_cast<int>(s.pages.size()), pages_.take()});
  s.pages.push_back(plan.pages.back().page);
  return true;
}

inline void Scheduler::add_row(Sequence& s, int count, StepPlan& plan) {
  const bool samples = s.computed + count == s.length();
  StepRow row{s.request.id, s.row, s.computed, count, samples};
  row.adapter_slot = s.adapter_slot;
  row.prompt = s.computed < static_cast<int>(s.request.tokens.size());
  if (s.computed == s.scored) row.scored = std::clamp(s.to_score() - s.scored, 0, count);
  s.scored += row.scored;
  plan.scored_tokens += row.scored;
  for (const ImageSpan& image : s.request.images)
    if (image.first < s.computed + count && image.first + image.tokens > s.computed) row.images.push_back(image);
  plan.rows.push_back(std::move(row));
  plan.tokens += count;
  s.computed += count;
  s.pending += samples;
}

/// At most `count` further tokens of a sequence, but none of an image whose rows cannot be had in this step. A sequence
/// waits for an image only while it holds no other: so two sequences never wait for each other.
inline int Scheduler::before_missing_image(Sequence& s, int count, StepPlan& plan) {
  for (std::size_t i = 0; i < s.request.images.size(); ++i) {
    const ImageSpan& image = s.request.images[i];
    if (image.first + image.tokens <= s.computed || image.first >= s.computed + count || s.holds[i]) continue;
    const bool affordable = images_.has(image.hash) || plan.image_tokens == 0 ||
                            plan.image_tokens + image.cost() <= limits_.step_image_tokens;
    const auto held = affordable ? images_.hold(image.hash, image.tokens) : ImageRows::Held::full;
    if (held == ImageRows::Held::full) return std::max(0, image.first - s.computed);
    s.holds[i] = true;
    if (held == ImageRows::Held::ready) continue;
    const bool adapted = s.request.adapter && s.request.adapter->encodes_images;
    plan.images.push_back({s.request.id, image, adapted ? s.adapter_slot : -1});
    plan.image_tokens += image.cost();
  }
  return count;
}

inline int Scheduler::chunk(Sequence& s, int budget, StepPlan& plan) {
  int count = std::min(s.wanted(), budget);
  if (limits_.prompt_chunk_tokens > 0) count = std::min(count, limits_.prompt_chunk_tokens);
  count = before_missing_image(s, cut_to_scored(s, count, plan), plan);
  if (count > 0) add_row(s, count, plan);
  return count;
}

/// At most `count` further tokens of a sequence, but none that must be scored and cannot be in this step. Tokens that
/// were scored before the sequence gave up its pages are read by themselves.
inline int Scheduler::cut_to_scored(const Sequence& s, int count, const StepPlan& plan) const {
  if (s.computed < s.scored) return std::min(count, s.scored - s.computed);
  const int room = limits_.scored_tokens - plan.scored_tokens;
  return s.to_score() - s.scored > room ? std::min(count, room) : count;
}

/// Gives back the rows of images before token `computed`.
inline void Scheduler::release_images(Sequence& s, int computed) {
  for (std::size_t i = 0; i < s.holds.size(); ++i) {
    const ImageSpan& image = s.request.images[i];
    if (!s.holds[i] || image.first + image.tokens > computed) continue;
    images_.release(image.hash);
    s.holds[i] = false;
  }
}

inline StepPlan Scheduler::plan() {
  StepPlan plan;
  const std::uint64_t before = counts_.preemptions;
  const auto reads_one = [this](const Sequence& s) { return s.wanted() == 1 && !ended(s); };
  for (std::size_t i = 0; i < running_.size(); ++i)
    if (Sequence& s = *running_[i]; reads_one(s) && find_page(s, plan)) add_row(s, 1, plan);
  const auto budget = [&] { return limits_.step_tokens - plan.tokens; };
  for (std::size_t i = 0; i < running_.size() && budget() > 0; ++i)
    if (Sequence& s = *running_[i]; s.wanted() > 1) chunk(s, budget(), plan);
  if (counts_.preemptions == before) admit_waiting(plan);
  write_share_ = counts_.preemptions == before ? std::max(least_share, write_share_ - share_step) : most_share;
  finish_plan(plan);
  return plan;
}

/// Waiting sequences begin while the step has room for them.
inline void Scheduler::admit_waiting(StepPlan& plan) {
  std::vector<Sequence*> set_aside;
  for (auto at = waiting_.begin(); at != waiting_.end();) {
    if (plan.tokens >= limits_.step_tokens || free_rows_.empty()) return;
    Sequence& next = **at++;
    const bool overdue = std::any_of(set_aside.begin(), set_aside.end(),
                                     [this](const Sequence* s) { return s->overtaken >= limits_.rows; });
    if (next.pending > 0) return;
    if (next.request.adapter && (overdue || !adapters_.has_room(next.request.adapter->id))) {
      set_aside.push_back(&next);
      continue;
    }
    if (!admit(next, plan)) return;
    if (next.request.adapter)
      for (Sequence* s : set_aside) ++s->overtaken;
    chunk(next, limits_.step_tokens - plan.tokens, plan);
  }
}

/// Pages that this step fills can be found from the next plan on: a step that uses them runs after this one.
inline void Scheduler::finish_plan(StepPlan& plan) {
  for (const StepRow& row : plan.rows) {
    Sequence& s = *sequences_.at(row.id);
    release_images(s, s.computed);
    publish_full_pages(s);
    release_unseen(s, pages_, limits_);
  }
  std::stable_partition(plan.rows.begin(), plan.rows.end(), [](const StepRow& r) { return r.decodes(); });
  if (!plan.empty()) plan.number = ++steps_;
}

inline std::vector<Arrival> Scheduler::received(const StepChoices& result) {
  std::vector<Arrival> arrivals;
  for (const Chosen& chosen : result.chosen) {
    const auto found = sequences_.find(chosen.id);
    if (found == sequences_.end()) continue;  // cancelled, or ended one step ago
    Sequence& s = *found->second;
    --s.pending;
    if (chosen.token < 0) {  // its numbers must not reach another request
      forget_pages(s, pages_, limits_.page_tokens);
      remove(s);
      arrivals.push_back({chosen.id, chosen.token, true});
      continue;
    }
    s.tokens.push_back(chosen.token);
    publish_full_pages(s);
    const bool last = s.pending == 0 && ended(s);
    arrivals.push_back({chosen.id, chosen.token, last});
    if (last) remove(s);
  }
  return arrivals;
}

inline std::vector<RequestId> Scheduler::failed(const std::vector<StepPlan>& plans) {
  std::set<RequestId> ids;
  for (const StepPlan& plan : plans) {
    for (const RowStart& start : plan.starts) ids.insert(start.id);
    for (const StepRow& row : plan.rows) ids.insert(row.id);
  }
  std::vector<RequestId> removed;
  for (const RequestId id : ids)
    if (cancel(id)) removed.push_back(id);
  pages_.forget_all();
  adapters_.forget_unused();
  for (const StepPlan& plan : plans)
    for (const ImageEncode& encode : plan.images) images_.forget(encode.image.hash);
  return removed;
}

}  // namespace lamina::engine
