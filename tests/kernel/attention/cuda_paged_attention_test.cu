#include <lamina/kernel/cuda/attention/paged_attention.cuh>

#include <cmath>
#include <cstring>
#include "kernel/paged_problem.hpp"
#include "support/catch.hpp"
#include "support/cuda.cuh"

using namespace lamina;
using namespace lamina::kernel;
using lamina::testing::gpu;
using test::PagedProblem;

namespace {

template <class T>
std::vector<T> rounded(const std::vector<float>& from) {
  std::vector<T> to(from.size());
  for (std::size_t i = 0; i < to.size(); ++i) to[i] = round_to<T>(from[i]);
  return to;
}

/// The problem on the GPU, rounded to T, and its answer in double over the rounded values.
template <class T>
struct OnGpu {
  const PagedProblem& p;
  std::vector<T> q = rounded<T>(p.q), k = rounded<T>(p.k), v = rounded<T>(p.v);
  PagedAttentionFwd<T> args;

  explicit OnGpu(const PagedProblem& problem) : p(problem) {
    gpu().release();
    const auto host = p.forward(nullptr);
    const int queries = p.cu_q.back(), width = host.q.cols;
    args = {.q = {gpu().upload(q), queries, width},
            .k = {gpu().upload(rounded<T>(p.k_pages)), p.page_stride(), p.sizes.page_tokens},
            .v = {gpu().upload(rounded<T>(p.v_pages)), p.page_stride(), p.sizes.page_tokens},
            .o = {gpu().template poisoned<T>(q.size()), queries, width},
            .tables = {gpu().upload(p.tables), p.table_stride, gpu().upload(p.rows)},
            .cu_q = gpu().upload(p.cu_q),
            .cu_keys = gpu().upload(p.cu_keys),
            .sequences = host.sequences,
            .shape = host.shape};
  }
  KeySplits split(int workers, int fixed) {
    KeySplits splits{.most = args.sequences + (fixed ? p.cu_keys.back() / 64 / fixed : workers),
                     .workers = workers,
                     .fixed_tiles = fixed};
    splits.splits = gpu().template poisoned<KeySplit>(splits.most);
    splits.starts = gpu().template poisoned<int>(workers + 1);
    const SplitKeys work{args.cu_q, args.cu_keys, args.tables.rows, args.sequences, splits};
    paged_attention<Cuda>::split(gpu().stream(), work);
    return args.splits = splits;
  }
  std::vector<T> answer() const { return gpu().download(args.o.data, q.size()); }

  /// T keeps rounding<T> of probabilities (as tensor cores take them) and of results; sums are fp32.
  void check(const std::vector<T>& got) const {
    const double rounding = std::is_same_v<T, bf16> ? 0x1p-8 : 0x1p-11;
    const auto [heads, kv_heads, dh, scale, causal, window] = args.shape;
    for (int b = 0; b < args.sequences; ++b) {
      const int queries = p.cu_q[b + 1] - p.cu_q[b], keys = p.cu_keys[b + 1] - p.cu_keys[b];
      for (int i = 0; i < queries; ++i)
        for (int h = 0; h < heads; ++h) {
          const std::size_t at = (static_cast<std::size_t>(p.cu_q[b] + i) * heads + h) * dh;
          const int seen = std::max(0, i + 1 + keys - queries);
          const int hidden = window > 0 ? std::max(0, seen - window) : 0;
          std::vector<double> weights(seen);
          double sum = 0, magnitude = 0;
          const auto element = [&](const std::vector<T>& x, int j, int d) {
            return double{
                to_f32(x[static_cast<std::size_t>(p.cu_keys[b] + j) * p.kv_width() + h / (heads / kv_heads) * dh + d])};
          };
          for (int j = hidden; j < seen; ++j) {
            double dot = 0;
            for (int d = 0; d < dh; ++d) dot += to_f32(q[at + d]) * element(k, j, d);
            sum += weights[j] = std::exp(scale * dot);
          }
          for (int d = 0; d < dh; ++d) {
            double want = 0;
            magnitude = 0;
            for (int j = hidden; j < seen; ++j) {
              want += weights[j] / sum * element(v, j, d);
              magnitude += weights[j] / sum * std::fabs(element(v, j, d));
            }
            INFO("sequence " << b << ", query " << i << ", head " << h << ", element " << d);
            REQUIRE(std::fabs(to_f32(got[at + d]) - want) <= 1.1 * rounding * (magnitude + std::fabs(want)) + 0x1p-14);
          }
        }
    }
  }
};

}  // namespace

