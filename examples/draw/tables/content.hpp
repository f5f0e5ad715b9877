#pragma once
#include <algorithm>
#include <cstdint>
#include <random>
#include <string>
#include <vector>

namespace tables {

/// Random numbers that are the same on every machine: the engine's sequence is fixed by the standard, its
/// distributions are not, so none is used.
class Random {
 public:
  explicit Random(std::uint64_t seed) : engine_(seed) {}
  /// Uniform in [low, high].
  int between(int low, int high) {
    return low + static_cast<int>(engine_() % static_cast<std::uint64_t>(high - low + 1));
  }
  bool chance(int percent) { return between(1, 100) <= percent; }
  template <class T>
  const T& pick(const std::vector<T>& from) {
    return from[between(0, static_cast<int>(from.size()) - 1)];
  }
  /// The first `count` of a random order.
  template <class T>
  std::vector<T> sample(std::vector<T> from, int count) {
    for (int i = 0; i < count; ++i) std::swap(from[i], from[between(i, static_cast<int>(from.size()) - 1)]);
    from.resize(count);
    return from;
  }

 private:
  std::mt19937_64 engine_;
};

/// What an image says.
struct Table {
  std::string caption;
  std::vector<std::string> header;
  std::vector<std::vector<std::string>> rows;  ///< as many cells as header
  std::vector<bool> numeric;                   ///< per column
  bool operator==(const Table&) const = default;
};

/// A column: words, or numbers low..high, in tenths or hundredths when they have 1 or 2 decimals.
struct Column {
  std::string name;
  std::vector<std::string> words;
  int low = 0, high = 0, decimals = 0;
};

/// A subject: its possible captions, its key column and the others.
struct Subject {
  std::vector<std::string> captions;
  Column key;
  std::vector<Column> others;
};

inline const std::vector<Subject>& subjects() {
  static const std::vector<std::string> cities{"Rome", "Oslo", "Paris", "Lima", "Cairo", "Delhi", "Kyoto", "Quito"};
  static const std::vector<Subject> all{
      {{"Fruit stock", "Market", "Prices"},
       {"Item", {"apple", "pear", "plum", "grape", "lemon", "fig", "kiwi", "mango", "peach", "melon"}},
       {{"Count", {}, 1, 99}, {"Price", {}, 25, 995, 2}, {"Box", {"A1", "B2", "C3", "D4"}}, {"Kilo", {}, 5, 95, 1}}},
      {{"Team", "People", "Members"},
       {"Name", {"Anna", "Ben", "Carla", "David", "Emma", "Felix", "Grace", "Hugo", "Ines", "Jack"}},
       {{"Age", {}, 18, 79}, {"City", cities}, {"Room", {}, 101, 399}, {"Pet", {"cat", "dog", "fish", "bird"}}}},
      {{"Weather", "This week", "Forecast"},
       {"Day", {"Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"}},
       {{"High", {}, 12, 35},
        {"Low", {}, -5, 11},
        {"Sky", {"sun", "rain", "snow", "fog", "wind"}},
        {"Wind", {}, 1, 60}}},
      {{"League", "Scores", "Results"},
       {"Club", {"Lions", "Bears", "Foxes", "Hawks", "Wolves", "Rams", "Owls", "Bulls"}},
       {{"Won", {}, 0, 20}, {"Lost", {}, 0, 20}, {"Points", {}, 0, 60}, {"Home", cities}}},
      {{"Trains", "Departures", "Timetable"},
       {"Line", {"R1", "R2", "S3", "S4", "U5", "U6", "X7", "X8"}},
       {{"To", cities}, {"Track", {}, 1, 12}, {"Late", {}, 0, 45}, {"Fare", {}, 150, 990, 2}}},
      {{"Parts list", "Hardware", "Order 12"},
       {"Part", {"bolt", "nut", "screw", "nail", "hook", "hinge", "wire", "tube"}},
       {{"Size", {"M3", "M4", "M5", "M6", "M8"}},
        {"Qty", {}, 1, 500},
        {"Cost", {}, 1, 99, 2},
        {"Metal", {"iron", "brass", "steel", "zinc"}}}},
      {{"Planets", "Voyage", "Sky log"},
       {"Body", {"Mars", "Venus", "Earth", "Pluto", "Ceres", "Titan", "Io", "Luna"}},
       {{"Moons", {}, 0, 90},
        {"Days", {}, 1, 999},
        {"Mass", {}, 1, 999, 1},
        {"Tint", {"red", "blue", "grey", "gold"}}}},
  };
  return all;
}

/// One cell of a column.
inline std::string random_cell(Random& random, const Column& column) {
  if (!column.words.empty()) return random.pick(column.words);
  const int value = random.between(column.low, column.high);
  if (column.decimals == 0) return std::to_string(value);
  const int unit = column.decimals == 1 ? 10 : 100;
  const std::string fraction = std::to_string(unit + value % unit).substr(1);  // with its leading zero
  return std::to_string(value / unit) + "." + fraction;
}

/// 2 columns of one subject or more, and 2 rows below the header or more; no key twice.
inline Table random_table(Random& random, int most_rows, int most_columns) {
  const Subject& subject = random.pick(subjects());
  const int rows = random.between(2, most_rows), columns = random.between(2, most_columns);
  const std::vector<Column> others = random.sample(subject.others, columns - 1);
  Table table{random.pick(subject.captions), {subject.key.name}, {}, {false}};
  for (const Column& column : others) {
    table.header.push_back(column.name);
    table.numeric.push_back(column.words.empty());
  }
  for (const std::string& key : random.sample(subject.key.words, rows)) {
    table.rows.push_back({key});
    for (const Column& column : others) table.rows.back().push_back(random_cell(random, column));
  }
  return table;
}

/// The caption, a blank line, the table in Markdown.
inline std::string to_markdown(const Table& table) {
  const auto line = [](const std::vector<std::string>& cells) {
    std::string text = "|";
    for (const std::string& cell : cells) text += " " + cell + " |";
    return text;
  };
  std::string text = table.caption + "\n\n" + line(table.header) + "\n|";
  for (std::size_t i = 0; i < table.header.size(); ++i) text += " --- |";
  for (const auto& row : table.rows) text += "\n" + line(row);
  return text;
}

}  // namespace tables
