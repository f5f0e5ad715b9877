#include <lamina/fuse/folded.hpp>
#include <lamina/kernel/cpu.hpp>
#include <lamina/layer.hpp>
#include <lamina/testing/gradient_check.hpp>

#include "support/catch.hpp"

using namespace lamina;

namespace {
LAMINA_NAME(first);
LAMINA_NAME(second);
using Low = LearningBase<AdaptedLinear<Linear<7, 9, Bias>, Rank<2>, Alpha<4>>>;
using Other = LearningBase<DoraLinear<Linear<7, 4>, Rank<Dyn>, Alpha<Dyn>>>;
using Wide = LearningBase<AdaptedLinear<Linear<7, 5, Bias>, Rank<3>, Alpha<6>>>;
struct Together : FoldedAdapters<Named<first, Low>, Named<second, Wide>> {};
static_assert(trainable_count<Low> == 7 * 9 + 9 + 2 * 7 + 9 * 2);
static_assert(adds<Low> && !adds<Other>);
}  // namespace

TEST_CASE("LearningBase: gradients of adapters and of what they are on match finite differences, alone and joined") {
  CHECK(testing::check_gradients<Low>().passed());
  CHECK(testing::check_gradients<Together>().passed());
}
