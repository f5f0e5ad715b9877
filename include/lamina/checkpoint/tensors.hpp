#pragma once
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include <lamina/checkpoint/names.hpp>
#include <lamina/checkpoint/safetensors/stacked.hpp>
#include <lamina/core/error.hpp>
#include <lamina/core/tensor/dtype.hpp>
#include <lamina/io/file.hpp>

/// Tensors of files that are open, without what parsing them needs: light enough for a model's translation unit.
/// Opening them is in checkpoint/safetensors.hpp.
namespace lamina::checkpoint {

/// An entry of a safetensors header: where a tensor's bytes are in its file.
struct TensorEntry {
  TensorInfo info;
  std::uint64_t offset = 0;  ///< from the start of the file
};

/// One safetensors file, mapped. The file must not shrink while it is open.
class TensorFile {
 public:
  /// Reads and checks the whole header: Error on anything that does not add up. Defined in checkpoint/safetensors.hpp.
  inline static TensorFile open(const std::filesystem::path& path);

  const std::filesystem::path& path() const { return file_.path(); }
  /// In the order of their bytes.
  const std::vector<TensorEntry>& entries() const { return entries_; }
  /// The header's __metadata__.
  const std::unordered_map<std::string, std::string>& metadata() const { return metadata_; }
  std::span<const std::byte> data(const TensorEntry& e) const {
    return mapping_.bytes().subspan(e.offset, e.info.bytes);
  }
  void read(const TensorEntry& e, std::size_t first_byte, std::span<std::byte> out) const {
    file_.read(e.offset + first_byte, out);
  }

 private:
  io::File file_;
  io::Mapping mapping_;
  std::vector<TensorEntry> entries_;
  std::unordered_map<std::string, std::string> metadata_;
};

/// All tensors of a model directory: one file, or shards with their index. Names are looked up as the files spell
/// them and in the canonical spelling (checkpoint/names.hpp), so that a model's own names find their tensors in
/// any release, those of modules too whose matrices a file holds as one (safetensors/stacked.hpp).
class Checkpoint {
 public:
  /// A .safetensors file, an index.json, or a folder that holds model.safetensors(.index.json) or
  /// adapter_model.safetensors. Defined in checkpoint/safetensors.hpp.
  /// names: how these files may spell names.
  inline static Checkpoint open(const std::filesystem::path& dir_or_file, const NameRules& names = {});

  /// What was opened, for messages.
  const std::filesystem::path& path() const { return path_; }
  const NameRules& names() const { return names_; }
  /// Every tensor, file by file, in the order of their bytes.
  const std::vector<TensorInfo>& tensors() const { return tensors_; }
  const std::vector<TensorFile>& files() const { return files_; }

  /// nullptr if there is none. Error if a canonical name means two tensors.
  const TensorInfo* find(std::string_view name) const {
    if (const StackedPart* part = part_of(name)) return &part->info;
    const int i = index_of(name);
    return i < 0 ? nullptr : &tensors_[static_cast<std::size_t>(i)];
  }
  /// find(), or an Error that names the file.
  const TensorInfo& at(std::string_view name) const {
    const StackedPart* part = part_of(name);
    return part ? part->info : tensors_[require(name)];
  }
  /// The matrices that a tensor of tensors() holds as one, by their canonical names; none of an ordinary tensor.
  std::vector<const StackedPart*> parts_of(const TensorInfo& stacked) const {
    std::vector<const StackedPart*> parts;
    for (const auto& [name, part] : parts_)
      if (part.stacked == stacked.name) parts.push_back(&part);
    return parts;
  }

  /// A tensor's bytes if the file is mapped; unaligned in files that other writers made.
  std::span<const std::byte> data(std::string_view name) const {
    const Location& p = places_[require(name)];
    return files_[p.file].data(files_[p.file].entries()[p.entry]);
  }
  /// Copies a tensor by pread, so that no page of it stays mapped; out must have its size.
  void read(std::string_view name, std::span<std::byte> out) const {
    const std::size_t bytes = at(name).bytes;
    if (out.size() != bytes) fail(name, ": has ", bytes, " bytes, the buffer given has ", out.size());
    read(name, 0, out);
  }
  /// Copies out.size() bytes of a tensor from its first_byte on.
  void read(std::string_view name, std::size_t first_byte, std::span<std::byte> out) const {
    if (const StackedPart* part = part_of(name)) return part->read(data(part->stacked), first_byte, out);
    const std::size_t i = require(name);
    if (first_byte > tensors_[i].bytes || out.size() > tensors_[i].bytes - first_byte)
      fail(name, ": has ", tensors_[i].bytes, " bytes, asked for ", out.size(), " from byte ", first_byte);
    const Location& p = places_[i];
    files_[p.file].read(files_[p.file].entries()[p.entry], first_byte, out);
  }

 private:
  struct Location {
    std::size_t file, entry;
  };
  static constexpr int ambiguous = -2;

  const StackedPart* part_of(std::string_view name) const {
    if (parts_.empty()) return nullptr;
    const auto found = parts_.find(canonical_name(name, names_));
    return found == parts_.end() ? nullptr : &found->second;
  }

  int index_of(std::string_view name) const {
    const std::string key(name);
    if (const auto exact = by_name_.find(key); exact != by_name_.end()) return exact->second;
    const auto spelt = by_canonical_.find(canonical_name(key, names_));
    if (spelt == by_canonical_.end()) return -1;
    if (spelt->second == ambiguous) fail(path_.string(), ": two tensors mean ", name, ", in two spellings of its name");
    return spelt->second;
  }
  std::size_t require(std::string_view name) const {
    const int i = index_of(name);
    if (i < 0) fail(path_.string(), ": has no tensor ", name, " among its ", tensors_.size());
    return static_cast<std::size_t>(i);
  }
  /// Error if an earlier file holds one of its names.
  void add(TensorFile file) {
    const std::size_t number = files_.size();
    for (std::size_t e = 0; e < file.entries().size(); ++e) {
      const TensorInfo& info = file.entries()[e].info;
      const int i = static_cast<int>(tensors_.size());
      if (!by_name_.emplace(info.name, i).second) {
        const Location& first = places_[static_cast<std::size_t>(by_name_.at(info.name))];
        fail(file.path().string(), ": tensor ", info.name, " is in ", files_[first.file].path().string(), " too");
      }
      const auto [spelt, is_new] = by_canonical_.emplace(canonical_name(info.name, names_), i);
      if (!is_new) spelt->second = ambiguous;
      for (StackedPart& part : parts_of_stack(info, file.path().string(), names_))
        parts_.emplace(part.info.name, std::move(part));
      tensors_.push_back(info);
      places_.push_back({number, e});
    }
    files_.push_back(std::move(file));
  }

  std::filesystem::path path_;
  NameRules names_;
  std::vector<TensorFile> files_;
  std::vector<TensorInfo> tensors_;
  std::vector<Location> places_;
  std::unordered_map<std::string, int> by_name_, by_canonical_;
  std::map<std::string, StackedPart> parts_;
};

/// Whether two tensors have the same bits: of a head that is tied to its table some writers save a copy.
inline bool are_copies(const Checkpoint& file, std::string_view one, std::string_view other) {
  const auto a = file.data(one), b = file.data(other);
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size()) == 0;
}

}  // namespace lamina::checkpoint
