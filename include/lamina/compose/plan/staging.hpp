#pragma once
#include <algorithm>
#include <cstring>
#include <span>
#include <type_traits>
#include <vector>

#include <lamina/compose/vision_language.hpp>
#include <lamina/core/arena.hpp>
#include <lamina/core/machine/memory.hpp>
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
    if (!p) return;
    pieces_.push_back({p, n * sizeof(E)});
    stage(reinterpret_cast<const void**>(&p), copy_bytes, 1);
  }
  /// m gets the rounded values of m.rows * m.cols floats, which are stored in pieces, one after the other.
  template <class T>
  void add_rounded(Matrix<const T>& m, std::span<const std::span<const float>> pieces) {
    for (const std::span<const float> piece : pieces) pieces_.push_back({piece.data(), piece.size() * sizeof(T)});
    stage(reinterpret_cast<const void**>(&m.data), std::is_same_v<T, float> ? copy_bytes : round_values<T>,
          pieces.size());
  }
  /// Everything that layers look up. patches: their values, in pieces.
  template <class T>
  void add(Input<T>& in, std::span<const std::span<const float>> patches, VisualTokens visual_tokens) {
    const auto rows = [](const Context<T>& c, std::size_t each) { return static_cast<std::size_t>(c.rows) * each; };
    add(in.ids, static_cast<std::size_t>(in.tokens));
    const auto shown = static_cast<std::size_t>(visual_tokens.rows(in.patches.rows, in.vision.sequences));
    add(in.visual_rows, shown);
    add_rounded(in.patches, patches);
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
      add(c->merged_order, rows(*c, 1) / static_cast<std::size_t>(visual_tokens.merge * visual_tokens.merge));
    }
    if (visual_tokens.per_frame > 0 && shown > 0) {
      add(in.vision.latent_rows, shown);
      add(in.vision.cu_latents, static_cast<std::size_t>(in.vision.sequences) + 1);
    }
  }

  /// Bytes that the added arrays take on the backend.
  std::size_t bytes() const {
    Arena counting;
    for (const StagedArray& part : parts_)
      if (travels(part)) counting.take<std::byte>(part.bytes);
    return counting.used_bytes();
  }
  void clear() { parts_.clear(), pieces_.clear(); }
  /// Copies the added arrays into host memory that uploads read from. The host's share of send(): it needs no stream.
  void pack() {
    const std::size_t wanted = bytes();
    if (host_.counts() || host_.capacity_bytes() < wanted) host_ = Arena::staging(wanted, Memory<B>{});
    host_.release_to(0);
    const Piece* piece = pieces_.data();
    for (StagedArray& part : parts_) {
      const Piece* const end = piece + part.pieces;
      if (!travels(part)) {
        part.packed = piece->values;
        piece = end;
        continue;
      }
      std::byte* to = host_.take<std::byte>(part.bytes);
      part.packed = to;
      for (; piece != end; to += piece++->bytes) part.write(to, piece->values, piece->bytes);
    }
    packed_bytes_ = wanted;
  }
  /// Room that send_packed() needs.
  std::size_t remote_bytes() const { return remote ? packed_bytes_ : 0; }
  /// Sends the packed bytes to the start of `to`, which has room for it; waits for nothing, so the host may go on while
  /// the backend still reads.
  void send_packed(Stream<B> stream, Arena& to) {
    to.release_to(0);
    for (const StagedArray& part : parts_) *part.pointer = remote ? to.take<std::byte>(part.bytes) : part.packed;
    if (remote && packed_bytes_ > 0) Memory<B>::upload_later(stream, first(to), first(host_), packed_bytes_);
    clear();
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
  struct Piece {
    const void* values = nullptr;
    std::size_t bytes = 0;  ///< of what becomes of them
  };
  struct StagedArray {
    const void** pointer = nullptr;
    std::size_t bytes = 0;
    Write write = copy_bytes;
    std::size_t pieces = 0;        ///< so many of pieces_, after those of the arrays before
    const void* packed = nullptr;  ///< the values themselves if the array does not travel
  };
  static constexpr std::size_t block = 1 << 16;  ///< bytes that one thread moves at a time

  static bool travels(const StagedArray& part) { return remote || part.write != copy_bytes || part.pieces != 1; }
  /// An array of the `count` pieces that were added last; none if they have no bytes.
  void stage(const void** pointer, Write write, std::size_t count) {
    std::size_t bytes = 0;
    for (std::size_t i = pieces_.size() - count; i < pieces_.size(); ++i) bytes += pieces_[i].bytes;
    if (bytes == 0) return pieces_.resize(pieces_.size() - count);
    parts_.push_back({pointer, bytes, write, count});
  }
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
  std::vector<Piece> pieces_;
  Arena host_, remote_;
  std::size_t packed_bytes_ = 0;
};

}  // namespace lamina
