#include "kernel/attention/cuda_cudnn_problem.cuh"

#if LAMINA_HAS_CUDNN
using namespace lamina;
using namespace lamina::kernel;
using namespace lamina::test::cudnn;

namespace {

/// Sequences of 1, 129, 64, 0, 200, 3 and 1 tokens.
const std::vector<int> uneven = {0, 1, 130, 194, 194, 394, 397, 398};
const Case cases[] = {
    {uneven, shape(16, 8, 128, true), 200},
    {uneven, shape(28, 4, 128, true)},
    {uneven, shape(16, 16, 64, false), 200},
    {uneven, shape(16, 16, 80, false)},
    {{0, 1}, shape(16, 8, 128, true)},
    {{0, 33, 54, 85}, shape(4, 2, 128, true), 33},
    {{0, 33, 54, 85}, shape(4, 4, 128, true), 33},
};
/// What backward takes: sequences of one length.
const Case equal_cases[] = {
    {{0, 100, 200, 300}, shape(16, 8, 128, true), 100},  {{0, 256, 512}, shape(28, 4, 128, true), 256},
    {{0, 144, 288, 432}, shape(16, 16, 64, false), 144}, {{0, 65, 130}, shape(16, 16, 80, false), 65},
    {{0, 33, 66}, shape(4, 4, 128, true), 33},           {{0, 1, 2}, shape(4, 2, 128, true), 1},
};

bool usable() {
  static const bool yes = gpu().device().state<cuda::CudnnState>().handle() != nullptr;
  if (!yes) WARN("skipped: cuDNN cannot be used here");
  return yes;
}

/// Half a step between neighbouring numbers near 1.
template <class T>
constexpr double unit = std::is_same_v<T, bf16> ? 0x1p-9 : 0x1p-12;

/// The engines round P (or dS) and each result to T, and D is made of a rounded o: three roundings of at most `unit` on
/// the way to any output, independent of each other, so that their norms add up. Doubled for the products' signs, which
/// make a sum smaller than its terms.
template <class T>
constexpr double tolerance = 6 * unit<T>;

template <class T>
void check_forward(const Case& c) {
  Problem<T> p(c);
  REQUIRE(cudnn_attention_forward(gpu().stream(), p.forward()));
  const auto o = p.o_now();
  check_columns("o", c, o, p.want.o, p.o_width, 0, p.o_width, tolerance<T>);
  // Sums of head_dim products and of length exponentials in fp32, and exp2 of the special function unit, 2^-22.
  check_columns("lse", c, gpu().download(p.lse, p.want.lse.size()), p.want.lse, c.shape.heads, 0, c.shape.heads, 1e-5);
  REQUIRE(cudnn_attention_forward(gpu().stream(), p.forward()));
  const auto again = p.o_now();
  CHECK(std::memcmp(o.data(), again.data(), o.size() * sizeof(T)) == 0);
}
template <class T>
void check_gradients(const Problem<T>& p, double allowed) {
  const Case& c = p.c;
  const auto d = p.gradients_now();
  if (c.longest > 1) {  // of one token alone dq and dk are 0
    check_columns("dq", c, d, p.want.dqkv, p.width, 0, p.x.q, allowed);
    check_columns("dk", c, d, p.want.dqkv, p.width, p.x.q, p.x.kv, allowed);
  }
  check_columns("dv", c, d, p.want.dqkv, p.width, p.x.q + p.x.kv, p.x.kv, allowed);
  CHECK(p.tails_are_poisoned());
}
template <class T>
void check_backward(const Case& c, const Layout& layout) {
  Problem<T> p(c, layout);
  p.give_reference_forward();
  REQUIRE(cudnn_attention_backward(gpu().stream(), p.backward()));
  check_gradients(p, tolerance<T>);
}
/// As in a training step: backward reads what forward left, whose o and lse are off by a rounding more.
template <class T>
void check_both(const Case& c, const Layout& layout) {
  Problem<T> p(c, layout);
  REQUIRE(cudnn_attention_forward(gpu().stream(), p.forward()));
  REQUIRE(cudnn_attention_backward(gpu().stream(), p.backward()));
  check_columns("o", c, p.o_now(), p.want.o, p.o_width, 0, p.o_width, tolerance<T>);
  check_gradients(p, tolerance<T> + 2 * unit<T>);
}

}  // namespace

TEST_CASE("cuDNN attention: forward equals double precision, and itself bit for bit") {
  if (!usable()) return;
  for (const std::span<const Case> list : {std::span<const Case>(cases), std::span<const Case>(equal_cases)})
    for (const Case& c : list) {
      CAPTURE(c.shape.heads, c.shape.kv_heads, c.shape.head_dim, c.shape.causal, c.cu.back());
      check_forward<bf16>(c);
    }
  check_forward<f16>(cases[0]);
  check_forward<bf16>({uneven, shape(16, 16, 72, false), 200});
  check_forward<f16>(equal_cases[0]);
  check_forward<bf16>({{0, 65, 130}, shape(16, 16, 72, false), 65});
}

TEST_CASE("cuDNN attention: backward equals double precision") {
  if (!usable()) return;
  for (const Case& c : equal_cases) {
    CAPTURE(c.shape.heads, c.shape.kv_heads, c.shape.head_dim, c.shape.causal, c.cu.back());
    check_backward<bf16>(c, Layout::fused(c.shape));
  }
  check_backward<f16>(equal_cases[0], Layout::fused(equal_cases[0].shape));
}

