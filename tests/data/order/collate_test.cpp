#include "data/support.hpp"
#include "support/catch.hpp"

#include <lamina/data/order/collate.hpp>

using namespace lamina;
using namespace lamina::data;
using namespace lamina::data::test;

TEST_CASE("Collate: an image that both answers of a pair show is decoded once, and is in both places") {
  const Folder folder;
  const auto dark = folder.write("dark.bmp", bmp(64, 64, 40)), light = folder.write("light.bmp", bmp(480, 160, 220));
  const Preparation preparation{qwen3_processor(), {}, image_pad_id};
  const auto showing = [&](const std::vector<std::filesystem::path>& images) {
    EncodedSample sample;
    for (const auto& image : images) {
      const int tokens = image == dark ? 64 : 75;
      sample.ids.insert(sample.ids.end(), static_cast<std::size_t>(tokens), image_pad_id);
      sample.ids.push_back(1);
      sample.image_patches.push_back(4 * tokens);
    }
    sample.labels = sample.ids;
    sample.images = images;
    return sample;
  };
  const auto batch_of = [&](const std::vector<EncodedSample>& samples) {
    std::vector<std::vector<const EncodedSample*>> window(1);
    for (const EncodedSample& sample : samples) window[0].push_back(&sample);
    return collate(window, preparation).batch;
  };
  const EncodedSample pair = showing({dark, light, dark, light});
  const std::vector<std::vector<const EncodedSample*>> window = {{&pair}};
  CHECK(begin_window(window, preparation).media.size() == 2);
  const Batch once = batch_of({pair}), apart = batch_of({showing({dark, light}), showing({dark, light})});
  CHECK(once.grids == apart.grids);
  CHECK(once.patches == apart.patches);
}
