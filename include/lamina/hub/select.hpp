#pragma once
#include <fnmatch.h>

#include <algorithm>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <lamina/hub/repository.hpp>

namespace lamina::hub {

/// Which files of a repository are fetched.
struct Selection {
  std::vector<std::string> include, exclude;  ///< as Python's fnmatch: * also matches /. No include: see select()
};

namespace detail {

inline bool matches(const std::vector<std::string>& patterns, const std::string& path) {
  return std::any_of(patterns.begin(), patterns.end(), [&](const std::string& pattern) {
    return ::fnmatch(pattern.ends_with('/') ? (pattern + "*").c_str() : pattern.c_str(), path.c_str(), 0) == 0;
  });
}

/// Files at the top of a model's or an adapter's repository that a program may read.
inline constexpr std::string_view model_files[] = {
    "*.json", "*.safetensors", "*.jinja", "merges.txt", "vocab.txt", "tokenizer.model",
};

inline bool is_model_file(const std::string& path) {
  if (path.find('/') != path.npos || path.starts_with("consolidated"))
    return false;  // a second copy, in another layout
  return std::any_of(std::begin(model_files), std::end(model_files),
                     [&](std::string_view pattern) { return ::fnmatch(pattern.data(), path.c_str(), 0) == 0; });
}

}  // namespace detail

/// The files that are asked for, largest first, so that parallel downloads end together. Without `include`: of a model,
/// those that a program reads; of a data set, all. Error if there is none.
inline std::vector<RemoteFile> select(const Repository& repo, const Listing& listing, const Selection& selection) {
  std::vector<RemoteFile> files;
  for (const RemoteFile& file : listing.files) {
    const bool wanted = !selection.include.empty() ? detail::matches(selection.include, file.path)
                                                   : repo.type == RepoType::dataset || detail::is_model_file(file.path);
    if (wanted && !detail::matches(selection.exclude, file.path)) files.push_back(file);
  }
  if (files.empty())
    fail(repo.name, ": of its ", listing.files.size(), " files none ",
         selection.include.empty() ? "is part of a model that is stored as safetensors" : "matches the patterns");
  std::stable_sort(files.begin(), files.end(), [](const auto& a, const auto& b) { return a.size > b.size; });
  return files;
}

}  // namespace lamina::hub
