#include <lamina/compose/plan/tables.hpp>

#include "support/catch.hpp"

using namespace lamina;

namespace {

constexpr int text = 1, image = 7, video = 8;
using Position = std::array<int, 3>;

Positions positions_of(std::vector<int> ids, std::vector<Grid> grids, VisualTokens visual_tokens = {2}) {
  Batch batch;
  batch.ids = std::move(ids), batch.grids = std::move(grids);
  batch.cu_seqlens = {0, static_cast<int>(batch.ids.size())};
  Positions out;
  find_positions(batch, visual_tokens, {image, video}, out);
  return out;
}

}  // namespace

TEST_CASE("Positions: a video of one run steps through time, and text goes on after the largest of any axis") {
  std::vector<int> ids(4, text);
  ids.insert(ids.end(), 12, video);
  ids.insert(ids.end(), 2, text);
  const auto at = [&](float step) { return positions_of(ids, {{3, 4, 4, step}}); };
  const Positions one = at(2);  // second_per_grid 1, two positions a second
  CHECK((one.of_token[4] == Position{4, 4, 4} && one.of_token[7] == Position{4, 5, 5}));
  CHECK((one.of_token[8] == Position{6, 4, 4} && one.of_token[15] == Position{8, 5, 5}));
  CHECK((one.of_token[16] == Position{9, 9, 9} && one.next[0] == 11));
  const Positions half = at(1);
  CHECK((half.of_token[8] == Position{5, 4, 4} && half.of_token[16] == Position{7, 7, 7}));
  CHECK(at(0.9f).of_token[15] == Position{5, 5, 5});  // floor(2 * 0.9)
}

TEST_CASE("Positions: a video whose time is in the text is a row of images") {
  std::vector<int> ids(10, text);
  ids.insert(ids.end(), 4, video);
  ids.insert(ids.end(), 8, text);
  ids.insert(ids.end(), 4, video);
  ids.push_back(text);
  const Positions p = positions_of(ids, {{1, 4, 4}, {1, 4, 4}});
  CHECK((p.of_token[10] == Position{10, 10, 10} && p.of_token[13] == Position{10, 11, 11}));
  CHECK((p.of_token[14] == Position{12, 12, 12} && p.of_token[22] == Position{20, 20, 20}));
  CHECK((p.of_token[26] == Position{22, 22, 22}));
}

TEST_CASE("Positions: images and videos may meet, but a run of one is not filled by the other") {
  CHECK(positions_of({image, image, image, image, video, video, video, video}, {{1, 4, 4}, {1, 4, 4}}).next[0] == 4);
  CHECK_THROWS_AS(positions_of({image, image, video, video}, {{1, 4, 4}}), Error);
}

TEST_CASE("Positions: tokens that have no place in a frame are a row, as many for each frame") {
  const VisualTokens three{.merge = 1, .per_frame = 3};
  const Positions at = positions_of({text, image, image, image, video, video, video, video, video, video, text},
                                    {{1, 5, 9}, {2, 4, 4, 1}}, three);
  CHECK((at.of_token[1] == Position{1, 1, 1} && at.of_token[3] == Position{1, 1, 3}));
  CHECK((at.of_token[4] == Position{4, 4, 4} && at.of_token[9] == Position{5, 4, 6}));
  CHECK((at.of_token[10] == Position{7, 7, 7} && at.visual_rows.size() == 9));
  CHECK((three({2, 4, 4}) == 6 && VisualTokens{2}({2, 4, 4}) == 8));
}
