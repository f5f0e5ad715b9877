#pragma once
#include <algorithm>
#include <cmath>
#include <string_view>
#include <vector>

#include <lamina/checkpoint/tensors.hpp>
#include <lamina/core/threads.hpp>

/// Elements of files, which may be unaligned, to and from fp32.
namespace lamina::checkpoint {

inline bool is_floating(DType t) { return t == DType::F32 || t == DType::BF16 || t == DType::F16 || t == DType::F64; }

namespace detail {
template <class T>
T load_element(const std::byte* from) {
  T value;
  std::memcpy(&value, from, sizeof value);
  return value;
}
template <class T>
void widen_run(const std::byte* from, std::span<float> to) {
  parallel_for(std::ssize(to), [&](std::int64_t i) {
    if constexpr (std::is_same_v<T, double>)
      to[i] = static_cast<float>(load_element<double>(from + i * sizeof(T)));
    else
      to[i] = to_f32(load_element<T>(from + i * sizeof(T)));
  });
}
template <class T>
void round_run(std::span<const float> from, std::byte* to) {
  parallel_for(std::ssize(from), [&](std::int64_t i) {
    T value;
    if constexpr (std::is_same_v<T, double>)
      value = from[i];
    else
      value = round_to<T>(from[i]);
    std::memcpy(to + i * sizeof(T), &value, sizeof(T));
  });
}
}  // namespace detail

/// from holds to.size() elements of a floating type.
inline void widen(DType type, std::span<const std::byte> from, std::span<float> to) {
  if (from.size() != to.size() * size_bytes(type)) fail("widen: ", from.size(), " bytes for ", to.size(), " elements");
  switch (type) {
    case DType::F32:
      return detail::widen_run<float>(from.data(), to);
    case DType::BF16:
      return detail::widen_run<bf16>(from.data(), to);
    case DType::F16:
      return detail::widen_run<f16>(from.data(), to);
    case DType::F64:
      return detail::widen_run<double>(from.data(), to);
    default:
      fail("widen: ", name_of(type), " is not a floating type");
  }
}

/// Rounds to nearest even, once; to has from.size() elements of a floating type.
inline void narrow(std::span<const float> from, DType type, std::span<std::byte> to) {
  if (to.size() != from.size() * size_bytes(type)) fail("narrow: ", to.size(), " bytes for ", from.size(), " elements");
  switch (type) {
    case DType::F32:
      return detail::round_run<float>(from, to.data());
    case DType::BF16:
      return detail::round_run<bf16>(from, to.data());
    case DType::F16:
      return detail::round_run<f16>(from, to.data());
    case DType::F64:
      return detail::round_run<double>(from, to.data());
    default:
      fail("narrow: ", name_of(type), " is not a floating type");
  }
}

/// Error, naming the file, if a tensor's elements are not floating.
inline void expect_floating(const Checkpoint& weights, const TensorInfo& info) {
  if (!is_floating(info.dtype))
    fail(weights.path().string(), ": ", info.name, " is ", name_of(info.dtype), ", wanted a floating type");
}

/// A whole tensor in fp32; Error if its elements are not floating.
inline std::vector<float> read_f32(const Checkpoint& weights, std::string_view name) {
  const TensorInfo& info = weights.at(name);
  expect_floating(weights, info);
  std::vector<std::byte> raw(info.bytes);
  weights.read(name, raw);
  std::vector<float> values(info.bytes / size_bytes(info.dtype));
  widen(info.dtype, raw, values);
  return values;
}

}  // namespace lamina::checkpoint
