#include <lamina/engine/schedule/pages.hpp>

#include <list>
#include <map>
#include <random>

#include "support/catch.hpp"
#include "support/error_of.hpp"

using namespace lamina;
using namespace lamina::engine;
using lamina::testing::error_of;

namespace {
PageContent content_of(std::uint64_t before, std::vector<int> ids, std::string scope = {}) {
  return {.before = before, .ids = std::move(ids), .images = {}, .scope = std::move(scope)};
}
}  // namespace

TEST_CASE("PagePool: a page without references is found by its content until it is taken for another") {
  PagePool pool(3);
  const int a = pool.take(), b = pool.take();
  const auto serial = pool.publish(a, content_of(0, {1, 2}));
  pool.publish(b, content_of(serial, {3, 4}));
  pool.release(b);
  pool.release(a);
  CHECK(pool.available() == 3);
  CHECK(pool.cached() == 2);
  CHECK(pool.find(content_of(0, {1, 2})) == a);
  const int c = pool.take();  // the page that holds nothing comes first
  CHECK(c != a);
  CHECK(c != b);
  CHECK(pool.take() == b);  // then the one that was released first
  CHECK_FALSE(pool.find(content_of(serial, {3, 4})));
  CHECK(pool.find(content_of(0, {1, 2})) == a);
  pool.share(a);
  CHECK(pool.available() == 0);
  CHECK(error_of([&] { pool.take(); }) == "page pool: all 3 pages are in use");
  CHECK(pool.find(content_of(0, {1, 2})) == a);
}

TEST_CASE("PagePool: pages of equal content share a serial, and the second stays private") {
  PagePool pool(2);
  const int a = pool.take(), b = pool.take();
  const auto serial = pool.publish(a, content_of(0, {1}));
  CHECK(pool.publish(b, content_of(0, {1})) == serial);
  CHECK(pool.serial(b) == 0);
  pool.release(b);
  CHECK(pool.cached() == 0);
  CHECK(pool.forget_all() == 1);
  CHECK_FALSE(pool.find(content_of(0, {1})));
}

TEST_CASE("PagePool: predecessor, images, their place and scope tell contents apart") {
  PagePool pool(8);
  ImageHash one{}, two{};
  two[31] = 1;
  const std::vector<PageContent> contents = {
      content_of(0, {1, 2}),
      content_of(7, {1, 2}),
      content_of(0, {2, 1}),
      content_of(0, {1, 2}, "adapter"),
      {.before = 0, .ids = {1, 2}, .images = {{one, 0}}, .scope = {}},
      {.before = 0, .ids = {1, 2}, .images = {{two, 0}}, .scope = {}},
      {.before = 0, .ids = {1, 2}, .images = {{one, 1}}, .scope = {}},
  };
  std::vector<int> pages;
  for (const auto& content : contents) pool.publish(pages.emplace_back(pool.take()), content);
  for (std::size_t i = 0; i < contents.size(); ++i) CHECK(pool.find(contents[i]) == pages[i]);
}

TEST_CASE("PagePool: a random run agrees with a naive model") {
  constexpr int total = 7;
  PagePool pool(total);
  std::map<int, int> references;                // of pages in use
  std::list<int> free = {0, 1, 2, 3, 4, 5, 6};  // the first is taken first
  std::map<int, int> known;                     // page -> content, a number
  std::mt19937 random(1);
  const auto below = [&](int n) { return static_cast<int>(random() % static_cast<unsigned>(n)); };
  const auto any = [&] { return std::next(references.begin(), below(static_cast<int>(references.size())))->first; };
  for (int i = 0; i < 20000; ++i) {
    switch (below(4)) {
      case 0:
        if (free.empty()) break;
        CHECK(pool.take() == free.front());
        known.erase(free.front());
        references[free.front()] = 1;
        free.pop_front();
        break;
      case 1: {
        if (references.empty()) break;
        const int page = any();
        pool.release(page);
        if (--references[page] > 0) break;
        references.erase(page);
        known.count(page) ? free.push_back(page) : free.push_front(page);
        break;
      }
      case 2: {
        if (references.empty()) break;
        const int page = any(), number = below(12);
        bool elsewhere = false;
        for (const auto& [other, content] : known) elsewhere |= content == number;
        pool.publish(page, content_of(0, {number}));
        if (!elsewhere) known[page] = number;
        break;
      }
      default: {
        const int number = below(12);
        const auto found = pool.find(content_of(0, {number}));
        int expected = -1;
        for (const auto& [page, content] : known)
          if (content == number) expected = page;
        CHECK(found.value_or(-1) == expected);
        if (!found) break;
        pool.share(*found);
        free.remove(*found);
        ++references[*found];
      }
    }
    CHECK(pool.available() == static_cast<int>(free.size()));
  }
}
