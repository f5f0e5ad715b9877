#pragma once
#include <chrono>
#include <cstdint>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <lamina/core/log.hpp>
#include <lamina/hub/http/retry.hpp>
#include <lamina/hub/repository.hpp>
#include <lamina/io/json.hpp>
#include <lamina/io/lower_case.hpp>
#include <lamina/io/visible.hpp>
#include <lamina/text/tokenizer/unicode.hpp>

namespace lamina::hub {

/// What a text is that is no JSON.
inline std::string no_json_reason(const std::string& text) {
  const auto first = text.find_first_not_of(" \t\r\n");
  if (first == text.npos) return "it is empty";
  const bool is_page = text[first] == '<', was_json = text[first] == '[' || text[first] == '{';
  if (!is_page && !io::is_valid_utf8(text))
    return "it holds bytes that are not UTF-8; report it to the owner of the repository";
  if (was_json) return "it is cut off or damaged: run again";
  return cat(is_page ? "it is a page" : cat("it begins with ", io::visible(text.substr(first, 40))),
             ": is this the address of a hub, and is no login page in between?");
}

/// JSON that a hub answered. Error that names the URL if it is none, or more values than any page of a listing has:
/// they take far more memory than their text.
inline nlohmann::json parse_answer(const std::string& url, const std::string& text) {
  try {
    return io::parse_json<nlohmann::json>(
        text,
        {.subject = url, .depth = 32, .members = 1 << 10, .items = 1 << 16, .values = 1 << 18, .unique_keys = false});
  } catch (const io::JsonError&) {
    fail(url, ": the answer is not JSON: ", no_json_reason(text));
  }
}

/// Reads the members of an object that a hub answered, which it borrows; errors name the URL.
class ListingFields {
 public:
  ListingFields(const std::string& url, const nlohmann::json& object) : url_(url), object_(object) {
    if (!object_.is_object()) fail(url_, ": an object is wanted, got ", object_.type_name());
  }

  std::string text(const char* key) const {
    const auto at = object_.find(key);
    if (at == object_.end() || !at->is_string()) wrong(key, "a string");
    return at->get<std::string>();
  }
  /// Bytes of a file: at most 16 TiB.
  std::uint64_t size(const char* key) const {
    const auto at = object_.find(key);
    if (at == object_.end() || !at->is_number_unsigned() || at->get<std::uint64_t>() > (std::uint64_t{1} << 44))
      wrong(key, "a number of bytes up to 2^44");
    return at->get<std::uint64_t>();
  }
  Hash hash(const char* key) const {
    try {
      return Hash::of(text(key));
    } catch (const Error&) {
      wrong(key, "a SHA-256 or a git object id, in lower case");
    }
  }
  [[noreturn]] void wrong(const char* key, const char* wanted) const {
    const auto at = object_.find(key);
    fail(url_, ": \"", key, "\" is ", at == object_.end() ? "missing" : at->dump().substr(0, 100), ", wanted ", wanted);
  }

 private:
  const std::string& url_;
  const nlohmann::json& object_;
};

/// Ends a listing that does not end: at a page that came before, after 1000 pages, or when all of them take too long.
class PageLimit {
 public:
  explicit PageLimit(const RetryPolicy& patience) : longest_(patience.longest_listing) {}

  /// Before each page.
  void next(const std::string& url) {
    if (!asked_.insert(url).second) fail(url, ": the listing goes on at a page that came before: refused");
    if (asked_.size() > most_pages) fail(url, ": a listing of more than ", most_pages, " pages: refused");
    if (std::chrono::steady_clock::now() - begin_ > longest_)
      fail(url, ": the listing takes more than ", longest_.count() / 1000, " s: refused");
  }
  /// After each page. Error if it holds what the page before it held: a server that does not turn the page.
  void came(const std::string& url, nlohmann::json entries) {
    if (!entries.empty() && entries == last_) fail(url, ": holds the same files as the page before: refused");
    last_ = std::move(entries);
  }

 private:
  static constexpr std::size_t most_pages = 1000;
  const std::chrono::steady_clock::time_point begin_ = std::chrono::steady_clock::now();
  std::chrono::milliseconds longest_;
  std::set<std::string> asked_;
  nlohmann::json last_;
};

/// True for names that clients write for themselves while files are fetched or after that, and read again: two files
/// must never meet under one name. ModelScope's client unpickles its own, git runs commands that .git/config names.
inline bool is_reserved(std::string_view path) {
  if (path.ends_with(".incomplete") || path == ".msc" || path == ".mdl" || path == ".mv") return true;
  for (const std::string_view folder : {".cache/huggingface/", ".cache/lamina/"})
    if (path.starts_with(folder) || folder.starts_with(cat(path, "/"))) return true;
  return io::lower_case(cat("/", path, "/")).find("/.git/") != std::string::npos;
}

/// Leaves out what is neither a file nor a folder: a link, the commit of another repository. A note names the first.
inline void leave_out(Listing& listing, const std::string& url, const std::string& path, const std::string& type) {
  if (listing.other_types++ == 0)
    note(cat(url, ": lists \"", io::visible(path.substr(0, 200)), "\" with the type \"",
             io::visible(type.substr(0, 100)), "\": only files are fetched, such entries are left out"));
}

/// Adds a file whose path is safe. A reserved one is left out, with a note about the first: people upload folders that
/// a client has filled. Error beyond 200,000 files or 32 MB of names.
inline void add_file(Listing& listing, const std::string& url, RemoteFile file) {
  constexpr std::size_t most_files = 200'000, most_bytes = 32 << 20;
  require_safe_path(url, file.path);
  if (is_reserved(file.path)) {
    if (listing.left_out++ == 0)
      note(cat(url, ": names a file \"", file.path,
               "\", a name that clients keep for themselves: such files are left out"));
    return;
  }
  if (listing.files.size() == most_files || (listing.path_bytes += file.path.size()) > most_bytes)
    fail(url, ": a listing of more than ", most_files, " files or ", most_bytes, " bytes of names: refused");
  listing.files.push_back(std::move(file));
}

/// Leaves a file that is listed twice in once. Error if two files cannot be together in one folder: the same name for
/// two contents, or a name that is also a folder's.
inline void require_distinct(const std::string& url, Listing& listing) {
  std::map<std::string_view, const RemoteFile*> seen;
  std::vector<RemoteFile> files;
  for (const RemoteFile& file : listing.files) {
    const auto [at, is_new] = seen.try_emplace(file.path, &file);
    if (is_new) files.push_back(file);
    if (at->second->size != file.size || at->second->hash != file.hash)
      fail(url, ": lists ", io::visible(file.path), " twice, with two contents: run again; if it stays, report it");
  }
  for (const RemoteFile& file : listing.files)
    for (auto end = file.path.find('/'); end != file.path.npos; end = file.path.find('/', end + 1))
      if (seen.contains(std::string_view(file.path).substr(0, end)))
        fail(url, ": lists ", io::visible(file.path.substr(0, end)), " as a file and as a folder: refused");
  listing.files = std::move(files);
}

}  // namespace lamina::hub
