#pragma once
#include "tables/content.hpp"
#include "tables/font.hpp"

#include <array>
#include <cstddef>

namespace tables {

using Colour = std::array<int, 3>;

/// Pixels, and what is drawn into them. Lengths of text are in eighths of a pixel, so that sizes between whole pixels
/// come out the same everywhere without floating point.
struct Canvas {
  static constexpr int unit = 8;
  int width, height;
  std::vector<std::uint8_t> rgb;  ///< (height, width, 3)

  Canvas(int w, int h, Colour paper) : width(w), height(h), rgb(static_cast<std::size_t>(w) * h * 3) {
    fill(0, 0, w, h, paper);
  }

  /// Mixes `colour` into one pixel, of / 256 of it; outside the canvas nothing happens.
  void blend(int x, int y, const Colour& colour, int of) {
    if (x < 0 || y < 0 || x >= width || y >= height) return;
    std::uint8_t* pixel = &rgb[(static_cast<std::size_t>(y) * width + x) * 3];
    for (int c = 0; c < 3; ++c) pixel[c] = static_cast<std::uint8_t>((pixel[c] * (256 - of) + colour[c] * of) / 256);
  }

  void fill(int x0, int y0, int w, int h, const Colour& colour) {
    for (int y = y0; y < y0 + h; ++y)
      for (int x = x0; x < x0 + w; ++x) blend(x, y, colour, 256);
  }
};

/// How letters look. cell is the side of a font cell in eighths of a pixel.
struct TextStyle {
  int cell = 16;
  bool bold = false, slanted = false;
  Colour ink{};

  int advance() const { return cell * (Font::width + 1); }
  int text_width(const std::string& text) const {
    return (static_cast<int>(text.size()) * advance() - cell + Canvas::unit - 1) / Canvas::unit;
  }
  int line_height() const { return (cell * Font::height + Canvas::unit - 1) / Canvas::unit; }

