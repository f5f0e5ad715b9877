#include <lamina/kernel/cpu/attention/attention.hpp>
#include <lamina/kernel/cpu/attention/paged_attention.hpp>

#include "kernel/paged_problem.hpp"
#include "kernel/random_matrix.hpp"
#include "support/catch.hpp"

using namespace lamina;
using namespace lamina::kernel;

TEST_CASE("paged attention: equals attention over the same keys in a row") {
  for (const test::PagedSizes& sizes : test::paged_sizes()) {
    const test::PagedProblem p(sizes);
    std::vector<float> got(p.q.size(), NAN), want(p.q.size(), NAN);
    auto paged = p.forward(got.data());
    paged_attention<Cpu>::forward({}, paged);
    attention<Cpu>::forward({}, AttentionFwd<float>{.q = paged.q,
                                                    .k = {p.k.data(), p.cu_keys.back(), p.kv_width()},
                                                    .v = {p.v.data(), p.cu_keys.back(), p.kv_width()},
                                                    .o = {want.data(), paged.q.rows, paged.q.cols},
                                                    .cu_q = p.cu_q.data(),
                                                    .cu_k = p.cu_keys.data(),
                                                    .sequences = paged.sequences,
                                                    .shape = paged.shape});
    // Both sum the same products in another order. A score, of terms of at most 1, is off by sum_tolerance(Dh) of their
    // number, so a probability by as much of itself; values are at most 1.
    const auto& shape = sizes.shape;
    const double score = shape.scale * shape.head_dim * test::sum_tolerance(shape.head_dim);
    const double bound = 2 * score + 2 * test::sum_tolerance(p.longest_keys());
    for (std::size_t i = 0; i < got.size(); ++i) {
      INFO("element " << i);
      CHECK(std::abs(got[i] - want[i]) <= bound);
    }
  }
}

TEST_CASE("paged attention: half precision reads the same keys") {
  const test::PagedProblem p(test::paged_sizes()[6]);
  const auto rounded = [](const std::vector<float>& from) {
    std::vector<f16> to(from.size());
    std::transform(from.begin(), from.end(), to.begin(), [](float x) { return round_to<f16>(x); });
    return to;
  };
  const std::vector<f16> q = rounded(p.q), k_pages = rounded(p.k_pages), v_pages = rounded(p.v_pages);
  std::vector<float> want(q.size());
  std::vector<f16> got(q.size());
  const auto full = p.forward(want.data());
  paged_attention<Cpu>::forward({}, full);
  paged_attention<Cpu>::forward({}, PagedAttentionFwd<f16>{.q = {q.data(), full.q.rows, full.q.cols},
                                                           .k = {k_pages.data(), p.page_stride(), full.k.page_tokens},
                                                           .v = {v_pages.data(), p.page_stride(), full.v.page_tokens},
                                                           .o = {got.data(), full.q.rows, full.q.cols},
                                                           .tables = full.tables,
                                                           .cu_q = full.cu_q,
                                                           .cu_keys = full.cu_keys,
                                                           .sequences = full.sequences,
                                                           .shape = full.shape});
  // Inputs of at most 1 are off by 2^-12; a score by 2 Dh scale 2^-12 and so each probability by as much of itself.
  const double bound = 2 * full.shape.head_dim * full.shape.scale * 0x1p-12 * 2 + 0x1p-10;
  for (std::size_t i = 0; i < got.size(); ++i) CHECK(std::abs(to_f32(got[i]) - want[i]) <= bound);
}

TEST_CASE("paged attention: written rows are found where their slots say, and a negative slot is left out") {
  const test::PagedProblem p(test::paged_sizes()[1]);
  std::vector<float> k_pages(p.k_pages.size(), -1), v_pages(p.v_pages.size(), -1);
  std::vector<int> slots = p.slots;
  slots.back() = -1;
  paged_attention<Cpu>::write({}, PagedWrite<float>{.k = {p.k.data(), p.cu_keys.back(), p.kv_width()},
                                                    .v = {p.v.data(), p.cu_keys.back(), p.kv_width()},
                                                    .k_pages = {k_pages.data(), p.page_stride(), p.sizes.page_tokens},
                                                    .v_pages = {v_pages.data(), p.page_stride(), p.sizes.page_tokens},
                                                    .slots = slots.data(),
                                                    .head_dim = p.sizes.shape.head_dim});
  for (std::size_t n = 0; n < slots.size(); ++n)
    for (int c = 0; c < p.kv_width(); ++c) {
      const std::size_t at = p.place(p.slots[n], c);
      CHECK(k_pages[at] == (slots[n] < 0 ? -1 : p.k[n * p.kv_width() + c]));
      CHECK(v_pages[at] == (slots[n] < 0 ? -1 : p.v[n * p.kv_width() + c]));
    }
}

TEST_CASE("paged attention: splits cover each sequence once, in order, and workers have equal shares") {
  for (const int workers : {1, 3, 7, 200})
    for (const int fixed : {0, 1, 4}) {
      INFO(workers << " workers, fixed length " << fixed);
      const std::vector<int> cu_keys = {0, 700, 700, 701, 830, 2000}, cu_q = {0, 1, 2, 3, 4, 5}, rows = {4, 2, 9, 0, 1};
      const int tiles = 11 + 1 + 1 + 3 + 19;
      std::vector<KeySplit> splits(5 + (fixed ? tiles / fixed : workers));
      std::vector<int> starts(workers + 1, -1);
      paged_attention<Cpu>::split({},
                                  {cu_q.data(),
                                   cu_keys.data(),
                                   rows.data(),
                                   5,
                                   {splits.data(), starts.data(), static_cast<int>(splits.size()), workers, fixed}});
      const int count = starts.back();
      REQUIRE(count <= static_cast<int>(splits.size()));
      int sequence = -1, end = 0;
      for (int i = 0; i < count; ++i) {
        const KeySplit& split = splits[static_cast<std::size_t>(i)];
        const int keys = cu_keys[split.sequence + 1] - cu_keys[split.sequence];
        if (split.sequence != sequence) {
          CHECK(split.sequence == ++sequence);
          CHECK(split.index == i);
          end = 0;
        }
        CHECK(split.first == end);
        CHECK(split.place == i - split.index);
        CHECK(split.row == cu_q[split.sequence]);
        CHECK(split.table == rows[split.sequence]);
        end = split.end;
        if (split.place + 1 == split.count) CHECK(end == keys);
        if (fixed && split.place + 1 < split.count) CHECK(split.end - split.first == 64 * fixed);
      }
      CHECK(sequence == 4);
      CHECK(starts.front() == 0);
      for (int w = 0; w < workers; ++w) {
        REQUIRE(starts[w] <= starts[w + 1]);
        int share = 0;
        for (int i = starts[w]; i < starts[w + 1]; ++i)
          share += std::max(1, (splits[i].end - splits[i].first + 63) / 64);
        if (!fixed) CHECK(share <= (tiles + workers - 1) / workers);
      }
    }
}
