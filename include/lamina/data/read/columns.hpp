#pragma once
#include <lamina/core/error.hpp>
#include <lamina/data/read/conversation.hpp>
#include <lamina/data/read/registry.hpp>
#include <lamina/data/read/rows.hpp>
#include <lamina/text/python_json.hpp>

#include <string>
#include <vector>

/// What the columns of a record hold, by the names that dataset_info.json gives them.
namespace lamina::data {

namespace detail {

/// The value of a column, or null if the column is unused or the record lacks it.
inline const Json& column(const Json& record, const Columns::Name& name) {
  static const Json null;
  if (!name) return null;
  const auto found = record.find(*name);
  return found == record.end() ? null : *found;
}

/// The text of a column; null and absence are the empty text.
inline std::string text_column(const Row& row, const Columns::Name& name) {
  const Json& value = column(row.value, name);
  if (value.is_null()) return "";
  if (!value.is_string()) fail(row.origin(), ": \"", *name, "\" is ", value.type_name(), ", text is wanted");
  return value.get<std::string>();
}

/// `tools` as JSON text; a list that is not wrapped in a string is taken too.
inline std::string tools_column(const Row& row, const Columns::Name& name) {
  const Json& value = column(row.value, name);
  if (value.is_array() || value.is_object()) return text::python_json(value);
  return text_column(row, name);
}

/// How many media a column lists: one path, or a list of paths.
inline int media_count(const Row& row, const Columns::Name& name) {
  const Json& value = column(row.value, name);
  if (value.is_null()) return 0;
  return value.is_array() ? static_cast<int>(value.size()) : 1;
}

/// The path of one image or video: text, or {"path": ..., "bytes": null} as the `datasets` library writes images.
inline std::string image_path(const Row& row, const std::string& column, const Json& value) {
  const auto checked = [&](std::string path) {  // a path of the system ends at its first NUL byte
    if (path.find('\0') == path.npos) return path;
    fail(row.origin(), ": \"", column, "\" has the path ", text::python_json(path), ", and no path holds a NUL byte");
  };
  if (value.is_string()) return checked(value.get<std::string>());
  const auto part = [&](const char* key) { return value.is_object() && value.contains(key) ? value[key] : Json(); };
  if (!part("bytes").is_null()) {
    fail(row.origin(), ": \"", column,
         "\" holds the bytes of an image or a video: save it as a file and name its path");
  }
  if (!part("path").is_string()) {
    fail(row.origin(), ": \"", column, "\" must be the path of an image or a video, or a list of paths, got ",
         text::python_json(value));
  }
  return checked(part("path").get<std::string>());
}

/// The images of a record: one, or a list of them.
inline std::vector<std::string> image_paths(const Row& row, const Columns::Name& name) {
  const Json& value = column(row.value, name);
  if (value.is_null()) return {};
  std::vector<std::string> paths;
  for (const Json& image : value.is_array() ? value : Json::array({value})) {
    paths.push_back(image_path(row, *name, image));
  }
  if (row.file.ends_with(".csv") && paths.front().starts_with("[")) {
    fail(row.origin(), ": \"", *name, "\" is a list written as text: a CSV field holds one path; write the records as ",
         "JSON lines");
  }
  return paths;
}

/// The videos of a record: a path, or a list of paths and of lists of frames.
inline std::vector<ListedVideo> video_paths(const Row& row, const Columns::Name& name) {
  const Json& value = column(row.value, name);
  if (value.is_null()) return {};
  std::vector<ListedVideo> videos;
  for (const Json& video : value.is_array() ? value : Json::array({value})) {
    ListedVideo& listed = videos.emplace_back();
    if (!video.is_array()) listed.file = image_path(row, *name, video);
    if (video.is_array() && video.empty()) fail(row.origin(), ": \"", *name, "\" has a video without frames");
    if (video.is_array())
      for (const Json& frame : video) listed.frames.push_back(image_path(row, *name, frame));
  }
  return videos;
}

/// Everything but the turns.
inline Conversation begin_conversation(const Row& row, const DatasetInfo& info) {
  return {.turns = {},
          .system = text_column(row, info.columns.system),
          .tools = tools_column(row, info.columns.tools),
          .images = image_paths(row, info.columns.images),
          .videos = video_paths(row, info.columns.videos),
          .audios = media_count(row, info.columns.audios),
          .origin = row.origin()};
}

}  // namespace detail

}  // namespace lamina::data