TEST_CASE("cuDNN attention: rows may lie as a model has them, and nothing behind them is written") {
  if (!usable()) return;
  for (const Case& c : equal_cases) {
    CAPTURE(c.shape.heads, c.shape.kv_heads, c.shape.head_dim, c.shape.causal, c.cu.back());
    for (const bool adapted : {false, true}) check_both<bf16>(c, Layout::model(c.shape, adapted));
    check_both<bf16>(c, Layout::tailed(c.shape));
  }
  check_both<f16>(equal_cases[0], Layout::model(equal_cases[0].shape, true));
}

TEST_CASE("cuDNN attention: each tensor's rows may lie apart by a distance of its own") {
  if (!usable()) return;
  for (const Case& c : {equal_cases[0], equal_cases[2]}) {
    for (int Layout::*stride :
         {&Layout::q, &Layout::k, &Layout::v, &Layout::o, &Layout::dout, &Layout::dq, &Layout::dk, &Layout::dv}) {
      Layout apart = Layout::alone(c.shape);
      apart.*stride += 64;
      CAPTURE(c.shape.heads, apart.q, apart.k, apart.v, apart.o, apart.dout, apart.dq, apart.dk, apart.dv);
      check_backward<bf16>(c, apart);
    }
  }
}

TEST_CASE("cuDNN attention: without lse, o is the same") {
  if (!usable()) return;
  Problem<bf16> p(cases[2]);
  auto arguments = p.forward();
  arguments.lse = nullptr;
  REQUIRE(cudnn_attention_forward(gpu().stream(), arguments));
  check_columns("o", p.c, p.o_now(), p.want.o, p.o_width, 0, p.o_width, tolerance<bf16>);
}

TEST_CASE("cuDNN attention: stays inside the bytes it announces") {
  if (!usable()) return;
  for (const Case& c : {equal_cases[0], equal_cases[3]}) {
    Problem<bf16> p(c);
    p.give_reference_forward();
    const std::size_t bytes = cudnn_attention_bytes(p.backward()), beyond = std::size_t{64} << 20;
    REQUIRE(cudnn_attention_bytes(p.forward()) <= bytes);
    Arena exact(bytes, Memory<Cuda>{});  // throws if it is too small
    REQUIRE(cudnn_attention_backward(gpu().device().stream(&exact), p.backward()));
    Arena scratch(bytes + beyond, Memory<Cuda>{});
    const Stream<Cuda> s = gpu().device().stream(&scratch);
    const auto* memory = scratch.take<unsigned char>(bytes + beyond);
    scratch.release_to(0);
    cuda::check(cudaMemsetAsync(const_cast<unsigned char*>(memory), 0xff, bytes + beyond, s.handle), "memset");
    REQUIRE(cudnn_attention_forward(s, p.forward()));
    REQUIRE(cudnn_attention_backward(s, p.backward()));
    const auto after = gpu().download(memory, bytes + beyond);
    std::size_t written = 0;
    for (std::size_t i = bytes; i < after.size(); ++i) written += after[i] != 0xff;
    CHECK(written == 0);
    const auto d = p.gradients_now();
    check_columns("dk", c, d, p.want.dqkv, p.width, p.x.q, p.x.kv, tolerance<bf16>);
  }
}

TEST_CASE("cuDNN attention: a captured graph repeats it") {
  if (!usable()) return;
  Problem<bf16> p(equal_cases[0]);
  const Stream<Cuda> s = gpu().stream();
  REQUIRE(cudnn_attention_forward(s, p.forward()));
  REQUIRE(cudnn_attention_backward(s, p.backward()));
  const auto o = p.o_now();
  cuda::check(cudaMemsetAsync(p.o.data, 0xff, o.size() * 2, s.handle), "memset");
  cuda::check(cudaMemsetAsync(p.dq.data, 0xff, p.want.dqkv.size() * 2, s.handle), "memset");
  cudaGraph_t graph;
  cudaGraphExec_t executable;
  cuda::check(cudaStreamBeginCapture(s.handle, cudaStreamCaptureModeThreadLocal), "begin capture");
  REQUIRE(cudnn_attention_forward(s, p.forward()));
  REQUIRE(cudnn_attention_backward(s, p.backward()));
  cuda::check(cudaStreamEndCapture(s.handle, &graph), "end capture");
  cuda::check(cudaGraphInstantiate(&executable, graph, 0), "instantiate");
  cuda::check(cudaGraphLaunch(executable, s.handle), "launch");
  cuda::check(cudaGraphLaunch(executable, s.handle), "launch");
  const auto again = p.o_now();
  CHECK(std::memcmp(o.data(), again.data(), o.size() * 2) == 0);
  check_columns("dq", p.c, p.gradients_now(), p.want.dqkv, p.width, 0, p.x.q, 2 * tolerance<bf16>);
  cudaGraphExecDestroy(executable);
  cudaGraphDestroy(graph);
}

TEST_CASE("cuDNN attention: leaves to others what it cannot do") {
  if (!usable()) return;
  Problem<bf16> p(equal_cases[0]);
  p.give_reference_forward();
  gpu().device().deterministic = true;
  CHECK_FALSE(cudnn_attention_backward(gpu().stream(), p.backward()));
  gpu().device().deterministic = false;
  auto misaligned = p.forward();
  misaligned.q.data += 1;
  CHECK_FALSE(cudnn_attention_forward(gpu().stream(), misaligned));
  auto cached = p.forward();
  cached.cu_k = p.cu + 1;
  CHECK_FALSE(cudnn_attention_forward(gpu().stream(), cached));
  Problem<bf16> narrow({{0, 65, 130}, shape(16, 16, 72, false), 65});
  CHECK_FALSE(cudnn_attention_backward(gpu().stream(), narrow.backward()));
  Problem<bf16> unequal(cases[0]);
  CHECK_FALSE(cudnn_attention_backward(gpu().stream(), unequal.backward()));
}
#endif  // LAMINA_HAS_CUDNN
