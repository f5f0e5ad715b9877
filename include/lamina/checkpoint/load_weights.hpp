#pragma once
#include <cmath>
#include <map>
#include <span>
#include <string>
#include <vector>

#include <lamina/checkpoint/convert.hpp>
#include <lamina/checkpoint/tensors.hpp>
#include <lamina/compose/scaled.hpp>
#include <lamina/compose/weights.hpp>
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

/// W += scale * B A, in place, fp32; W (rows, cols).
inline void fold_adapter(const AdapterLayer& layer, int rows, int cols, std::span<float> w) {
  parallel_for(rows, [&](std::int64_t o) {
    float* row = w.data() + o * cols;
    for (int r = 0; r < layer.rank; ++r) {
      const float weight = layer.scale * layer.b[static_cast<std::size_t>(o) * layer.rank + r];
      const float* a = layer.a.data() + static_cast<std::size_t>(r) * cols;
      for (int i = 0; i < cols; ++i) row[i] += weight * a[i];
    }
  });
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

/// Reads every tensor of the model from its files into memory; adapters are folded in, in order. Error, naming the file
/// and both shapes, if a tensor is missing or has another shape, and if fp16 was chosen for a value that it has
/// not.
template <class T, Backend B>
void load_weights(TensorMemory<T, B>& weights, const Checkpoint& files, std::span<const AdapterLayers> folded) {
  for (const TensorSlot& slot : weights.slots()) {
    if (slot.spec.adapter) continue;
    const std::string name = slot.name();
    const TensorInfo& info = files.at(name);
    const std::vector<std::int64_t> wanted(slot.spec.extents.begin(), slot.spec.extents.begin() + slot.spec.rank);
    if (info.shape != wanted)
      fail(files.path().string(), ": ", info.name, " is ", shape_text(info.shape), ", config.json's sizes want ",
           shape_text(wanted), ": do config.json and the weights belong together?");
    bool folds = false;
    for (const AdapterLayers& adapter : folded)
      folds = folds || (name.ends_with(".weight") && adapter.contains(module_of(name)));
    weights.fill(slot, [&](std::span<std::byte> to) {
      if (!folds && info.dtype == slot.dtype && slot.spec.exponent == 0) {
        files.read(info.name, to);
        return;
      }
      std::vector<float> values = read_f32(files, info.name);
      for (const AdapterLayers& adapter : folded)
        if (const auto it = adapter.find(module_of(name)); folds && it != adapter.end())
          fold_adapter(it->second, slot.spec.rows(), slot.spec.cols(), values);
      if (slot.dtype == DType::F16) expect_f16(values, files.path().string(), info.name);
      if (const float factor = power_of_two(slot.spec.exponent); factor != 1)
        for (float& value : values) value *= factor;
      narrow(values, slot.dtype, to);
    });
  }
}

}  // namespace lamina::checkpoint
