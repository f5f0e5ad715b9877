#pragma once
#include <algorithm>
#include <array>
#include <string>
#include <string_view>
#include <vector>

#include <openssl/crypto.h>

#include <lamina/core/error.hpp>

namespace lamina::serve {

/// Keys that open the API. A comparison takes the same time whatever the key offered has in common with them.
class ApiKeys {
 public:
  static constexpr std::size_t longest = 512;

  explicit ApiKeys(std::vector<std::string> keys) {
    for (auto& key : keys) {
      if (key.empty()) continue;
      if (key.size() > longest) fail("--api-key: a key is longer than ", longest, " bytes");
      keys_.push_back(pad(key));
    }
  }

  bool required() const { return !keys_.empty(); }

  /// Does the value of an Authorization header, "Bearer KEY", carry one of the keys? Null for no header.
  bool accept(const std::string* header) const {
    if (!required()) return true;
    if (!header || header->size() < scheme.size()) return false;
    for (std::size_t i = 0; i < scheme.size(); ++i)
      if (lower((*header)[i]) != scheme[i]) return false;
    std::string_view offered = *header;
    offered.remove_prefix(scheme.size());
    while (offered.starts_with(' ')) offered.remove_prefix(1);
    if (offered.size() > longest) return false;
    const Padded padded = pad(offered);
    bool any = false;
    for (const auto& key : keys_) any |= CRYPTO_memcmp(key.data(), padded.data(), key.size()) == 0;  // all of them
    return any;
  }

 private:
  using Padded = std::array<unsigned char, longest + 2>;  // the text, zeros, then its length
  static constexpr std::string_view scheme = "bearer ";
  static char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; }
  static Padded pad(std::string_view text) {
    Padded out{};
    std::copy(text.begin(), text.end(), out.begin());
    out[longest] = static_cast<unsigned char>(text.size() >> 8);
    out[longest + 1] = static_cast<unsigned char>(text.size());
    return out;
  }
  std::vector<Padded> keys_;
};

}  // namespace lamina::serve
