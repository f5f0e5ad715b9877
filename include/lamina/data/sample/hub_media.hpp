#pragma once
#include <lamina/data/read/hub_dataset.hpp>
#include <lamina/data/read/records.hpp>
#include <lamina/io/visible.hpp>

#include <cstdint>
#include <filesystem>
#include <map>
#include <set>
#include <string>
#include <vector>

/// Images and videos that the records of a hub's data set name, and that are files of the same repository.
namespace lamina::data {

inline constexpr std::uint64_t most_media_bytes = std::uint64_t{1} << 30;

namespace detail {

/// Calls f with the text of each path in a record's column of images or videos: of a path, of {"path": ...} and of
/// lists of both.
template <class F>
void for_each_medium(Json& value, F f) {
  if (value.is_array())
    for (Json& image : value) for_each_medium(image, f);
  if (value.is_object() && value.contains("path")) for_each_medium(value["path"], f);
  if (value.is_string()) f(value.get_ref<std::string&>());
}

/// What a path of a record may mean in the repository: it counts from the folder of the record's file, or from the top.
inline std::vector<std::string> repository_paths(const std::filesystem::path& folder, const std::string& record_file,
                                                 const std::string& written) {
  const std::filesystem::path path(written);
  std::vector<std::string> out;
  if (path.is_absolute() || written.find("://") != written.npos) return out;
  const auto near_records = std::filesystem::path(record_file).parent_path().lexically_relative(folder);
  for (const auto& from : {near_records, std::filesystem::path()}) {
    const std::string inside = (from / path).lexically_normal().generic_string();
    if (hub::is_safe_path(inside) && (out.empty() || out.front() != inside)) out.push_back(inside);
  }
  return out;
}

/// Error if a path that the repository does not have leads out of the folder in which it would be looked for.
inline void require_inside(const HubDataset& set, const std::string& written) {
  if (!hub::is_safe_path(std::filesystem::path(written).lexically_normal().generic_string()))
    fail("data set ", set.name, ": a record names the file ", io::visible(written.substr(0, 200)),
         ", wanted a path inside the repository");
}

/// The paths of a listing that any of these names means. Error if one is too large for an image or a video.
inline std::vector<std::string> listed_media(const HubDataset& set, const hub::Listing& listing,
                                             const std::set<std::string>& named) {
  std::vector<std::string> paths;
  for (const auto& file : listing.files) {
    if (!named.contains(file.path)) continue;
    if (file.size > most_media_bytes)
      fail("data set ", set.name, ": ", file.path, " has ", file.size, " bytes, more than the ", most_media_bytes,
           " that one may have");
    paths.push_back(file.path);
  }
  return paths;
}

/// Names that none of the repository's files has: each is the list of what one path of a record may mean. An archive in
/// the repository may hold them.
inline std::string missing_media_text(const HubDataset& set, const hub::Listing& listing,
                                      const std::set<std::vector<std::string>>& named) {
  std::set<std::string_view> files;
  std::vector<std::string> archives, missing;
  for (const auto& file : listing.files) {
    files.insert(file.path);
    for (const std::string_view ending : {".zip", ".tar", ".tar.gz", ".tgz", ".7z", ".rar"})
      if (file.path.ends_with(ending)) archives.push_back(file.path);
  }
  for (const auto& paths : named)
    if (std::none_of(paths.begin(), paths.end(), [&](const auto& path) { return files.contains(path); }))
      missing.push_back(paths.back());
  if (missing.empty()) return "";
  return cat("data set ", set.name, ": the repository does not have ", io::listed(missing, 3), ", of the ",
             named.size(), named.size() == 1 ? " image or video" : " images and videos", " that its records name",
             archives.empty() ? "; give media_dir the folder that has them"
                              : cat("; it has ", io::listed(archives, 3), ", which is not unpacked: fetch it with `",
                                    "lamina-download ", set.name, " ", archives.front(), " --repo-type dataset",
                                    set.source == hub::Source::modelscope ? " --source modelscope" : "",
                                    " --local-dir DIR`, unpack it, and give its folder as media_dir"));
}

}  // namespace detail

/// Fetches the images and videos that the rows name, and no others, and puts their places on this machine into the
/// rows. A path under which media_dir holds a file stays, as does one that no file of the repository has, unless it
/// leads out of media_dir: what strangers wrote must not name files of this machine. Error if the repository lacks one;
/// a note if records without it may be left out.
inline void fetch_media(HubFiles& hub, std::vector<Row>& rows, const Columns::Name& column,
                        const std::filesystem::path& media_dir, bool may_lack) {
  if (!column) return;
  const auto& folder = hub.folder();
  const auto for_each = [&](auto f) {
    for (Row& row : rows)
      if (const auto value = row.value.find(*column); value != row.value.end())
        detail::for_each_medium(*value, [&](std::string& written) {
          std::error_code none;
          const bool is_inside = hub::is_safe_path(std::filesystem::path(written).lexically_normal().generic_string());
          if (!is_inside || !std::filesystem::is_regular_file(media_dir / written, none))
            f(written, detail::repository_paths(folder, row.file, written));
        });
  };
  std::set<std::string> named;
  std::set<std::vector<std::string>> each;
  for_each([&](const std::string&, const std::vector<std::string>& paths) {
    named.insert(paths.begin(), paths.end());
    if (!paths.empty()) each.insert(paths);
  });
  if (!named.empty())
    hub.fetch([&](const hub::Listing& listing) {
      if (const std::string text = detail::missing_media_text(hub.set(), listing, each); !text.empty()) {
        if (!may_lack) fail(text);
        note(text);
      }
      return detail::listed_media(hub.set(), listing, named);
    });
  for_each([&](std::string& written, const std::vector<std::string>& paths) {
    std::error_code none;
    for (const std::string& path : paths)
      if (std::filesystem::is_regular_file(folder / path, none)) {
        written = (folder / path).string();
        return;
      }
    detail::require_inside(hub.set(), written);
  });
}

}  // namespace lamina::data
