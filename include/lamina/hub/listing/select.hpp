#pragma once
#include <fnmatch.h>

#include <algorithm>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <lamina/core/log.hpp>
#include <lamina/hub/repository.hpp>
#include <lamina/io/nearest_word.hpp>

namespace lamina::hub {

/// Which files of a repository are fetched.
struct Selection {
  std::vector<std::string> include = {},
                           exclude = {};  ///< as Python's fnmatch: * also matches /. No include: see is_selected()
  std::string folder = {};                ///< of the repository in which the model is; "": at its top
};

namespace detail {

inline bool matches(const std::vector<std::string>& patterns, const std::string& path) {
  return std::any_of(patterns.begin(), patterns.end(), [&](const std::string& pattern) {
    return ::fnmatch(pattern.ends_with('/') ? (pattern + "*").c_str() : pattern.c_str(), path.c_str(), 0) == 0;
  });
}

/// Files in the folder of a model or an adapter that a program may read.
inline constexpr std::string_view model_files[] = {
    "*.json", "*.safetensors", "*.jinja", "merges.txt", "vocab.txt", "tokenizer.model",
};

inline bool is_model_file(std::string path, const std::string& folder) {
  if (!folder.empty()) {
    if (!path.starts_with(folder + "/")) return false;
    path.erase(0, folder.size() + 1);
  }
  if (path.find('/') != path.npos || path.starts_with("consolidated"))
    return false;  // a second copy, in another layout
  return std::any_of(std::begin(model_files), std::end(model_files),
                     [&](std::string_view pattern) { return ::fnmatch(pattern.data(), path.c_str(), 0) == 0; });
}

/// Before the patterns that leave files out.
inline bool is_wanted(const Repository& repo, const Selection& selection, const std::string& path) {
  return !selection.include.empty() ? matches(selection.include, path)
                                    : repo.type == RepoType::dataset || is_model_file(path, selection.folder);
}

/// Says why no file is asked for, with names of some that there are.
[[noreturn]] inline void fail_without_files(const Repository& repo, const Listing& listing,
                                            const Selection& selection) {
  std::vector<std::string> names;
  bool all_excluded = false;
  for (const RemoteFile& file : listing.files) {
    names.push_back(file.path);
    all_excluded |= is_wanted(repo, selection, file.path);
  }
  fail(repo.name, ": of its ", names.size(), " files none ",
       all_excluded                 ? "is left by the patterns to exclude"
       : !selection.include.empty() ? "matches the patterns"
       : selection.folder.empty()
           ? "is part of a model that is stored as safetensors (lamina-download --include '*' fetches all)"
           : cat("is part of a model or an adapter in its folder ", selection.folder),
       "; it has ", io::listed(names, 5));
}

}  // namespace detail

/// True if a file is asked for. Without `include`: of a model, those that a program reads; of a data set, all.
inline bool is_selected(const Repository& repo, const Selection& selection, const std::string& path) {
  return detail::is_wanted(repo, selection, path) && !detail::matches(selection.exclude, path);
}

/// The files that are asked for, largest first, so that parallel downloads end together. Error if there is none; a
/// pattern that matches none is noted.
inline std::vector<RemoteFile> select(const Repository& repo, const Listing& listing, const Selection& selection) {
  std::vector<RemoteFile> files;
  for (const RemoteFile& file : listing.files)
    if (is_selected(repo, selection, file.path)) files.push_back(file);
  if (files.empty()) detail::fail_without_files(repo, listing, selection);
  for (const std::string& pattern : selection.include)
    if (std::none_of(listing.files.begin(), listing.files.end(),
                     [&](const RemoteFile& file) { return detail::matches({pattern}, file.path); }))
      note(cat(repo.name, ": no file matches ", pattern));
  std::stable_sort(files.begin(), files.end(), [](const auto& a, const auto& b) { return a.size > b.size; });
  return files;
}

}  // namespace lamina::hub
