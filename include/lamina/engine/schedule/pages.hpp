#pragma once
#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <unordered_set>
#include <utility>
#include <vector>

#include <lamina/core/error.hpp>

/// Pages of the key/value cache as numbers: who uses which page, and which computed pages can be used again. No bytes,
/// no model.
namespace lamina::engine {

/// Identifies an image by its content: a SHA-256 over its pixels, its shape and the settings of its processor. Two
/// images with equal bytes but another shape or palette have different hashes.
using ImageHash = std::array<std::uint8_t, 32>;

/// An image that touches a page.
struct ImageInPage {
  ImageHash hash;
  int first = 0;  ///< place of its first token relative to the page's first token; negative if it began before
  bool operator==(const ImageInPage&) const = default;
};

/// Everything that decides the keys and values of a full page. Two pages of equal content hold equal numbers. Contents
/// are compared whole, so that no collision of hashes can serve one user's text to another.
struct PageContent {
  std::uint64_t before = 0;  ///< serial of the page before it in its sequence; 0: it is the first page
  std::vector<int> ids;      ///< its tokens
  std::vector<ImageInPage> images;
  std::string scope;  ///< first page only: the adapter and the request's cache salt
  bool operator==(const PageContent&) const = default;
};

/// A fixed number of pages with reference counts. Pages without references stay findable by their content until they
/// are needed for something else, the least recently used first. Every operation but the comparison of one content
/// takes constant time.
class PagePool {
 public:
  /// errors  lamina::Error if `pages` is less than 1.
  explicit PagePool(int pages);
  PagePool(const PagePool&) = delete;
  PagePool& operator=(const PagePool&) = delete;

  int total() const { return static_cast<int>(pages_.size()) - 1; }
  /// Pages without references: take() may be called so many times.
  int available() const { return available_; }
  /// Pages without references whose content can still be found.
  int cached() const { return cached_; }
  int references(int page) const { return at(page).references; }

  /// A page for new keys and values, with one reference. Its old content, if any, is forgotten.
  /// errors  lamina::Error if no page is available.
  int take();
  /// One more reference to a page that find() returned.
  void share(int page);
  /// One reference less. A page without references is the last of those that take() will use if its content is known,
  /// the first if not.
  void release(int page);

  /// The page that holds this content, if there is one.
  std::optional<int> find(const PageContent& content) const;
  /// Makes the content of a referenced page findable. Returns the serial that the next page of the sequence names as
  /// `before`: that of this page, or of another page that already holds the same content (this page stays private).
  std::uint64_t publish(int page, PageContent content);
  /// The content of this page can no longer be found; its references stay.
  void forget(int page);
  /// forget() for every page. Returns the number of pages forgotten.
  int forget_all();
  /// The serial under which the page's content was published; 0 if it was not.
  std::uint64_t serial(int page) const { return at(page).serial; }

 private:
  struct Page {
    int references = 0, previous = 0, next = 0;
    std::uint64_t serial = 0;
    PageContent content;
  };
  struct ContentHash {
    using is_transparent = void;
    const std::vector<Page>* pages;
    std::size_t operator()(const PageContent& content) const;
    std::size_t operator()(int page) const { return (*this)((*pages)[static_cast<std::size_t>(page)].content); }
  };
  struct SameContent {
    using is_transparent = void;
    const std::vector<Page>* pages;
    const PageContent& of(int page) const { return (*pages)[static_cast<std::size_t>(page)].content; }
    const PageContent& of(const PageContent& content) const { return content; }
    template <class A, class B>
    bool operator()(const A& a, const B& b) const {
      return of(a) == of(b);
    }
  };
  static constexpr int list = 0;  ///< index of the free list's head; pages are numbered from 1 inside, from 0 outside

  Page& at(int page) { return pages_[static_cast<std::size_t>(page + 1)]; }
  const Page& at(int page) const { return pages_[static_cast<std::size_t>(page + 1)]; }
  void link(int index, int before);  ///< into the free list, in front of `before`
  void unlink(int index);

  std::vector<Page> pages_;  ///< [0] is the head of the free list, a ring: next is the first to be taken
  int available_ = 0, cached_ = 0;
  std::uint64_t last_serial_ = 0;
  std::unordered_set<int, ContentHash, SameContent> by_content_;
};

inline PagePool::PagePool(int pages)
    : pages_(pages < 1 ? 1 : static_cast<std::size_t>(pages) + 1),
      by_content_(16, ContentHash{&pages_}, SameContent{&pages_}) {
  if (pages < 1) fail("page pool: ", pages, " pages; at least 1 is needed");
  for (int page = 0; page < pages; ++page) link(page + 1, list);
}

inline std::size_t PagePool::ContentHash::operator()(const PageContent& content) const {
  std::uint64_t h = content.before;
  const auto mix = [&h](std::uint64_t value) {  // FNV-1a by words; quality enough, since contents are compared
    h = (h ^ value) * 0x100000001b3ull;
    h ^= h >> 29;
  };
  for (const int id : content.ids) mix(static_cast<std::uint32_t>(id));
  for (const ImageInPage& image : content.images) {
    for (const std::uint8_t byte : image.hash) mix(byte);
    mix(static_cast<std::uint32_t>(image.first));
  }
  for (const char c : content.scope) mix(static_cast<std::uint8_t>(c));
  return static_cast<std::size_t>(h);
}

inline void PagePool::link(int index, int before) {
  Page& page = pages_[static_cast<std::size_t>(index)];
  Page& after = pages_[static_cast<std::size_t>(before)];
  page.previous = after.previous;
  page.next = before;
  pages_[static_cast<std::size_t>(page.previous)].next = index;
  after.previous = index;
  ++available_;
  cached_ += page.serial != 0;
}

inline void PagePool::unlink(int index) {
  const Page& page = pages_[static_cast<std::size_t>(index)];
  pages_[static_cast<std::size_t>(page.previous)].next = page.next;
  pages_[static_cast<std::size_t>(page.next)].previous = page.previous;
  --available_;
  cached_ -= page.serial != 0;
}

inline int PagePool::take() {
  const int page = pages_[list].next - 1;
  if (page + 1 == list) fail("page pool: all ", total(), " pages are in use");
  unlink(page + 1);
  forget(page);
  at(page).references = 1;
  return page;
}

inline void PagePool::share(int page) {
  if (at(page).references++ == 0) unlink(page + 1);
}

inline void PagePool::release(int page) {
  if (at(page).references < 1) fail("page pool: page ", page, " is released but nobody holds it");
  if (--at(page).references == 0) link(page + 1, at(page).serial != 0 ? list : pages_[list].next);
}

inline std::optional<int> PagePool::find(const PageContent& content) const {
  const auto found = by_content_.find(content);
  return found == by_content_.end() ? std::nullopt : std::optional(*found - 1);
}

inline std::uint64_t PagePool::publish(int page, PageContent content) {
  if (const auto known = find(content)) return serial(*known);
  forget(page);
  at(page).content = std::move(content);
  at(page).serial = ++last_serial_;
  by_content_.insert(page + 1);
  return at(page).serial;
}

inline void PagePool::forget(int page) {
  Page& forgotten = at(page);
  if (forgotten.serial == 0) return;
  by_content_.erase(page + 1);
  cached_ -= forgotten.references == 0;
  forgotten.serial = 0;
  forgotten.content = {};
}

inline int PagePool::forget_all() {
  const int known = static_cast<int>(by_content_.size());
  for (int page = 0; page < total(); ++page) forget(page);
  return known;
}

}  // namespace lamina::engine
