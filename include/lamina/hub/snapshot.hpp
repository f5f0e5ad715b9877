#pragma once
#include <atomic>
#include <exception>
#include <filesystem>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <lamina/core/log.hpp>
#include <lamina/hub/client.hpp>
#include <lamina/hub/file_lock.hpp>
#include <lamina/hub/huggingface.hpp>
#include <lamina/hub/huggingface_cache.hpp>
#include <lamina/hub/huggingface_folder.hpp>
#include <lamina/hub/modelscope.hpp>
#include <lamina/hub/modelscope_folder.hpp>
#include <lamina/hub/progress.hpp>
#include <lamina/hub/select.hpp>
#include <lamina/hub/settings.hpp>
#include <lamina/hub/store.hpp>

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

inline Listing list(const Client& client, const Settings& settings, const Repository& repo) {
  return repo.source == Source::huggingface ? huggingface::list(client, settings.endpoint, repo)
                                            : modelscope::list(client, settings.endpoint, repo);
}

inline std::unique_ptr<Store> open_store(const Settings& settings, const SnapshotRequest& request,
                                         const std::string& commit) {
  const Repository& repo = request.repo;
  if (repo.source == Source::modelscope)
    return std::make_unique<ModelScopeFolder>(
        request.local_dir.empty() ? modelscope_snapshot(settings.cache, repo) : request.local_dir, settings.cache,
        repo);
  if (request.local_dir.empty()) return std::make_unique<HuggingFaceCache>(settings.cache, repo, commit);
  return std::make_unique<HuggingFaceFolder>(request.local_dir, commit);
}

/// Files of one snapshot, fetched by several threads. The first error stops the others after their file.
class Fetch {
 public:
  Fetch(const Client& client, const Settings& settings, const SnapshotRequest& request, const Listing& listing)
      : client_(client),
        settings_(settings),
        request_(request),
        listing_(listing),
        store_(open_store(settings, request, listing.commit)) {}

  /// The folder of the snapshot.
  std::filesystem::path run() {
    std::vector<RemoteFile> missing;
    for (RemoteFile& file :
         request_.choose ? request_.choose(listing_) : select(request_.repo, listing_, request_.selection))
      if (!store_->has(file)) missing.push_back(std::move(file));
    if (!missing.empty()) {
      require_space(missing);
      fetch(missing);
    }
    store_->finish_all();
    return store_->folder();
  }

 private:
  static std::uint64_t bytes_on_disk(const std::filesystem::path& path) {
    std::error_code error;
    const auto size = std::filesystem::file_size(path, error);
    return error ? 0 : size;
  }
  void require_space(const std::vector<RemoteFile>& files) const {
    std::uint64_t needed = 0;
    for (const RemoteFile& file : files) {
      const Place place = store_->place(file);
      if (!store_->has_content(file)) needed += file.size - std::min(file.size, bytes_on_disk(place.aside));
    }
    if (const std::uint64_t free = free_bytes(store_->folder()); needed > free)
      fail(store_->folder().string(), ": ", request_.repo.name, " needs ", size_text(static_cast<double>(needed)),
           ", and ", size_text(static_cast<double>(free)), " are free: free some space or choose another folder");
  }

  void fetch(const std::vector<RemoteFile>& files) {
    std::uint64_t total = 0;
    for (const RemoteFile& file : files) total += file.size;
    log_info("fetching ", request_.repo.name, " from ", settings_.endpoint, ": ", files.size(),
             files.size() == 1 ? " file, " : " files, ", size_text(static_cast<double>(total)));
    TransferProgress progress(total);
    std::atomic<std::size_t> next = 0;
    std::exception_ptr error;
    std::mutex mutex;
    const auto work = [&] {
      for (std::size_t i; (i = next++) < files.size();) try {
          fetch_file(files[i], progress);
        } catch (...) {
          const std::lock_guard lock(mutex);
          if (!error) error = std::current_exception();
          next = files.size();
        }
    };
    {
      std::vector<std::jthread> threads;
      for (std::size_t i = 1; i < std::min<std::size_t>(files.size(), static_cast<std::size_t>(request_.workers)); ++i)
        threads.emplace_back(work);
      work();
    }
    if (error) std::rethrow_exception(error);
  }

