#pragma once
#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <set>
#include <string>

#include <lamina/hub/snapshot.hpp>

#include "hub/hub_server.hpp"
#include "programs/program.hpp"

namespace lamina::testing {

inline std::string text_of(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  return std::string(std::istreambuf_iterator<char>(in), {});
}

/// The files below a folder that have their final name, by path; not those that a hub's client notes for itself.
inline std::set<std::string> names_in(const std::filesystem::path& folder) {
  std::set<std::string> names;
  if (!std::filesystem::exists(folder)) return names;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(folder)) {
    const std::string name = entry.path().lexically_relative(folder).string();
    if (entry.is_regular_file() && !name.starts_with(".cache/") && !name.ends_with(".incomplete")) names.insert(name);
  }
  return names;
}

/// A hub, its settings and a folder for what is fetched.
struct HubTest {
  TemporaryFolder folder;
  HubServer server;
  hub::RetryPolicy retry{.sleep = [](auto) {}};
  hub::Source source = hub::Source::huggingface;

  HubTest() { server.repositories["models/owner/name"] = model_files(); }

  hub::HubSettings settings() const {
    return {.source = source,
            .endpoint = server.url(),
            .cache = folder.path() / "cache",
            .revision = source == hub::Source::huggingface ? "main" : "master"};
  }
  hub::SnapshotRequest request() const {
    return {.repo = {source, hub::RepoType::model, "owner/name", settings().revision}};
  }
};

/// The number of files that have their final name and another content than the hub's; 0 is right.
inline int wrong_files(const std::filesystem::path& folder, const HubFiles& files) {
  int wrong = 0;
  for (const std::string& name : names_in(folder)) {
    const auto file = files.find(name);
    wrong += file == files.end() || text_of(folder / name) != file->second.content;
  }
  return wrong;
}

}  // namespace lamina::testing
