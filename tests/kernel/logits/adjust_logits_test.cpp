#include <lamina/kernel/cpu/logits/adjust_logits.hpp>

#include <algorithm>

#include "kernel/adjust_problem.hpp"
#include "support/catch.hpp"

using namespace lamina;
using namespace lamina::kernel;

namespace {

constexpr float excluded = -std::numeric_limits<float>::infinity();

/// The rules one after the other over a whole row, as requests have them.
template <class T>
std::vector<float> plainly(const test::AdjustProblem<T>& problem, const LogitRule& rule) {
  const auto vocab = static_cast<std::size_t>(problem.vocab);
  std::vector<float> row(vocab);
  std::vector<bool> broken(vocab);
  const auto bit = [&](int mask, std::size_t id) {
    const auto word = static_cast<std::size_t>(mask * problem.words) + id / 64;
    return problem.bits[word] >> id % 64 & 1;
  };
  for (std::size_t id = 0; id < vocab; ++id) {
    row[id] = to_f32(problem.logits[static_cast<std::size_t>(rule.row) * vocab + id]);
    broken[id] = !std::isfinite(row[id]);
    if (rule.allowed >= 0 && !bit(rule.allowed, id)) row[id] = excluded;
  }
  const auto own = std::vector(problem.offsets.begin() + rule.first_offset,
                               problem.offsets.begin() + rule.first_offset + rule.offsets);
  for (const LogitOffset& o : own)
    if (!std::signbit(o.bias) || o.bias != 0) row[static_cast<std::size_t>(o.id)] += o.bias;
  constexpr double most = std::numeric_limits<float>::max();
  for (std::size_t id = 0; id < vocab; ++id)
    if (rule.seen >= 0 && bit(rule.seen, id) && row[id] != excluded)
      row[id] = static_cast<float>(
          std::clamp(row[id] > 0 ? row[id] / rule.repetition_penalty : row[id] * rule.repetition_penalty, -most, most));
  for (const LogitOffset& o : own) row[static_cast<std::size_t>(o.id)] -= o.penalty;
  for (std::size_t id = 0; id < vocab; ++id)
    if (broken[id]) row[id] = std::numeric_limits<float>::quiet_NaN();
  return row;
}

}  // namespace

TEMPLATE_TEST_CASE("adjust_logits: equals the rules applied one after the other, bit for bit", "", float, bf16, f16) {
  for (const int vocab : {1, 64, 1000}) {
    const test::AdjustProblem<TestType> problem(vocab);
    std::vector<float> got;
    adjust_logits<Cpu>::forward(Stream<Cpu>{}, problem.on_host(got));
    CAPTURE(vocab);
    for (std::size_t r = 0; r < problem.rules.size(); ++r) {
      const std::vector<float> want = plainly(problem, problem.rules[r]);
      CAPTURE(r);
      CHECK(std::equal(want.begin(), want.end(), got.begin() + static_cast<std::ptrdiff_t>(r * want.size()),
                       test::same_bits));
    }
  }
}
