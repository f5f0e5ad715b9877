#pragma once
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <type_traits>
#include <vector>

#include <lamina/core/threads.hpp>
#include <lamina/kernel/attention/paged_attention.hpp>
#include <lamina/kernel/cpu/attention/attention.hpp>
#include <lamina/kernel/cpu/norm/norm_rope.hpp>

/// Page after page with a running softmax. The keys of a page are one matrix, so a block of queries meets them in one
/// product; the query heads of a group are the block of a sequence that has one query.
template <>
struct lamina::kernel::paged_attention<lamina::Cpu> {
  /// Workers of a decoding step, for KeySplits: its loops share out sequences and heads by themselves.
  static int workers(int /*multiprocessors*/, int /*kv_heads*/) { return 1; }

  static void edit(Stream<Cpu>, const PageTableEdits& a) {
    for (int i = 0; i < a.count; ++i) a.entries[a.at[i]] = a.page[i];
  }
  template <class T>
  static void write(Stream<Cpu>, const PagedWrite<T>& a) {
    parallel_for(a.k.rows, [&](std::int64_t n) {
      const int row = static_cast<int>(n), slot = a.slots[row], tokens = a.k_pages.page_tokens;
      if (slot < 0) return;
      const auto bytes = sizeof(T) * static_cast<std::size_t>(a.head_dim);
      for (int h = 0; h < a.k.cols / a.head_dim; ++h) {
        std::memcpy(a.k_pages.row(slot / tokens, h, slot % tokens, a.head_dim), a.k.row(row) + h * a.head_dim, bytes);
        std::memcpy(a.v_pages.row(slot / tokens, h, slot % tokens, a.head_dim), a.v.row(row) + h * a.head_dim, bytes);
      }
    });
  }

  template <class T>
  static void rotate_and_write(Stream<Cpu> s, const RotateAndWrite<T>& a) {
    norm_rope<Cpu>::forward(s, a.q, a.k);
    write(s, a.write);
  }

  static void split(Stream<Cpu>, const SplitKeys& a) {
    const auto tiles_of = [&](int b) {
      return std::max(1, (a.cu_keys[b + 1] - a.cu_keys[b] + split_tile_keys - 1) / split_tile_keys);
    };
    std::int64_t tiles = 0, tile = 0;
    for (int b = 0; b < a.sequences; ++b) tiles += tiles_of(b);
    const std::int64_t workers = std::min<std::int64_t>(a.to.workers, tiles);
    int count = 0, begun = 0;  // splits so far; workers whose share has begun
    for (int b = 0; b < a.sequences; ++b) {
      const int first = count, keys = a.cu_keys[b + 1] - a.cu_keys[b];
      for (int i = 0; i < tiles_of(b); ++i, ++tile) {
        const bool share = begun < workers && tile * workers / tiles >= begun;
        const bool cut = i == 0 || (a.to.fixed_tiles > 0 ? i % a.to.fixed_tiles == 0 : share);
        if (!cut) continue;
        for (; begun < workers && tile * workers / tiles >= begun; ++begun) a.to.starts[begun] = count;
        if (i > 0) a.to.splits[count - 1].end = i * split_tile_keys;
        a.to.splits[count] = {.sequence = b,
                              .row = a.cu_q[b],
                              .first = i * split_tile_keys,
                              .end = keys,
                              .index = first,
                              .count = 0,
                              .table = a.rows[b],
                              .place = count - first};
        ++count;
      }
      for (int i = first; i < count; ++i) a.to.splits[i].count = count - first;
    }
    std::fill(a.to.starts + begun, a.to.starts + a.to.workers + 1, count);
  }

  /// Reads the keys of a sequence in one run, whatever the splits.
  template <class T>
  static void decode(Stream<Cpu> s, const PagedAttentionFwd<T>& a) {
    forward(s, a);
  }

  template <class T>
  static void forward(Stream<Cpu>, const PagedAttentionFwd<T>& a);

 private:
  static constexpr int query_block = 96, most_page_tokens = 128;
  /// Some queries of a sequence, for the query heads of one key/value head.
  struct Item {
    int sequence, kv, first, queries;
  };
  struct Scores {};

