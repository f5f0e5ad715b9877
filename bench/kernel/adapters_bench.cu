// Adapters by name: the products of Qwen3-VL-2B's decoder with and without adapters of rank 16 on each, every row with
// one of them at random; with A in memory of its own, and with A below the product's matrix (RowTerms::below_weight):
// bench_kernel_adapters [part of a line's name].
#include <lamina/kernel/cuda/matmul/adapters/add_adapters.cuh>
#include <lamina/kernel/cuda/matmul/matmul.cuh>
#include <random>
#include <vector>

#include "cuda_bench.cuh"

using namespace lamina;
using namespace lamina::bench;
namespace k = lamina::kernel;

namespace {

constexpr int layer_count = 28, rank = 16;
struct Product {
  int in;
  std::vector<int> widths;
  int out() const {
    int sum = 0;
    for (const int width : widths) sum += width;
    return sum;
  }
};
const std::vector<Product> products = {
    {2048, {2048, 1024, 1024}}, {2048, {2048}}, {2048, {6144, 6144}}, {6144, {2048}}};

Weight weight_of(Matrix<bf16> w) { return {w.data, DType::BF16, w.rows, w.cols, w.stride}; }

/// One product's matrices; each layer has its own, so that they are read from memory as in a model.
struct Case {
  Weight base, with_a;  ///< with_a: A is below base
  k::RowTerms adapters;
  Matrix<bf16> x, y, h;
};
Case make_case(Gpu& gpu, const Product& p, int tokens, int slots, unsigned seed) {
  const int parts = static_cast<int>(p.widths.size());
  const int ranks = slots * parts * rank;
  const Matrix<bf16> all = random_matrix<bf16>(gpu, p.out() + ranks, p.in, seed, 0.02f);
  Case c{weight_of(all.row_range(0, p.out())),
         weight_of(all),
         {weight_of(all.row_range(p.out(), ranks)),
          weight_of(random_matrix<bf16>(gpu, slots * p.out(), rank, seed + 2, 0.02f)),
          slots,
          rank,
          parts,
          {}},
         random_matrix<bf16>(gpu, tokens, p.in, seed + 3),
         random_matrix<bf16>(gpu, tokens, p.out(), seed + 4),
         random_matrix<bf16>(gpu, tokens, p.out() + ranks, seed + 5)};
  std::copy(p.widths.begin(), p.widths.end(), c.adapters.widths.begin());
  return c;
}

/// Rows have one of the first `used` adapters.
void bench_case(Gpu& gpu, int tokens, int slots, int used) {
  const std::string name =
      "adapters/" + std::to_string(used) + " of " + std::to_string(slots) + "/" + std::to_string(tokens) + " tokens";
  if (!gpu.wanted(name)) return;
  Arena::Scope scope(gpu.memory);
  std::vector<Case> cases;
  double bytes = 0;
  for (int layer = 0; layer < layer_count; ++layer)
    for (const Product& p : products) {
      cases.push_back(make_case(gpu, p, tokens, slots, static_cast<unsigned>(cases.size()) * 8));
      const Case& c = cases.back();
      bytes += 2.0 * (static_cast<double>(c.adapters.a.rows) * c.adapters.a.cols +
                      static_cast<double>(c.adapters.b.rows) * c.adapters.b.cols);
    }
  std::mt19937 random(1);
  std::vector<int> of(static_cast<std::size_t>(tokens));
  for (int& slot : of) slot = static_cast<int>(random() % static_cast<unsigned>(used));
  int* const slot_of = gpu.memory.take<int>(of.size());
  k::cuda::check(cudaMemcpy(slot_of, of.data(), of.size() * sizeof(int), cudaMemcpyHostToDevice), "copy");
  enum class Adapters { none, apart, below };
  const auto run = [&](Adapters adapters) {
    return seconds_per_call(gpu, 1, [&](int) {
      for (const Case& c : cases) {
        const bool below = adapters == Adapters::below;
        k::matmul<Cuda>::forward(gpu.stream(),
                                 k::MatmulFwd<bf16>{.x = c.x, .w = below ? c.with_a : c.base, .y = below ? c.h : c.y});
        if (below)
          k::add_adapters<Cuda>::finish(
              gpu.stream(), k::AdaptedProduct<bf16>{.h = c.h, .adapters = c.adapters, .slots = slot_of, .y = c.y});
        if (adapters == Adapters::apart)
          k::add_adapters<Cuda>::forward(
              gpu.stream(), k::AddAdapters<bf16>{.x = c.x, .adapters = c.adapters, .slots = slot_of, .y = c.y});
      }
    });
  };
  const double none = run(Adapters::none);
  for (const auto& [where, adapters] : {std::pair{"A apart", Adapters::apart}, {"A below W", Adapters::below}}) {
    const double with = run(adapters);
    std::printf("%-44s %-9s %9.1f us without, %9.1f us with: %6.2f us per product\n", name.c_str(), where, none * 1e6,
                with * 1e6, (with - none) * 1e6 / static_cast<double>(cases.size()));
    report_bytes(gpu, name + ", what they add", with - none, bytes);
  }
}

}  // namespace

int main(int count, char** arguments) {
  Gpu gpu(std::size_t{12} << 30, std::size_t{256} << 20, count > 1 ? arguments[1] : "");
  gpu.read_bytes_per_s = measure_read_bytes_per_s(gpu);
  for (const auto& [slots, used] : {std::pair{1, 1}, {8, 1}, {8, 8}})
    for (const int tokens : {1, 8, 16, 64, 256, 2048}) bench_case(gpu, tokens, slots, used);
}