  void fetch_file(const RemoteFile& file, TransferProgress& progress) const {
    const Place place = store_->place(file);
    const FileLock lock(place.lock, file.path);
    if (store_->has_content(file)) {
      progress.found(static_cast<std::int64_t>(file.size));
    } else {
      const Blob blob{url_of(file), file.size, file.hash};
      bool first = true;  // what the first report says an earlier run has left
      fetch_blob(client_, blob, place, [&](std::int64_t bytes) {
        std::exchange(first, false) ? progress.found(bytes) : progress.add(bytes);
      });
    }
    store_->finish(file);
  }
  std::string url_of(const RemoteFile& file) const {
    return request_.repo.source == Source::huggingface
               ? huggingface::file_url(settings_.endpoint, request_.repo, listing_.commit, file.path)
               : modelscope::file_url(settings_.endpoint, request_.repo, file.path);
  }

  const Client& client_;
  const Settings& settings_;
  const SnapshotRequest& request_;
  const Listing& listing_;
  std::unique_ptr<Store> store_;
};

/// What earlier downloads have left, without a request.
inline std::optional<std::filesystem::path> cached(const Settings& settings, const SnapshotRequest& request) {
  if (!request.local_dir.empty()) return std::nullopt;
  return request.repo.source == Source::huggingface ? cached_snapshot(settings.cache, request.repo)
                                                    : modelscope_cached(settings.cache, request.repo);
}

/// A status that the hub answered, with what to do about it.
[[noreturn]] inline void explain(const HttpError& error, const Settings& settings, const Repository& repo) {
  const bool hf = settings.source == Source::huggingface;
  const std::string token = hf ? "hf_hub_token, HF_TOKEN or `hf auth login`" : "ms_hub_token or MODELSCOPE_API_TOKEN";
  if (error.code == "RevisionNotFound")
    fail(error.what(), ": ", repo.name, " has no branch, tag or commit ", repo.revision);
  if (error.code == "GatedRepo")
    fail(error.what(), ": accept the licence on ", settings.endpoint, "/", repo.name,
         ", and give the token of that account (", token, ")");
  if (error.status == 401 || error.status == 403 || error.status == 404)
    fail(error.what(), ": there is no ", name_of(repo.type), " ", repo.name, " at revision ", repo.revision, " on ",
         name_of(settings.source),
         settings.token.empty() ? ", or it wants a token (" : ", or the token does not open it (", token, ")");
  throw error;
}

}  // namespace detail

/// Fetches what is missing of a repository and returns the folder with its files. If the hub cannot be reached or asks
/// not to be asked (HF_HUB_OFFLINE), what the cache holds is returned, with a note; Error if it holds nothing.
inline std::filesystem::path fetch_snapshot(Transport& transport, const Settings& settings,
                                            const SnapshotRequest& request, const RetryPolicy& retry = {}) {
  const Repository& repo = request.repo;
  const auto cached = detail::cached(settings, request);
  if (settings.offline) {
    if (cached) return *cached;
    fail(repo.name, ": not in ", settings.cache.string(), " at revision ", repo.revision,
         ", and HF_HUB_OFFLINE forbids to fetch it");
  }
  const Client client(transport, settings.endpoint, credentials(settings), retry);
  Listing listing;
  const auto use_cache = [&](const Error& error) {
    if (!cached) fail(error.what(), ": ", repo.name, " cannot be fetched");
    note(cat(error.what(), ": ", cached->string(), " is used as it is"));
    return *cached;
  };
  RetryPolicy once = retry;
  if (cached) once.attempts = 1;  // nobody waits for a hub that is away if its files are here
  try {
    listing = detail::list(Client(transport, settings.endpoint, credentials(settings), once), settings, repo);
  } catch (const HttpError& error) {
    detail::explain(error, settings, repo);
  } catch (const Temporary& error) {
    return use_cache(error);
  } catch (const Unreachable& error) {
    return use_cache(error);
  }
  return detail::Fetch(client, settings, request, listing).run();
}

}  // namespace lamina::hub
