#pragma once
#include <string>

#include <lamina/core/error.hpp>

/// What a GPU's software and architecture must be, in words for users: why something is not enough, or "" if it is.
/// Versions are CUDA's, 13000 for 13.0.
namespace lamina {

inline std::string why_not_driver(int driver, int toolkit) {
  const auto version = [](int v) { return cat(v / 1000, ".", v % 1000 / 10); };
  if (driver == 0) return "no NVIDIA driver was found: install one, or use device: cpu";
  if (driver / 1000 >= toolkit / 1000) return "";  // within a major version any driver runs any toolkit's programs
  return cat("the NVIDIA driver supports CUDA ", version(driver), ", this program was built with CUDA ",
             version(toolkit), ": update the driver, build with an older toolkit, or use device: cpu");
}

inline std::string why_not_architecture(const std::string& gpu, int major, int minor) {
  if (major >= 8) return "";
  return cat(gpu, " is sm_", major, minor, "; lamina's kernels need sm_80 (Ampere) or newer: use device: cpu");
}

}  // namespace lamina
