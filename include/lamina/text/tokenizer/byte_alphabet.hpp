#pragma once
#include <lamina/text/tokenizer/unicode.hpp>

#include <array>
#include <optional>
#include <string>
#include <string_view>

namespace lamina::text {

/// The printable alphabet in which byte-level BPE files write bytes, from GPT-2: the 188 printable Latin-1 signs stand
/// for themselves, the other 68 bytes are U+0100, U+0101, ... in order.
class ByteAlphabet {
 public:
  ByteAlphabet() {
    byte_of_.fill(-1);
    int others = 0;
    for (int byte = 0; byte < 256; ++byte) {
      const bool printable = (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte != 0xad);
      sign_of_[byte] = printable ? static_cast<char32_t>(byte) : static_cast<char32_t>(0x100 + others++);
      byte_of_[sign_of_[byte]] = byte;
    }
  }

  /// How a token file writes this byte, in UTF-8.
  std::string sign(unsigned char byte) const {
    std::string out;
    io::append_utf8(out, sign_of_[byte]);
    return out;
  }

  /// The bytes that a token of a file represents; nothing if it holds a sign that is not of the alphabet.
  std::optional<std::string> bytes(std::string_view token) const {
    std::string out;
    for (std::size_t at = 0; at < token.size();) {
      const io::Utf8Step step = io::read_utf8(token, at);
      if (step.value >= byte_of_.size() || byte_of_[step.value] < 0) return std::nullopt;
      out += static_cast<char>(byte_of_[step.value]);
      at += step.size;
    }
    return out;
  }

 private:
  std::array<char32_t, 256> sign_of_{};
  std::array<int, 256 + 68> byte_of_{};
};

}  // namespace lamina::text
