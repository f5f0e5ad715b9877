// Attention of decoding over paged keys on a GPU, bf16: answers are checked against exact ones for some rows, then
// timed. Counts the bytes of K and V, of which there are so many copies that L2 holds none.
//
//     bench_kernel_paged_attention [part of a name]
#include <lamina/kernel/cuda/attention/paged_attention.cuh>

#include <cmath>
#include <numeric>
#include <random>
#include <vector>
#include "cuda_bench.cuh"

using namespace lamina;
using namespace lamina::kernel;

namespace {

struct Sizes {
  const char* name;
  int sequences, least_keys, most_keys;
  AttentionShape heads;
};
constexpr AttentionShape heads_2b{16, 8, 128, 0.0884f, true}, heads_8b{32, 8, 128, 0.0884f, true};
const Sizes sizes[] = {
    {"2B/1 of 1152", 1, 1152, 1152, heads_2b},           {"2B/16 of 128..640", 16, 128, 640, heads_2b},
    {"2B/64 of 128..640", 64, 128, 640, heads_2b},       {"2B/256 of 128..640", 256, 128, 640, heads_2b},
    {"8B/1 of 1152", 1, 1152, 1152, heads_8b},           {"8B/64 of 128..640", 64, 128, 640, heads_8b},
    {"8B/64 of 1024..1152", 64, 1024, 1152, heads_8b},   {"8B/256 of 128..640", 256, 128, 640, heads_8b},
    {"2B/8 of 16384..32768", 8, 16384, 32768, heads_2b},
};
constexpr int page_tokens = 64;

struct Problem {
  std::vector<int> cu_keys{0}, cu_q{0}, tables, rows;
  int table_stride = 0, pages = 0;
  Problem(const Sizes& s) {
    std::mt19937 random(1);
    for (int b = 0; b < s.sequences; ++b) {
      const int keys = s.least_keys + static_cast<int>(random() % (s.most_keys - s.least_keys + 1));
      cu_keys.push_back(cu_keys.back() + keys), cu_q.push_back(b + 1), rows.push_back(b);
    }
    table_stride = (s.most_keys + page_tokens - 1) / page_tokens;
    tables.assign(static_cast<std::size_t>(s.sequences) * table_stride, -1);
    for (int b = 0; b < s.sequences; ++b) pages += (cu_keys[b + 1] - cu_keys[b] + page_tokens - 1) / page_tokens;
    std::vector<int> numbers(pages);
    std::iota(numbers.begin(), numbers.end(), 0);
    std::shuffle(numbers.begin(), numbers.end(), random);
    int next = 0;
    for (int b = 0; b < s.sequences; ++b)
      for (int i = 0; i * page_tokens < cu_keys[b + 1] - cu_keys[b]; ++i)
        tables[b * table_stride + i] = numbers[next++];
  }
};

const int* upload(bench::Gpu& gpu, const std::vector<int>& values) {
  int* to = gpu.memory.take<int>(values.size());
  Memory<Cuda>::upload(gpu.stream(), to, values.data(), values.size() * sizeof(int));
  return to;
}

std::vector<float> widened(bench::Gpu& gpu, const bf16* from, std::size_t n) {
  std::vector<bf16> raw(n);
  Memory<Cuda>::download(gpu.stream(), raw.data(), from, n * sizeof(bf16));
  std::vector<float> wide(n);
  for (std::size_t i = 0; i < n; ++i) wide[i] = to_f32(raw[i]);
  return wide;
}

/// |ours - exact| / |exact| over some rows and heads, exact in double.
double error_of(bench::Gpu& gpu, const Sizes& s, const Problem& p, const PagedAttentionFwd<bf16>& a) {
  const int dh = s.heads.head_dim, group = s.heads.heads / s.heads.kv_heads;
  const auto all = static_cast<std::size_t>(s.sequences) * a.q.cols;
  const auto q = widened(gpu, a.q.data, all), got = widened(gpu, a.o.data, all),
             cache = widened(gpu, a.k.data, static_cast<std::size_t>(a.k.page_stride) * p.pages);
  double difference = 0, size = 0;
  for (int b = 0; b < s.sequences; b += std::max(1, s.sequences / 8))
    for (int h = 0; h < s.heads.heads; h += 5) {
      const int keys = p.cu_keys[b + 1] - p.cu_keys[b];
      const auto row = [&](int j, std::ptrdiff_t values) {
        const int page = p.tables[b * p.table_stride + j / page_tokens];
        return &cache[page * a.k.page_stride + values +
                      (std::ptrdiff_t{h / group} * page_tokens + j % page_tokens) * dh];
      };
      const float* x = &q[static_cast<std::size_t>(b) * a.q.cols + h * dh];
      std::vector<double> o(dh), weights(keys);
      double sum = 0;
      for (int j = 0; j < keys; ++j) {
        double dot = 0;
        for (int d = 0; d < dh; ++d) dot += double{x[d]} * row(j, 0)[d];
        sum += weights[j] = std::exp(s.heads.scale * dot);
      }
      for (int j = 0; j < keys; ++j)
        for (int d = 0; d < dh; ++d) o[d] += weights[j] / sum * row(j, a.v.data - a.k.data)[d];
      for (int d = 0; d < dh; ++d) {
        const double e = got[static_cast<std::size_t>(b) * a.q.cols + h * dh + d] - o[d];
        difference += e * e, size += o[d] * o[d];
      }
    }
  return std::sqrt(difference / size);
}

bool decode(bench::Gpu& gpu, const Sizes& s) {
  Arena::Scope scope(gpu.memory);
  const Problem p(s);
  const auto& h = s.heads;
  const std::ptrdiff_t head_rows = std::ptrdiff_t{h.kv_heads} * page_tokens * h.head_dim, stride = 2 * head_rows;
  const double bytes = 2.0 * p.cu_keys.back() * h.kv_heads * h.head_dim * sizeof(bf16);
  std::vector<PagedAttentionFwd<bf16>> copies;
  const PageTables tables{upload(gpu, p.tables), p.table_stride, upload(gpu, p.rows)};
  const int *cu_q = upload(gpu, p.cu_q), *cu_keys = upload(gpu, p.cu_keys);
  for (double held = 0; held < 300e6 || copies.size() < 2; held += bytes) {
    const auto seed = 16 * static_cast<unsigned>(copies.size());
    const bf16* cache = bench::random_values<bf16>(gpu, static_cast<std::size_t>(stride) * p.pages, seed + 1);
    copies.push_back({.q = bench::random_matrix<bf16>(gpu, s.sequences, h.heads * h.head_dim, seed),
                      .k = {cache, stride, page_tokens},
                      .v = {cache + head_rows, stride, page_tokens},
                      .o = gpu.memory.matrix<bf16>(s.sequences, h.heads * h.head_dim),
                      .tables = tables,
                      .cu_q = cu_q,
                      .cu_keys = cu_keys,
                      .sequences = s.sequences,
                      .shape = h,
                      .splits = {}});
  }
  bool all = true;
  const auto time = [&](int workers, int fixed) {
    Arena::Scope inner(gpu.memory);
    KeySplits splits{.most = s.sequences + (fixed ? p.cu_keys.back() / 64 / fixed : workers),
                     .workers = workers,
                     .fixed_tiles = fixed};
    splits.splits = gpu.memory.take<KeySplit>(splits.most), splits.starts = gpu.memory.take<int>(workers + 1);
    paged_attention<Cuda>::split(gpu.stream(), {cu_q, cu_keys, tables.rows, s.sequences, splits});
    for (auto& copy : copies) copy.splits = splits;
    kernel::cuda::check(
        cudaMemsetAsync(copies[0].o.data, 0xff, sizeof(bf16) * s.sequences * copies[0].o.cols, gpu.stream().handle),
        "memset");
    const std::string name = "paged/bf16/" + std::string(s.name) + "/" + std::to_string(workers) +
                             " workers, splits of " + std::to_string(fixed);
    const auto run = [&](const auto& a) { paged_attention<Cuda>::decode(gpu.stream(), a); };
    run(copies[0]);
    if (const double error = error_of(gpu, s, p, copies[0]); !(error < 0x1p-6)) {
      std::printf("%s is WRONG: relative error %g\n", name.c_str(), error);
      all = false;
    }
    const double seconds =
        bench::seconds_per_call(gpu, std::max<int>(8, copies.size()), [&](int i) { run(copies[i % copies.size()]); });
    bench::report_bytes(gpu, name, seconds, bytes);
  };
  const int slots = 3 * gpu.device->multiprocessors() / s.heads.kv_heads;
  for (const int workers : {slots * 2 / 3, slots, 2 * slots}) time(workers, 0);
  time(slots, 8);
  return all;
}

}  // namespace

int main(int argc, char** argv) {
  bench::Gpu gpu(std::size_t{12} << 30, std::size_t{1} << 30, argc > 1 ? argv[1] : "");
  gpu.read_bytes_per_s = bench::measure_read_bytes_per_s(gpu);
  std::printf("%s, reads %.2f TB/s\n", gpu.device->name().c_str(), gpu.read_bytes_per_s * 1e-12);
  bool all = true;
  for (const Sizes& s : sizes)
    if (gpu.wanted(s.name)) all &= decode(gpu, s);
  return all ? 0 : 1;
}
