#pragma once
#include <span>
#include <utility>
#include <vector>

#include <lamina/compose/vision_language.hpp>
#include <lamina/core/arena.hpp>
#include <lamina/core/memory.hpp>
#include <lamina/core/threads.hpp>

namespace lamina {

/// Carries a batch's tables to where a backend's kernels read them, all in one copy. On Cpu they stay where they are,
/// unless they must be rounded. What was sent last stays until the next send().
template <Backend B>
class Staging {
 public:
  /// p points at n elements of host memory; after send(), at the backend's copy.
  template <class E>
  void add(const E*& p, std::size_t n) {
    if (!p || n == 0) return;
    parts_.push_back({reinterpret_cast<const void**>(&p), n * sizeof(E), copy_bytes, p});
  }
  /// m gets the rounded values of m.rows * m.cols floats.
  template <class T>
  void add_rounded(Matrix<const T>& m, const float* values) {
    const std::size_t n = static_cast<std::size_t>(m.rows) * static_cast<std::size_t>(m.cols);
    if (std::is_same_v<T, float>) {
      m.data = reinterpret_cast<const T*>(values);
      add(m.data, n);
    } else if (n > 0) {
      parts_.push_back({reinterpret_cast<const void**>(&m.data), n * sizeof(T), round_values<T>, values});
    }
  }
  /// The same of values that are stored in pieces, one after the other.
  template <class T>
  void add_rounded(Matrix<const T>& m, std::vector<std::span<const float>> pieces) {
    parts_.push_back({.pointer = reinterpret_cast<const void**>(&m.data),
                      .bytes = static_cast<std::size_t>(m.rows) * static_cast<std::size_t>(m.cols) * sizeof(T),
                      .write = std::is_same_v<T, float> ? copy_bytes : round_values<T>,
                      .pieces = std::move(pieces),
                      .value_bytes = sizeof(T)});
  }
  /// Everything that layers look up. patches: a pointer to all values, or pieces.
  template <class T, class Patches>
  void add(Input<T>& in, Patches patches, int merge) {
    const auto rows = [](const Context<T>& c, std::size_t each) { return static_cast<std::size_t>(c.rows) * each; };
    add(in.ids, static_cast<std::size_t>(in.tokens));
    add(in.visual_rows, static_cast<std::size_t>(in.patches.rows / (merge * merge)));
    add_rounded(in.patches, std::move(patches));
    for (Context<T>* c : {&in.text, &in.vision}) {
      if (c->rows == 0) continue;
      add(c->dropout_seed, 1);
      add(c->cu_seqlens, static_cast<std::size_t>(c->sequences) + 1);
      if (c->windows > 0) add(c->cu_windows, static_cast<std::size_t>(c->windows) + 1);
      add(c->cos.data, rows(*c, static_cast<std::size_t>(c->cos.cols)));
      add(c->sin.data, rows(*c, static_cast<std::size_t>(c->sin.cols)));
      add(c->position_rows, rows(*c, 4));
      add(c->position_weights, rows(*c, 4));
      add(c->order, rows(*c, 1));
      add(c->merged_order, rows(*c, 1) / static_cast<std::size_t>(merge * merge));
    }
  }

  /// Bytes that the added arrays take on the backend.
  std::size_t bytes() const {
    Arena counting;
    for (const StagedArray& part : parts_)
      if (travels(part)) counting.take<std::byte>(part.bytes);
    return counting.used_bytes();
  }
  void clear() { parts_.clear(); }
  /// Copies the added arrays into host memory that uploads read from. The host's share of send(): it needs no stream.
  void pack() {
    const std::size_t wanted = bytes();
    if (host_.counts() || host_.capacity_bytes() < wanted) host_ = Arena::staging(wanted, Memory<B>{});
    host_.release_to(0);
    for (StagedArray& part : parts_) {
      if (!travels(part)) continue;
      part.packed = host_.take<std::byte>(part.bytes);
      if (part.values) part.write(part.packed, part.values, part.bytes);
      std::byte* to = part.packed;
      for (const std::span<const float> piece : part.pieces) {
        part.write(to, piece.data(), piece.size() * part.value_bytes);
        to += piece.size() * part.value_bytes;
      }
    }
    packed_bytes_ = wanted;
  }
  /// Room that send_packed() needs.
  std::size_t remote_bytes() const { return remote ? packed_bytes_ : 0; }
  /// Sends the packed bytes to the start of `to`, which has room for it; waits for nothing, so the host may go on while
  /// the backend still reads.
  void send_packed(Stream<B> stream, Arena& to) {
    to.release_to(0);
    for (const StagedArray& part : parts_)
      if (travels(part)) *part.pointer = remote ? to.take<std::byte>(part.bytes) : part.packed;
    if (remote && packed_bytes_ > 0) Memory<B>::upload_later(stream, first(to), first(host_), packed_bytes_);
    parts_.clear();
  }
  /// Sends the added arrays, to memory of its own.
  void send(Stream<B> stream) {
    pack();
    if (remote && (remote_.counts() || remote_.capacity_bytes() < remote_bytes()))
      remote_ = Arena(remote_bytes(), Memory<B>{});
    send_packed(stream, remote_);
  }

 private:
  static constexpr bool remote = Memory<B>::remote;
  using Write = void (*)(std::byte* to, const void* from, std::size_t bytes);
  struct StagedArray {
    const void** pointer = nullptr;
    std::size_t bytes = 0;
    Write write = copy_bytes;
    const void* values = nullptr;
    std::vector<std::span<const float>> pieces = {};  ///< instead of values
    std::size_t value_bytes = 0;                      ///< of what becomes of one of theirs
    std::byte* packed = nullptr;
  };
  static constexpr std::size_t block = 1 << 16;  ///< bytes that one thread moves at a time

  static bool travels(const StagedArray& part) { return remote || part.write != copy_bytes || !part.values; }
  static std::byte* first(Arena& arena) {
    arena.release_to(0);
    return arena.take<std::byte>(0);
  }
  static void copy_bytes(std::byte* to, const void* from, std::size_t bytes) {
    parallel_for(static_cast<std::int64_t>((bytes + block - 1) / block), [=](std::int64_t i) {
      const std::size_t at = static_cast<std::size_t>(i) * block;
      std::memcpy(to + at, static_cast<const std::byte*>(from) + at, std::min(block, bytes - at));
    });
  }
  template <class T>
  static void round_values(std::byte* to, const void* from, std::size_t bytes) {
    const std::size_t n = bytes / sizeof(T);
    parallel_for(static_cast<std::int64_t>((n + block - 1) / block), [=](std::int64_t i) {
      const std::size_t begin = static_cast<std::size_t>(i) * block, end = std::min(n, begin + block);
      for (std::size_t k = begin; k < end; ++k)
        reinterpret_cast<T*>(to)[k] = round_to<T>(static_cast<const float*>(from)[k]);
    });
  }

  std::vector<StagedArray> parts_;
  Arena host_, remote_;
  std::size_t packed_bytes_ = 0;
};

}  // namespace lamina
