#pragma once
#include <algorithm>
#include <filesystem>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <lamina/hub/http/curl.hpp>
#include <lamina/hub/settings.hpp>
#include <lamina/hub/snapshot.hpp>

namespace lamina::hub {

namespace detail {

/// Says why no hub is asked for a name that a folder here has, if this folder can hardly be meant.
inline void note_hidden(const std::filesystem::path& name) {
  std::error_code ignored;
  if (!is_repository_name(name.string()) || !std::filesystem::is_directory(name, ignored)) return;
  for (const char* file : {"config.json", "adapter_config.json"})
    if (std::filesystem::exists(name / file, ignored)) return;
  note(cat(name.string(), ": the folder of this name in the working directory is meant, not the repository on a hub, ",
           "and it has no config.json: rename it, or run elsewhere, if the hub is to be asked"));
}

/// Error if a download into this folder was interrupted and a file is missing; a note if none is known to be missing.
inline void require_finished(const std::filesystem::path& folder, const Selection& selection) {
  std::error_code ignored;
  if (!std::filesystem::is_directory(folder / ".cache", ignored)) return;
  const auto unfinished = read_unfinished(folder);
  if (!unfinished && files_in(folder).begun.empty()) return;
  const auto missing = MissingFiles({}, selection, folder).find();
  const std::string interrupted =
      cat(folder.string(), ": its download was interrupted",
          missing.empty() ? "" : cat(", and it lacks ", io::listed(missing, 3)), ": ",
          unfinished ? cat("`", download_command(*unfinished, folder), "` continues it") : "run that download again");
  if (!missing.empty()) fail(interrupted);
  if (unfinished) note(interrupted);
}

}  // namespace detail

/// A note for each option that has no effect, since what it belongs to is a folder, and no hub is asked.
/// revised: models and adapters that the revision is of; others: those of which the default branch is meant.
inline std::vector<std::string> unused_options(const Options& options, std::span<const std::filesystem::path> revised,
                                               std::span<const std::filesystem::path> others = {}) {
  std::vector<std::string> notes;
  if (std::any_of(revised.begin(), revised.end(), is_on_hub)) return notes;
  if (!options.revision.empty())
    notes.push_back(cat(options.revision_name, " ", options.revision, " has no effect: ", revised.front().string(),
                        " is no repository of a hub"));
  if (std::any_of(others.begin(), others.end(), is_on_hub)) return notes;
  for (const auto& [name, is_given] : {std::pair(options.cache_dir_name, !options.cache_dir.empty()),
                                       std::pair(options.hf_token_name, !options.hf_token.empty()),
                                       std::pair(options.ms_token_name, !options.ms_token.empty())})
    if (is_given) notes.push_back(cat(name, " has no effect: no hub is asked for anything"));
  return notes;
}

/// The folder of a model or an adapter: the given one, or that of the repository with this name, fetched as far as it
/// is missing. What is neither comes back as it is, for the reader's own message.
inline std::filesystem::path resolve_model(const std::filesystem::path& name, const Options& options,
                                           const Selection& selection = {}) {
  if (!is_on_hub(name)) {
    detail::note_hidden(name);
    detail::require_finished(name, selection);
    return name;
  }
  const HubSettings settings = read_settings(options);
  CurlTransport transport({.certificates = settings.certificates});
  const SnapshotRequest request{.repo = {settings.source, RepoType::model, name.string(), settings.revision},
                                .selection = selection};
  try {
    return fetch_snapshot(transport, settings, request);
  } catch (const io::Interrupted&) {
    throw;
  } catch (const Error& error) {
    fail(name.string(), ": is no folder here, and not to be had from ", settings.endpoint, ": ", error.what());
  }
}

/// The folder of an adapter: adapter_folder inside of what adapter_name_or_path names, a folder or a repository; "":
/// all of it.
inline std::filesystem::path resolve_adapter(const std::filesystem::path& name, const std::filesystem::path& folder,
                                             const Options& options) {
  if (folder.empty()) return resolve_model(name, options);
  if (!is_on_hub(name)) return name / folder;
  std::string inside = folder.lexically_normal().generic_string();
  if (inside.ends_with('/')) inside.pop_back();
  if (!is_safe_path(inside))
    fail("adapter_folder: is ", folder.string(), ", wanted a folder inside of ", name.string());
  return resolve_model(name, options, {.folder = inside}) / inside;
}

}  // namespace lamina::hub
