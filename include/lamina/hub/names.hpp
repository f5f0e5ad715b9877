#pragma once
#include <algorithm>
#include <cctype>
#include <filesystem>
#include <string>
#include <string_view>

#include <lamina/core/error.hpp>
#include <lamina/hub/http/url.hpp>
#include <lamina/io/visible.hpp>
#include <lamina/text/tokenizer/unicode.hpp>

/// What repositories, revisions and files of a hub may be called.
namespace lamina::hub {

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

/// True if a model or an adapter that the user named is to be looked for on a hub: no file or folder has this name, and
/// a repository can have it.
inline bool is_on_hub(const std::filesystem::path& name) {
  std::error_code ignored;
  return !std::filesystem::exists(name, ignored) && is_repository_name(name.string());
}

inline bool is_commit(std::string_view revision) {
  return revision.size() == 40 && std::all_of(revision.begin(), revision.end(), [](unsigned char c) {
           return std::isdigit(c) || (c >= 'a' && c <= 'f');
         });
}

namespace detail {

/// Unicode's marks that join letters have a place in names, the other invisible ones hide what a name is.
inline bool is_visible_text(std::string_view text) {
  const std::string shown = io::visible(text);
  if (shown == text) return true;
  std::string joined(text);
  for (const std::string_view joiner : {"\u200c", "\u200d"})
    for (auto at = joined.find(joiner); at != joined.npos; at = joined.find(joiner, at))
      joined.erase(at, joiner.size());
  return io::visible(joined) == joined;
}

}  // namespace detail

/// Why a path may lead out of the folder that it is joined to, here or on other systems, or may not be what it looks
/// like: "which is empty". "" if it is safe.
inline std::string_view path_fault(std::string_view path) {
  if (path.empty()) return "which is empty";
  if (!io::is_valid_utf8(path)) return "which is not UTF-8";
  if (!detail::is_visible_text(path)) return "which holds a control character or an invisible one";
  if (path.size() > 1024) return "which is longer than 1024 bytes";
  if (path.find_first_of("\\:") != path.npos) return "which holds \\ or :, a path of its own on other systems";
  for (std::size_t begin = 0; begin <= path.size();) {
    const auto end = std::min(path.find('/', begin), path.size());
    const std::string_view part = path.substr(begin, end - begin);
    if (part.empty() || part == "." || part == "..") return "which is not a path inside a folder";
    if (part.size() > 200) return "which has a part longer than 200 bytes";
    begin = end + 1;
  }
  return "";
}
inline bool is_safe_path(std::string_view path) { return path_fault(path).empty(); }

/// Error unless a path of a repository is safe. subject: whose path it is.
inline void require_safe_path(const std::string& subject, std::string_view path) {
  if (const std::string_view fault = path_fault(path); !fault.empty())
    fail(subject, ": names a file \"", quote(path.substr(0, 200), "/ "), "\", ", fault,
         ": refused; report it to the owner of the repository");
}

inline constexpr std::string_view wanted_revision =
    "a branch, a tag or a commit: letters, digits and - _ . + in parts between /";

/// True if a revision can be part of a path and of a URL.
inline bool is_revision(std::string_view revision) {
  return is_safe_path(revision) && std::all_of(revision.begin(), revision.end(), [](unsigned char c) {
           return std::isalnum(c) || std::string_view("/-_.+").find(static_cast<char>(c)) != std::string_view::npos;
         });
}
inline void require_revision(std::string_view revision) {
  if (!is_revision(revision))
    fail("revision: is \"", io::visible(revision.substr(0, 200)), "\", wanted ", wanted_revision);
}

}  // namespace lamina::hub
