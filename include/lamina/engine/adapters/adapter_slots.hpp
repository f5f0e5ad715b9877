#pragma once
#include <algorithm>
#include <utility>
#include <vector>

#include <lamina/core/error.hpp>
#include <lamina/engine/adapters/adapter.hpp>

namespace lamina::engine {

/// Which adapter is in which of the places that a backend has for them. Numbers only, no bytes. An adapter without
/// references stays until its place is needed, the least recently used first.
class AdapterSlots {
 public:
  enum class Held {
    ready,  ///< its matrices are there, or a step that loads them was planned before
    added,  ///< a slot is reserved; the caller must have its matrices loaded
    full,   ///< every slot has an adapter that is in use; nothing was held
  };

  explicit AdapterSlots(int slots) : slots_(static_cast<std::size_t>(slots)) {}

  int total() const { return static_cast<int>(slots_.size()); }
  int referenced() const {
    return static_cast<int>(
        std::count_if(slots_.begin(), slots_.end(), [](const Slot& s) { return s.references > 0; }));
  }
  /// Whether hold() would find a slot.
  bool has_room(AdapterId id) const { return find(id) || referenced() < total(); }
  /// Takes a reference to an adapter's slot.
  Held hold(AdapterId id) {
    if (!has_room(id)) return Held::full;
    const bool ready = find(id) != nullptr;
    if (!ready)
      std::min_element(slots_.begin(), slots_.end(), [](const Slot& a, const Slot& b) {
        return a.freed_before(b);
      })->id = id;
    ++at(id).references;
    return ready ? Held::ready : Held::added;
  }
  /// Gives a reference back.
  void release(AdapterId id) {
    Slot& slot = at(id);
    if (--slot.references == 0) slot.freed = ++releases_;
  }
  /// An adapter that is held.
  int slot_of(AdapterId id) { return static_cast<int>(&at(id) - slots_.data()); }
  /// Slots that nobody holds are empty: what they have is not what it should be.
  void forget_unused() {
    for (Slot& slot : slots_)
      if (slot.references == 0) slot = {};
  }

 private:
  struct Slot {
    AdapterId id = 0;
    int references = 0;
    std::uint64_t freed = 0;  ///< when the last reference was given back; 0: it was never used
    bool freed_before(const Slot& other) const {
      return std::pair(references > 0, freed) < std::pair(other.references > 0, other.freed);
    }
  };
  const Slot* find(AdapterId id) const {
    const auto slot = std::find_if(slots_.begin(), slots_.end(), [&](const Slot& s) { return s.id == id; });
    return slot == slots_.end() ? nullptr : &*slot;
  }
  Slot& at(AdapterId id) {
    const Slot* const slot = find(id);
    if (!slot) fail("adapter slots: adapter ", id, " has none");
    return slots_[static_cast<std::size_t>(slot - slots_.data())];
  }

  std::vector<Slot> slots_;
  std::uint64_t releases_ = 0;
};

}  // namespace lamina::engine
