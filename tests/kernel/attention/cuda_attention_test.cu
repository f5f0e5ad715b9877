#include "kernel/attention/cuda_attention_problem.cuh"

using namespace lamina;
using namespace lamina::kernel;
using namespace lamina::test::attention;

namespace {

/// Empty and one-token sequences, lengths around every tile, chunks against longer caches, decoding, each tile width.
const Case cases[] = {
    {{0, 1}, {0, 1}, {1, 1, 8, 0.3f, true}},
    {{0, 0, 1, 1, 6}, {0, 0, 1, 1, 6}, {4, 2, 16, 0.25f, true}},
    {{0, 63, 128, 193}, {0, 63, 128, 193}, {4, 1, 32, 0.18f, true}},
    {{0, 300, 301}, {0, 300, 301}, {2, 2, 24, 0.22f, true}},
    {{0, 300, 301}, {0, 300, 301}, {2, 2, 64, 0.22f, false}},
    {{0, 128, 256, 385}, {0, 128, 256, 385}, {4, 2, 128, 0.088f, true}},
    {{0, 600, 600, 800}, {0, 600, 600, 800}, {2, 1, 128, 0.088f, true}},
    {{0, 400, 529}, {0, 400, 529}, {2, 1, 128, 0.088f, false}},
    {{0, 300}, {0, 300}, {3, 1, 80, 0.11f, false}},
    {{0, 90, 219}, {0, 90, 219}, {2, 2, 72, 0.12f, false}},
    {{0, 90, 219}, {0, 90, 219}, {2, 2, 72, 0.12f, true}},
    {{0, 513}, {0, 513}, {2, 2, 64, 0.125f, true}},
    {{0, 1, 2, 3}, {0, 700, 701, 1301}, {8, 2, 64, 0.125f, true}},
    {{0, 1}, {0, 3000}, {16, 8, 128, 0.088f, true}},
    {{0, 1}, {0, 5}, {28, 4, 128, 0.088f, true}},
    {{0, 5, 12}, {0, 600, 650}, {32, 4, 128, 0.088f, true}},
    {{0, 8}, {0, 1000}, {4, 1, 80, 0.11f, true}},
    {{0, 70, 71}, {0, 400, 700}, {4, 2, 128, 0.088f, true}},
    {{0, 2, 5}, {0, 9, 9}, {2, 1, 8, 0.35f, false}},                   // the last three queries have no keys
    {{0, 5}, {0, 3}, {2, 1, 8, 0.35f, true}},                          // nor do the first two of these
    {{0, 200, 200, 300}, {0, 100, 150, 150}, {2, 1, 64, 0.1f, true}},  // nor do half of these
    {{0, 300, 301}, {0, 300, 301}, {4, 2, 64, 0.125f, true, 1}},       // windows: of one key, around tiles, of all
    {{0, 700, 833}, {0, 700, 833}, {4, 2, 128, 0.088f, true, 130}},
    {{0, 300}, {0, 300}, {3, 1, 80, 0.11f, true, 64}},
    {{0, 200}, {0, 200}, {2, 1, 128, 0.088f, true, 1000}},
    {{0, 70, 71}, {0, 400, 700}, {4, 2, 128, 0.088f, true, 100}},
};

/// The library's own kernels: those of this GPU, and those of every GPU from sm_80 on with much and little shared
/// memory.
enum class Kernels { own, tiles, small_tiles };
template <class T>
void forward(Kernels kernels, const AttentionFwd<T>& a) {
  if constexpr (!std::is_same_v<T, float>)
    if (kernels != Kernels::own) return kernel::cuda::attention_forward_tiles(gpu().stream(), a);
  kernel::cuda::attention_forward_own(gpu().stream(), a);
}
template <class T>
void backward(Kernels kernels, const AttentionBwd<T>& a) {
  const Stream<Cuda> s = gpu().stream();
  if constexpr (!std::is_same_v<T, float>) {
    Arena::Scope scope(*s.scratch);
    const int shared_bytes = kernels == Kernels::tiles ? 163 << 10 : 99 << 10;
    if (kernels != Kernels::own)
      return kernel::cuda::attention_backward_tiles(s, a, kernel::cuda::attention_bwd_sums(s, a), shared_bytes);
  }
  kernel::cuda::attention_backward_own(s, a);
}

/// Two runs agree bit for bit, and with the equations.
template <class T>
void contract(const Case& c) {
  gpu().release();
  Problem<T> p(c);
  p.solve_forward();
  const bool other_keys = c.cu_q != c.cu_k;
  p.solve_backward();
  for (const Kernels kernels : {Kernels::own, Kernels::tiles, Kernels::small_tiles}) {
    if (std::is_same_v<T, float> && kernels != Kernels::own) continue;
    CAPTURE(c.cu_q, c.cu_k, c.shape.heads, c.shape.kv_heads, c.shape.head_dim, c.shape.causal,
            static_cast<int>(kernels));
    const OnGpu<T> one(p), two(p);
    forward(kernels, one.forward), forward(kernels, two.forward);
    check_forward(p, one);
    CHECK(same_bits(rows_of(one.forward.o), rows_of(two.forward.o)));
    CHECK(same_bits(gpu().download(one.forward.lse, p.lse.size()), gpu().download(two.forward.lse, p.lse.size())));
    if (other_keys && kernels != Kernels::own) continue;
    backward(kernels, one.backward), backward(kernels, two.backward);
    check_backward(p, one);
    CHECK(same_bits(rows_of(one.backward.dq), rows_of(two.backward.dq)));
    CHECK(same_bits(rows_of(one.backward.dk), rows_of(two.backward.dk)));
    CHECK(same_bits(rows_of(one.backward.dv), rows_of(two.backward.dv)));
  }
}

/// 0, 1, 2, 3, 0, ... tokens, then one long sequence: more sequences than a warp ranks.
std::vector<int> many_sequences() {
  std::vector<int> cu{0};
  for (int b = 0; b < 700; ++b) cu.push_back(cu.back() + b % 4);
  cu.push_back(cu.back() + 270);
  return cu;
}

}  // namespace

