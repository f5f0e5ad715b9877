#pragma once
#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

#include <lamina/hub/http/transport.hpp>

namespace lamina::serve {

/// Where images of the web may come from, and how long one may take.
struct FetchOptions {
  std::vector<std::string> domains = {};             ///< hosts, whole; empty: any
  bool private_addresses = false;                    ///< this machine, its network and its cloud too
  bool redirects = true;                             ///< are followed, and checked as the first address is
  std::chrono::milliseconds longest{5'000};          ///< one image, its redirects included
  std::int64_t all_bytes = std::int64_t{512} << 20;  ///< of the images of all requests that are being read
  hub::Certificates certificates = {};
};

}  // namespace lamina::serve
