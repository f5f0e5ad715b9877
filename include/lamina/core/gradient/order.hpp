#pragma once
#include <cstddef>
#include <vector>

#include <lamina/core/gradient/watch.hpp>

namespace lamina {

/// The tensors whose gradients a model's backward completes, in its order: each call of gradients_final().
class GradientOrder final : public GradientListener {
 public:
  /// head: the parameter to whose gradient the loss adds before the model's backward.
  GradientOrder(const Parameter* parameters, const Parameter& head)
      : parameters_(parameters), head_(static_cast<std::size_t>(&head - parameters)) {}
  /// Neighbours in the list of tensors.
  struct Range {
    std::size_t first = 0, count = 0;
    std::size_t end() const { return first + count; }
  };
  void gradients_final(const Parameter* p, int count) override {
    ranges_.push_back({static_cast<std::size_t>(p - parameters_), static_cast<std::size_t>(count)});
  }
  const std::vector<Range>& ranges() const { return ranges_; }
  std::size_t head() const { return head_; }

 private:
  const Parameter* parameters_;
  std::size_t head_;
  std::vector<Range> ranges_;
};

}  // namespace lamina
