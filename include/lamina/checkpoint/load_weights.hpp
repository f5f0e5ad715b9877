#pragma once
#include <algorithm>
#include <array>
#include <cmath>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include <lamina/checkpoint/convert.hpp>
#include <lamina/checkpoint/quantized/source.hpp>
#include <lamina/checkpoint/tensors.hpp>
#include <lamina/compose/plan/weights.hpp>
#include <lamina/compose/wrap/scaled.hpp>
#include <lamina/core/quantization/quantize.hpp>
#include <lamina/core/threads.hpp>

/// From a model's files into the memory of its type: free of JSON, so that translation units which hold a model need
/// not parse files.
namespace lamina::checkpoint {

/// An adapter's matrices for one linear layer, fp32: A (rank, in), B (out, rank), and DoRA's m (out) or nothing.
struct AdapterLayer {
  int rank = 0;
  float scale = 0;
  std::vector<float> a, b, magnitude = {};
};
/// What an adapter changes: layers by canonical name, and tensors that it replaces whole (PEFT's modules_to_save).
struct AdapterLayers : std::map<std::string, AdapterLayer> {
  using map::map;
  std::map<std::string, std::string> replaced;  ///< canonical name of a tensor -> its name in `file`
  std::shared_ptr<const Checkpoint> file;
};

/// Whether an adapter is DoRA's.
inline bool has_magnitudes(const AdapterLayers& layers) {
  return !layers.empty() && !layers.begin()->second.magnitude.empty();
}

/// W += scale * B A of some elements of W: those from `first` on, row after row of `cols`, fp32.
inline void fold_adapter(const AdapterLayer& layer, std::size_t cols, std::size_t first, std::span<float> w) {
  for (std::size_t done = 0; done < w.size();) {
    const std::size_t o = (first + done) / cols, column = (first + done) % cols,
                      count = std::min(cols - column, w.size() - done);
    for (int r = 0; r < layer.rank; ++r) {
      const float weight = layer.scale * layer.b[o * static_cast<std::size_t>(layer.rank) + r];
      const float* a = layer.a.data() + static_cast<std::size_t>(r) * cols + column;
      for (std::size_t i = 0; i < count; ++i) w[done + i] += weight * a[i];
    }
    done += count;
  }
}

/// "<module>.weight" without its last component.
inline std::string module_of(const std::string& tensor) { return tensor.substr(0, tensor.rfind('.')); }

/// Every module with a weight, under its canonical name.
inline std::vector<std::string> modules_of(const Checkpoint& weights) {
  std::vector<std::string> modules;
  for (const TensorInfo& info : weights.tensors())
    if (info.name.ends_with(".weight")) modules.push_back(module_of(canonical_name(info.name, weights.names())));
  return modules;
}

/// Error if fp16 does not reach.
inline void expect_f16(std::span<const float> values, const std::string& file, const std::string& name) {
  for (float value : values)
    if (std::abs(value) >= 65520)
      fail(file, ": ", name, " has an element of ", value, ", and fp16 ends at 65504: load it as bfloat16 or float32");
}

namespace detail {

/// Where the elements of a slot are in the file's tensor, of which it may be a part (TensorSpec::row_shards,
/// column_shards): that of one rank.
class ShardPlace {
 public:
  ShardPlace(const TensorSpec& spec, int rank)
      : cols_(static_cast<std::size_t>(spec.cols())),
        file_cols_(cols_ * static_cast<std::size_t>(spec.column_shards)),
        first_(static_cast<std::size_t>(rank / spec.shard_copies) * (spec.row_shards > 1
                                                                         ? static_cast<std::size_t>(spec.count())
                                                                     : spec.column_shards > 1 ? cols_
                                                                                              : 0)) {}
  std::size_t file_cols() const { return file_cols_; }
  /// Calls f(place in the file, place among these, count) for each run of the slot's elements [first, first + count)
  /// without a gap in the file.
  template <class F>
  void for_each_run(std::size_t first, std::size_t count, F f) const {
    if (cols_ == file_cols_) return f(first_ + first, std::size_t{0}, count);
    for (std::size_t done = 0; done < count;) {
      const std::size_t row = (first + done) / cols_, column = (first + done) % cols_,
                        n = std::min(cols_ - column, count - done);
      f(first_ + row * file_cols_ + column, done, n);
      done += n;
    }
  }

 private:
  std::size_t cols_, file_cols_, first_;
};

/// An adapter that becomes part of a weight.
struct FoldedLayer {
  const AdapterLayer* layer = nullptr;
  std::vector<float> factors = {};  ///< DoRA: of each row, m / |W + scale * B A|

