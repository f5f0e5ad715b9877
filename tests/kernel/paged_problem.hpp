#pragma once
#include <lamina/kernel/attention/paged_attention.hpp>

#include <algorithm>
#include <numeric>
#include <random>
#include <vector>

/// Queries, and keys and values both in a row and in pages, for tests of paged attention.
namespace lamina::test {

struct PagedSizes {
  std::vector<int> queries, keys;  ///< of each sequence
  int page_tokens;
  kernel::AttentionShape shape;
};

/// Single queries and chunks, alone and together; lengths around pages and tiles; each width that kernels are built
/// for.
inline std::vector<PagedSizes> paged_sizes() {
  return {
      {{1}, {1}, 16, {2, 1, 16, 0.25f, true}},
      {{1, 1, 1}, {5, 130, 64}, 16, {4, 2, 64, 0.125f, true}},
      {{1, 1, 1, 1, 1}, {640, 1, 63, 65, 0}, 64, {16, 8, 128, 0.088f, true}},
      {{1, 1}, {1000, 2500}, 64, {32, 8, 128, 0.088f, true}},
      {{1, 1, 1}, {300, 17, 90}, 32, {14, 2, 128, 0.088f, true}},
      {{1, 1}, {33, 257}, 128, {8, 1, 80, 0.11f, true}},
      {{7, 1, 130}, {7, 40, 200}, 16, {4, 2, 64, 0.125f, true}},
      {{100, 64, 3}, {100, 500, 65}, 64, {4, 2, 128, 0.088f, true}},
      {{200}, {333}, 32, {2, 2, 80, 0.11f, true}},
      {{1, 1, 1}, {5, 130, 700}, 16, {4, 2, 64, 0.125f, true, 40}},  // windows
      {{1, 1, 1}, {5, 130, 700}, 64, {8, 2, 128, 0.088f, true, 1}},
      {{100, 1, 64}, {100, 700, 500}, 64, {4, 2, 128, 0.088f, true, 130}},
  };
}

struct PagedProblem {
  PagedSizes sizes;
  std::vector<int> cu_q{0}, cu_keys{0}, tables, rows, slots;  ///< slots of all keys, sequence after sequence
  std::vector<float> q, k, v, k_pages, v_pages;               ///< k, v (keys, K * Dh)
  int table_stride = 0, pages = 0;

  explicit PagedProblem(const PagedSizes& s) : sizes(s) {
    std::mt19937 random(7);
    const auto values = [&](std::size_t n) {
      std::vector<float> x(n);
      for (float& value : x) value = std::uniform_real_distribution<float>(-1, 1)(random);
      return x;
    };
    const int sequences = static_cast<int>(s.keys.size());
    for (int b = 0; b < sequences; ++b) {
      cu_q.push_back(cu_q.back() + s.queries[b]), cu_keys.push_back(cu_keys.back() + s.keys[b]);
      pages += pages_of(b), table_stride = std::max(table_stride, pages_of(b));
      rows.push_back(sequences - 1 - b);
    }
    pages += 1;  // one that nobody uses
    std::vector<int> numbers(pages);
    std::iota(numbers.begin(), numbers.end(), 0);
    std::shuffle(numbers.begin(), numbers.end(), random);
    tables.assign(static_cast<std::size_t>(sequences) * table_stride, -1);
    int next = 0;
    for (int b = 0; b < sequences; ++b)
      for (int i = 0; i < pages_of(b); ++i) tables[rows[b] * table_stride + i] = numbers[next++];
    q = values(static_cast<std::size_t>(cu_q.back()) * s.shape.heads * s.shape.head_dim);
    k = values(static_cast<std::size_t>(cu_keys.back()) * kv_width());
    v = values(static_cast<std::size_t>(cu_keys.back()) * kv_width());
    k_pages.assign(static_cast<std::size_t>(pages) * page_stride(), 1e30f), v_pages = k_pages;
    for (int b = 0; b < sequences; ++b)
      for (int i = 0; i < s.keys[b]; ++i) {
        const int slot = tables[rows[b] * table_stride + i / s.page_tokens] * s.page_tokens + i % s.page_tokens;
        slots.push_back(slot);
        for (int c = 0; c < kv_width(); ++c) {
          k_pages[place(slot, c)] = k[static_cast<std::size_t>(cu_keys[b] + i) * kv_width() + c];
          v_pages[place(slot, c)] = v[static_cast<std::size_t>(cu_keys[b] + i) * kv_width() + c];
        }
      }
  }

  int kv_width() const { return sizes.shape.kv_heads * sizes.shape.head_dim; }
  int longest_keys() const { return *std::max_element(sizes.keys.begin(), sizes.keys.end()); }
  std::ptrdiff_t page_stride() const { return std::ptrdiff_t{kv_width()} * sizes.page_tokens; }
  int pages_of(int b) const { return (sizes.keys[b] + sizes.page_tokens - 1) / sizes.page_tokens; }
  bool single_queries() const {
    return std::all_of(sizes.queries.begin(), sizes.queries.end(), [](int n) { return n == 1; });
  }
  /// Where element c of a key lies in k_pages: head after head within a page.
  std::size_t place(int slot, int c) const {
    const int dh = sizes.shape.head_dim, page = slot / sizes.page_tokens, row = slot % sizes.page_tokens;
    return static_cast<std::size_t>(page * page_stride() + (c / dh * sizes.page_tokens + row) * dh + c % dh);
  }
  kernel::PagedAttentionFwd<float> forward(float* o) const {
    const int width = sizes.shape.heads * sizes.shape.head_dim;
    return {.q = {q.data(), cu_q.back(), width},
            .k = {k_pages.data(), page_stride(), sizes.page_tokens},
            .v = {v_pages.data(), page_stride(), sizes.page_tokens},
            .o = {o, cu_q.back(), width},
            .tables = {tables.data(), table_stride, rows.data()},
            .cu_q = cu_q.data(),
            .cu_keys = cu_keys.data(),
            .sequences = static_cast<int>(sizes.keys.size()),
            .shape = sizes.shape};
  }
};

}  // namespace lamina::test
