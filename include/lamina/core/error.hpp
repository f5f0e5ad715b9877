#pragma once
#include <sstream>
#include <stdexcept>
#include <string>

namespace lamina {

/// Every failure a user can cause or must read about. what() is one message: the subject, what was found, what was
/// expected, what to do. Programs print it and exit with status 1; the server turns it into an error object.
struct Error : std::runtime_error {
  using std::runtime_error::runtime_error;
};

/// Joins its arguments as a stream would print them: cat("layer ", 3) == "layer 3".
template <class... Parts>
std::string cat(const Parts&... parts) {
  std::ostringstream out;
  (out << ... << parts);
  return out.str();
}

/// Throws Error with the joined message.
template <class... Parts>
[[noreturn]] void fail(const Parts&... parts) {
  throw Error(cat(parts...));
}

}  // namespace lamina
