#pragma once
#include "tables/content.hpp"

#include <string>
#include <vector>

/// What images say, besides the tables of tables/content.hpp.
namespace images {

using tables::Random;

inline const std::vector<std::string>& known_words() {
  static const std::vector<std::string> words = [] {
    std::vector<std::string> all{
        "time",   "year",   "day",   "man",   "world", "life",  "hand",  "part",   "child", "eye",   "place", "work",
        "week",   "case",   "point", "home",  "water", "room",  "night", "book",   "word",  "money", "story", "fact",
        "month",  "lot",    "right", "study", "side",  "kind",  "head",  "house",  "power", "hour",  "game",  "line",
        "end",    "member", "law",   "car",   "city",  "name",  "team",  "minute", "idea",  "kid",   "body",  "back",
        "parent", "face",   "level", "door",  "tree",  "river", "stone", "green",  "light", "sound", "table", "chair",
        "bread",  "milk",   "salt",  "sugar", "box",   "north", "south", "east",   "west",  "quick", "brown", "jump",
        "over",   "lazy",   "total", "sum",   "mean",  "max"};
    for (const tables::Subject& subject : tables::subjects()) {
      for (const std::string& caption : subject.captions) all.push_back(caption.substr(0, caption.find(' ')));
      const auto add = [&](const tables::Column& column) {
        all.push_back(column.name);
        all.insert(all.end(), column.words.begin(), column.words.end());
      };
      add(subject.key);
      for (const tables::Column& column : subject.others) add(column);
    }
    return all;
  }();
  return words;
}

inline std::string in_capitals(std::string word) {
  for (char& c : word)
    if (c >= 'a' && c <= 'z') c = static_cast<char>(c - 'a' + 'A');
  return word;
}

/// Letters that no language knows, so that reading cannot be guessing: alternating consonants and vowels, or anything.
inline std::string random_letters(Random& random, int length) {
  static const std::string vowels = "aeiou", consonants = "bcdfghjklmnpqrstvwxyz";
  const bool spoken = random.chance(50);
  std::string word;
  for (int i = 0; i < length; ++i) {
    const std::string& from = !spoken ? (random.chance(20) ? vowels : consonants) : i % 2 ? vowels : consonants;
    word += from[random.between(0, static_cast<int>(from.size()) - 1)];
  }
  return word;
}

inline std::string random_digits(Random& random, int length) {
  std::string digits;
  for (int i = 0; i < length; ++i) digits += static_cast<char>('0' + random.between(i == 0 && length > 1, 9));
  return digits;
}

/// A number as tables have them: whole, with decimals, signed, a share or a price.
inline std::string random_number(Random& random) {
  const std::string whole = random_digits(random, random.between(1, 4));
  switch (random.between(0, 9)) {
    case 0:
      return "-" + whole;
    case 1:
      return whole + "%";
    case 2:
      return "$" + whole;
    case 3:
    case 4:
      return random_digits(random, random.between(1, 2)) + "." + random_digits(random, 2);
    case 5:
      return random_digits(random, random.between(1, 3)) + "." + random_digits(random, 1);
    case 6:
      return random_digits(random, 2) + ":" + random_digits(random, 2);
    default:
      return whole;
  }
}

/// A word of at most `longest` letters: known or made up, in small letters, with a capital, or in capitals.
inline std::string random_word(Random& random, int longest) {
  std::string word;
  do {
    word = random.chance(50) ? random.pick(known_words()) : random_letters(random, random.between(1, longest));
  } while (static_cast<int>(word.size()) > longest);
  if (random.chance(12)) return in_capitals(word);
  if (random.chance(35)) return in_capitals(word.substr(0, 1)) + word.substr(1);
  return word;
}

/// What a cell or a line may hold.
inline std::string random_item(Random& random, int longest) {
  if (random.chance(30)) return random_number(random);
  if (random.chance(8)) return in_capitals(random_letters(random, 1)) + random_digits(random, random.between(1, 2));
  return random_word(random, longest);
}

/// A table about nothing: each column holds words, or numbers of one kind.
inline tables::Table random_grid(Random& random, int most_rows, int most_columns) {
  const int rows = random.between(1, most_rows), columns = random.between(2, most_columns);
  const int longest = columns > 3 ? 4 : 6;
  tables::Table table;
  table.caption = random_word(random, 8) + (random.chance(30) ? " " + random_item(random, 5) : "");
  for (int c = 0; c < columns; ++c) {
    table.header.push_back(random_word(random, longest));
    table.numeric.push_back(random.chance(50));
  }
  for (int r = 0; r < rows; ++r) {
    table.rows.emplace_back();
    for (int c = 0; c < columns; ++c)
      table.rows.back().push_back(table.numeric[c] ? random_number(random) : random_item(random, longest));
  }
  return table;
}

}  // namespace images
