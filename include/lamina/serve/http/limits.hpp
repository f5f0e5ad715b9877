#pragma once
#include <chrono>
#include <cstddef>
#include <cstdint>

namespace lamina::serve {

/// What a client may send, and how long it may take.
struct HttpLimits {
  std::uint32_t header_bytes = 64 * 1024;
  int header_count = 256;
  std::uint64_t body_bytes = 64 * 1024 * 1024;
  /// Of the bodies of all requests together (RequestBody); at least three times body_bytes, whatever is set here,
  /// because a body holds up to 1.5 times its size while it grows.
  std::uint64_t all_bodies_bytes = 512 * 1024 * 1024;

  int connections = 1024;
  /// Of one client address (IPv4, or the /64 of an IPv6 address): half of all, so that no client alone fills the
  /// server, and a proxy in front still has more connections than there are places in the queue.
  int connections_per_address = 512;
  /// Beyond `connections`, for requests that are answered from their header alone, /health above all.
  int spare_connections = 32;

  std::chrono::milliseconds idle{75'000};         ///< between requests
  std::chrono::milliseconds header_read{10'000};  ///< first byte to end of header
  /// A body must bring this many bytes per second, on average over each period; bytes sent fast at first earn no pause
  /// later, in which they would stay in memory.
  std::uint64_t body_bytes_per_s = 16 * 1024;
  std::chrono::milliseconds body_period{30'000};
  std::chrono::milliseconds write{60'000};     ///< for a client that does not read
  std::size_t unsent_bytes = 8 * 1024 * 1024;  ///< a stream whose client lags further is cancelled

  /// Of the answers of all connections together (UnsentBudget): beyond it the client that lags most is cut off.
  std::uint64_t all_unsent_bytes = 512 * 1024 * 1024;

  /// A body up to this that is not wanted (the path is wrong, the key is missing) is skipped and the connection kept;
  /// for a larger one the connection closes.
  std::uint64_t skipped_body_bytes = 64 * 1024;
  /// What a client still sends after a refusal is read and thrown away for so long and so far, because a close with
  /// unread bytes would reset the connection before the client has read the answer.
  std::chrono::milliseconds linger{5'000};
  std::uint64_t linger_bytes = 128 * 1024 * 1024;
  /// Chunk sizes, extensions and trailers of a chunked body: this, and eight bytes for each byte of the body (chunks of
  /// one byte have five).
  std::uint64_t chunk_overhead_bytes = 16 * 1024;
};

}  // namespace lamina::serve
