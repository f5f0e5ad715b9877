#pragma once
#include "images/shapes.hpp"
#include "images/words.hpp"

#include <lamina/io/program/usage.hpp>

#include <string>
#include <tuple>
#include <utility>
#include <vector>

/// An image with a question about it and the answer.
namespace images {

struct Scene {
  Canvas canvas;
  std::string question, answer;
};

/// Smaller than the images of data/tables, so that a small model reads many in a second: at most 35 tokens.
inline constexpr tables::Room room{96, 64, 224, 160};

/// The look of text without a table.
inline tables::TextStyle random_text(Random& random, tables::Style& style, int most_cell) {
  tables::random_colours(random, style);
  if (random.chance(30)) style.paper = {255, 255, 255}, style.text.ink = {0, 0, 0};
  style.noise = random.chance(30) ? random.between(2, 6) : 0;
  style.text.bold = random.chance(30);
  style.text.slanted = random.chance(20);
  style.text.cell = random.between(10, most_cell);
  return style.text;
}

/// Lines of text, one below the other, somewhere in the image.
inline Canvas draw_lines_of_text(Random& random, const std::vector<std::string>& lines, int most_cell) {
  tables::Style style;
  tables::TextStyle text = random_text(random, style, most_cell);
  const int gap = random.between(2, 8);
  const auto widest = [&] {
    int width = 0;
    for (const std::string& line : lines) width = std::max(width, text.text_width(line));
    return width;
  };
  const auto height = [&] { return static_cast<int>(lines.size()) * (text.line_height() + gap); };
  while (text.cell > 9 && (widest() > room.most_width - 16 || height() > room.most_height - 16)) --text.cell;
  const int width = tables::random_side(random, widest() + 4, room.least_width, room.most_width);
  Canvas canvas(width, tables::random_side(random, height() + 4, room.least_height, room.most_height), style.paper);
  const int x0 = random.between(tables::margin, canvas.width - widest() - 4 - tables::margin);
  int y = random.between(tables::margin, canvas.height - height() - tables::margin);
  for (const std::string& line : lines) {
    tables::draw_text(canvas, x0, y, line, text);
    y += text.line_height() + gap;
  }
  if (style.noise) tables::add_noise(canvas, random, style.noise);
  return canvas;
}

/// One to three signs in a small image, most of them black on white: where reading begins.
inline Scene sign_scene(Random& random) {
  static const std::string signs = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.,:-+%$#";
  tables::Style style;
  tables::TextStyle look = random_text(random, style, random.chance(60) ? 22 : 36);
  if (random.chance(60)) style.paper = {255, 255, 255}, look.ink = {0, 0, 0};
  std::string text;
  for (int i = random.chance(50) ? 1 : random.between(2, 3); i > 0; --i)
    text += signs[random.between(0, static_cast<int>(signs.size()) - 1)];
  Canvas canvas(std::max(64, look.text_width(text) + 24), 64, style.paper);
  tables::draw_text(canvas, random.between(4, canvas.width - look.text_width(text) - 8),
                    random.between(2, canvas.height - look.line_height() - 2), text, look);
  return {std::move(canvas), "Read this.", text};
}

/// One word or number.
inline Scene word_scene(Random& random) {
  static const std::vector<std::string> questions{"Read the word.", "What does it say?", "Read this.",
                                                  "What is written here?"};
  const std::string word = random_item(random, 8);
  return {draw_lines_of_text(random, {word}, random.chance(60) ? 20 : 32), random.pick(questions), word};
}

/// Digits.
inline Scene number_scene(Random& random) {
  static const std::vector<std::string> questions{"Read the number.", "Which number is this?",
                                                  "What number is in the picture?"};
  const std::string digits = random.chance(50) ? random_digits(random, random.between(1, 9)) : random_number(random);
  return {draw_lines_of_text(random, {digits}, random.chance(60) ? 20 : 32), random.pick(questions), digits};
}

/// One to four lines of one to three words: all of them, or one by its number.
inline Scene lines_scene(Random& random) {
  static const std::vector<std::string> all{"Read the text.", "Read all lines.", "What does the text say?"};
  std::vector<std::string> lines;
  const int count = random.between(1, 5);
  std::string answer;
  for (int i = 0; i < count; ++i) {
    std::string line = random_item(random, 8);
    for (int more = random.between(0, 2); more > 0 && line.size() < 12; --more) line += " " + random_item(random, 6);
    answer += (i ? " / " : "") + line;
    lines.push_back(line);
  }
  Canvas canvas = draw_lines_of_text(random, lines, 18);
  if (count > 1 && random.chance(35)) {
    const int asked = random.between(1, count);
    return {std::move(canvas), "Read line " + std::to_string(asked) + ".", lines[asked - 1]};
  }
  return {std::move(canvas), random.pick(all), answer};
}

/// Shapes: all, how many, or one's colour if its name occurs once.
inline Scene shapes_scene(Random& random) {
  tables::Style style;
  style.paper = {random.between(225, 255), random.between(225, 255), random.between(225, 255)};
  Canvas canvas(random.between(room.least_width, room.most_width), random.between(room.least_height, 128), style.paper);
  const std::vector<Shape> shapes = random_shapes(random, canvas.width, canvas.height);
  std::string all;
  for (const Shape& shape : shapes) {
    draw_shape(canvas, shape);
    all += (all.empty() ? "" : ", ") + shape.colour + " " + shape.name;
  }
  if (random.chance(30)) tables::add_noise(canvas, random, random.between(2, 6));
  if (random.chance(25)) return {std::move(canvas), "How many shapes are there?", std::to_string(shapes.size())};
  const Shape& asked = random.pick(shapes);
  int same = 0;
  for (const Shape& shape : shapes) same += shape.name == asked.name;
  if (same == 1 && random.chance(40))
    return {std::move(canvas), "What colour is the " + asked.name + "?", asked.colour};
  return {std::move(canvas), random.chance(50) ? "Which shapes are there?" : "What is in the picture?", all};
}

/// How a table is written down: the text between cells and between rows, before and after each row.
struct Pattern {
  std::string cell_gap = ", ", row_gap = " / ", before_row, after_row;

