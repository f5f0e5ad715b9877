#pragma once
#include <string>
#include <string_view>
#include <vector>

#include <lamina/core/error.hpp>
#include <lamina/model/qwen2_5_vl/family.hpp>
#include <lamina/model/qwen3/family.hpp>
#include <lamina/model/qwen3_moe/family.hpp>
#include <lamina/model/qwen3_vl/family.hpp>
#include <lamina/model/qwen3_vl_moe/family.hpp>

namespace lamina {

/// The library's own families, one per line.
// clang-format off
inline constexpr const Family* own_families[] = {
    &qwen3_vl::family,
    &qwen2_5_vl::family,
    &qwen3::family,
    &qwen3_moe::family,
    &qwen3_vl_moe::family,
};
// clang-format on

/// All families that the program knows.
inline std::vector<const Family*> families() {
  std::vector<const Family*> all(std::begin(own_families), std::end(own_families));
  all.insert(all.end(), added_families().begin(), added_families().end());
  return all;
}

/// The family of a model_type, or nullptr. Error if two families claim it.
inline const Family* find_family(std::string_view model_type) {
  const Family* found = nullptr;
  for (const Family* family : families()) {
    if (family->model_type != model_type) continue;
    if (found)
      fail("two families read model_type ", model_type, ": ", found->title, " and ", family->title,
           ": rename one of them");
    found = family;
  }
  return found;
}

/// A training template and the family that it belongs to; both nullptr if no family has one of that name.
struct FamilyTemplate {
  const Family* family = nullptr;
  const TrainingTemplate* settings = nullptr;
};
inline FamilyTemplate find_template(std::string_view name) {
  for (const Family* family : families())
    for (const TrainingTemplate& t : family->templates)
      if (t.name == name) return {family, &t};
  return {};
}
/// A template that a family's tokenizer has the marks of: its own first one, or that of the family whose layout it
/// shares.
inline std::string_view any_template(const Family& family) {
  for (const Family* other : families())
    if (!other->templates.empty() && (other == &family || family.templates.empty())) return other->templates[0].name;
  return "";
}
/// "qwen3_vl, qwen3_vl_nothink (Qwen3-VL), qwen2_vl (Qwen2.5-VL)"
inline std::string templates_text() {
  std::string text;
  for (const Family* family : families()) {
    for (const TrainingTemplate& t : family->templates) text += (text.empty() ? "" : ", ") + std::string(t.name);
    if (!family->templates.empty()) text += " (" + std::string(family->title) + ")";
  }
  return text;
}

/// The family of a config.json's model_type; Error, which lists those that are known.
inline const Family& family_of(std::string_view model_type, const std::string& file) {
  if (const Family* family = find_family(model_type)) return *family;
  std::string known, reason;
  const auto all = families();
  for (std::size_t i = 0; i < all.size(); ++i) {
    known += (i == 0 ? "" : i + 1 < all.size() ? ", " : " and ") + std::string(all[i]->model_type);
    for (const Relative& relative : all[i]->relatives)
      if (relative.model_type == model_type) reason = ": " + std::string(relative.reason);
  }
  fail(file, ": model_type is \"", model_type, "\", known are ", known, reason);
}

}  // namespace lamina
