#pragma once
#include <algorithm>
#include <array>
#include <cmath>
#include <map>
#include <span>
#include <string>
#include <vector>

#include <lamina/checkpoint/convert.hpp>
#include <lamina/checkpoint/tensors.hpp>
#include <lamina/compose/plan/weights.hpp>
#include <lamina/compose/wrap/scaled.hpp>
#include <lamina/core/threads.hpp>

/// From a model's files into the memory of its type: free of JSON, so that translation units which hold a model need
/// not parse files.
namespace lamina::checkpoint {

/// An adapter's matrices for one linear layer, fp32: A (rank, in), B (out, rank).
struct AdapterLayer {
  int rank = 0;
  float scale = 0;
  std::vector<float> a, b;
};
/// By canonical name of the layer.
using AdapterLayers = std::map<std::string, AdapterLayer>;

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

/// A tensor of a file on its way into a slot of memory.
class TensorLoad {
 public:
  /// Error, naming the file and both shapes, if the shapes differ, and if the file's elements are not floating.
  TensorLoad(const TensorSlot& slot, const Checkpoint& files, std::span<const AdapterLayers> folded)
      : slot_(slot), files_(files), info_(files.at(slot.name())) {
    const std::vector<std::int64_t> wanted(slot.spec.extents.begin(), slot.spec.extents.begin() + slot.spec.rank);
    if (info_.shape != wanted)
      fail(files.path().string(), ": ", info_.name, " is ", shape_text(info_.shape), ", config.json's sizes want ",
           shape_text(wanted), ": do config.json and the weights belong together?");
    expect_floating(files, info_);
    const std::string name = slot.name();
    if (!name.ends_with(".weight")) return;
    for (const AdapterLayers& adapter : folded)
      if (const auto layer = adapter.find(module_of(name)); layer != adapter.end()) folded_.push_back(&layer->second);
  }

  /// Fills `to` with the slot's elements from `first` on, on all threads: each reads and converts a block at a time.
  void read(std::size_t first, std::span<std::byte> to) const {
    const bool as_stored = folded_.empty() && info_.dtype == slot_.dtype && slot_.spec.exponent == 0;
    const std::size_t each = as_stored ? copied : converted, count = to.size() / size_bytes(slot_.dtype);
    parallel_for_next(static_cast<std::int64_t>((count + each - 1) / each), [&](std::int64_t block) {
      const std::size_t at = static_cast<std::size_t>(block) * each, n = std::min(each, count - at);
      const auto part = to.subspan(at * size_bytes(slot_.dtype), n * size_bytes(slot_.dtype));
      as_stored ? files_.read(info_.name, (first + at) * size_bytes(info_.dtype), part) : convert(first + at, n, part);
    });
  }

 private:
  static constexpr std::size_t copied = std::size_t{1} << 19, converted = std::size_t{1} << 14;  // elements of a block

  void convert(std::size_t first, std::size_t count, std::span<std::byte> to) const {
    std::array<std::byte, converted * sizeof(double)> raw;
    std::array<float, converted> floats;
    const auto stored = std::span(raw).first(count * size_bytes(info_.dtype));
    const auto values = std::span(floats).first(count);
    files_.read(info_.name, first * size_bytes(info_.dtype), stored);
    widen(info_.dtype, stored, values);
    for (const AdapterLayer* adapter : folded_)
      fold_adapter(*adapter, static_cast<std::size_t>(slot_.spec.cols()), first, values);
    if (slot_.dtype == DType::F16) expect_f16(values, files_.path().string(), info_.name);
    if (const float factor = power_of_two(slot_.spec.exponent); factor != 1)
      for (float& value : values) value *= factor;
    narrow(values, slot_.dtype, to);
  }

  const TensorSlot& slot_;
  const Checkpoint& files_;
  const TensorInfo& info_;
  std::vector<const AdapterLayer*> folded_;
};

}  // namespace detail

/// Reads every tensor of the model from its files into memory; adapters are folded in, in order. Error, naming the file
/// and both shapes, if a tensor is missing or has another shape, and if fp16 was chosen for a value that it has
/// not.
template <class T, Backend B>
void load_weights(TensorMemory<T, B>& weights, const Checkpoint& files, std::span<const AdapterLayers> folded) {
  typename TensorMemory<T, B>::Sender sender;
  for (const TensorSlot& slot : weights.slots()) {
    if (slot.spec.added) continue;
    const detail::TensorLoad load(slot, files, folded);
    weights.fill_rows(sender, slot, [&](std::size_t first, std::span<std::byte> to) { load.read(first, to); });
  }
}

}  // namespace lamina::checkpoint
