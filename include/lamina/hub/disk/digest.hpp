#pragma once
#include <openssl/evp.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include <lamina/core/error.hpp>
#include <lamina/io/visible.hpp>

namespace lamina::hub {

/// What a hub says of a file's content: SHA-256 of files in Git LFS, and of all on ModelScope; git's object id of small
/// files on Hugging Face; or nothing.
struct Hash {
  enum class Kind { none, sha256, git } kind = Kind::none;
  std::string hex;  ///< lower case

  /// By its length. Error if the text is neither hash.
  static Hash of(std::string_view hex) {
    const bool digits =
        std::all_of(hex.begin(), hex.end(), [](unsigned char c) { return std::isdigit(c) || (c >= 'a' && c <= 'f'); });
    if (!digits || (hex.size() != 64 && hex.size() != 40))
      fail(io::visible(hex.substr(0, 100)), ": wanted a SHA-256 or a git object id, in lower case");
    return {hex.size() == 64 ? Kind::sha256 : Kind::git, std::string(hex)};
  }
  bool operator==(const Hash&) const = default;
};

/// Hashes a file of `size` bytes as they come.
class Digest {
 public:
  Digest(Hash::Kind kind, std::uint64_t size) : kind_(kind), context_(EVP_MD_CTX_new()) {
    if (kind == Hash::Kind::none) return;
    const EVP_MD* const function = kind == Hash::Kind::sha256 ? EVP_sha256() : EVP_sha1();
    if (!context_ || EVP_DigestInit_ex(context_.get(), function, nullptr) != 1) fail("OpenSSL: cannot hash");
    if (kind == Hash::Kind::git) {  // an object's id covers its header, which ends in a zero
      const std::string header = cat("blob ", size);
      update(std::as_bytes(std::span(header.c_str(), header.size() + 1)));
    }
  }
  void update(std::span<const std::byte> bytes) {
    if (kind_ != Hash::Kind::none && EVP_DigestUpdate(context_.get(), bytes.data(), bytes.size()) != 1)
      fail("OpenSSL: cannot hash");
  }
  /// Of all bytes, once.
  Hash finish() {
    if (kind_ == Hash::Kind::none) return {};
    std::array<unsigned char, EVP_MAX_MD_SIZE> bytes;
    unsigned size = 0;
    if (EVP_DigestFinal_ex(context_.get(), bytes.data(), &size) != 1) fail("OpenSSL: cannot hash");
    static constexpr char hex[] = "0123456789abcdef";
    Hash hash{kind_, {}};
    for (unsigned i = 0; i < size; ++i) hash.hex.append({hex[bytes[i] >> 4], hex[bytes[i] & 15]});
    return hash;
  }

 private:
  struct Free {
    void operator()(EVP_MD_CTX* context) const { EVP_MD_CTX_free(context); }
  };
  Hash::Kind kind_;
  std::unique_ptr<EVP_MD_CTX, Free> context_;
};

inline std::string sha256_of(std::string_view text) {
  Digest digest(Hash::Kind::sha256, text.size());
  digest.update(std::as_bytes(std::span(text)));
  return digest.finish().hex;
}

}  // namespace lamina::hub
