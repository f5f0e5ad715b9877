#pragma once
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <numeric>
#include <stop_token>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include <lamina/core/error.hpp>
#include <lamina/core/threads/cancelled.hpp>
#include <lamina/io/json/mistake.hpp>
#include <lamina/io/json/tree.hpp>

/// The one way in which text becomes JSON: nlohmann's parser is a template over where characters come from, and each
/// instance costs a program half a second of build time; and its own builder of ordered objects looks through all
/// members for each new one, which is quadratic.
namespace lamina::io {

/// Bounds of a JSON text; an Error that names `subject` beyond. The defaults are those of a file: nesting is bounded
/// because nlohmann writes and destroys values recursively, counts because a text of 256 MB may be 128 M values of 16
/// bytes or more. The largest files that models come with are tokenizer.json, 150 thousand members in one object and
/// 0.7 million values, and trainer_state.json of a long run.
struct JsonLimits {
  std::string_view subject = "JSON";  ///< what messages call the text: a file, a flag, a field
  std::size_t depth = 256;            ///< of [ and { inside each other
  std::size_t members = 1 << 20;      ///< of one object
  std::size_t items = 1 << 22;        ///< of one list
  std::size_t values = 1 << 24;       ///< of the whole text
  bool unique_keys = true;            ///< an object may not have a key twice; else its last value counts
  std::stop_token cancelled = {};     ///< Cancelled is thrown
};

namespace detail {

/// Takes the events of nlohmann's parser and builds the value, in time n log n of the text's length. Of a key that
/// occurs twice the last value counts, in the first one's place, as in Python.
template <class Json>
class JsonBuilder {
 public:
  JsonBuilder(Json& root, std::string_view text, const JsonLimits& limits)
      : root_(root), text_(text), limits_(limits) {}
  JsonBuilder(const JsonBuilder&) = delete;
  JsonBuilder& operator=(const JsonBuilder&) = delete;
  ~JsonBuilder() {
    for (Level& level : open_)
      for (auto& member : level.members) take_apart(member.second);
  }

  bool null() { return add(nullptr); }
  bool boolean(bool value) { return add(value); }
  bool number_integer(std::int64_t value) { return add(value); }
  bool number_unsigned(std::uint64_t value) { return add(value); }
  bool number_float(double value, const std::string&) { return add(value); }
  bool string(std::string& value) { return add(std::move(value)); }
  bool binary(typename Json::binary_t&) { return false; }  // no JSON text has any
  bool start_object(std::size_t) { return open(Json::object()); }
  bool start_array(std::size_t) { return open(Json::array()); }
  bool end_array() { return close(); }
  bool end_object() {
    if constexpr (ordered)
      if (!fill_object()) return false;
    return close();
  }
  bool key(std::string& name) {
    Level& level = open_.back();
    if (++level.keys > limits_.members) return refuse(": an object of more than ", limits_.members, " members");
    if constexpr (ordered) {
      member_ = &level.members.emplace_back(std::move(name), nullptr).second;
    } else {
      const auto [at, is_new] = level.json->template get_ref<Object&>().try_emplace(std::move(name));
      if (!is_new && limits_.unique_keys) return refuse_repeated(at->first);
      member_ = &at->second;
    }
    return true;
  }
  /// read: the bytes that were read when the mistake was seen. Exception is one of nlohmann's.
  template <class Exception>
  bool parse_error(std::size_t read, const std::string&, const Exception& error) {
    if (throws) fail_json(limits_.subject, text_, read, json_mistake(text_, read, error.id, error.what()));
    return false;
  }

  bool throws = true;  ///< on text that is not JSON

 private:
  using Object = typename Json::object_t;
  using Members = std::vector<std::pair<const std::string, Json>>;  // what ordered_map is
  static constexpr bool ordered = std::is_same_v<Json, nlohmann::ordered_json>;
  /// An array or object that is not closed yet. Only the innermost grows, so that `json` of none moves. Members of
  /// ordered objects wait here: a vector of pairs with constant keys would copy all values whenever it grows.
  struct Level {
    Json* json;
    std::size_t keys = 0;
    std::vector<std::pair<std::string, Json>> members = {};
  };

