#pragma once
#include <functional>
#include <iomanip>
#include <map>
#include <numeric>
#include <set>

#include <lamina/checkpoint/safetensors/header.hpp>

/// Writing safetensors: the same bytes as the Python library writes for the same tensors.
namespace lamina::checkpoint {

/// A tensor in memory, to be written.
struct TensorData {
  std::string name;
  DType dtype = DType::F32;
  std::vector<std::int64_t> shape;
  std::span<const std::byte> data;
};

/// The header's __metadata__; transformers and PEFT refuse files without a format.
using Metadata = std::map<std::string, std::string>;
inline const Metadata pytorch_metadata = {{"format", "pt"}};

namespace detail {

/// The library orders a file's tensors by falling alignment, so that each is aligned, then by name.
inline int file_order(DType t) {
  constexpr DType order[] = {DType::I64, DType::F64, DType::F32, DType::I32,     DType::BF16, DType::F16,
                             DType::I16, DType::I8,  DType::U8,  DType::F8_E4M3, DType::Bool};
  return static_cast<int>(std::find(std::begin(order), std::end(order), t) - std::begin(order));
}

inline TensorInfo info_of(const TensorData& t) { return {t.name, t.dtype, t.shape, t.data.size()}; }

inline void check_writable(const TensorInfo& t) {
  if (t.name.empty() || t.name == "__metadata__") fail("safetensors: \"", t.name, "\" cannot name a tensor");
  const auto bytes = static_cast<std::uint64_t>(element_count(t.shape)) * size_bytes(t.dtype);
  if (bytes != t.bytes)
    fail("safetensors: ", t.name, " ", name_of(t.dtype), " ", shape_text(t.shape), " wants ", bytes, " bytes, got ",
         t.bytes);
}

/// The JSON header of tensors in file order, padded so that the data is aligned to 8 bytes.
inline std::string header_text(std::span<const TensorInfo> tensors, const Metadata& metadata) {
  const auto quoted = [](const std::string& s) { return nlohmann::json(s).dump(); };
  std::ostringstream text;
  const char* comma = "";
  text << "{";
  if (!metadata.empty()) {
    text << "\"__metadata__\":{";
    for (const auto& [key, value] : metadata) text << std::exchange(comma, ",") << quoted(key) << ":" << quoted(value);
    text << "}";
  }
  std::uint64_t offset = 0;
  for (const TensorInfo& t : tensors) {
    text << std::exchange(comma, ",") << quoted(t.name) << ":{\"dtype\":\"" << name_of(t.dtype) << "\",\"shape\":[";
    for (std::size_t i = 0; i < t.shape.size(); ++i) text << (i ? "," : "") << t.shape[i];
    text << "],\"data_offsets\":[" << offset << "," << offset + t.bytes << "]}";
    offset += t.bytes;
  }
  text << "}";
  std::string padded = text.str();
  padded.append((8 - padded.size() % 8) % 8, ' ');
  return padded;
}

}  // namespace detail

/// Writes one safetensors file tensor by tensor, so that the whole never needs to be in memory. The file appears
/// under its name at commit(); destroyed before that, it leaves nothing.
class SafetensorsWriter {
 public:
  /// Writes the header. Error on a tensor whose bytes do not fit its shape, on a name that occurs twice, on a full
  /// disk.
  SafetensorsWriter(const std::filesystem::path& path, std::vector<TensorInfo> tensors,
                    const Metadata& metadata = pytorch_metadata)
      : tensors_(std::move(tensors)), file_(path) {
    std::sort(tensors_.begin(), tensors_.end(), [](const TensorInfo& a, const TensorInfo& b) {
      return std::pair(detail::file_order(a.dtype), a.name) < std::pair(detail::file_order(b.dtype), b.name);
    });
    std::set<std::string_view> names;
    for (const TensorInfo& t : tensors_) {
      detail::check_writable(t);
      if (!names.insert(t.name).second) fail(path.string(), ": tensor ", t.name, " given twice");
    }
    const std::string header = detail::header_text(tensors_, metadata);
    unsigned char length[8];
    for (int i = 0; i < 8; ++i) length[i] = static_cast<unsigned char>(std::uint64_t{header.size()} >> (8 * i));
    file_.write(std::as_bytes(std::span(length)));
    file_.write(header);
  }

  /// The order in which append() wants them.
  const std::vector<TensorInfo>& order() const { return tensors_; }

  /// The bytes of the next tensor of order().
  void append(std::span<const std::byte> bytes) {
    if (next_ == tensors_.size()) fail(file_.path().string(), ": all its ", next_, " tensors are written already");
    if (bytes.size() != tensors_[next_].bytes)
      fail(tensors_[next_].name, ": wants ", tensors_[next_].bytes, " bytes, got ", bytes.size());
    file_.write(bytes);
    ++next_;
  }

  /// Brings everything to the disk; then commit() is a rename. Error if tensors are missing.
  void close() {
    if (next_ != tensors_.size())
      fail(file_.path().string(), ": ", next_, " of ", tensors_.size(), " tensors were written");
    file_.close();
  }
  void commit() {
    close();
    file_.commit();
  }

