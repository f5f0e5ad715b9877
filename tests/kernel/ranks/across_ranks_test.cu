#include <array>
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
    gpu().release();
    std::array<std::byte*, size> own{};
    for (int rank = 0; rank < size; ++rank) {
      memory[rank].rank = rank, memory[rank].ranks = size, memory[rank].slot_bytes = std::size_t{1} << 20;
      own[rank] = gpu().upload(std::vector<std::byte>(memory[rank].bytes()));
      kernel::cuda::check(cudaStreamCreateWithFlags(&streams[rank], cudaStreamNonBlocking), "a stream");
    }
    for (PeerMemory& p : memory)
      for (int r = 0; r < size; ++r) {
        p.slots[r] = own[r];
        p.flags[r] = reinterpret_cast<std::uint32_t*>(own[r] + p.flags_at());
        p.exchanges = reinterpret_cast<std::uint32_t*>(own[p.rank] + p.exchanges_at());
      }
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
};

std::vector<bf16> values_of(int n, int seed) {
  std::vector<bf16> out(static_cast<std::size_t>(n));
  for (int i = 0; i < n; ++i) out[i] = round_to<bf16>(static_cast<float>((i * 7 + seed * 31) % 256 - 128) / 16);
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
        wanted[i] = round_to<bf16>(to_f32(a[i]) + to_f32(b[i]) + (adds ? to_f32(c[i]) : 0));
      for (int rank = 0; rank < size; ++rank)
        CHECK(same_bits(gpu().download((adds ? y : x)[rank], wanted.size()), wanted));
    }
  }
}

TEST_CASE("rank_gather and rank_broadcast: each rank has what the others have") {
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
    kernel::cuda::rank_broadcast<threads>
        <<<blocks, threads, 0, ranks.streams[rank]>>>(ranks.memory[rank], reinterpret_cast<uint4*>(ids[rank]), 64);
  });
  std::vector<bf16> wanted;
  for (int row = 0; row < rows; ++row)
    for (const auto& part : parts)
      wanted.insert(wanted.end(), part.begin() + 8 * row * width, part.begin() + 8 * (row + 1) * width);
  for (int rank = 0; rank < size; ++rank) {
    CHECK(same_bits(gpu().download(y[rank], wanted.size()), wanted));
    CHECK(gpu().download(ids[rank], 256) == std::vector<int>(256, 40));
  }
}
