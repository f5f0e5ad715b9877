#include <array>
#include <cmath>
#include <vector>

#include <lamina/kernel/cuda/ranks/across_ranks.cuh>

#include "support/catch.hpp"
#include "support/cuda.cuh"

using namespace lamina;
using namespace lamina::testing;
using parallel::PeerMemory;

namespace {

constexpr int size = 2, blocks = PeerMemory::blocks, threads = kernel::cuda::exchange_threads;

/// Ranks on one GPU, each with a stream and slots of its own: their kernels run side by side, as those of several GPUs.
class RanksOnOneGpu {
 public:
  RanksOnOneGpu() {
    load(kernel::cuda::rank_sum<bf16, false>), load(kernel::cuda::rank_sum<bf16, true>);
    load(kernel::cuda::rank_sum_norm<bf16, 1, 32>), load(kernel::cuda::rank_sum_norm<bf16, 2, 256>);
    load(kernel::cuda::rank_gather<bf16>), load(kernel::cuda::rank_broadcast);
    gpu().release();
    std::array<std::byte*, size> own{};
    for (int rank = 0; rank < size; ++rank) {
      memory[rank].rank = rank, memory[rank].ranks = size, memory[rank].slot_bytes = std::size_t{1} << 20;
      own[rank] = gpu().upload(std::vector<std::byte>(memory[rank].bytes()));
      kernel::cuda::clear_peer_memory<<<1, 512>>>(memory[rank], own[rank]);
      kernel::cuda::check(cudaStreamCreateWithFlags(&streams[rank], cudaStreamNonBlocking), "a stream");
    }
    for (PeerMemory& p : memory)
      for (int r = 0; r < size; ++r) {
        p.slots[r] = own[r];
        p.exchanges = reinterpret_cast<std::uint32_t*>(own[p.rank] + p.exchanges_at());
      }
    kernel::cuda::check(cudaDeviceSynchronize(), "clearing slots");  // no stream above waits for the one that clears
  }
  ~RanksOnOneGpu() {
    for (cudaStream_t stream : streams) cudaStreamDestroy(stream);
  }
  /// Calls f(rank), which launches a kernel, for each of them, and waits.
  template <class F>
  void run(F f) {
    gpu().device().wait();
    for (int rank = 0; rank < size; ++rank) f(rank);
    kernel::cuda::check(cudaDeviceSynchronize(), "kernels of several ranks");
  }
  std::array<PeerMemory, size> memory;
  std::array<cudaStream_t, size> streams{};

 private:
  /// A kernel that is loaded at its first launch may wait for one that waits for it.
  template <class Kernel>
  static void load(Kernel* kernel) {
    cudaFuncAttributes ignored;
    kernel::cuda::check(cudaFuncGetAttributes(&ignored, kernel), "a kernel's attributes");
  }
};

std::vector<bf16> values_of(int n, int seed) {
  std::vector<bf16> out(static_cast<std::size_t>(n));
  for (int i = 0; i < n; ++i) out[i] = round_to<bf16>(static_cast<float>((i * 7 + seed * 31) % 256 - 128) / 16);
  for (int i = 0; i < n; i += 5) out[i].bits = 0x8000;  // -0, pairs of which are not sent as they are
  if (n > 12) out[12].bits = out[13].bits = 0x8000;
  return out;
}
bool same_bits(const std::vector<bf16>& a, const std::vector<bf16>& b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](bf16 x, bf16 y) { return x.bits == y.bits; });
}

}  // namespace

