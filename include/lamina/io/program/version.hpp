#pragma once
#include <string_view>

#ifndef LAMINA_VERSION  // CMake's project version; the target lamina::host sets it
#define LAMINA_VERSION "unknown"
#endif

namespace lamina {
/// Of this library and its programs.
inline constexpr std::string_view version = LAMINA_VERSION;
}  // namespace lamina
