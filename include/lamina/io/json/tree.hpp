#pragma once
#include <cstddef>
#include <utility>

namespace lamina::io {

/// Empties the arrays and objects of a tree in place, the innermost first. nlohmann's destructor collects the children
/// of an array or object in a vector, and it may not throw: with no memory left for that vector the process ends. An
/// empty array or object needs no memory. Recursive, hence the bound; what is deeper is left to nlohmann.
template <class Json>
void take_apart(Json& json, std::size_t depth = 256) noexcept {
  if (depth == 0) return;
  if (json.is_array()) {
    auto& list = json.template get_ref<typename Json::array_t&>();
    for (auto& child : list) take_apart(child, depth - 1);
    list.clear();
  } else if (json.is_object()) {
    auto& members = json.template get_ref<typename Json::object_t&>();
    for (auto& member : members) take_apart(member.second, depth - 1);
    members.clear();
  }
}

/// Owns JSON of any size such that its end needs no memory.
template <class Json>
class JsonTree {
 public:
  JsonTree() = default;
  explicit JsonTree(Json&& json) noexcept : json_(std::move(json)) {}
  JsonTree(JsonTree&& other) noexcept : json_(std::move(other.json_)) {}
  JsonTree& operator=(JsonTree&& other) noexcept {
    json_.swap(other.json_);
    return *this;
  }
  ~JsonTree() { take_apart(json_); }

  Json& operator*() noexcept { return json_; }
  const Json& operator*() const noexcept { return json_; }
  Json* operator->() noexcept { return &json_; }
  const Json* operator->() const noexcept { return &json_; }

 private:
  Json json_;
};

}  // namespace lamina::io