TEMPLATE_TEST_CASE("CUDA attention: both passes equal their equations and themselves", "", float, bf16, f16) {
  for (const Case& c : cases) contract<TestType>(c);
}
TEMPLATE_TEST_CASE("CUDA attention: many short sequences", "", float, bf16, f16) {
  for (const bool causal : {true, false}) {
    const Case c{many_sequences(), many_sequences(), {2, 1, 64, 0.125f, causal}};
    contract<TestType>(c);
  }
}
TEMPLATE_TEST_CASE("CUDA attention: scores far apart neither overflow nor lose a row", "", float, bf16, f16) {
  for (const float scale : {3.0f, 30.0f}) {
    contract<TestType>({{0, 300}, {0, 300}, {2, 1, 128, scale, true}});
    contract<TestType>({{0, 2}, {0, 900}, {2, 1, 128, scale, true}});
  }
}

TEMPLATE_TEST_CASE("CUDA attention: a null lse is not written", "", float, bf16, f16) {
  for (const Case& c : {cases[6], cases[13]}) {
    gpu().release();
    const Problem<TestType> p(c);
    const OnGpu<TestType> with(p), without(p);
    AttentionFwd<TestType> arguments = without.forward;
    arguments.lse = nullptr;
    kernel::cuda::attention_forward_own(gpu().stream(), with.forward);
    kernel::cuda::attention_forward_own(gpu().stream(), arguments);
    CHECK(same_bits(rows_of(with.forward.o), rows_of(without.forward.o)));
  }
}

TEMPLATE_TEST_CASE("CUDA attention: nothing to do is done", "", float, bf16, f16) {
  gpu().release();
  Problem<TestType> p({{0, 0, 0}, {0, 0, 0}, {4, 2, 64, 0.125f, true}});
  const OnGpu<TestType> on(p);
  kernel::cuda::attention_forward_own(gpu().stream(), on.forward);
  kernel::cuda::attention_backward_own(gpu().stream(), on.backward);
  gpu().device().wait();
}

