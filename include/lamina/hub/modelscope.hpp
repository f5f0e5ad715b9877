#pragma once
#include <cstddef>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>

#include <lamina/hub/http/client.hpp>
#include <lamina/hub/listing/fields.hpp>
#include <lamina/hub/repository.hpp>

/// The routes of ModelScope's hub that a download needs.
/// source  modelscope_hub: _legacy_api.py (list_repo_files, list_dataset_files_paginated, get_download_url)
namespace lamina::hub::modelscope {

inline std::string api_url(const std::string& endpoint, const Repository& repo) {
  return cat(endpoint, "/api/v1/", name_of(repo.type), "s/", repo.name, "/repo");
}
inline std::string file_url(const std::string& endpoint, const Repository& repo, const std::string& path) {
  return cat(api_url(endpoint, repo), "?Revision=", quote(repo.revision), "&FilePath=", quote(path));
}

/// The entries of one answer: {"Code": 200, "Data": {"Files": [...]}}.
inline nlohmann::json entries_of(const std::string& url, const std::string& body) {
  nlohmann::json answer = parse_answer(url, body);
  if (const auto code = answer.is_object() ? answer.find("Code") : answer.end();
      answer.is_object() && code != answer.end() && *code != 200)
    fail(url, ": code ", code->dump().substr(0, 100),
         answer.contains("Message") ? cat(": ", io::visible(answer["Message"].dump().substr(0, 500))) : "");
  nlohmann::json data = answer.is_object() && answer.contains("Data") ? std::move(answer["Data"]) : nlohmann::json();
  if (data.is_object() && data.contains("Files")) data = nlohmann::json(std::move(data["Files"]));
  if (!data.is_array()) fail(url, ": \"Data\" with an array of files is wanted, got ", data.type_name());
  return data;
}

inline void add_entries(Listing& listing, const std::string& url, const nlohmann::json& entries) {
  for (const auto& entry : entries) {
    const ListingFields fields(url, entry);
    const std::string type = entry.contains("Type") ? fields.text("Type") : "blob";
    if (type == "tree") continue;
    if (type != "blob") {
      leave_out(listing, url, fields.text("Path"), type);
      continue;
    }
    RemoteFile file{fields.text("Path"), fields.size("Size"), {}};
    if (const auto sha = entry.find("Sha256");
        sha != entry.end() && sha->is_string() && !sha->get<std::string>().empty())
      file.hash = fields.hash("Sha256");
    add_file(listing, url, std::move(file));
  }
}

/// The files at the top of the default branch, in one answer if there is such a repository.
inline std::string first_page(const std::string& endpoint, const Repository& repo) {
  return cat(api_url(endpoint, repo), repo.type == RepoType::model ? "/files" : "/tree",
             "?Revision=master&PageNumber=1&PageSize=1");
}

/// Every file of the revision. Models come in one answer, which the server cuts off at 3000 without saying so; data
/// sets come in pages.
inline Listing list(const Client& client, const std::string& endpoint, const Repository& repo) {
  constexpr std::size_t cut_off = 3000, page_size = 200;
  Listing listing;
  const std::string query = cat("?Revision=", quote(repo.revision), "&Recursive=True");
  if (repo.type == RepoType::model) {
    const std::string url = cat(api_url(endpoint, repo), "/files", query);
    const nlohmann::json entries = entries_of(url, client.text(url).first);
    if (entries.size() >= cut_off)
      fail(repo.name, ": ModelScope lists at most ", cut_off,
           " files of a model, and this one may have more: ", "fetch it with `modelscope download`");
    add_entries(listing, url, entries);
    return listing;
  }
  PageLimit pages(client.retry());
  for (std::size_t page = 1;; ++page) {
    const std::string url = cat(api_url(endpoint, repo), "/tree", query, "&PageNumber=", page, "&PageSize=", page_size);
    pages.next(url);
    nlohmann::json entries = entries_of(url, client.text(url).first);
    add_entries(listing, url, entries);
    if (entries.size() < page_size) return listing;
    pages.came(url, std::move(entries));
  }
}

}  // namespace lamina::hub::modelscope
