#pragma once
#include <cmath>
#include <cstring>
#include <span>
#include <string>
#include <vector>

#include <lamina/checkpoint/safetensors.hpp>

#include "support/catch.hpp"

namespace lamina::testing {

/// A golden file's tensors as vectors.
class Golden {
 public:
  explicit Golden(const std::string& file)
      : file_(checkpoint::Checkpoint::open(std::string(LAMINA_GOLDEN_DIR) + "/" + file)) {}
  bool has(const std::string& name) const { return file_.find(name) != nullptr; }
  std::vector<std::int64_t> shape(const std::string& name) const { return file_.find(name)->shape; }
  std::vector<float> floats(const std::string& name) const { return read<float>(name); }
  std::vector<int> ints(const std::string& name) const { return read<int>(name); }
  const std::vector<checkpoint::TensorInfo>& tensors() const { return file_.tensors(); }

 private:
  template <class T>
  std::vector<T> read(const std::string& name) const {
    INFO("golden tensor " << name);
    const checkpoint::TensorInfo* info = file_.find(name);
    REQUIRE(info != nullptr);
    std::vector<T> out(info->bytes / sizeof(T));
    file_.read(name, std::as_writable_bytes(std::span(out)));
    return out;
  }
  checkpoint::Checkpoint file_;
};

/// |a - b| / |b| in the L2 norm; infinite if lengths differ or a value is not finite.
inline double relative_error(std::span<const float> a, std::span<const float> b) {
  if (a.size() != b.size()) return INFINITY;
  double difference = 0, norm = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    const double d = static_cast<double>(a[i]) - static_cast<double>(b[i]);
    difference += d * d;
    norm += static_cast<double>(b[i]) * static_cast<double>(b[i]);
  }
  const double error = std::sqrt(difference / (norm > 0 ? norm : 1));
  return std::isfinite(error) ? error : INFINITY;
}

}  // namespace lamina::testing
