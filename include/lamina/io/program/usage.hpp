#pragma once
#include <lamina/core/error.hpp>

namespace lamina::io {

/// What was asked for cannot be understood, or not be done, whatever the files are that it names: the words of a
/// command line, or a file of settings. Exit status 2. (FileError is for the files: 1.)
struct UsageError : Error {
  using Error::Error;
};

template <class... Parts>
[[noreturn]] void usage(const Parts&... parts) {
  throw UsageError(cat(parts...));
}

}  // namespace lamina::io
