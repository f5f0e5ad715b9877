#pragma once
#include "tables/image.hpp"

#include <cstdlib>
#include <string>
#include <vector>

/// Plain shapes in colours that have a name.
namespace images {

using tables::Canvas;
using tables::Colour;
using tables::Random;

struct Shape {
  std::string colour, name;
  Colour rgb{};
  int x = 0, y = 0, radius = 0;  ///< its middle and reach, in pixels
};

struct NamedColour {
  std::string name;
  Colour rgb{};
};

inline const std::vector<NamedColour>& named_colours() {
  static const std::vector<NamedColour> all{
      {"red", {215, 30, 35}},     {"green", {30, 150, 50}},   {"blue", {30, 60, 210}}, {"yellow", {240, 215, 30}},
      {"orange", {240, 135, 20}}, {"purple", {130, 40, 160}}, {"black", {15, 15, 15}}, {"grey", {130, 130, 130}},
      {"brown", {120, 70, 30}},   {"pink", {245, 130, 180}}};
  return all;
}

inline const std::vector<std::string>& shape_names() {
  static const std::vector<std::string> all{"circle", "square", "triangle", "diamond", "ring", "cross", "bar"};
  return all;
}

/// Whether a shape covers the point (u, v) from its middle, r its reach, all in one unit.
inline bool covers(const std::string& shape, int u, int v, int r) {
  const int across = std::abs(u), down = std::abs(v);
  if (shape == "circle") return u * u + v * v <= r * r;
  if (shape == "ring") return u * u + v * v <= r * r && u * u + v * v >= r * r * 9 / 25;
  if (shape == "square") return across <= r * 4 / 5 && down <= r * 4 / 5;
  if (shape == "diamond") return across + down <= r;
  if (shape == "triangle") return v <= r * 3 / 4 && v >= -r && 2 * across <= v + r;
  if (shape == "cross") return (across <= r / 4 && down <= r) || (down <= r / 4 && across <= r);
  return across <= r && down <= r / 3;  // bar
}

inline void draw_shape(Canvas& canvas, const Shape& shape) {
  constexpr int samples = 3;
  for (int y = -shape.radius; y <= shape.radius; ++y)
    for (int x = -shape.radius; x <= shape.radius; ++x) {
      int hits = 0;
      for (int s = 0; s < samples * samples; ++s)
        hits +=
            covers(shape.name, samples * x + s % samples - 1, samples * y + s / samples - 1, samples * shape.radius);
      if (hits) canvas.blend(shape.x + x, shape.y + y, shape.rgb, hits * 256 / (samples * samples));
    }
}

/// One to four shapes from left to right, none above another.
inline std::vector<Shape> random_shapes(Random& random, int width, int height) {
  const int count = random.between(1, std::min(4, width / 32)), place = width / count;
  std::vector<Shape> shapes;
  for (int i = 0; i < count; ++i) {
    const NamedColour& colour = random.pick(named_colours());
    Shape shape{colour.name, random.pick(shape_names()), colour.rgb};
    for (int& level : shape.rgb) level = std::clamp(level + random.between(-14, 14), 0, 255);
    shape.radius = random.between(10, std::min(place, height) / 2 - 3);
    shape.x = i * place + random.between(shape.radius + 1, place - shape.radius - 1);
    shape.y = random.between(shape.radius + 1, height - shape.radius - 1);
    shapes.push_back(shape);
  }
  return shapes;
}

}  // namespace images