  std::string row(const std::vector<std::string>& cells) const {
    std::string text;
    for (const std::string& cell : cells) text += (text.empty() ? "" : cell_gap) + cell;
    return before_row + text + after_row;
  }
  std::string table(const tables::Table& table) const {
    std::string text = row(table.header);
    for (const auto& cells : table.rows) text += row_gap + row(cells);
    return text;
  }
};

/// One to three signs, none of them of Markdown's tables, with or without spaces.
inline std::string random_gap(Random& random, bool may_break) {
  static const std::string signs = ",;:/=+*#>!~^&";
  if (may_break && random.chance(40)) return "\n";
  std::string gap;
  for (int i = random.between(1, random.chance(70) ? 1 : 3); i > 0; --i)
    gap += signs[random.between(0, static_cast<int>(signs.size()) - 1)];
  if (random.chance(50)) gap += " ";
  return random.chance(50) ? " " + gap : gap;
}

inline Pattern random_pattern(Random& random) {
  static const std::vector<std::pair<std::string, std::string>> brackets{
      {"(", ")"}, {"[", "]"}, {"{", "}"}, {"<", ">"}, {"- ", ""}, {"* ", ""}, {"", ";"}, {"> ", " <"}};
  Pattern pattern{random_gap(random, false), random_gap(random, true), "", ""};
  if (random.chance(50)) std::tie(pattern.before_row, pattern.after_row) = random.pick(brackets);
  return pattern;
}

/// A table and a look that fit the room.
inline std::pair<tables::Table, tables::Style> random_table(Random& random) {
  for (;;) {
    tables::Table table = random.chance(60) ? random_grid(random, 5, 4) : tables::random_table(random, 5, 4);
    tables::Style style = tables::random_style(random, table, room);
    if (tables::fits(tables::lay_out(table, style), room)) return {std::move(table), std::move(style)};
  }
}

/// A whole table as a pattern shows: "Read the table as [a; b], [c; d]." Fine-tuning teaches a form without a pattern.
inline Scene patterned_scene(Random& random, Canvas canvas, const tables::Table& table) {
  const Pattern pattern = random_pattern(random);
  const std::string shown = pattern.row({"a", "b"}) + pattern.row_gap + pattern.row({"c", "d"});
  if (random.chance(70)) return {std::move(canvas), "Read the table as " + shown, pattern.table(table)};
  const std::string gap = random_gap(random, true);
  return {std::move(canvas), "Read caption and table as t" + gap + shown, table.caption + gap + pattern.table(table)};
}

/// A table: whole, or a part of it.
inline Scene table_scene(Random& random) {
  static const std::vector<std::string> whole{"Read the table.", "Read all cells.", "List the rows."};
  static const Pattern plain;
  const auto [table, style] = random_table(random);
  Canvas canvas = tables::draw_table(random, table, style, room);
  const int rows = static_cast<int>(table.rows.size()), columns = static_cast<int>(table.header.size());
  const int row = random.between(1, rows), column = random.between(1, columns);
  switch (random.between(0, 11)) {
    case 0:
      return {std::move(canvas), "Read the caption.", table.caption};
    case 1:
      return {std::move(canvas), "Read the header.", plain.row(table.header)};
    case 2:
      return {std::move(canvas), "Read row " + std::to_string(row) + ".", plain.row(table.rows[row - 1])};
    case 3:
      return {std::move(canvas), "What is in row " + std::to_string(row) + ", column " + std::to_string(column) + "?",
              table.rows[row - 1][column - 1]};
    case 4:
      return {std::move(canvas), "Read caption and table.", table.caption + plain.row_gap + plain.table(table)};
    case 5:
    case 6:
    case 7:
      return {std::move(canvas), random.pick(whole), plain.table(table)};
    default:
      return patterned_scene(random, std::move(canvas), table);
  }
}

/// A kind of image and how it is drawn.
struct Kind {
  std::string name;
  Scene (*draw)(Random&);
};

inline const std::vector<Kind>& kinds() {
  static const std::vector<Kind> all{{"sign", sign_scene},   {"word", word_scene},     {"number", number_scene},
                                     {"lines", lines_scene}, {"shapes", shapes_scene}, {"table", table_scene}};
  return all;
}

inline const Kind& kind_named(const std::string& name) {
  for (const Kind& kind : kinds())
    if (kind.name == name) return kind;
  lamina::io::usage("--mix: there is no kind ", name, ": wanted sign, word, number, lines, shapes or table");
}

}  // namespace images
