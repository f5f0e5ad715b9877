#pragma once
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include <lamina/core/arena.hpp>
#include <lamina/core/error.hpp>
#include <lamina/core/threads.hpp>
#include <lamina/engine/step/sampler.hpp>
#include <lamina/kernel/logits/adjust_logits.hpp>

/// What the rules of requests change of a step's logits, as arrays that are sent to the backend in one copy.
namespace lamina::engine {

/// A row of a step's logits that is adjusted before its request draws.
struct AdjustedRow {
  int row = 0;
  Sampler* sampler = nullptr;  ///< null: it needs no rules any more
  std::string error = {};      ///< why the request ends: its mask said so
};

/// How many of each a step has.
struct AdjustSizes {
  int rows = 0, masks = 0, offsets = 0;
};

struct AdjustInputs {
  static constexpr int most_offsets = 2048;  ///< of one row; of a request with as many the host draws

  AdjustSizes sizes;
  kernel::LogitRule* rules = nullptr;      ///< (rows)
  Matrix<std::uint64_t> bits;              ///< (masks, ceil(V / 64))
  kernel::LogitOffset* offsets = nullptr;  ///< of all rows
  std::size_t bytes = 0;                   ///< of the block

  /// The arrays in a block that begins at `block`.
  static AdjustInputs in(std::byte* block, const AdjustSizes& n, int vocab) {
    AdjustInputs in;
    const auto take = [&]<class E>(E*& array, std::size_t count) {
      array = reinterpret_cast<E*>(block + in.bytes);
      in.bytes += (sizeof(E) * count + Arena::alignment - 1) / Arena::alignment * Arena::alignment;
    };
    in.sizes = n;
    in.bits = {nullptr, n.masks, static_cast<int>(Sampler::words_for(vocab))};
    take(in.rules, static_cast<std::size_t>(n.rows));
    take(in.bits.data, static_cast<std::size_t>(n.masks) * Sampler::words_for(vocab));
    take(in.offsets, static_cast<std::size_t>(n.offsets));
    return in;
  }
  /// Of the most that a step of so many rows has.
  static std::size_t bytes_of(int rows, int vocab) {
    return in(nullptr, {rows, 2 * rows, rows * most_offsets}, vocab).bytes;
  }
  /// Whether a backend can adjust what a request draws from next, and one token later.
  static bool fits(const Sampler& sampler) { return sampler.offsets().size() < most_offsets; }

  /// Writes into a block what the next draws of the rows' samplers ask for, on all threads. A row whose mask fails gets
  /// the error, and no token may come.
  static AdjustInputs write(std::byte* block, std::span<AdjustedRow> rows, int vocab) {
    AdjustSizes n;
    std::vector<kernel::LogitRule> rules;
    for (const AdjustedRow& row : rows) rules.push_back(rule_of(row, n));
    const AdjustInputs to = in(block, n, vocab);
    std::ranges::copy(rules, to.rules);
    parallel_for_next(n.rows, [&](std::int64_t i) {
      AdjustedRow& row = rows[static_cast<std::size_t>(i)];
      const kernel::LogitRule& rule = to.rules[i];
      if (!row.sampler) return;
      if (rule.allowed >= 0) allow(row, {to.bits.row(rule.allowed), static_cast<std::size_t>(to.bits.cols)});
      if (rule.seen >= 0) std::ranges::copy(row.sampler->penalised(), to.bits.row(rule.seen));
      std::ranges::copy(row.sampler->offsets(), to.offsets + rule.first_offset);
    });
    return to;
  }

 private:
  /// A row's rule; its masks and offsets are those after n, which grows by them.
  static kernel::LogitRule rule_of(const AdjustedRow& row, AdjustSizes& n) {
    if (!row.sampler) return ++n.rows, kernel::LogitRule{.row = row.row};
    const Sampler& sampler = *row.sampler;
    kernel::LogitRule rule{.repetition_penalty = sampler.params().repetition_penalty,
                           .row = row.row,
                           .allowed = sampler.excludes() ? n.masks++ : -1,
                           .seen = sampler.penalised().empty() ? -1 : n.masks++,
                           .first_offset = n.offsets,
                           .offsets = static_cast<int>(sampler.offsets().size())};
    ++n.rows;
    n.offsets += rule.offsets;
    return rule;
  }
  static void allow(AdjustedRow& row, std::span<std::uint64_t> bits) {
    try {
      row.sampler->allow(bits);
    } catch (const Error& e) {  // the request's alone
      row.error = e.what();
      std::ranges::fill(bits, 0);
    }
  }
};

}  // namespace lamina::engine