TEMPLATE_TEST_CASE("cuda: decoding over pages equals softmax in double, however keys are shared out", "", bf16, f16) {
  for (const auto& sizes : test::paged_sizes()) {
    const PagedProblem p(sizes);
    if (!p.single_queries()) continue;
    OnGpu<TestType> on_gpu(p);
    for (const auto [workers, fixed] : {std::pair{1, 0}, {5, 0}, {49, 0}, {400, 0}, {16, 1}, {16, 4}}) {
      INFO(workers << " workers, fixed length " << fixed);
      on_gpu.split(workers, fixed);
      paged_attention<Cuda>::decode(gpu().stream(), on_gpu.args);
      const auto first = on_gpu.answer();
      on_gpu.check(first);
      paged_attention<Cuda>::decode(gpu().stream(), on_gpu.args);
      const auto second = on_gpu.answer();
      CHECK(std::memcmp(first.data(), second.data(), first.size() * sizeof(TestType)) == 0);
    }
  }
}

TEST_CASE("cuda: with splits of a fixed length a sequence's answer does not depend on the others") {
  const PagedProblem all({{1, 1, 1}, {700, 90, 2000}, 64, {16, 8, 128, 0.088f, true}});
  OnGpu<bf16> together(all);
  together.split(49, 4);
  paged_attention<Cuda>::decode(gpu().stream(), together.args);
  const auto answer = together.answer();
  // The last sequence alone: its own cu_q, keys and table row.
  const std::vector<int> cu_q = {2, 3}, cu_keys = {0, 2000}, rows = {all.rows[2]};
  auto alone = together.args;
  alone.cu_q = gpu().upload(cu_q), alone.cu_keys = gpu().upload(cu_keys), alone.tables.rows = gpu().upload(rows);
  alone.sequences = 1;
  alone.o.data = gpu().poisoned<bf16>(answer.size());
  KeySplits splits{.most = 1 + 2000 / 256, .workers = 20, .fixed_tiles = 4};
  splits.splits = gpu().poisoned<KeySplit>(splits.most), splits.starts = gpu().poisoned<int>(21);
  paged_attention<Cuda>::split(gpu().stream(), {alone.cu_q, alone.cu_keys, alone.tables.rows, 1, splits});
  alone.splits = splits;
  paged_attention<Cuda>::decode(gpu().stream(), alone);
  const auto lone = gpu().download(alone.o.data, answer.size());
  const std::size_t width = 16 * 128;
  CHECK(std::memcmp(&answer[2 * width], &lone[2 * width], width * sizeof(bf16)) == 0);
}

TEMPLATE_TEST_CASE("cuda: chunks over pages equal softmax in double", "", bf16, f16) {
  for (const auto& sizes : test::paged_sizes()) {
    const PagedProblem p(sizes);
    OnGpu<TestType> on_gpu(p);
    paged_attention<Cuda>::forward(gpu().stream(), on_gpu.args);
    on_gpu.check(on_gpu.answer());
  }
}

TEST_CASE("cuda: written rows are found where their slots say, and a negative slot is left out") {
  const PagedProblem p(test::paged_sizes()[1]);
  gpu().release();
  const auto k = rounded<bf16>(p.k), v = rounded<bf16>(p.v);
  std::vector<int> slots = p.slots;
  slots.back() = -1;
  const std::vector<bf16> before(p.k_pages.size(), round_to<bf16>(-1.0f));
  bf16 *k_pages = gpu().upload(before), *v_pages = gpu().upload(before);
  const int keys = p.cu_keys.back();
  paged_attention<Cuda>::write(gpu().stream(),
                               PagedWrite<bf16>{.k = {gpu().upload(k), keys, p.kv_width()},
                                                .v = {gpu().upload(v), keys, p.kv_width()},
                                                .k_pages = {k_pages, p.page_stride(), p.sizes.page_tokens},
                                                .v_pages = {v_pages, p.page_stride(), p.sizes.page_tokens},
                                                .slots = gpu().upload(slots),
                                                .head_dim = p.sizes.shape.head_dim});
  auto want_k = before, want_v = before;
  for (std::size_t n = 0; n + 1 < slots.size(); ++n)
    for (int c = 0; c < p.kv_width(); ++c) {
      want_k[p.place(slots[n], c)] = k[n * p.kv_width() + c];
      want_v[p.place(slots[n], c)] = v[n * p.kv_width() + c];
    }
  const auto got_k = gpu().download(k_pages, before.size()), got_v = gpu().download(v_pages, before.size());
  CHECK(std::memcmp(got_k.data(), want_k.data(), got_k.size() * sizeof(bf16)) == 0);
  CHECK(std::memcmp(got_v.data(), want_v.data(), got_v.size() * sizeof(bf16)) == 0);
}
