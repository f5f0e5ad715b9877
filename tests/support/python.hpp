#pragma once
#include <cstdlib>
#include <string>

#include "support/catch.hpp"

namespace lamina::testing {

/// The Python that runs the libraries which tests compare with: LAMINA_PYTHON, or the system's.
inline std::string python() {
  const char* named = std::getenv("LAMINA_PYTHON");
  return named ? named : "python3";
}

/// names: of modules, "a, b". If Python does not have them, false, and a warning that the test is skipped.
inline bool has_modules(const std::string& names) {
  if (std::system(("'" + python() + "' -c 'import " + names + "' >/dev/null 2>&1").c_str()) == 0) return true;
  WARN("SKIPPED: " << python() << " does not have " << names << "; LAMINA_PYTHON may name one that has");
  return false;
}

}  // namespace lamina::testing
