#pragma once
#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>

#include <boost/asio/ip/address.hpp>

/// Which addresses belong to the internet at large, and not to this machine, its network or its cloud.
namespace lamina::serve {

namespace detail {

/// Whether the first `bits` bits of two addresses are equal.
template <class Bytes>
bool has_prefix(const Bytes& address, const Bytes& prefix, int bits) {
  for (std::size_t i = 0; bits > 0; ++i, bits -= 8) {
    const auto mask = static_cast<unsigned char>(bits >= 8 ? 0xff : 0xff << (8 - bits));
    if ((address[i] ^ prefix[i]) & mask) return false;
  }
  return true;
}

/// IANA's registry of special-purpose IPv4 addresses, multicast and class E.
inline bool is_public(const boost::asio::ip::address_v4& address) {
  struct Range {
    std::array<unsigned char, 4> prefix;
    int bits;
  };
  static constexpr Range special[] = {{{0, 0, 0, 0}, 8},      {{10, 0, 0, 0}, 8},     {{100, 64, 0, 0}, 10},
                                      {{127, 0, 0, 0}, 8},    {{169, 254, 0, 0}, 16}, {{172, 16, 0, 0}, 12},
                                      {{192, 0, 0, 0}, 24},   {{192, 0, 2, 0}, 24},   {{192, 88, 99, 0}, 24},
                                      {{192, 168, 0, 0}, 16}, {{198, 18, 0, 0}, 15},  {{198, 51, 100, 0}, 24},
                                      {{203, 0, 113, 0}, 24}, {{224, 0, 0, 0}, 4},    {{240, 0, 0, 0}, 4}};
  const auto bytes = address.to_bytes();
  return std::none_of(std::begin(special), std::end(special),
                      [&](const Range& range) { return has_prefix(bytes, range.prefix, range.bits); });
}

/// The IPv4 address in the last four bytes.
inline boost::asio::ip::address_v4 last_v4(const boost::asio::ip::address_v6::bytes_type& bytes) {
  return boost::asio::ip::address_v4({bytes[12], bytes[13], bytes[14], bytes[15]});
}

/// Global unicast, 2000::/3, without what IANA's registry sets apart in it: protocols and Teredo, documentation, 6to4.
/// A mapped address and one of NAT64 are what they carry.
inline bool is_public(const boost::asio::ip::address_v6& address) {
  using Bytes = boost::asio::ip::address_v6::bytes_type;
  const Bytes bytes = address.to_bytes();
  constexpr Bytes mapped{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff}, nat64{0, 0x64, 0xff, 0x9b};
  if (has_prefix(bytes, mapped, 96) || has_prefix(bytes, nat64, 96)) return is_public(last_v4(bytes));
  return has_prefix(bytes, Bytes{0x20}, 3) && !has_prefix(bytes, Bytes{0x20, 0x01}, 23) &&
         !has_prefix(bytes, Bytes{0x20, 0x01, 0x0d, 0xb8}, 32) && !has_prefix(bytes, Bytes{0x20, 0x02}, 16) &&
         !has_prefix(bytes, Bytes{0x3f, 0xff}, 20);
}

}  // namespace detail

/// False also for addresses that are neither IPv4 nor IPv6.
inline bool is_public(const boost::asio::ip::address& address) {
  return address.is_v4() ? detail::is_public(address.to_v4()) : detail::is_public(address.to_v6());
}
inline bool is_public(const sockaddr& address) {
  if (address.sa_family == AF_INET) {
    sockaddr_in v4;
    std::memcpy(&v4, &address, sizeof v4);
    return detail::is_public(boost::asio::ip::address_v4(ntohl(v4.sin_addr.s_addr)));
  }
  if (address.sa_family != AF_INET6) return false;
  sockaddr_in6 v6;
  std::memcpy(&v6, &address, sizeof v6);
  boost::asio::ip::address_v6::bytes_type bytes;
  std::memcpy(bytes.data(), &v6.sin6_addr, bytes.size());
  return detail::is_public(boost::asio::ip::address_v6(bytes));
}

}  // namespace lamina::serve
