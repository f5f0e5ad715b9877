#include "images/scene.hpp"
#include "support/catch.hpp"

using namespace images;

TEST_CASE("lamina-draw-images: every kind fits the room, has an answer in known signs, and repeats from its seed") {
  for (const Kind& kind : kinds())
    for (std::uint64_t seed = 0; seed < 200; ++seed) {
      Random random(seed), again(seed);
      const Scene scene = kind.draw(random), same = kind.draw(again);
      CAPTURE(kind.name, seed, scene.answer);
      CHECK((scene.canvas.rgb == same.canvas.rgb && scene.question == same.question && scene.answer == same.answer));
      CHECK(!scene.answer.empty());
      CHECK((scene.canvas.width <= room.most_width && scene.canvas.height <= room.most_height));
      for (const char sign : scene.answer) {
        bool drawn = std::string(" \n/,;:=+*#>!~^&()[]{}<-").find(sign) != std::string::npos;
        for (int cell = 0; cell < tables::Font::width * tables::Font::height; ++cell)
          drawn = drawn || tables::Font::covers(sign, cell % tables::Font::width, cell / tables::Font::width);
        CHECK(drawn);
      }
    }
}

TEST_CASE("lamina-draw-images: an unknown kind is refused by name") {
  CHECK_THROWS_WITH(kind_named("tabel"),
                    "--mix: there is no kind tabel: wanted sign, word, number, lines, shapes or table");
}
