#pragma once
#include <cstdint>
#include <span>

namespace lamina::engine {

/// Which tokens may come next in one answer; asked before each draw. An object belongs to one request. One thread at a
/// time uses it, but not always the same; others use the masks of other requests meanwhile. An Error ends the request
/// with its message.
class TokenMask {
 public:
  virtual ~TokenMask() = default;
  /// Sets the bit of each token that may come, the token that ends the answer among them, and clears the others.
  virtual void fill(std::span<std::uint64_t> bits) = 0;
  /// The token that was drawn.
  virtual void drawn(int token) = 0;
};

}  // namespace lamina::engine
