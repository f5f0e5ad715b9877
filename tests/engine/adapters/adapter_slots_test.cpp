#include <lamina/engine/adapters/adapter_slots.hpp>

#include "support/catch.hpp"

using namespace lamina;
using namespace lamina::engine;
using Held = AdapterSlots::Held;

TEST_CASE("AdapterSlots: an adapter stays in its slot until another one needs it, the least recently used first") {
  AdapterSlots slots(2);
  CHECK(slots.hold(1) == Held::added);
  CHECK(slots.hold(2) == Held::added);
  CHECK(slots.hold(1) == Held::ready);
  CHECK(!slots.has_room(3));
  CHECK(slots.hold(3) == Held::full);
  const int first = slots.slot_of(1), second = slots.slot_of(2);
  CHECK(first != second);
  slots.release(1);
  CHECK(slots.hold(3) == Held::full);  // 1 is held once more
  slots.release(1), slots.release(2);
  CHECK(slots.referenced() == 0);
  CHECK(slots.hold(2) == Held::ready);
  CHECK(slots.hold(3) == Held::added);
  CHECK(slots.slot_of(3) == first);
  CHECK(slots.slot_of(2) == second);
}

TEST_CASE("AdapterSlots: what was forgotten is loaded again, what is in use stays") {
  AdapterSlots slots(2);
  slots.hold(1), slots.hold(2);
  slots.release(2);
  slots.forget_unused();
  CHECK(slots.hold(1) == Held::ready);
  CHECK(slots.hold(2) == Held::added);
}

TEST_CASE("AdapterSlots: an adapter that is not there has no slot") {
  AdapterSlots none(0), one(1);
  CHECK(none.hold(1) == Held::full);
  CHECK_THROWS_AS(one.slot_of(1), Error);
  CHECK_THROWS_AS(one.release(1), Error);
}
