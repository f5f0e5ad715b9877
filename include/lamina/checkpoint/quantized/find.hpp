#pragma once
#include <array>
#include <string>
#include <string_view>

#include <lamina/checkpoint/quantized/source.hpp>
#include <lamina/io/json.hpp>
#include <lamina/io/json/fields.hpp>

/// Which matrices of a checkpoint are quantised, and how.
///
/// bitsandbytes, 4 bits   "W", "W.absmax", "W.quant_map", "W.quant_state.bitsandbytes__nf4" (or fp4): JSON as
///                        bytes; if double quantised "W.nested_absmax", "W.nested_quant_map"
/// bitsandbytes, 8 bits   "W", "<module>.SCB": the largest element of each row
/// fp8                    "W", "W_scale_inv": what each tile of weight_block_size is multiplied by
/// source  bitsandbytes 0.50, nn/modules.py and functional.py (QuantState.as_dict); Qwen's FP8 releases
namespace lamina::checkpoint {
namespace detail {

/// `name` without `ending`, canonical.
inline std::string weight_of(const Checkpoint& files, std::string_view name, std::string_view ending) {
  return canonical_name(name.substr(0, name.size() - ending.size()), files.names());
}

inline QuantizedSource four_bit_source(const Checkpoint& files, const std::string& state_name,
                                       const std::string& weight, Quantization::Code code) {
  const auto bytes = files.data(state_name);
  const std::string subject = files.path().string() + ": " + state_name;
  const auto json = io::parse_json<nlohmann::json>({reinterpret_cast<const char*>(bytes.data()), bytes.size()},
                                                   {.subject = subject, .depth = 4});
  const io::JsonFields state(json, subject);
  const std::vector<int> shape = state.integers("shape");
  if (shape.size() != 2) fail(subject, ": shape has ", shape.size(), " extents, wanted those of a matrix");
  const bool nested = files.find(weight + ".nested_absmax") != nullptr;
  QuantizedSource source{.format = Quantization::four_bit(code, nested),
                         .rows = shape[0],
                         .cols = shape[1],
                         .codes = weight,
                         .scales = weight + (nested ? ".nested_absmax" : ".absmax"),
                         .values = weight + ".quant_map"};
  source.format.run = state.size("blocksize");
  if (!nested) return source;
  if (const int run = state.size("nested_blocksize"); run != static_cast<int>(QuantizedLayout::scale_run))
    fail(subject, ": nested_blocksize is ", run, ", wanted ", QuantizedLayout::scale_run);
  source.scale_codes = weight + ".absmax", source.scale_values = weight + ".nested_quant_map";
  source.offset = static_cast<float>(state.number("nested_offset"));
  return source;
}
/// Older versions could store 8 bits in the order of a GPU's tensor cores: weight_format is 0 if it is that of rows.
inline void expect_rows(const Checkpoint& files, const std::string& format) {
  if (!files.find(format)) return;
  for (const std::byte b : files.data(format))
    if (b != std::byte{0})
      fail(files.path().string(), ": ", format, " is ", std::to_integer<int>(b), ", wanted 0 (rows): save the model ",
           "again with a newer bitsandbytes");
}
/// Of a matrix whose codes are stored in its own shape.
inline QuantizedSource eight_bit_source(const Checkpoint& files, const std::string& weight, const std::string& scales,
                                        const Quantization& format) {
  const auto& shape = files.at(weight).shape;
  if (shape.size() != 2 || shape[0] > 1 << 30 || shape[1] > 1 << 30)
    fail(files.path().string(), ": ", weight, " is ", shape_text(shape), ", wanted a matrix: its codes are quantised");
  return {.format = format,
          .rows = static_cast<int>(shape[0]),
          .cols = static_cast<int>(shape[1]),
          .codes = weight,
          .scales = scales};
}

}  // namespace detail

/// tile: rows and columns of what shares a scale in fp8, from config.json.
inline QuantizedSources find_quantized(const Checkpoint& files, std::array<int, 2> tile) {
  constexpr std::string_view nf4 = ".quant_state.bitsandbytes__nf4", fp4 = ".quant_state.bitsandbytes__fp4",
                             row_scales = ".SCB", tile_scales = "_scale_inv";
  const Quantization fp8{.code = Quantization::Code::e4m3, .tile_rows = tile[0], .tile_cols = tile[1]};
  QuantizedSources sources;
  for (const TensorInfo& info : files.tensors()) {
    const std::string& name = info.name;
    if (name.ends_with(nf4) || name.ends_with(fp4)) {
      const std::string weight = detail::weight_of(files, name, nf4);
      sources[weight] = detail::four_bit_source(
          files, name, weight, name.ends_with(nf4) ? Quantization::Code::nf4 : Quantization::Code::fp4);
    } else if (name.ends_with(row_scales)) {
      const std::string module = detail::weight_of(files, name, row_scales), weight = module + ".weight";
      detail::expect_rows(files, module + ".weight_format");
      sources[weight] = detail::eight_bit_source(files, weight, name, Quantization::llm_int8());
    } else if (name.ends_with(tile_scales)) {
      const std::string weight = detail::weight_of(files, name, tile_scales);
      sources[weight] = detail::eight_bit_source(files, weight, name, fp8);
    }
  }
  return sources;
}

}  // namespace lamina::checkpoint
