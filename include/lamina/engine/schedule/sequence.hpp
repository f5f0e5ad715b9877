#pragma once
#include <algorithm>
#include <cstdint>
#include <iterator>
#include <utility>
#include <vector>

#include <lamina/core/error.hpp>
#include <lamina/engine/images/image_hash.hpp>
#include <lamina/engine/request/request.hpp>
#include <lamina/engine/schedule/pages.hpp>
#include <lamina/engine/schedule/scheduler_limits.hpp>

namespace lamina::engine {

/// A request as the scheduler keeps it.
struct Sequence {
  Request request;
  std::vector<int> tokens;  ///< known: the prompt and what arrived
  std::uint64_t arrival = 0;
  int computed = 0;               ///< tokens whose keys and values are in the pages, those of steps in flight included
  int pending = 0;                ///< tokens that steps in flight choose
  int row = -1;                   ///< -1: not running
  int adapter_slot = -1;          ///< while it runs
  int overtaken = 0;              ///< times that it was set aside while a later one with an adapter began
  int scored = 0;                 ///< tokens of the prompt after which the next one was scored
  int published = 0;              ///< pages whose content was made findable
  std::uint64_t last_serial = 0;  ///< of the last published page
  std::vector<int> pages;         ///< the first `released` of them are others' by now
  int released = 0;               ///< pages that no further token of the sequence reads
  std::vector<bool> holds;        ///< by image: its rows are held

  int length() const { return static_cast<int>(tokens.size()) + pending; }
  int wanted() const { return length() - computed; }
  int generated() const { return length() - static_cast<int>(request.tokens.size()); }
  /// Tokens of the prompt after which the next one is scored: all but the last, if it is asked for.
  int to_score() const { return request.scores_prompt ? static_cast<int>(request.tokens.size()) - 1 : 0; }
  int left() const { return request.max_tokens - generated(); }
};

/// Makes what an adapter computes for a request its own: pages, and images if it changes their rows. Every scope begins
/// with an adapter's number, so that no salt is another adapter's scope.
inline void key_by_adapter(Request& request) {
  const AdapterId adapter = request.adapter ? request.adapter->id : 0;
  if (adapter != 0 || !request.scope.empty()) request.scope = cat(adapter, " ", request.scope);
  if (adapter != 0 && request.adapter->encodes_images)
    for (ImageSpan& image : request.images) image.hash = with_adapter(image.hash, adapter);
}

/// The order of service.
struct ServedFirst {
  bool operator()(const Sequence* a, const Sequence* b) const {
    return std::pair(a->request.priority, a->arrival) < std::pair(b->request.priority, b->arrival);
  }
};

/// Everything that decides the numbers in full page `page` of a sequence, the page before it being `before`.
inline PageContent page_content(const Sequence& s, int page, std::uint64_t before, int page_tokens) {
  const int first = page * page_tokens, end = first + page_tokens;
  PageContent content{
      .before = before, .ids = {s.tokens.begin() + first, s.tokens.begin() + end}, .images = {}, .scope = {}};
  for (const ImageSpan& image : s.request.images)
    if (image.first < end && image.first + image.tokens > first)
      content.images.push_back({image.hash, image.first - first});
  if (page == 0) content.scope = s.request.scope;
  return content;
}

/// Gives back the pages that are out of every later token's window. They stay findable, so only those are given back
/// that have been published if pages are.
inline void release_unseen(Sequence& s, PagePool& pages, const SchedulerLimits& limits) {
  if (limits.window == 0) return;
  int unseen = std::max(0, s.computed + 1 - limits.window) / limits.page_tokens;
  if (limits.prefix_cache) unseen = std::min(unseen, s.published);
  for (; s.released < unseen; ++s.released) pages.release(s.pages[static_cast<std::size_t>(s.released)]);
}
/// Gives back all pages, from the last to the first, so that the end of a sequence is overwritten before its beginning.
inline void release_pages(Sequence& s, PagePool& pages) {
  for (; std::ssize(s.pages) > s.released; s.pages.pop_back()) pages.release(s.pages.back());
  s.pages.clear();
  s.released = 0;
}
/// What a sequence computed can no longer be found: its pages, and those that it gave back, as far as they can be.
inline void forget_pages(const Sequence& s, PagePool& pages, int page_tokens) {
  std::uint64_t before = 0;
  for (int page = 0; page < s.released; ++page) {
    const auto known = pages.find(page_content(s, page, before, page_tokens));
    if (!known) break;  // nor is any after it
    before = pages.serial(*known);
    pages.forget(*known);
  }
  for (std::size_t i = static_cast<std::size_t>(s.released); i < s.pages.size(); ++i) pages.forget(s.pages[i]);
}

}  // namespace lamina::engine