TEST_CASE("rank_sum: the sum in fp32, rounded once, the same on every rank, one exchange after the other") {
  for (const bool adds : {false, true}) {
    RanksOnOneGpu ranks;
    for (const int n : {8, 4096, 8 * 4096, 64 * 4096, 8, 64 * 4096 + 8, 24}) {
      CAPTURE(n, adds);
      const auto a = values_of(n, 1), b = values_of(n, 2), c = values_of(n, 9);
      const std::array x = {gpu().upload(a), gpu().upload(b)}, y = {gpu().upload(c), gpu().upload(c)};
      ranks.run([&](int rank) {
        const auto kernel = adds ? kernel::cuda::rank_sum<bf16, true> : kernel::cuda::rank_sum<bf16, false>;
        kernel<<<blocks, threads, 0, ranks.streams[rank]>>>(ranks.memory[rank], x[rank], y[rank], n / 8);
      });
      std::vector<bf16> wanted(a.size());
      for (std::size_t i = 0; i < a.size(); ++i)
        wanted[i] = round_to<bf16>(0.0f + to_f32(a[i]) + to_f32(b[i]) + (adds ? to_f32(c[i]) : 0));
      for (int rank = 0; rank < size; ++rank)
        CHECK(same_bits(gpu().download((adds ? y : x)[rank], wanted.size()), wanted));
    }
  }
}

TEST_CASE("rank_sum_norm: the sum over ranks and the residual stream in fp32, rounded once, and the RMS norm of that") {
  RanksOnOneGpu ranks;
  const auto check = [&](auto kernel, int threads, int rows, int width) {
    CAPTURE(rows, width);
    const int n = rows * width;
    const std::array s = {values_of(n, 1), values_of(n, 2)};
    const auto x = values_of(n, 3), gain = values_of(width, 4);
    const std::array on = {gpu().upload(s[0]), gpu().upload(s[1])};
    const std::array y = {gpu().poisoned<bf16>(n), gpu().poisoned<bf16>(n)};
    const bf16 *const x_on = gpu().upload(x), *const gain_on = gpu().upload(gain);
    ranks.run([&](int rank) {
      kernel<<<blocks, threads, 0, ranks.streams[rank]>>>(ranks.memory[rank],
                                                          kernel::NormRowsFwd<bf16>{.x = x_on,
                                                                                    .g = gain_on,
                                                                                    .s = on[rank],
                                                                                    .y = y[rank],
                                                                                    .rows = rows,
                                                                                    .width = width,
                                                                                    .y_stride = width,
                                                                                    .eps = 1e-6f});
    });
    std::vector<bf16> sums(s[0].size());
    for (std::size_t i = 0; i < sums.size(); ++i)
      sums[i] = round_to<bf16>(0.0f + to_f32(s[0][i]) + to_f32(s[1][i]) + to_f32(x[i]));
    for (int rank = 0; rank < size; ++rank) CHECK(same_bits(gpu().download(on[rank], sums.size()), sums));
    const auto normed = gpu().download(y[0], sums.size());
    CHECK(same_bits(gpu().download(y[1], sums.size()), normed));
    double largest = 0;
    for (int row = 0; row < rows; ++row) {
      double squares = 0;
      const auto at = [&](int i) { return static_cast<std::size_t>(row * width + i); };
      for (int i = 0; i < width; ++i) squares += to_f32(sums[at(i)]) * to_f32(sums[at(i)]);
      const double r = 1 / std::sqrt(squares / width + 1e-6);
      for (int i = 0; i < width; ++i) {
        const double wanted = to_f32(gain[static_cast<std::size_t>(i)]) * to_f32(sums[at(i)]) * r;
        largest = std::max(largest, std::abs(to_f32(normed[at(i)]) - wanted) / (1e-3 + std::abs(wanted)));
      }
    }
    CHECK(largest < 1.0 / 256 + 1e-5);  // half of a digit of bf16 at its widest, and what fp32 sums differ by
  };
  check(kernel::cuda::rank_sum_norm<bf16, 1, 32>, 256, 3, 64);
  check(kernel::cuda::rank_sum_norm<bf16, 1, 32>, 256, 1000, 256);
  check(kernel::cuda::rank_sum_norm<bf16, 2, 256>, 256, 1, 4096);
  check(kernel::cuda::rank_sum_norm<bf16, 2, 256>, 256, 64, 4096);
  check(kernel::cuda::rank_sum_norm<bf16, 2, 256>, 256, 100, 2056);
}

