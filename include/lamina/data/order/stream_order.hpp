#pragma once
#include <lamina/core/error.hpp>
#include <lamina/core/random/numpy.hpp>
#include <lamina/data/order/mix.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <numeric>
#include <optional>
#include <utility>
#include <vector>

namespace lamina::data {

/// Settings of the order in which rows are streamed.
struct StreamOptions {
  std::vector<std::int64_t> rows;    ///< of each data set
  int workers = 1;                   ///< of the data loader; each reads its own part of every data set
  std::int64_t buffer_size = 16384;  ///< rows that are shuffled at a time
  std::uint64_t seed = 42;
};

/// The generator of an epoch's order.
/// source  datasets 4.0, iterable_dataset.py, _effective_generator
inline NumpyGenerator stream_generator(std::uint64_t seed, std::int64_t epoch) {
  NumpyGenerator first(seed);
  if (epoch == 0) return first;
  constexpr std::uint64_t range = std::uint64_t{1} << 63;
  return NumpyGenerator(((first.next() >> 1) - static_cast<std::uint64_t>(epoch)) & (range - 1));
}

/// The rows that one worker streams in one epoch. It reads its parts of the data sets one after another, the sets in a
/// shuffled order, through a buffer: once that is full, each further row takes the place of a random one, which is
/// handed out. Only row numbers are held.
/// source  datasets 4.0, iterable_dataset.py: VerticallyConcatenatedMultiSourcesExamplesIterable,
///         ArrowExamplesIterable, BufferShuffledExamplesIterable
class StreamLane {
 public:
  StreamLane(const StreamOptions& options, std::int64_t epoch, int worker)
      : buffer_size_(static_cast<std::size_t>(options.buffer_size)), generator_(stream_generator(options.seed, epoch)) {
    for (const int dataset : shuffled(static_cast<int>(options.rows.size()))) {
      const std::int64_t rows = options.rows[static_cast<std::size_t>(dataset)];
      if (rows < options.workers)
        fail("streaming: ", rows, " rows cannot be divided among dataloader_num_workers: ", options.workers,
             ": lower that number");
      const std::int64_t part = shuffled(options.workers)[static_cast<std::size_t>(worker)];
      const std::int64_t each = rows / options.workers, longer = rows % options.workers;
      const std::int64_t begin = part * each + std::min(part, longer);
      parts_.push_back({dataset, begin, begin + each + (part < longer)});
    }
  }

  /// The next row, or nothing at the end of the epoch.
  std::optional<MixedRow> next() {
    while (const auto row = read()) {
      if (buffer_.size() < buffer_size_) {
        buffer_.push_back(*row);
      } else {
        return std::exchange(buffer_[drawn()], *row);
      }
    }
    if (!ended_) generator_.shuffle(buffer_);
    ended_ = true;
    return taken_ < buffer_.size() ? std::optional(buffer_[taken_++]) : std::nullopt;
  }

 private:
  static constexpr std::size_t draws_at_a_time = 1000;

  struct Part {
    int dataset;
    std::int64_t at, end;
  };

  /// 0 .. n-1 in an order that a copy of the generator draws: the buffer's own draws begin at the same state.
  std::vector<int> shuffled(int n) const {
    std::vector<int> order(static_cast<std::size_t>(n));
    std::iota(order.begin(), order.end(), 0);
    NumpyGenerator copy = generator_;
    copy.shuffle(order);
    return order;
  }

  std::optional<MixedRow> read() {
    while (part_ < parts_.size() && parts_[part_].at == parts_[part_].end) ++part_;
    if (part_ == parts_.size()) return std::nullopt;
    return MixedRow{parts_[part_].dataset, static_cast<int>(parts_[part_].at++)};
  }

  std::size_t drawn() {
    if (draw_ == draws_.size()) {
      draws_.resize(draws_at_a_time);
      for (std::uint32_t& draw : draws_) draw = generator_.below(static_cast<std::uint32_t>(buffer_size_));
      draw_ = 0;
    }
    return draws_[draw_++];
  }

  const std::size_t buffer_size_;
  NumpyGenerator generator_;
  std::vector<Part> parts_;
  std::vector<MixedRow> buffer_;
  std::vector<std::uint32_t> draws_;
  std::size_t part_ = 0, draw_ = 0, taken_ = 0;
  bool ended_ = false;
};

}  // namespace lamina::data
