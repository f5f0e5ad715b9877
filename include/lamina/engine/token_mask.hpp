#pragma once
#include <cstdint>
#include <span>

namespace lamina::engine {

/// Which tokens may come next in one answer; asked before each draw. An object belongs to one request, and is used by
/// the thread that draws. An Error ends the request with its message.
class TokenMask {
 public:
  virtual ~TokenMask() = default;
  /// Sets the bit of each token that may come, the token that ends the answer among them, and clears the others.
  virtual void fill(std::span<std::uint64_t> bits) = 0;
  /// The token that was drawn.
  virtual void drawn(int token) = 0;
};

}  // namespace lamina::engine