 private:
  std::vector<TensorInfo> tensors_;
  io::AtomicFile file_;
  std::size_t next_ = 0;
};

/// Gives a tensor's bytes to a writer, valid until the next call.
using Produce = std::function<std::span<const std::byte>(const TensorInfo&)>;

namespace detail {
/// Produces tensors that are in memory.
inline Produce from_memory(std::span<const TensorData> tensors) {
  std::map<std::string_view, std::span<const std::byte>> by_name;
  for (const TensorData& t : tensors) by_name[t.name] = t.data;
  return [by_name](const TensorInfo& t) { return by_name.at(t.name); };
}
inline std::vector<TensorInfo> infos_of(std::span<const TensorData> tensors) {
  std::vector<TensorInfo> infos;
  for (const TensorData& t : tensors) infos.push_back(info_of(t));
  return infos;
}
}  // namespace detail

/// Writes one file, replacing an old one whole or not at all; on any Error the old one is untouched.
inline void write_safetensors(const std::filesystem::path& path, std::span<const TensorData> tensors,
                              const Metadata& metadata = pytorch_metadata) {
  SafetensorsWriter writer(path, detail::infos_of(tensors), metadata);
  const Produce produce = detail::from_memory(tensors);
  for (const TensorInfo& t : writer.order()) writer.append(produce(t));
  writer.commit();
}

/// Which tensors go into which file: in the order given, each file at most limit_bytes of data; a tensor larger than
/// that gets a file of its own. Source: huggingface_hub, split_state_dict_into_shards_factory.
inline std::vector<std::vector<TensorInfo>> plan_shards(std::span<const TensorInfo> tensors,
                                                        std::uint64_t limit_bytes) {
  std::vector<std::vector<TensorInfo>> shards;
  std::vector<TensorInfo> current;
  std::uint64_t bytes = 0;
  for (const TensorInfo& t : tensors) {
    if (t.bytes > limit_bytes) {
      shards.push_back({t});
      continue;
    }
    if (bytes + t.bytes > limit_bytes) shards.push_back(std::exchange(current, {})), bytes = 0;
    current.push_back(t);
    bytes += t.bytes;
  }
  if (!current.empty() || shards.empty()) shards.push_back(std::move(current));
  return shards;
}

/// "model-00001-of-00002.safetensors", or "model.safetensors" if there is one.
inline std::string shard_name(std::size_t index, std::size_t count) {
  if (count == 1) return "model.safetensors";
  std::ostringstream name;
  name << std::setfill('0') << "model-" << std::setw(5) << index + 1 << "-of-" << std::setw(5) << count;
  return name.str() + ".safetensors";
}

namespace detail {

/// The index as transformers writes it: keys sorted, indent 2, a newline at the end.
inline std::string index_text(const std::vector<std::vector<TensorInfo>>& shards) {
  nlohmann::json index;
  std::uint64_t size = 0, parameters = 0;
  for (std::size_t i = 0; i < shards.size(); ++i)
    for (const TensorInfo& t : shards[i]) {
      index["weight_map"][t.name] = shard_name(i, shards.size());
      size += t.bytes;
      parameters += static_cast<std::uint64_t>(element_count(t.shape));
    }
  index["metadata"] = {{"total_parameters", parameters}, {"total_size", size}};
  return index.dump(2, ' ', true) + "\n";
}

/// Whether an earlier save may have left a file of this name that belongs to its set of weights.
inline bool is_weight_file(const std::string& name) {
  if (name == "model.safetensors" || name == "model.safetensors.index.json") return true;
  return name.size() == 32 && name.starts_with("model-") && name.substr(11, 4) == "-of-" &&
         name.ends_with(".safetensors");
}

}  // namespace detail

/// Writes a model's tensors into dir, in files of at most limit_bytes, with an index if there are several. All
/// files are written aside first and renamed when all are whole, the index last; then weight files of an earlier save
/// that are no part of this one are removed. Gives the names written. Memory: what produce needs.
inline std::vector<std::string> write_sharded(const std::filesystem::path& dir, std::span<const TensorInfo> tensors,
                                              std::uint64_t limit_bytes, const Produce& produce,
                                              const Metadata& metadata = pytorch_metadata) {
  const auto shards = plan_shards(tensors, limit_bytes);
  std::vector<SafetensorsWriter> writers;
  writers.reserve(shards.size());
  std::vector<std::string> names;
  for (std::size_t i = 0; i < shards.size(); ++i) {
    names.push_back(shard_name(i, shards.size()));
    SafetensorsWriter& writer = writers.emplace_back(dir / names.back(), shards[i], metadata);
    for (const TensorInfo& t : writer.order()) writer.append(produce(t));
    writer.close();
  }
  for (SafetensorsWriter& writer : writers) writer.commit();
  if (shards.size() > 1) {
    names.push_back("model.safetensors.index.json");
    io::write_text(dir / names.back(), detail::index_text(shards));
  }
  for (const auto& entry : std::filesystem::directory_iterator(dir)) {
    const std::string name = entry.path().filename().string();
    if (detail::is_weight_file(name) && std::find(names.begin(), names.end(), name) == names.end())
      std::filesystem::remove(entry.path());
  }
  return names;
}

/// The same for tensors in memory.
inline std::vector<std::string> write_sharded(const std::filesystem::path& dir, std::span<const TensorData> tensors,
                                              std::uint64_t limit_bytes, const Metadata& metadata = pytorch_metadata) {
  return write_sharded(dir, detail::infos_of(tensors), limit_bytes, detail::from_memory(tensors), metadata);
}

}  // namespace lamina::checkpoint
