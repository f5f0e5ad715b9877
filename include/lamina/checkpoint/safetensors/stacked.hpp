#pragma once
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <sstream>
#include <string>
#include <string_view>
#include <vector>

#include <lamina/checkpoint/names.hpp>
#include <lamina/core/error.hpp>
#include <lamina/core/tensor/dtype.hpp>

/// A tensor of a file, and the matrices in one that holds many of them (Stacking).
namespace lamina::checkpoint {

/// A tensor's name as its file spells it, its element type and shape (outermost first), and its size.
struct TensorInfo {
  std::string name;
  DType dtype = DType::F32;
  std::vector<std::int64_t> shape;
  std::size_t bytes = 0;
};

/// "(151936, 2048)"
inline std::string shape_text(std::span<const std::int64_t> shape) {
  std::ostringstream text;
  for (std::size_t i = 0; i < shape.size(); ++i) text << (i ? ", " : "(") << shape[i];
  return shape.empty() ? "()" : text.str() + ")";
}

/// Elements of a shape; 1 for a scalar's empty one.
inline std::int64_t element_count(std::span<const std::int64_t> shape) {
  std::int64_t n = 1;
  for (const std::int64_t extent : shape) n *= extent;
  return n;
}

/// A matrix (outputs, inputs) of one module, which its file holds transposed among others.
struct StackedPart {
  TensorInfo info;        ///< under its canonical name
  std::string stacked;    ///< the tensor of the file
  std::size_t first = 0;  ///< its element (0, 0), in elements of that tensor
  std::size_t row = 0;    ///< elements of that tensor between neighbouring inputs

  /// Copies out.size() bytes of the matrix from its first_byte on; from: the tensor's.
  void read(std::span<const std::byte> from, std::size_t first_byte, std::span<std::byte> out) const {
    const std::size_t each = size_bytes(info.dtype);
    for_each(first_byte / each, out.size() / each, [&](std::size_t i, std::size_t in_stack) {
      copy_element(out.data() + i * each, from.data() + in_stack * each);
    });
  }
  /// Puts the whole matrix into its place in the tensor.
  void write(std::span<const std::byte> matrix, std::span<std::byte> to) const {
    const std::size_t each = size_bytes(info.dtype);
    for_each(0, matrix.size() / each, [&](std::size_t i, std::size_t in_stack) {
      copy_element(to.data() + in_stack * each, matrix.data() + i * each);
    });
  }

 private:
  void copy_element(std::byte* to, const std::byte* from) const {
    if (size_bytes(info.dtype) == 2)
      std::memcpy(to, from, 2);
    else
      std::memcpy(to, from, size_bytes(info.dtype));
  }
  /// f(i, place in the tensor) of the matrix's elements from `begin` on.
  template <class F>
  void for_each(std::size_t begin, std::size_t count, F f) const {
    const auto inputs = static_cast<std::size_t>(info.shape[1]);
    std::size_t output = begin / inputs, input = begin % inputs;
    for (std::size_t i = 0; i < count; ++i) {
      f(i, first + input * row + output);
      if (++input == inputs) input = 0, ++output;
    }
  }
};

/// The matrices that a tensor of a file holds, if a rule says that it does.
inline std::vector<StackedPart> parts_of_stack(const TensorInfo& info, const std::string& file,
                                               const NameRules& rules) {
  std::vector<StackedPart> parts;
  for (const Stacking& rule : rules.stackings) {
    const std::string name = canonical_name(info.name, rules);
    if (!name.ends_with(rule.stacked)) continue;
    const auto count = static_cast<std::int64_t>(rule.parts.size());
    if (info.shape.size() != 3 || info.shape[2] % count != 0)
      fail(file, ": ", info.name, " is ", shape_text(info.shape),
           ", wanted (experts, inputs, outputs), with outputs of ", count, " layers");
    const std::int64_t inputs = info.shape[1], outputs = info.shape[2] / count;
    const std::string path = name.substr(0, name.rfind('.'));
    for (std::int64_t module = 0; module < info.shape[0]; ++module)
      for (std::int64_t part = 0; part < count; ++part)
        parts.push_back({{cat(path, ".", module, ".", rule.parts[static_cast<std::size_t>(part)], ".weight"),
                          info.dtype,
                          {outputs, inputs},
                          static_cast<std::size_t>(outputs * inputs) * size_bytes(info.dtype)},
                         info.name,
                         static_cast<std::size_t>(module * inputs * info.shape[2] + part * outputs),
                         static_cast<std::size_t>(info.shape[2])});
  }
  return parts;
}

}  // namespace lamina::checkpoint
