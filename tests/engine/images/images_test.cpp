#include <lamina/engine/images/images.hpp>

#include "support/catch.hpp"
#include "support/error_of.hpp"

using namespace lamina;
using namespace lamina::engine;
using lamina::testing::error_of;

namespace {
ImageHash image(std::uint8_t n) {
  ImageHash hash{};
  hash[0] = n;
  return hash;
}
}  // namespace

TEST_CASE("ImageRows: an image stays after its last release until its blocks are needed, oldest first") {
  ImageRows rows(4, 16);
  CHECK(rows.hold(image(1), 17) == ImageRows::Held::added);  // two blocks
  CHECK(rows.hold(image(2), 16) == ImageRows::Held::added);
  CHECK(rows.hold(image(1), 17) == ImageRows::Held::ready);
  CHECK(rows.hold(image(3), 20) == ImageRows::Held::full);
  rows.release(image(1));
  CHECK(rows.hold(image(3), 20) == ImageRows::Held::full);  // one reference is left
  rows.release(image(1));
  rows.release(image(2));
  CHECK(rows.referenced_images() == 0);
  CHECK(rows.hold(image(2), 16) == ImageRows::Held::ready);
  CHECK(rows.hold(image(3), 33) == ImageRows::Held::added);  // three blocks: image 1 goes
  CHECK_FALSE(rows.has(image(1)));
  CHECK(rows.blocks(image(3)).size() == 3);
  CHECK(rows.blocks(image(2)).size() == 1);
  CHECK(rows.free_blocks() == 0);
}

TEST_CASE("ImageRows: an image that can never fit is an error") {
  ImageRows rows(2, 8);
  CHECK(error_of([&] { rows.hold(image(1), 17); }) ==
        "an image of 17 tokens is larger than the image cache of 16 rows");
}
