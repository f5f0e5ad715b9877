#pragma once
#include <atomic>
#include <exception>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <lamina/core/log.hpp>
#include <lamina/hub/disk/file_lock.hpp>
#include <lamina/hub/disk/folder_source.hpp>
#include <lamina/hub/disk/missing.hpp>
#include <lamina/hub/disk/store.hpp>
#include <lamina/hub/http/client.hpp>
#include <lamina/hub/http/explain.hpp>
#include <lamina/hub/huggingface.hpp>
#include <lamina/hub/huggingface/cache.hpp>
#include <lamina/hub/huggingface/folder.hpp>
#include <lamina/hub/listing/select.hpp>
#include <lamina/hub/modelscope.hpp>
#include <lamina/hub/modelscope/folder.hpp>
#include <lamina/hub/progress.hpp>
#include <lamina/hub/settings.hpp>
#include <lamina/io/nearest_word.hpp>
#include <lamina/io/program/interrupt.hpp>

namespace lamina::hub {

/// What to fetch and where to.
struct SnapshotRequest {
  Repository repo;
  Selection selection = {};
  std::function<std::vector<RemoteFile>(const Listing&)> choose = {};  ///< instead of the selection, if set
  std::filesystem::path local_dir = {};                                ///< empty: the hub's cache
  int workers = 8;                                                     ///< files at a time
};

namespace detail {

inline Listing list(const Client& client, const HubSettings& settings, const Repository& repo) {
  Listing listing = repo.source == Source::huggingface ? huggingface::list(client, settings.endpoint, repo)
                                                       : modelscope::list(client, settings.endpoint, repo);
  require_distinct(cat(settings.endpoint, "/", repo.name), listing);
  if (listing.files.empty())
    fail(repo.name, ": the repository is empty at revision ", repo.revision,
         listing.left_out + listing.other_types > 0 ? " but for what is left out" : "");
  return listing;
}

/// True if the hub lists a repository of the other type with this name: one request.
inline bool has_other_type(const Client& client, const HubSettings& settings, const Repository& repo) {
  Repository other = repo;
  other.type = other_type(repo.type);
  const bool hf = repo.source == Source::huggingface;
  try {
    client.text(hf ? huggingface::api_url(settings.endpoint, other) : modelscope::first_page(settings.endpoint, other));
    return true;
  } catch (const io::Interrupted&) {
    throw;
  } catch (const Error&) {
    return false;
  }
}

inline std::unique_ptr<Store> open_store(const HubSettings& settings, const SnapshotRequest& request,
                                         const std::string& commit) {
  const Repository& repo = request.repo;
  if (repo.source == Source::modelscope)
    return std::make_unique<ModelScopeFolder>(
        request.local_dir.empty() ? modelscope_snapshot(settings.cache, repo) : request.local_dir, settings.cache,
        repo);
  if (request.local_dir.empty()) return std::make_unique<HuggingFaceCache>(settings.cache, repo, commit);
  return std::make_unique<HuggingFaceFolder>(request.local_dir, commit);
}

/// Error if the folders that files go to cannot be used.
inline void require_usable_folders(const HubSettings& settings, const SnapshotRequest& request) {
  if (!request.local_dir.empty()) require_usable("--local-dir", request.local_dir);
  if (!request.local_dir.empty() && settings.source == Source::huggingface) return;
  if (settings.cache_name.empty() && settings.cache.is_relative())
    fail("HOME is not set, so that there is no cache: set it, or HF_HOME, or MODELSCOPE_CACHE");
  require_usable(settings.cache_name, settings.cache);
}

/// Files of one snapshot, fetched by several threads. The first error stops the others after their file.
class Fetch {
 public:
  Fetch(const Client& client, const HubSettings& settings, const SnapshotRequest& request, const Listing& listing)
      : client_(client),
        settings_(settings),
        request_(request),
        listing_(listing),
        store_(open_store(settings, request, listing.commit)) {}

  /// The folder of the snapshot.
  std::filesystem::path run() {
    const FolderSource source = source_of(request_.repo, listing_.commit);
    if (!request_.local_dir.empty()) begin_source(request_.local_dir, source);
    std::vector<RemoteFile> missing;
    for (RemoteFile& file :
         request_.choose ? request_.choose(listing_) : select(request_.repo, listing_, request_.selection))
      if (!store_->has(file)) missing.push_back(std::move(file));
    if (!missing.empty()) {
      require_usable_folders(settings_, request_);
      const std::vector<Same> groups = grouped(missing);
      require_space(groups);
      if (!request_.local_dir.empty()) write_unfinished(request_.local_dir, source);
      fetch(groups);
    }
    store_->finish_all();
    if (!request_.local_dir.empty()) write_source(request_.local_dir, source);
    return store_->folder();
  }

