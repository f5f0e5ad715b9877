#pragma once
#include <cstring>
#include <map>
#include <string>
#include <vector>

#include <lamina/checkpoint/convert.hpp>
#include <lamina/core/quantization/matrix.hpp>

/// Matrices that a checkpoint holds quantised: free of JSON, as checkpoint/load_weights.hpp is.
namespace lamina::checkpoint {

/// One of them: its form, and the tensors that are its parts, as their files spell them.
struct QuantizedSource {
  Quantization format;
  int rows = 0, cols = 0;
  std::string codes = {}, scales = {};
  std::string values = {};                          ///< of 4 bits: those of the codes
  std::string scale_codes = {}, scale_values = {};  ///< if double quantised
  float offset = 0;                                 ///< what double quantised scales add
};
/// By the canonical name of the weight.
using QuantizedSources = std::map<std::string, QuantizedSource>;

/// The canonical names of all tensors that may go with a quantised weight.
inline std::vector<std::string> parts_of(const std::string& weight) {
  std::vector<std::string> names = {weight + "_scale_inv"};
  for (const char* part : {"absmax", "quant_map", "nested_absmax", "nested_quant_map", "quant_state.bitsandbytes__nf4",
                           "quant_state.bitsandbytes__fp4"})
    names.push_back(weight + "." + part);
  const std::string module = weight.substr(0, weight.rfind('.'));
  for (const char* part : {"SCB", "weight_format"}) names.push_back(module + "." + part);
  return names;
}

namespace detail {
inline void expect_bytes(const Checkpoint& files, const std::string& name, std::size_t bytes) {
  if (files.at(name).bytes != bytes)
    fail(files.path().string(), ": ", name, " has ", files.at(name).bytes, " bytes, the matrix that it is a part of ",
         "wants ", bytes);
}
inline void read_floats(const Checkpoint& files, const std::string& name, std::size_t count, float factor, float* to) {
  const std::vector<float> values = read_f32(files, name);
  if (values.size() != count)
    fail(files.path().string(), ": ", name, " has ", values.size(), " elements, the matrix that it is a part of wants ",
         count);
  for (std::size_t i = 0; i < count; ++i) to[i] = factor * values[i];
}
}  // namespace detail

/// Reads a matrix, times a power of two, into its QuantizedLayout: codes and scales as they are. Error, naming the
/// file, if a part has another size.
inline void read_quantized(const Checkpoint& files, const QuantizedSource& source, float factor,
                           std::span<std::byte> to) {
  const QuantizedLayout at(source.format, source.rows, source.cols);
  const auto count = static_cast<std::size_t>(source.rows) * static_cast<std::size_t>(source.cols);
  const auto floats = [&](std::size_t offset) { return reinterpret_cast<float*>(to.data() + offset); };
  std::memset(to.data(), 0, to.size());
  const bool four_bit = bits(source.format.code) == 4;
  const std::size_t code_bytes = four_bit ? (count + 1) / 2 : count;
  detail::expect_bytes(files, source.codes, code_bytes);
  files.read(source.codes, to.first(code_bytes));
  detail::read_floats(files, source.scales, at.scale_count, factor, floats(at.scales));
  if (four_bit) detail::read_floats(files, source.values, 16, 1, floats(at.values));
  if (!source.format.double_quantized) return;
  floats(at.scales)[at.scale_count] = factor * source.offset;
  detail::read_floats(files, source.scale_values, 256, 1, floats(at.scale_values));
  detail::expect_bytes(files, source.scale_codes, at.blocks);
  files.read(source.scale_codes, to.subspan(at.scale_codes, at.blocks));
}

}  // namespace lamina::checkpoint