  /// Other element types than fp32: all keys in a row, as attention.hpp has them.
  template <class T>
  static void attend_in_a_row(const PagedAttentionFwd<T>& a) {
    const int keys = a.cu_keys[a.sequences], dh = a.shape.head_dim, width = a.shape.kv_heads * dh;
    std::vector<T> k(static_cast<std::size_t>(keys) * static_cast<std::size_t>(width)), v(k.size());
    for (int b = 0; b < a.sequences; ++b)
      for (int n = a.cu_keys[b]; n < a.cu_keys[b + 1]; ++n)
        for (int h = 0; h < a.shape.kv_heads; ++h) {
          const int at = n - a.cu_keys[b], page = a.tables.of(b)[at / a.k.page_tokens], token = at % a.k.page_tokens;
          std::copy_n(a.k.row(page, h, token, dh), dh, &k[static_cast<std::size_t>(n) * width + h * dh]);
          std::copy_n(a.v.row(page, h, token, dh), dh, &v[static_cast<std::size_t>(n) * width + h * dh]);
        }
    plain::attention_forward(AttentionFwd<T>{.q = a.q,
                                             .k = {k.data(), keys, width},
                                             .v = {v.data(), keys, width},
                                             .o = a.o,
                                             .cu_q = a.cu_q,
                                             .cu_k = a.cu_keys,
                                             .sequences = a.sequences,
                                             .shape = a.shape});
  }

  static void attend(const PagedAttentionFwd<float>& a, const Item& item) {
    const int dh = a.shape.head_dim, group = a.shape.heads / a.shape.kv_heads;
    const int row = a.cu_q[item.sequence] + item.first;
    if (item.queries == 1) {  // a row per head
      const auto heads = [&](auto x) { return decltype(x){x.row(row) + item.kv * group * dh, group, dh}; };
      return softmax_rows(a, item, heads(a.q), heads(a.o), 0);
    }
    for (int h = item.kv * group; h < (item.kv + 1) * group; ++h)  // a row per query
      softmax_rows(a, item, detail::head_of(a.q, row, item.queries, h, dh),
                   detail::head_of(a.o, row, item.queries, h, dh), 1);
  }

  /// Row i of q is query item.first + i * step of the sequence.
  static void softmax_rows(const PagedAttentionFwd<float>& a, const Item& item, Matrix<const float> q, Matrix<float> o,
                           int step) {
    const int queries = a.cu_q[item.sequence + 1] - a.cu_q[item.sequence];
    const int keys = a.cu_keys[item.sequence + 1] - a.cu_keys[item.sequence], tokens = a.k.page_tokens;
    const int dh = a.shape.head_dim;
    const auto seen = [&](int i) { return plain::visible_keys(a.shape, item.first + i * step, queries, keys); };
    const auto hidden = [&](int i) { return plain::hidden_keys(a.shape, item.first + i * step, queries, keys); };
    std::vector<float> top(static_cast<std::size_t>(q.rows), -INFINITY), sum(static_cast<std::size_t>(q.rows), 0.0f);
    detail::fill_zero(o);
    const int* table = a.tables.of(item.sequence);
    for (int j = hidden(0) / tokens * tokens; j < seen(q.rows - 1); j += tokens) {
      const int cols = std::min(tokens, seen(q.rows - 1) - j), page = table[j / tokens];
      const Matrix<const float> k(a.k.row(page, item.kv, 0, dh), cols, dh), v(a.v.row(page, item.kv, 0, dh), cols, dh);
      const Matrix<float> s(detail::scratch<Scores>(query_block * most_page_tokens), q.rows, cols, most_page_tokens);
      detail::product_nt(q, k, s, a.shape.scale);
      for (int i = 0; i < q.rows; ++i) {
        const auto n = static_cast<std::size_t>(i);
        const int end = std::clamp(seen(i) - j, 0, cols), begin = std::clamp(hidden(i) - j, 0, end);
        detail::keep_range(s.row(i), begin, end, cols);
        if (begin == end) continue;
        const float now = std::max(top[n], detail::row_max(s.row(i) + begin, end - begin));
        const float shrink = now == top[n] ? 1.0f : std::exp(top[n] - now);
        sum[n] = sum[n] * shrink + detail::exp_row(s.row(i) + begin, end - begin, now);
        top[n] = now;
        for (int d = 0; shrink != 1 && d < dh; ++d) o(i, d) *= shrink;
      }
      detail::add_product(s, v, o);
    }
    for (int i = 0; i < q.rows; ++i)
      for (int d = 0; sum[static_cast<std::size_t>(i)] != 0 && d < dh; ++d) o(i, d) /= sum[static_cast<std::size_t>(i)];
  }
};

template <class T>
void lamina::kernel::paged_attention<lamina::Cpu>::forward(Stream<Cpu>, const PagedAttentionFwd<T>& a) {
  detail::expect_heads(a.shape);
  if constexpr (std::is_same_v<T, float>) {
    std::vector<Item> items;
    for (int b = 0; b < a.sequences; ++b) {
      const int queries = a.cu_q[b + 1] - a.cu_q[b];
      for (int kv = 0; kv < a.shape.kv_heads; ++kv)
        for (int i = 0; i < queries; i += query_block) items.push_back({b, kv, i, std::min(query_block, queries - i)});
    }
    parallel_for(static_cast<std::int64_t>(items.size()),
                 [&](std::int64_t i) { attend(a, items[static_cast<std::size_t>(i)]); });
  } else {
    attend_in_a_row(a);
  }
}
