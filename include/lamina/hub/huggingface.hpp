#pragma once
#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <utility>

#include <lamina/hub/http/client.hpp>
#include <lamina/hub/listing/fields.hpp>
#include <lamina/hub/repository.hpp>

/// The routes of Hugging Face's hub that a download needs.
/// source  huggingface_hub: hf_api.py (repo_info, list_repo_tree), utils/_pagination.py, file_download.py (hf_hub_url)
namespace lamina::hub::huggingface {

inline std::string api_url(const std::string& endpoint, const Repository& repo) {
  return cat(endpoint, "/api/", name_of(repo.type), "s/", repo.name);
}
inline std::string file_url(const std::string& endpoint, const Repository& repo, const std::string& commit,
                            const std::string& path) {
  return cat(endpoint, repo.type == RepoType::dataset ? "/datasets/" : "/", repo.name, "/resolve/", quote(commit), "/",
             quote(path, "/"));
}

/// The commit that a branch or tag names now.
inline std::string commit_of(const Client& client, const std::string& endpoint, const Repository& repo) {
  if (is_commit(repo.revision)) return repo.revision;
  const std::string url = cat(api_url(endpoint, repo), "/revision/", quote(repo.revision));
  const nlohmann::json answer = parse_answer(url, client.text(url).first);
  const std::string commit = ListingFields(url, answer).text("sha");
  if (!is_commit(commit)) fail(url, ": \"sha\" is ", io::visible(commit.substr(0, 100)), ", wanted a commit");
  return commit;
}

/// The URL in a Link field with rel="next"; "" if there is none.
inline std::string next_page(std::string_view link) {
  const auto rel = link.find("rel=\"next\"");
  const auto begin = rel == link.npos ? rel : link.rfind('<', rel), end = link.find('>', begin);
  return begin == link.npos || end == link.npos || end > rel ? ""
                                                             : std::string(link.substr(begin + 1, end - begin - 1));
}

inline RemoteFile read_file(const std::string& url, const nlohmann::json& entry) {
  const ListingFields fields(url, entry);
  RemoteFile file{fields.text("path"), fields.size("size"), {}};
  if (const auto lfs = entry.find("lfs"); lfs != entry.end() && lfs->is_object()) {
    const ListingFields large(url, *lfs);
    file.size = large.size("size");
    file.hash = large.hash("oid");
  } else {
    file.hash = fields.hash("oid");
  }
  return file;
}

inline void add_entry(Listing& listing, const std::string& url, const nlohmann::json& entry) {
  const ListingFields fields(url, entry);
  const std::string type = fields.text("type");
  if (type == "file")
    add_file(listing, url, read_file(url, entry));
  else if (type != "directory")
    leave_out(listing, url, fields.text("path"), type);
}

/// Every file of the commit. Pages are asked of the hub alone.
inline Listing list(const Client& client, const std::string& endpoint, const Repository& repo) {
  Listing listing{commit_of(client, endpoint, repo), {}};
  std::string url = cat(api_url(endpoint, repo), "/tree/", listing.commit, "?recursive=True&expand=False");
  for (PageLimit pages(client.retry()); !url.empty();) {
    pages.next(url);
    const auto [body, head] = client.text(url);
    nlohmann::json entries = parse_answer(url, body);
    if (!entries.is_array()) fail(url, ": an array of files is wanted, got ", entries.type_name());
    for (const auto& entry : entries) add_entry(listing, url, entry);
    pages.came(url, std::move(entries));
    url = next_page(head.field("link"));
    if (!url.empty() && !is_of_origin(url, endpoint))
      fail(endpoint, ": its listing goes on at ", io::visible(url.substr(0, 200)), ", which is not the hub: refused");
  }
  return listing;
}

}  // namespace lamina::hub::huggingface