  bool add(Json value) { return place(std::move(value)) != nullptr; }
  bool open(Json empty) {
    if (open_.size() >= limits_.depth) return refuse(": JSON nested deeper than ", limits_.depth, " levels");
    Json* const json = place(std::move(empty));
    if (json) open_.push_back({json});
    return json != nullptr;
  }
  bool close() {
    open_.pop_back();
    return true;
  }
  /// Null if there is no room for the value.
  Json* place(Json value) {
    if (++values_ > limits_.values && !refuse(": JSON of more than ", limits_.values, " values")) return nullptr;
    if (values_ % 4096 == 0) throw_if_stopped(limits_.cancelled);
    if (open_.empty()) return &(root_ = std::move(value));
    if (open_.back().json->is_object()) {
      take_apart(*member_);  // of a repeated key
      return &(*std::exchange(member_, nullptr) = std::move(value));
    }
    auto& list = open_.back().json->template get_ref<typename Json::array_t&>();
    if (list.size() >= limits_.items && !refuse(": a list of more than ", limits_.items, " items")) return nullptr;
    return &list.emplace_back(std::move(value));
  }

  /// Beyond a bound: an Error, or the end of a parse that may not throw.
  template <class... Parts>
  bool refuse(const Parts&... parts) const {
    if (throws) fail(limits_.subject, parts...);
    return false;
  }
  bool refuse_repeated(const std::string& key) const {
    return refuse(": ", foreign_name(key), " is set twice: keep one");
  }

  /// Moves the members of an ordered object into it. Sorting them once is n log n whatever the keys are; a hash table
  /// is not if somebody chose them.
  bool fill_object() {
    auto& members = open_.back().members;
    std::vector<std::uint32_t> order(members.size());
    std::iota(order.begin(), order.end(), 0);
    std::sort(order.begin(), order.end(), [&](std::uint32_t a, std::uint32_t b) {
      const int by_key = members[a].first.compare(members[b].first);
      return by_key != 0 ? by_key < 0 : a < b;
    });
    std::vector<bool> repeated(members.size());
    for (std::size_t i = 1, first = 0; i < order.size(); ++i) {
      if (members[order[i]].first != members[order[first]].first) {
        first = i;
        continue;
      }
      if (limits_.unique_keys) return refuse_repeated(members[order[i]].first);
      repeated[order[i]] = true;
      take_apart(members[order[first]].second);
      members[order[first]].second = std::move(members[order[i]].second);
    }
    auto& object = open_.back().json->template get_ref<Object&>();
    object.reserve(members.size());
    for (std::size_t i = 0; i < members.size(); ++i) {
      // The vector's own function: ordered_map's looks for the key first.
      if (!repeated[i])
        static_cast<Members&>(object).emplace_back(std::move(members[i].first), std::move(members[i].second));
    }
    return true;
  }

  Json& root_;
  std::string_view text_;
  const JsonLimits& limits_;
  std::vector<Level> open_;
  Json* member_ = nullptr;  // that the next value belongs to
  std::size_t values_ = 0;
};

template <class Json>
Json build_json(std::string_view text, bool throws, const JsonLimits& limits) {
  if (const std::size_t nul = text.find('\0'); nul != text.npos) {  // nlohmann's parser takes it for the end
    if (throws) fail_json(limits.subject, text, nul + 1, "found a NUL byte, which no JSON text holds");
    return Json(Json::value_t::discarded);
  }
  JsonTree<Json> tree;
  JsonBuilder<Json> builder(*tree, text, limits);
  builder.throws = throws;
  if (!Json::sax_parse(text.data(), text.data() + text.size(), &builder)) return Json(Json::value_t::discarded);
  return std::move(*tree);
}

}  // namespace detail

/// The value of a text. JsonError, with line, column, what was found and what was wanted, if it is not JSON or if
/// anything follows; Error if it is beyond the limits.
template <class Json>
Json parse_json(std::string_view text, const JsonLimits& limits = {}) {
  return detail::build_json<Json>(text, true, limits);
}

/// The same, with a value that is_discarded() instead of an error. For text that may well not be JSON.
template <class Json>
Json try_parse_json(std::string_view text) {
  return detail::build_json<Json>(text, false, {});
}

}  // namespace lamina::io