TEMPLATE_TEST_CASE("CUDA attention: decoding is captured once while its cache grows", "", bf16, f16) {
  constexpr int capacity = 3000;
  gpu().release();
  const AttentionShape shape{16, 8, 128, 0.088f, true};
  Problem<TestType> p({{0, 1}, {0, capacity}, shape});
  const OnGpu<TestType> on(p);
  const Stream<Cuda> s = gpu().stream();
  kernel::cuda::attention_forward_own(s, on.forward);
  gpu().device().wait();
  cudaGraph_t graph;
  cudaGraphExec_t exec;
  kernel::cuda::check(cudaStreamBeginCapture(s.handle, cudaStreamCaptureModeThreadLocal), "capture");
  kernel::cuda::attention_forward_own(s, on.forward);
  kernel::cuda::check(cudaStreamEndCapture(s.handle, &graph), "capture");
  kernel::cuda::check(cudaGraphInstantiate(&exec, graph, 0), "instantiate");
  for (const int length : {1, 16, 17, 64, 65, 1023, 2112, 2113, 3000}) {
    CAPTURE(length);
    p.c.cu_k = {0, length};
    p.solve_forward();
    Memory<Cuda>::upload(s, const_cast<int*>(on.forward.cu_k), p.c.cu_k.data(), 2 * sizeof(int));
    kernel::cuda::check(cudaGraphLaunch(exec, s.handle), "replay");
    check_forward(p, on);
  }
  cudaGraphExecDestroy(exec);
  cudaGraphDestroy(graph);
}

TEMPLATE_TEST_CASE("CUDA attention: a full GPU of blocks that wait for each other is bit-equal, and near fp32",
                   "[waits]", bf16, f16) {
  for (const bool causal : {true, false}) {
    gpu().release();
    const Case c{{0, 1500, 1600, 3000, 4000}, {0, 1500, 1600, 3000, 4000}, {8, 4, 128, 0.088f, causal}};
    const Problem<TestType> p(c);
    const Problem<float> wide(c);  // the same numbers before they are rounded
    const OnGpu<TestType> one(p), two(p);
    const OnGpu<float> exact(wide);
    const auto run = [](const auto& on) {
      kernel::cuda::attention_forward_own(gpu().stream(), on.forward);
      auto b = on.backward;
      b.o = on.forward.o, b.lse = on.forward.lse;
      kernel::cuda::attention_backward_own(gpu().stream(), b);
    };
    run(one), run(two), run(exact);
    // Inputs, p, dS and results are rounded to T; roundings are independent, so norms are off by a few of them.
    const double tolerance = 4 * rounding<TestType>;
    CHECK(lamina::testing::relative_error(rows_of(one.forward.o), rows_of(exact.forward.o)) < tolerance);
    CHECK(lamina::testing::relative_error(rows_of(one.backward.dq), rows_of(exact.backward.dq)) < tolerance);
    CHECK(lamina::testing::relative_error(rows_of(one.backward.dk), rows_of(exact.backward.dk)) < tolerance);
    CHECK(lamina::testing::relative_error(rows_of(one.backward.dv), rows_of(exact.backward.dv)) < tolerance);
    CHECK(same_bits(rows_of(one.backward.dq), rows_of(two.backward.dq)));
    CHECK(same_bits(rows_of(one.backward.dk), rows_of(two.backward.dk)));
    CHECK(same_bits(rows_of(one.backward.dv), rows_of(two.backward.dv)));
  }
}

TEST_CASE("CUDA attention: workspace_bytes bounds what is taken") {
  gpu().release();
  for (const Case& c : cases) {
    const Problem<bf16> p(c);
    const OnGpu<bf16> on(p);
    if (c.cu_q != c.cu_k) continue;
    Arena nothing, backward(kernel::cuda::attention_workspace_bytes(c.shape, p.q.rows), Memory<Cuda>{});
    kernel::cuda::attention_forward_own(gpu().device().stream(&nothing), on.forward);
    kernel::cuda::attention_backward_own(gpu().device().stream(&backward), on.backward);
    gpu().device().wait();
  }
}

TEST_CASE("CUDA attention: what it cannot take is an error") {
  gpu().release();
  Problem<bf16> p(cases[5]);
  OnGpu<bf16> on(p);
  on.forward.shape.head_dim = 136;
  CHECK_THROWS(kernel::cuda::attention_forward_own(gpu().stream(), on.forward));
}
