#pragma once
#include <initializer_list>
#include <sstream>
#include <stdexcept>
#include <string>

namespace lamina {

/// Every failure a user can cause or must read about. what() is one message: the subject, what was found, what was
/// expected, what to do. Programs print it and exit with status 1; the server turns it into an error object.
struct Error : std::runtime_error {
  using std::runtime_error::runtime_error;
};

namespace detail {
/// A part of a message, of any type that a stream prints. One type for all of them, so that each of the library's many
/// messages does not instantiate code of its own.
class MessagePart {
 public:
  template <class T>
  MessagePart(const T& value) : value_(&value), print_(&print<T>) {}
  MessagePart(const char* text) : value_(text), print_(&print_text) {}  // literals of every length are one type
  friend std::ostream& operator<<(std::ostream& out, const MessagePart& part) {
    part.print_(out, part.value_);
    return out;
  }

 private:
  template <class T>
  static void print(std::ostream& out, const void* value) {
    out << *static_cast<const T*>(value);
  }
  static void print_text(std::ostream& out, const void* text) { out << static_cast<const char*>(text); }

  const void* value_;
  void (*print_)(std::ostream&, const void*);
};

inline std::string join(std::initializer_list<MessagePart> parts) {
  std::ostringstream out;
  for (const MessagePart& part : parts) out << part;
  return out.str();
}
[[noreturn]] inline void throw_error(std::initializer_list<MessagePart> parts) { throw Error(join(parts)); }
}  // namespace detail

/// Joins its arguments as a stream would print them: cat("layer ", 3) == "layer 3".
template <class... Parts>
std::string cat(const Parts&... parts) {
  return detail::join({parts...});
}

/// Throws Error with the joined message.
template <class... Parts>
[[noreturn]] void fail(const Parts&... parts) {
  detail::throw_error({parts...});
}

}  // namespace lamina