  /// Whether letter c covers the point (u, v), eighths of a pixel from the top left of its box.
  bool covers(char c, int u, int v) const {
    if (slanted) u -= (Font::baseline * cell - v) / 5;
    const auto at = [&](int shifted) {
      return shifted >= 0 && v >= 0 && shifted < Font::width * cell && v < Font::height * cell &&
             Font::covers(c, shifted / cell, v / cell);
    };
    return at(u) || (bold && at(u - cell / 2));
  }
};

/// Draws one line of text whose box begins at (x0, y0); edges are smoothed by 4 x 4 samples a pixel.
inline void draw_text(Canvas& canvas, int x0, int y0, const std::string& text, const TextStyle& style) {
  constexpr int samples = 4, step = Canvas::unit / samples;
  const int reach = (style.advance() + 3 * style.cell) / Canvas::unit + 1;  // slanted and bold letters lean out
  for (std::size_t i = 0; i < text.size(); ++i) {
    const int origin = static_cast<int>(i) * style.advance(), first = origin / Canvas::unit - 1;
    for (int y = 0; y < style.line_height(); ++y)
      for (int x = first; x < first + reach + 1; ++x) {
        int hits = 0;
        for (int s = 0; s < samples * samples; ++s)
          hits += style.covers(text[i], x * Canvas::unit + s % samples * step + 1 - origin,
                               y * Canvas::unit + s / samples * step + 1);
        if (hits) canvas.blend(x0 + x, y0 + y, style.ink, hits * 256 / (samples * samples));
      }
  }
}

enum class Lines { grid, rows, header_only, box, none };
enum class Align { left, middle, right };

/// Of an image, in pixels: its sides, and the bare border around everything drawn.
struct Room {
  int least_width = 160, least_height = 160, most_width = 256, most_height = 256;
};
inline constexpr int margin = 6;

/// Everything about an image but its words.
struct Style {
  TextStyle text;
  Colour paper{}, head{}, stripe{}, rule{};
  Lines lines = Lines::grid;
  int rule_width = 1, pad_x = 5, pad_y = 3, noise = 0;
  bool caption_below = false, striped = false;
  std::vector<Align> align;
};

/// Where the table's parts are, in pixels.
struct Layout {
  std::vector<int> column_widths;
  int row_height = 0, caption_height = 0, width = 0, table_height = 0, height = 0;
};

inline Layout lay_out(const Table& table, const Style& style) {
  Layout layout;
  for (std::size_t c = 0; c < table.header.size(); ++c) {
    int widest = style.text.text_width(table.header[c]);
    for (const auto& row : table.rows) widest = std::max(widest, style.text.text_width(row[c]));
    layout.column_widths.push_back(widest + 2 * style.pad_x);
    layout.width += layout.column_widths.back();
  }
  layout.row_height = style.text.line_height() + 2 * style.pad_y;
  layout.caption_height = style.text.line_height() + 4;
  layout.table_height = layout.row_height * (static_cast<int>(table.rows.size()) + 1);
  layout.width = std::max(layout.width, style.text.text_width(table.caption));
  layout.height = layout.table_height + layout.caption_height;
  return layout;
}
inline bool fits(const Layout& layout, const Room& room) {
  return layout.width <= room.most_width - 2 * margin && layout.height <= room.most_height - 2 * margin;
}

/// Dark on light or light on dark, with a tinted header; light levels keep a contrast of 110 at least.
inline void random_colours(Random& random, Style& style) {
  const auto shade = [&](int low, int high) {
    return Colour{random.between(low, high), random.between(low, high), random.between(low, high)};
  };
  const bool dark = random.chance(20);
  style.paper = dark ? shade(5, 50) : shade(215, 255);
  style.text.ink = dark ? shade(205, 255) : shade(0, 85);
  style.rule = dark ? shade(90, 190) : shade(40, 150);
  style.head = style.stripe = style.paper;
  const int tint = dark ? 24 : -30;
  for (int c = 0; c < 3; ++c) {
    if (random.chance(70)) style.head[c] = std::clamp(style.paper[c] + tint, 0, 255);
    style.stripe[c] = std::clamp(style.paper[c] + tint / 3, 0, 255);
  }
}

/// The look of one image; letters as large as fit, or somewhat smaller.
inline Style random_style(Random& random, const Table& table, const Room& room = {}) {
  Style style;
  random_colours(random, style);
  style.text.bold = random.chance(25);
  style.text.slanted = random.chance(15);
  style.lines =
      random.pick<Lines>({Lines::grid, Lines::grid, Lines::rows, Lines::header_only, Lines::box, Lines::none});
  style.rule_width = random.chance(25) ? 2 : 1;
  style.pad_x = random.between(5, 9);
  style.pad_y = random.between(2, 7);
  style.striped = random.chance(30);
  style.caption_below = random.chance(25);
  style.noise = random.chance(30) ? random.between(2, 5) : 0;
  const Align words = random.chance(70) ? Align::left : Align::middle;
  const Align numbers = random.pick<Align>({Align::right, Align::right, Align::left, Align::middle});
  for (bool numeric : table.numeric) style.align.push_back(numeric ? numbers : words);
  constexpr int least = 10, most = 22;  // 1.25 to 2.75 pixels a cell
  for (style.text.cell = most - random.between(0, 5); style.text.cell > least; --style.text.cell) {
    if (fits(lay_out(table, style), room)) break;
  }
  return style;
}

/// The rules of the table whose top left corner is (x0, y0).
inline void draw_lines(Canvas& canvas, int x0, int y0, const Layout& layout, const Style& style) {
  int right = x0;
  for (int w : layout.column_widths) right += w;
  const int bottom = y0 + layout.table_height, thick = style.rule_width;
  const auto across = [&](int y) { canvas.fill(x0, y, right - x0 + thick, thick, style.rule); };
  const auto down = [&](int x) { canvas.fill(x, y0, thick, bottom - y0 + thick, style.rule); };
  if (style.lines == Lines::none) return;
  across(y0 + layout.row_height);
  if (style.lines == Lines::header_only) return;
  across(y0), across(bottom);
  if (style.lines == Lines::rows || style.lines == Lines::grid)
    for (int y = y0; y < bottom; y += layout.row_height) across(y);
  if (style.lines == Lines::rows) return;
  down(x0), down(right);
  if (style.lines != Lines::grid) return;
  for (int x = x0, c = 0; c < static_cast<int>(layout.column_widths.size()); x += layout.column_widths[c++]) down(x);
}

/// One row of cells, its background first.
inline void draw_row(Canvas& canvas, int x, int y, const std::vector<std::string>& cells, const Layout& layout,
                     const Style& style, const TextStyle& text, const Colour* background) {
  for (std::size_t c = 0; c < cells.size(); ++c) {
    const int width = layout.column_widths[c], spare = width - 2 * style.pad_x - text.text_width(cells[c]);
    if (background) canvas.fill(x, y, width, layout.row_height, *background);
    const int shift = style.align[c] == Align::left ? 0 : style.align[c] == Align::right ? spare : spare / 2;
    draw_text(canvas, x + style.pad_x + shift, y + style.pad_y + 1, cells[c], text);
    x += width;
  }
}

/// Grain over the whole image, at most `amplitude` levels either way.
inline void add_noise(Canvas& canvas, Random& random, int amplitude) {
  for (std::uint8_t& level : canvas.rgb)
    level = static_cast<std::uint8_t>(std::clamp(level + random.between(-amplitude, amplitude), 0, 255));
}

/// A side for so many pixels of content.
inline int random_side(Random& random, int content, int least_side, int most_side) {
  const int least = std::max(least_side, content + 2 * margin);
  return std::min(random.between(least, least + 24), std::max(least, most_side));
}

/// Draws the table onto a canvas as large as the room allows, somewhere in it.
inline Canvas draw_table(Random& random, const Table& table, const Style& style, const Room& room = {}) {
  const Layout layout = lay_out(table, style);
  const int height = random_side(random, layout.height, room.least_height, room.most_height);
  Canvas canvas(random_side(random, layout.width, room.least_width, room.most_width), height, style.paper);
  const int x0 = random.between(margin, canvas.width - layout.width - margin);
  const int top = random.between(margin, canvas.height - layout.height - margin);
  const int caption_y = style.caption_below ? top + layout.table_height + 4 : top;
  const int y0 = style.caption_below ? top : top + layout.caption_height;
  draw_text(canvas, x0, caption_y, table.caption, style.text);
  TextStyle head = style.text;
  head.bold = true;
  draw_row(canvas, x0, y0, table.header, layout, style, head, &style.head);
  for (std::size_t r = 0; r < table.rows.size(); ++r)
    draw_row(canvas, x0, y0 + layout.row_height * (static_cast<int>(r) + 1), table.rows[r], layout, style, style.text,
             style.striped && r % 2 ? &style.stripe : nullptr);
  draw_lines(canvas, x0, y0, layout, style);
  if (style.noise) add_noise(canvas, random, style.noise);
  return canvas;
}

}  // namespace tables
