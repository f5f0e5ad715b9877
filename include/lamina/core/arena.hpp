#pragma once
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <new>
#include <utility>

#include <lamina/core/machine/memory.hpp>
#include <lamina/core/tensor/view.hpp>

namespace lamina {

/// One block of memory, handed out from the bottom up. Without a block it only counts: that is how a plan is made.
class Arena {
 public:
  static constexpr std::size_t alignment = 256;

  Arena() = default;  ///< counts
  explicit Arena(std::size_t capacity_bytes) : Arena(capacity_bytes, Memory<Cpu>{}) {}
  /// The same on another backend's memory: Arena(bytes, Memory<Cuda>{}).
  template <Backend B>
  Arena(std::size_t capacity_bytes, Memory<B>)
      : block_(Memory<B>::allocate(rounded(std::max(capacity_bytes, alignment)))),
        release_(Memory<B>::release),
        capacity_(rounded(capacity_bytes)) {}
  /// On host memory that uploads read from and downloads write to.
  template <Backend B>
  static Arena staging(std::size_t capacity_bytes, Memory<B>) {
    Arena arena;
    arena.block_ = Memory<B>::allocate_staging(rounded(std::max(capacity_bytes, alignment)));
    arena.release_ = Memory<B>::release_staging;
    arena.capacity_ = rounded(capacity_bytes);
    return arena;
  }
  Arena(Arena&& other) noexcept { swap(other); }
  Arena& operator=(Arena&& other) noexcept {
    Arena(std::move(other)).swap(*this);
    return *this;
  }
  ~Arena() {
    if (block_) release_(block_);
  }

  bool counts() const { return block_ == nullptr; }
  std::size_t used_bytes() const { return used_; }
  std::size_t peak_bytes() const { return peak_; }
  std::size_t capacity_bytes() const { return capacity_; }

  /// n elements, 256-byte aligned, not initialised; a counting arena returns an address that nobody may touch.
  template <class T>
  T* take(std::size_t n) {
    const auto base =
        block_ ? reinterpret_cast<std::uintptr_t>(block_) : alignment;  // never null: null means "not wanted"
    const auto at = reinterpret_cast<T*>(base + used_);
    used_ += rounded(n * sizeof(T));
    peak_ = std::max(peak_, used_);
    if (block_ && used_ > capacity_) throw std::bad_alloc();
    return at;
  }
  template <class T>
  Matrix<T> matrix(int rows, int cols, int tail = 0) {
    Matrix<T> m(take<T>(static_cast<std::size_t>(rows) * static_cast<std::size_t>(cols + tail)), rows, cols,
                cols + tail);
    if (tail > 0) m.tail = m.data + cols;
    return m;
  }
  void release_to(std::size_t mark) { used_ = mark; }

  /// Gives back, at the end of a block of code, what was taken inside it.
  class Scope {
   public:
    explicit Scope(Arena& arena) : arena_(arena), mark_(arena.used_bytes()) {}
    ~Scope() { arena_.release_to(mark_); }
    Scope(const Scope&) = delete;
    Scope& operator=(const Scope&) = delete;

   private:
    Arena& arena_;
    std::size_t mark_;
  };

 private:
  static constexpr std::size_t rounded(std::size_t bytes) { return (bytes + alignment - 1) / alignment * alignment; }
  void swap(Arena& other) noexcept {
    std::swap(block_, other.block_);
    std::swap(release_, other.release_);
    std::swap(capacity_, other.capacity_);
    std::swap(used_, other.used_);
    std::swap(peak_, other.peak_);
  }
  std::byte* block_ = nullptr;
  void (*release_)(std::byte*) = nullptr;
  std::size_t capacity_ = 0, used_ = 0, peak_ = 0;
};

}  // namespace lamina