TEST_CASE("rank_gather and rank_broadcast: the first rank has what the others have, and they what it has") {
  RanksOnOneGpu ranks;
  constexpr int rows = 3, width = 5, n = 8 * rows * width;  // rows of 5 pieces of 8
  const std::array parts = {values_of(n, 1), values_of(n, 2)};
  std::array<bf16*, size> x{}, y{};
  std::array<int*, size> ids{};
  for (int rank = 0; rank < size; ++rank) {
    x[rank] = gpu().upload(parts[rank]);
    y[rank] = gpu().poisoned<bf16>(n * size);
    ids[rank] = gpu().upload(std::vector<int>(256, rank + 40));
  }
  ranks.run([&](int rank) {
    kernel::cuda::rank_gather<<<blocks, threads, 0, ranks.streams[rank]>>>(ranks.memory[rank], x[rank], y[rank], rows,
                                                                           width);
    kernel::cuda::rank_broadcast<<<blocks, threads, 0, ranks.streams[rank]>>>(ranks.memory[rank],
                                                                              reinterpret_cast<uint4*>(ids[rank]), 64);
  });
  std::vector<bf16> wanted;
  for (int row = 0; row < rows; ++row)
    for (const auto& part : parts)
      wanted.insert(wanted.end(), part.begin() + 8 * row * width, part.begin() + 8 * (row + 1) * width);
  const auto found = gpu().download(y[0], wanted.size());
  CHECK(std::equal(found.begin(), found.end(), wanted.begin(), [](bf16 a, bf16 b) { return to_f32(a) == to_f32(b); }));
  for (int rank = 0; rank < size; ++rank) {
    CHECK(gpu().download(ids[rank], 256) == std::vector<int>(256, 40));
  }
}

TEST_CASE("exchanges of all kinds and sizes follow one another without waiting for the host") {
  RanksOnOneGpu ranks;
  constexpr int n = 8 * 40'000, rounds = 60;
  std::vector<bf16> start(n);
  for (int i = 0; i < n; ++i) start[static_cast<std::size_t>(i)] = round_to<bf16>(static_cast<float>(i % 7 - 3));
  const std::array x = {gpu().upload(start), gpu().upload(start)};
  const std::array y = {gpu().poisoned<bf16>(2 * n), gpu().poisoned<bf16>(2 * n)};
  const std::array ids = {gpu().upload(std::vector<int>(64, 1)), gpu().upload(std::vector<int>(64, 2))};
  const auto pieces = [](int round) { return round % 3 == 0 ? 1 : round % 3 == 1 ? 512 : n / 8; };
  ranks.run([&](int rank) {
    const PeerMemory& p = ranks.memory[rank];
    const cudaStream_t s = ranks.streams[rank];
    for (int round = 0; round < rounds; ++round) {
      kernel::cuda::rank_sum<bf16, false><<<blocks, threads, 0, s>>>(p, x[rank], nullptr, pieces(round));
      kernel::cuda::rank_broadcast<<<blocks, threads, 0, s>>>(p, reinterpret_cast<uint4*>(ids[rank]), 16);
      kernel::cuda::rank_gather<<<blocks, threads, 0, s>>>(p, x[rank], y[rank], 1, pieces(round));
    }
  });
  std::vector<bf16> wanted = start;  // doubled by every sum that reaches it, which bf16 has exactly
  for (int round = 0; round < rounds; ++round)
    for (int i = 0; i < 8 * pieces(round); ++i) {
      bf16& value = wanted[static_cast<std::size_t>(i)];
      value = round_to<bf16>(2 * to_f32(value));
    }
  for (int rank = 0; rank < size; ++rank) {
    CHECK(same_bits(gpu().download(x[rank], wanted.size()), wanted));
    CHECK(gpu().download(ids[rank], 64) == std::vector<int>(64, 1));
  }
}
