#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include <lamina/hub/disk/digest.hpp>
#include <lamina/hub/names.hpp>
#include <lamina/hub/options.hpp>

namespace lamina::hub {

enum class RepoType { model, dataset };

inline std::string_view name_of(Source source) { return source == Source::huggingface ? "Hugging Face" : "ModelScope"; }
inline RepoType other_type(RepoType type) { return type == RepoType::model ? RepoType::dataset : RepoType::model; }
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

/// The files of a repository. commit: the one that the revision names; ModelScope does not say it, so it is "" there.
struct Listing {
  std::string commit;
  std::vector<RemoteFile> files;
  std::size_t path_bytes = 0;   ///< of all paths together
  std::size_t left_out = 0;     ///< files with reserved names
  std::size_t other_types = 0;  ///< entries that are neither files nor folders, left out too
};

}  // namespace lamina::hub