 private:
  /// Files with one place: those of a cache that have the same content.
  using Same = std::vector<RemoteFile>;

  /// In the order of the files.
  std::vector<Same> grouped(const std::vector<RemoteFile>& files) const {
    std::vector<Same> groups;
    std::map<std::filesystem::path, std::size_t> group_of;
    for (const RemoteFile& file : files) {
      const auto [at, is_new] = group_of.try_emplace(store_->place(file).file, groups.size());
      if (is_new) groups.emplace_back();
      groups[at->second].push_back(file);
    }
    return groups;
  }

  static std::uint64_t bytes_on_disk(const std::filesystem::path& path) {
    std::error_code error;
    const auto size = std::filesystem::file_size(path, error);
    return error ? 0 : size;
  }
  void require_space(const std::vector<Same>& groups) const {
    std::uint64_t needed = 0;
    for (const Same& files : groups) {
      const RemoteFile& file = files.front();
      const BlobFiles place = store_->place(file);
      if (!store_->has_content(file)) needed += file.size - std::min(file.size, bytes_on_disk(place.aside));
    }
    if (const std::uint64_t free = free_bytes(store_->folder()); needed > free)
      fail(store_->folder().string(), ": ", request_.repo.name, " needs ", size_text(static_cast<double>(needed)),
           ", and ", size_text(static_cast<double>(free)), " are free: free some space or choose another folder");
  }

  void fetch(const std::vector<Same>& groups) {
    std::uint64_t total = 0;
    for (const Same& files : groups) total += files.front().size;
    log_info("fetching ", request_.repo.name, " from ", settings_.endpoint, ": ", groups.size(),
             groups.size() == 1 ? " file, " : " files, ", size_text(static_cast<double>(total)));
    TransferProgress progress(total);
    std::atomic<std::size_t> next = 0;
    std::exception_ptr error;
    std::mutex mutex;
    const auto work = [&] {
      for (std::size_t i; (i = next++) < groups.size();) try {
          fetch_file(groups[i], progress);
        } catch (...) {
          const std::lock_guard lock(mutex);
          if (!error) error = std::current_exception();
          next = groups.size();
        }
    };
    {
      std::vector<std::jthread> threads;
      for (std::size_t i = 1; i < std::min<std::size_t>(groups.size(), static_cast<std::size_t>(request_.workers)); ++i)
        threads.emplace_back(work);
      work();
    }
    if (error) std::rethrow_exception(error);
  }

  void fetch_file(const Same& files, TransferProgress& progress) const {
    const RemoteFile& file = files.front();
    const BlobFiles place = store_->place(file);
    const FileLock lock(place.lock, file.path);
    if (store_->has_content(file)) {
      progress.found(static_cast<std::int64_t>(file.size));
    } else {
      const Blob blob{url_of(file), file.size, file.hash};
      bool first = true;  // what the first report says an earlier run has left
      try {
        fetch_blob(
            client_, blob, place,
            {.bytes =
                 [&](std::int64_t bytes) { std::exchange(first, false) ? progress.found(bytes) : progress.add(bytes); },
             .next_attempt = [&](int attempt, int attempts) { progress.next_attempt(attempt, attempts); }});
      } catch (const HttpError& error) {
        explain_file(error, settings_, request_.repo, file.path);
      } catch (const Temporary& error) {
        fail(error.what(), ": ",
             advice(error, settings_, "run the same command again: it continues with what has come"));
      }
    }
    for (const RemoteFile& same : files) store_->finish(same);
  }
  std::string url_of(const RemoteFile& file) const {
    return request_.repo.source == Source::huggingface
               ? huggingface::file_url(settings_.endpoint, request_.repo, listing_.commit, file.path)
               : modelscope::file_url(settings_.endpoint, request_.repo, file.path);
  }