  /// Changes some elements of W: those from `first` on, row after row of `cols`.
  void apply(std::size_t cols, std::size_t first, std::span<float> w) const {
    fold_adapter(*layer, cols, first, w);
    if (factors.empty()) return;
    for (std::size_t i = 0; i < w.size(); ++i) w[i] *= factors[(first + i) / cols];
  }
};

/// A tensor of a file on its way into a slot of memory.
class TensorLoad {
 public:
  /// Error, naming the file and both shapes, if the shapes differ, and if the file's elements are not floating.
  TensorLoad(const TensorSlot& slot, const Checkpoint& files, std::span<const AdapterLayers> folded, int rank)
      : slot_(slot),
        files_(&files),
        info_(&files.at(slot.name())),
        place_(slot.spec, rank),
        dtype_(slot.quantization ? DType::F32 : slot.dtype) {
    for (const AdapterLayers& adapter : folded) change(adapter);
    std::vector<std::int64_t> wanted(slot.spec.extents.begin(), slot.spec.extents.begin() + slot.spec.rank);
    wanted.front() *= slot.spec.row_shards, wanted.back() *= slot.spec.column_shards;
    if (info_->shape != wanted)
      fail(files_->path().string(), ": ", info_->name, " is ", shape_text(info_->shape), ", config.json's sizes want ",
           shape_text(wanted), ": do config.json and the weights belong together?");
    expect_floating(*files_, *info_);
  }

  /// Fills `to` with the slot's elements from `first` on, on all threads: each reads and converts a block at a time.
  /// Elements of a slot that is quantised are fp32.
  void read(std::size_t first, std::span<std::byte> to) const {
    const bool as_stored = folded_.empty() && info_->dtype == dtype_ && slot_.spec.exponent == 0;
    const std::size_t each = as_stored ? copied : converted, count = to.size() / size_bytes(dtype_);
    parallel_for_next(static_cast<std::int64_t>((count + each - 1) / each), [&](std::int64_t block) {
      const std::size_t at = static_cast<std::size_t>(block) * each, n = std::min(each, count - at);
      const auto part = to.subspan(at * size_bytes(dtype_), n * size_bytes(dtype_));
      as_stored ? read_file(first + at, n, part) : convert(first + at, n, part);
    });
  }

  /// Fills `to` with the slot's quantised bytes.
  void quantize(std::span<std::byte> to) const {
    const int rows = slot_.spec.rows(), cols = slot_.spec.cols();
    std::vector<float> w(static_cast<std::size_t>(slot_.spec.count()));
    read(0, std::as_writable_bytes(std::span(w)));
    lamina::quantize(slot_.quantization, rows, cols, w.data(), to.data());
  }

 private:
  static constexpr std::size_t copied = std::size_t{1} << 19, converted = std::size_t{1} << 14;  // elements of a block

  /// What an adapter after those before it does to the tensor.
  void change(const AdapterLayers& adapter) {
    const std::string name = slot_.name();
    if (const auto own = adapter.replaced.find(name); own != adapter.replaced.end()) {
      files_ = adapter.file.get(), info_ = &files_->at(own->second);
      folded_.clear();
    }
    if (!name.ends_with(".weight")) return;
    const auto layer = adapter.find(module_of(name));
    if (layer == adapter.end()) return;
    FoldedLayer next{&layer->second};
    if (!layer->second.magnitude.empty()) next.factors = row_factors(layer->second);
    folded_.push_back(std::move(next));
  }
  /// m / |W + scale * B A| of every row of the file's tensor, W with the adapters before this one.
  std::vector<float> row_factors(const AdapterLayer& layer) const {
    const std::size_t cols = place_.file_cols();
    std::vector<float> factors(layer.magnitude);
    parallel_for(std::ssize(factors), [&](std::int64_t row) {
      const std::size_t first = static_cast<std::size_t>(row) * cols, bytes = size_bytes(info_->dtype);
      std::vector<std::byte> stored(cols * bytes);
      std::vector<float> w(cols);
      files_->read(info_->name, first * bytes, stored);
      widen(info_->dtype, stored, w);
      for (const FoldedLayer& before : folded_) before.apply(cols, first, w);
      fold_adapter(layer, cols, first, w);
      float squares = 0;
      for (const float value : w) squares += value * value;
      factors[static_cast<std::size_t>(row)] /= std::sqrt(squares);
    });
    return factors;
  }
  /// The file's own elements.
  void read_file(std::size_t first, std::size_t count, std::span<std::byte> to) const {
    const std::size_t each = size_bytes(info_->dtype);
    place_.for_each_run(first, count, [&](std::size_t in_file, std::size_t at, std::size_t n) {
      files_->read(info_->name, in_file * each, to.subspan(at * each, n * each));
    });
  }
  void convert(std::size_t first, std::size_t count, std::span<std::byte> to) const {
    std::array<std::byte, converted * sizeof(double)> raw;
    std::array<float, converted> floats;
    const auto stored = std::span(raw).first(count * size_bytes(info_->dtype));
    const auto values = std::span(floats).first(count);
    read_file(first, count, stored);
    widen(info_->dtype, stored, values);
    for (const FoldedLayer& adapter : folded_)
      place_.for_each_run(first, count, [&](std::size_t in_file, std::size_t at, std::size_t n) {
        adapter.apply(place_.file_cols(), in_file, values.subspan(at, n));
      });
    if (dtype_ == DType::F16) expect_f16(values, files_->path().string(), info_->name);
    if (const float factor = power_of_two(slot_.spec.exponent); factor != 1)
      for (float& value : values) value *= factor;
    narrow(values, dtype_, to);
  }

