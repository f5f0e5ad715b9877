#pragma once
#include <cstdint>
#include <utility>
#include <vector>

#include <lamina/core/error.hpp>
#include <lamina/engine/images/image_hash.hpp>
#include <lamina/engine/request/request.hpp>
#include <lamina/engine/schedule/pages.hpp>

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
  std::vector<int> pages;
  std::vector<bool> holds;  ///< by image: its rows are held

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

}  // namespace lamina::engine
