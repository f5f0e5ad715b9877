#pragma once
#include <cstddef>
#include <limits>
#include <stop_token>

#include <lamina/core/error.hpp>
#include <lamina/core/threads/cancelled.hpp>

namespace lamina::text {

/// The text has more token ids than EncodeLimits allows; it was not read to its end.
struct TooManyIds : Error {
  std::size_t at_least;  ///< a lower bound of their number
  explicit TooManyIds(std::size_t at_least)
      : Error(cat("text: at least ", at_least, " tokens, more than wanted")), at_least(at_least) {}
};

/// When to leave off encoding a text that a stranger wrote.
struct EncodeLimits {
  std::size_t max_ids = std::numeric_limits<std::size_t>::max();  ///< TooManyIds beyond
  std::stop_token cancelled = {};                                 ///< Cancelled is thrown

  /// To be called now and then with a lower bound of the ids so far.
  void check(std::size_t ids) const {
    throw_if_stopped(cancelled);
    if (ids > max_ids) throw TooManyIds(ids);
  }
};

}  // namespace lamina::text