  const TensorSlot& slot_;
  const Checkpoint* files_;  ///< the model's, or those of an adapter that replaces the tensor
  const TensorInfo* info_;
  ShardPlace place_;
  DType dtype_;  ///< of what read() writes
  std::vector<FoldedLayer> folded_;
};

inline void expect_not_folded(const std::string& weight, const Checkpoint& files,
                              std::span<const AdapterLayers> folded) {
  for (const AdapterLayers& adapter : folded)
    if (adapter.contains(module_of(weight)) || adapter.replaced.contains(weight))
      fail(files.path().string(), ": ", weight,
           " is quantised, and no adapter is merged into quantised weights: merge ",
           "it into the model's whole release, or let requests name it (--enable-lora)");
}
/// Fills a slot from a matrix that its file holds quantised: with the same codes and scales if it is stored so too.
template <class T, Backend B>
void load_quantized(TensorMemory<T, B>& weights, const TensorSlot& slot, const Checkpoint& files,
                    const QuantizedSource& source) {
  const int rows = slot.spec.rows(), cols = slot.spec.cols();
  if (source.rows != rows * slot.spec.row_shards || source.cols != cols * slot.spec.column_shards)
    fail(files.path().string(), ": ", slot.name(), " is (", source.rows, ", ", source.cols,
         "), quantised, config.json's sizes want (", rows * slot.spec.row_shards, ", ", cols * slot.spec.column_shards,
         "): do config.json and the weights belong together?");
  if (source.rows != rows || source.cols != cols)
    fail(files.path().string(), ": ", slot.name(), " is quantised, and such a model is not shared by ranks");
  std::vector<std::byte> stored(QuantizedLayout(source.format, rows, cols).bytes);
  read_quantized(files, source, power_of_two(slot.spec.exponent), stored);
  weights.fill(slot, [&](std::span<std::byte> to) {
    if (slot.quantization == source.format) return static_cast<void>(std::memcpy(to.data(), stored.data(), to.size()));
    const QuantizedMatrix matrix(source.format, rows, cols, stored.data());
    std::vector<float> w(static_cast<std::size_t>(slot.spec.count()));
    parallel_for(rows, [&](std::int64_t r) { matrix.decode(static_cast<int>(r), 0, cols, w.data() + r * cols); });
    if (slot.dtype == DType::F16) expect_f16(w, files.path().string(), slot.name());
    narrow(w, slot.dtype, to);
  });
}

}  // namespace detail

/// Reads every tensor of the model from its files into memory; adapters are folded in, in order. Error, naming the file
/// and both shapes, if a tensor is missing or has another shape, and if fp16 was chosen for a value that it has
/// not. rank: of this process, if it has a part of the model. quantized: which matrices the files hold so.
template <class T, Backend B>
void load_weights(TensorMemory<T, B>& weights, const Checkpoint& files, std::span<const AdapterLayers> folded,
                  int rank = 0, const QuantizedSources& quantized = {}) {
  typename TensorMemory<T, B>::Sender sender;
  for (const TensorSlot& slot : weights.slots()) {
    if (slot.spec.added) continue;
    if (const auto source = quantized.find(slot.name()); source != quantized.end()) {
      detail::expect_not_folded(slot.name(), files, folded);
      detail::load_quantized(weights, slot, files, source->second);
      continue;
    }
    const detail::TensorLoad load(slot, files, folded, rank);
    if (slot.quantization)
      weights.fill(slot, [&](std::span<std::byte> to) { load.quantize(to); });
    else
      weights.fill_rows(sender, slot, [&](std::size_t first, std::span<std::byte> to) { load.read(first, to); });
  }
}

}  // namespace lamina::checkpoint
