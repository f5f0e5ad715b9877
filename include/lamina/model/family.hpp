#pragma once
#include <algorithm>
#include <array>
#include <span>
#include <string_view>
#include <vector>

#include <lamina/checkpoint/names.hpp>
#include <lamina/io/keys/field.hpp>
#include <lamina/model/chat_format.hpp>
#include <lamina/model/processor_format.hpp>

/// What the programs must know of a model family next to its types, as plain data: a family is one folder that fills
/// this in (model/<family>/family.hpp), and nothing else asks which family a model is of.
namespace lamina {

/// The parts of a model, by the beginnings of canonical names. What is in neither tower nor projector is the decoder's.
struct Regions {
  std::string_view tower;      ///< the vision tower
  std::string_view projector;  ///< joins tower and decoder; may lie inside the tower's name
  std::string_view head;       ///< the output head
  std::string_view embedding;  ///< of tokens
  /// The order in which PEFT visits the parts when it draws adapters; a name belongs to the longest beginning.
  std::span<const std::string_view> visited;
};

/// The place of a module among the parts that PEFT visits.
inline std::size_t visit_of(std::string_view name, const Regions& regions) {
  std::size_t place = regions.visited.size(), longest = 0;
  for (std::size_t i = 0; i < regions.visited.size(); ++i) {
    const std::string_view part = regions.visited[i];
    if (part.size() > longest && checkpoint::detail::under(name, part)) place = i, longest = part.size();
  }
  return place;
}

/// A field of config.json that a file may leave out, or that older files call otherwise.
struct FieldDefault {
  std::string_view field;       ///< "text_config.head_dim"
  std::string_view value;       ///< as JSON
  std::string_view older = "";  ///< an older name of the field; the newer one counts
};

/// What is a family's own in config.json; model/config/fields.hpp has the fields that all families share. A field that
/// is a `fact` of neither is not read.
struct ConfigFormat {
  std::span<const io::Field> text_fields, vision_fields;
  std::span<const FieldDefault> defaults;
  int image_token_id = 0, video_token_id = -1;  ///< if the file names none; -1: the family reads no videos
  bool nested = true;        ///< the decoder's fields are in text_config; false: they may be on the top level instead
  bool reads_images = true;  ///< false: a decoder without a tower, whose positions have one axis
  bool slides = false;       ///< layers may attend in a window: use_sliding_window, layer_types
};

/// A model_type near the family's that is not built, and why.
struct Relative {
  std::string_view model_type, reason;
};

struct Family {
  std::string_view model_type;  ///< config.json's
  std::string_view title;       ///< as people write it: "Qwen3-VL"
  std::span<const Relative> relatives;
  checkpoint::NameRules names;
  Regions regions;
  ConfigFormat config;
  ChatFormat chat;
  std::span<const TrainingTemplate> templates;  ///< the first is the one of a merged model's Modelfile
  ProcessorFormat processor;
};

/// Tables one after another: a family's own fields, and those of a part that it shares with others.
template <class T, std::size_t... N>
constexpr std::array<T, (N + ...)> joined_tables(const T (&... tables)[N]) {
  std::array<T, (N + ...)> all{};
  auto to = all.begin();
  ((to = std::copy(tables, tables + N, to)), ...);
  return all;
}

/// What the hubs call the task of the family's models, in a model card's front matter.
constexpr std::string_view hub_task(const Family& family) {
  return family.config.reads_images ? "image-text-to-text" : "text-generation";
}

/// Families next to the library's own (model/families.hpp).
inline std::vector<const Family*>& added_families() {
  static std::vector<const Family*> families;
  return families;
}

/// Makes a family known to the programs. A family outside the library says so in its own header, before main() starts:
///     inline const bool registered = register_family(family);
inline bool register_family(const Family& family) {
  added_families().push_back(&family);
  return true;
}

}  // namespace lamina
