#pragma once
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include <lamina/core/error.hpp>
#include <lamina/serve/http/request_body.hpp>
#include <lamina/serve/openai/api_error.hpp>

namespace lamina::serve {

/// Bytes that whole answers may take while they are made: of one answer, and of all together. Streams are bounded by
/// HttpLimits::unsent_bytes instead.
struct AnswerLimits {
  std::uint64_t one = 128 << 20;
  std::shared_ptr<ByteBudget> all = std::make_shared<ByteBudget>(768 << 20);  ///< one takes 1.5 times its size to grow
};

/// The JSON of a whole answer, written piece by piece and counted: as a tree it would take up to 30 times the memory.
class AnswerText {
 public:
  explicit AnswerText(const AnswerLimits& limits) : most_(limits.one), text_(limits.all) { text_.expect(most_); }

  /// ApiError 400 beyond the answer's own limit, 503 if other answers hold the memory.
  void append(std::string_view piece) {
    expect_room(piece.size());
    if (!text_.append(piece))
      throw ApiError(503, "ServiceUnavailable", "the answers of other requests hold the memory; try again");
  }
  /// ApiError 400 if so many bytes more are beyond the answer's own limit.
  void expect_room(std::uint64_t bytes) const {
    if (bytes > most_ - text_.text().size())
      throw ApiError(400, "BadRequestError",
                     cat("the answer would be larger than ", most_, " bytes: ask for less in one request"));
  }
  std::string_view view() const { return text_.text(); }
  /// From here on it does not count.
  std::string take() noexcept { return text_.take(); }

 private:
  std::uint64_t most_;
  RequestBody text_;
};

}  // namespace lamina::serve
