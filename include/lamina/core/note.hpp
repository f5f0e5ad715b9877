#pragma once
#include <iostream>
#include <mutex>
#include <set>
#include <string>

namespace lamina {

/// Writes to stderr a note that the user should read and that stops nothing: one line, each text once in a process.
inline void note(const std::string& text) {
  static std::mutex mutex;
  static std::set<std::string> said;
  const std::lock_guard lock(mutex);
  if (said.insert(text).second) std::clog << "note: " << text << std::endl;
}

}  // namespace lamina