  const Client& client_;
  const HubSettings& settings_;
  const SnapshotRequest& request_;
  const Listing& listing_;
  std::unique_ptr<Store> store_;
};

/// What earlier downloads have left, without a request, and what it lacks of the files that are asked for.
struct Cached {
  std::filesystem::path folder;
  std::vector<std::string> missing;

  std::string text() const { return cat(folder.string(), " lacks ", io::listed(missing, 10)); }
};

inline std::optional<Cached> cached(const HubSettings& settings, const SnapshotRequest& request) {
  const Repository& repo = request.repo;
  std::optional<std::filesystem::path> folder;
  std::error_code ignored;
  if (request.local_dir.empty())
    folder = repo.source == Source::huggingface ? cached_snapshot(settings.cache, repo)
                                                : modelscope_cached(settings.cache, repo);
  else if (std::filesystem::is_directory(request.local_dir, ignored))
    folder = request.local_dir;
  if (!folder) return std::nullopt;
  return Cached{*folder,
                request.choose ? std::vector<std::string>{} : MissingFiles(repo, request.selection, *folder).find()};
}

/// The folder of a request that may not ask anybody.
inline std::filesystem::path offline_folder(const HubSettings& settings, const SnapshotRequest& request,
                                            const std::optional<Cached>& cached) {
  const std::string& name = request.repo.name;
  const std::string forbidden =
      cat(", and ", settings.offline_name, " forbids to fetch it: run once without it, or ", elsewhere(settings));
  if (cached && cached->missing.empty()) return cached->folder;
  if (cached) fail(name, ": ", cached->text(), forbidden);
  if (request.local_dir.empty())
    fail(name, ": not in ", settings.cache.string(), " at revision ", request.repo.revision, forbidden);
  fail(name, ": there is no folder ", request.local_dir.string(), forbidden);
}

inline std::filesystem::path fetch_now(Transport& transport, const HubSettings& settings,
                                       const SnapshotRequest& request, const RetryPolicy& retry) {
  const Repository& repo = request.repo;
  const auto there = cached(settings, request);
  const auto require_right_folder = [&] {
    if (there && !request.local_dir.empty()) require_source(request.local_dir, repo);
  };
  if (settings.offline) {
    require_right_folder();
    return offline_folder(settings, request, there);
  }
  if (!there) require_usable_folders(settings, request);
  const bool whole = there && there->missing.empty();
  const auto use_cache = [&](const Temporary& error) {
    if (!whole)
      fail(error.what(), ": ", repo.name, " cannot be fetched", there ? cat(", and ", there->text()) : "", ": ",
           advice(error, settings,
                  cat("check the network and https_proxy, name a mirror with ", endpoint_variable(settings.source),
                      ", or ", elsewhere(settings))));
    require_right_folder();
    note(cat(error.what(), ": ", there->folder.string(), " is used as it is"));
    return there->folder;
  };
  RetryPolicy once = retry;
  if (whole) once.attempts = 1;  // nobody waits for a hub that is away if its files are here
  Listing listing;
  const Client asking(transport, settings.endpoint, credentials(settings), once);
  try {
    listing = list(asking, settings, repo);
  } catch (const HttpError& error) {
    explain(error, settings, repo, error.status == 404 && has_other_type(asking, settings, repo));
  } catch (const Temporary& error) {
    return use_cache(error);
  } catch (const Unreachable& error) {
    return use_cache(Temporary(error.what()));
  }
  const Client client(transport, settings.endpoint, credentials(settings), retry);
  return Fetch(client, settings, request, listing).run();
}

}  // namespace detail

/// Fetches what is missing of a repository and returns the folder with its files. If the hub cannot be reached or asks
/// not to be asked (HF_HUB_OFFLINE), what the cache or the folder holds is returned, with a note; Error if it holds
/// nothing or is known to lack a file. io::Interrupted after a Ctrl-C; what has come is kept.
inline std::filesystem::path fetch_snapshot(Transport& transport, const HubSettings& settings,
                                            const SnapshotRequest& request, const RetryPolicy& retry = {}) {
  const io::InterruptGuard interrupt;
  try {
    return detail::fetch_now(transport, settings, request, retry);
  } catch (const io::Interrupted&) {
    const auto& kept = request.local_dir.empty() ? settings.cache : request.local_dir;
    throw io::Interrupted(cat("interrupted: what has come of ", request.repo.name, " is kept in ", kept.string(),
                              "; the same command continues there"));
  }
}

}  // namespace lamina::hub
