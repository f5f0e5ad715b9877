// Matmul and attention of the CPU backend, compared with the machine's measured roofs. "roof" in the output is the
// share of the read bandwidth (decode) or of the peak of its multiply-adds (the rest). Checks a sample of each answer
// before timing it.
#include <benchmark/benchmark.h>
#include <lamina/kernel/cpu/attention/attention.hpp>
#include <lamina/kernel/cpu/logits/head_loss.hpp>

#include <random>

#include <lamina/testing/roof.hpp>

using namespace lamina;
using namespace lamina::kernel;

namespace {

struct Random {
  std::mt19937 generator{1};
  std::vector<float> floats(std::size_t n) {
    std::vector<float> x(n);
    for (float& v : x) v = static_cast<float>(generator()) * 0x1p-31f - 1;
    return x;
  }
  void fill(std::span<bf16> x) {
    for (bf16& v : x) v = round_to<bf16>(static_cast<float>(generator()) * 0x1p-31f - 1);
  }
};

/// Runs f as often as the benchmark asks and reports its best time: what else runs on the machine can only add to it.
/// `work` is bytes or operations, named by its rate, and `roof` is the most of them that this machine does in a second.
template <class F>
void time_best(benchmark::State& state, F f, double work, const char* rate, double roof) {
  double best = 1e30;
  for (auto _ : state) best = std::min(best, testing::best_seconds(1, f));
  state.counters["best_ms"] = best * 1e3;
  state.counters[rate] = work / best * 1e-9;
  state.counters["roof"] = work / best / roof;
}
template <class F>
void time_flops(benchmark::State& state, F f, double flop, bool halves = false) {
  static const double peak[] = {testing::peak_flop_per_s(false), testing::peak_flop_per_s(true)};
  time_best(state, f, flop, "GFLOP/s", peak[halves]);
}

/// One element of y = x W^T against the specification: bf16 rounding of x, if the CPU does that, is the widest
/// error.
void check_element(benchmark::State& state, const MatmulFwd<float>& a, int m, int n) {
  float got = a.y(m, n), want = 0, size = 0;
  for (int k = 0; k < a.w.cols; ++k) {
    const float term = a.x(m, k) * plain::weight_at(a.w, n, k);
    want += term, size += std::fabs(term);
  }
  if (!(std::fabs(got - want) <= size * 0x1p-8f)) state.SkipWithError("the answer is wrong");
}

/// y (M, N) = x (M, K) W^T; arguments M, N, K, and whether weights are bf16. With few rows each run takes the next of
/// as many weights as fill 256 MB, as the layers of a model do: no cache keeps them.
void matmul_forward(benchmark::State& state) {
  const int m = static_cast<int>(state.range(0)), n = static_cast<int>(state.range(1)),
            k = static_cast<int>(state.range(2));
  const bool halves = state.range(3) != 0, decode = m <= kernel::detail::dot_rows_limit;
  Random random;
  const auto x = random.floats(static_cast<std::size_t>(m) * k);
  const std::size_t weights = static_cast<std::size_t>(n) * k, bytes = weights * (halves ? 2 : 4);
  const std::size_t copies = decode ? 1 + (std::size_t{256} << 20) / bytes : 1;
  const testing::LargePages<bf16> w_half(halves ? weights * copies : 0);
  const auto w_full = random.floats(halves ? 0 : weights);
  random.fill(w_half.values.first(halves ? weights : 0));
  for (std::size_t i = weights; i < w_half.values.size(); ++i) w_half.values[i] = w_half.values[i - weights];
  std::vector<float> y(static_cast<std::size_t>(m) * n);
  const auto arguments = [&](std::size_t copy) {
    const Weight w = halves ? Weight{w_half.values.data() + copy * weights, DType::BF16, n, k, k}
                            : Weight{w_full.data(), DType::F32, n, k, k};
    return MatmulFwd<float>{.x = {x.data(), m, k}, .w = w, .y = {y.data(), m, n}};
  };
  matmul<Cpu>::forward({}, arguments(0));
  check_element(state, arguments(0), m - 1, n - 1);
  std::size_t copy = 0;
  const auto run = [&] { matmul<Cpu>::forward({}, arguments(copy = (copy + 1) % copies)); };
  if (decode)
    time_best(state, run, static_cast<double>(bytes), "GB/s", testing::read_bytes_per_s());
  else
    time_flops(state, run, 2.0 * m * static_cast<double>(weights), halves);
}

/// dx (M, K) = dy W and dw (N, K) += dy^T x, in fp32.
void matmul_backward(benchmark::State& state) {
  const int m = static_cast<int>(state.range(0)), n = static_cast<int>(state.range(1)),
            k = static_cast<int>(state.range(2));
  Random random;
  const auto x = random.floats(static_cast<std::size_t>(m) * k), dy = random.floats(static_cast<std::size_t>(m) * n);
  const auto w = random.floats(static_cast<std::size_t>(n) * k);
  std::vector<float> dx(x.size()), dw(w.size());
  const auto run = [&] {
    matmul<Cpu>::backward_input(
        {},
        MatmulBwdInput<float>{.dy = {dy.data(), m, n}, .w = {w.data(), DType::F32, n, k, k}, .dx = {dx.data(), m, k}});
    matmul<Cpu>::backward_weight(
        {}, MatmulBwdWeight<float>{.dy = {dy.data(), m, n}, .x = {x.data(), m, k}, .dw = {dw.data(), n, k}});
  };
  time_flops(state, run, 4.0 * m * n * k);
}

/// Causal attention over one sequence; arguments: queries, keys, heads, kv heads, head_dim, and whether to run
/// backward.
void attention_causal(benchmark::State& state) {
  const int queries = static_cast<int>(state.range(0)), keys = static_cast<int>(state.range(1));
  const AttentionShape shape{static_cast<int>(state.range(2)), static_cast<int>(state.range(3)),
                             static_cast<int>(state.range(4)), 0.1f, true};
  const int wide = shape.heads * shape.head_dim, narrow = shape.kv_heads * shape.head_dim;
  Random random;
  const auto q = random.floats(static_cast<std::size_t>(queries) * wide);
  const testing::LargePages<float> k(static_cast<std::size_t>(keys) * narrow), v(k.values.size());
  std::ranges::copy(random.floats(k.values.size()), k.values.begin());
  std::ranges::copy(k.values, v.values.begin());
  std::vector<float> o(q.size()), lse(static_cast<std::size_t>(queries) * shape.heads), dq(q.size()),
      dk(k.values.size()), dv(dk);
  const int cu_q[] = {0, queries}, cu_k[] = {0, keys};
  const Matrix<const float> qm(q.data(), queries, wide), km(k.values.data(), keys, narrow),
      vm(v.values.data(), keys, narrow);
  const Matrix<float> om(o.data(), queries, wide);
  const AttentionFwd<float> forward{qm, km, vm, om, lse.data(), cu_q, cu_k, 1, shape};
  attention<Cpu>::forward({}, forward);
  const AttentionBwd<float> gradients{qm,
                                      km,
                                      vm,
                                      om,
                                      om,
                                      lse.data(),
                                      {dq.data(), queries, wide},
                                      {dk.data(), keys, narrow},
                                      {dv.data(), keys, narrow},
                                      cu_q,
                                      1,
                                      shape};
  const bool backward = state.range(5) != 0;
  const auto run = [&] {
    if (backward)
      attention<Cpu>::backward({}, gradients);
    else
      attention<Cpu>::forward({}, forward);
  };
  const double pairs = queries == 1 ? keys : static_cast<double>(queries) * (keys - 0.5 * (queries - 1));
  if (queries > 1) return time_flops(state, run, pairs * wide * (backward ? 10 : 4));
  time_best(state, run, 8.0 * keys * narrow, "GB/s", testing::read_bytes_per_s());  // one query reads the cache once
}

/// Head and cross-entropy with both gradients; arguments: rows, width, vocabulary.
void head_loss_backward(benchmark::State& state) {
  const int rows = static_cast<int>(state.range(0)), width = static_cast<int>(state.range(1));
  const int vocab = static_cast<int>(state.range(2));
  Random random;
  const auto x = random.floats(static_cast<std::size_t>(rows) * width);
  const auto w = random.floats(static_cast<std::size_t>(vocab) * width);
  std::vector<float> dx(x.size()), dw(w.size()), nll(rows), weight(rows, 1.0f);
  std::vector<int> target(rows, vocab / 2);
  const auto run = [&] {
    head_loss<Cpu>::run({}, HeadLoss<float>{{x.data(), rows, width},
                                            {w.data(), DType::F32, vocab, width, width},
                                            target.data(),
                                            weight.data(),
                                            nll.data(),
                                            {dx.data(), rows, width},
                                            {dw.data(), vocab, width}});
  };
  time_flops(state, run, 6.0 * rows * width * vocab);
}

void roof_read(benchmark::State& state) {
  for (auto _ : state) benchmark::DoNotOptimize(testing::read_bytes_per_s());
  state.counters["GB/s"] = testing::read_bytes_per_s() * 1e-9;
}
void roof_copy(benchmark::State& state) {
  double best = 0;
  for (auto _ : state) best = testing::copy_bytes_per_s();
  state.counters["GB/s"] = best * 1e-9;
}
void roof_peak(benchmark::State& state) {
  double best = 0;
  for (auto _ : state) best = testing::peak_flop_per_s(state.range(0) != 0);
  state.counters["GFLOP/s"] = best * 1e-9;
}

BENCHMARK(roof_read)->Iterations(1)->UseRealTime();
BENCHMARK(roof_copy)->Iterations(1)->UseRealTime();
BENCHMARK(roof_peak)->Name("roof_peak/bf16")->Arg(0)->Arg(1)->Iterations(1)->UseRealTime();
// Qwen3-VL-2B: q and o, k with v, gate and up, down, head. Decoding has 1 to 4 rows, prefill the tokens of a prompt.
BENCHMARK(matmul_forward)
    ->Name("matmul/decode/M/N/K/bf16")
    ->ArgsProduct({{1, 2, 4}, {2048}, {2048}, {1}})
    ->ArgsProduct({{1, 2, 4}, {6144}, {2048}, {1}})
    ->ArgsProduct({{1, 2, 4}, {2048}, {6144}, {1}})
    ->ArgsProduct({{1, 2, 4}, {151936}, {2048}, {1}})
    ->UseRealTime();
BENCHMARK(matmul_forward)
    ->Name("matmul/prefill/M/N/K/bf16")
    ->ArgsProduct({{64, 512, 2048}, {2048}, {2048}, {1}})
    ->ArgsProduct({{64, 512, 2048}, {1024}, {2048}, {1}})
    ->ArgsProduct({{64, 512, 2048}, {6144}, {2048}, {1}})
    ->ArgsProduct({{64, 512, 2048}, {2048}, {6144}, {1}})
    ->ArgsProduct({{64}, {151936}, {2048}, {1}})
    ->UseRealTime();
// The tiny models in training.
BENCHMARK(matmul_forward)
    ->Name("matmul/train_forward/M/N/K/bf16")
    ->ArgsProduct({{512, 1000}, {128, 256, 512, 768}, {256}, {0}})
    ->Args({512, 256, 768, 0})
    ->UseRealTime();
BENCHMARK(matmul_backward)
    ->Name("matmul/train_backward/M/N/K")
    ->ArgsProduct({{512, 1000}, {128, 256, 512, 768}, {256}})
    ->Args({512, 256, 768})
    ->UseRealTime();
BENCHMARK(attention_causal)
    ->Name("attention/queries/keys/heads/kv_heads/head_dim/backward")
    ->Args({1, 16384, 16, 8, 128, 0})
    ->Args({1024, 1024, 16, 8, 128, 0})
    ->Args({512, 512, 4, 2, 128, 0})
    ->Args({512, 512, 4, 2, 128, 1})
    ->UseRealTime();
BENCHMARK(head_loss_backward)->Name("head_loss/rows/width/vocab")->Args({256, 256, 4096})->UseRealTime();

}  // namespace

BENCHMARK_MAIN();
