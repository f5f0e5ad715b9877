#pragma once
#include <algorithm>
#include <cctype>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include <lamina/core/error.hpp>
#include <lamina/hub/digest.hpp>
#include <lamina/hub/options.hpp>
#include <lamina/hub/url.hpp>

namespace lamina::hub {

enum class RepoType { model, dataset };

inline std::string_view name_of(Source source) { return source == Source::huggingface ? "Hugging Face" : "ModelScope"; }
inline std::string_view name_of(RepoType type) { return type == RepoType::model ? "model" : "dataset"; }

/// A repository of a hub at one revision: a branch, a tag or a commit.
struct Repository {
  Source source = Source::huggingface;
  RepoType type = RepoType::model;
  std::string name;      ///< "Qwen/Qwen3-VL-2B-Instruct"
  std::string revision;  ///< not empty
};

/// One file of a repository.
struct RemoteFile {
  std::string path;  ///< with /; checked by require_safe_path
  std::uint64_t size = 0;
  Hash hash;
};

/// The files of a repository. commit: that the revision stands for; ModelScope does not say it, so it is "" there.
struct Listing {
  std::string commit;
  std::vector<RemoteFile> files;
};

/// "owner/name" of letters, digits, - _ and ., as the hubs allow: what may be a repository if no folder has this name.
inline bool is_repository_name(std::string_view text) {
  const auto slash = text.find('/');
  const auto is_part = [](std::string_view part) {
    return !part.empty() && part.size() <= 96 && part.front() != '.' && part.front() != '-' &&
           part.find("..") == part.npos && part.find("--") == part.npos &&
           std::all_of(part.begin(), part.end(),
                       [](unsigned char c) { return std::isalnum(c) || c == '-' || c == '_' || c == '.'; });
  };
  return slash != text.npos && is_part(text.substr(0, slash)) && is_part(text.substr(slash + 1));
}

inline bool is_commit(std::string_view revision) {
  return revision.size() == 40 && std::all_of(revision.begin(), revision.end(), [](unsigned char c) {
           return std::isdigit(c) || (c >= 'a' && c <= 'f');
         });
}

/// True if a path stays inside the folder that it is joined to, also on other systems.
inline bool is_safe_path(std::string_view path) {
  bool safe = !path.empty() && path.size() <= 1024;
  for (std::size_t begin = 0; safe && begin <= path.size();) {
    const auto end = std::min(path.find('/', begin), path.size());
    const std::string_view part = path.substr(begin, end - begin);
    safe = !part.empty() && part.size() <= 200 && part != "." && part != ".." &&
           std::none_of(part.begin(), part.end(),
                        [](unsigned char c) { return c < 0x20 || c == 0x7f || c == '\\' || c == ':'; });
    begin = end + 1;
  }
  return safe;
}

/// Error unless a path of a repository is safe. subject: whose path it is.
inline void require_safe_path(const std::string& subject, std::string_view path) {
  if (!is_safe_path(path))
    fail(subject, ": names a file \"", quote(path.substr(0, 200), "/ "),
         "\", which is not a path inside a folder: refused; report it to the owner of the repository");
}

/// Error unless a revision can be part of a path and of a URL.
inline void require_revision(std::string_view revision) {
  const bool is_word = std::all_of(revision.begin(), revision.end(), [](unsigned char c) {
    return std::isalnum(c) || std::string_view("/-_.+").find(static_cast<char>(c)) != std::string_view::npos;
  });
  if (!is_word || !is_safe_path(revision))
    fail("revision: is \"", io::visible(revision.substr(0, 200)),
         "\", wanted a branch, a tag or a commit: letters, digits and - _ . + in parts between /");
}

}  // namespace lamina::hub
