#pragma once
#include <algorithm>
#include <array>
#include <limits>
#include <nlohmann/json.hpp>
#include <optional>

#include <lamina/checkpoint/tensors.hpp>
#include <lamina/io/json/file.hpp>

/// The header of a safetensors file: 8 bytes of little-endian length, then JSON, then the tensors' bytes without gaps.
/// Source: github.com/huggingface/safetensors, README "Format". Every rule there is checked here, and each broken one
/// is an Error that names the file and the tensor.
namespace lamina::checkpoint {

/// The format's own limit.
inline constexpr std::uint64_t max_header_bytes = 100'000'000;

/// The element type of a safetensors name such as "BF16".
inline std::optional<DType> dtype_from_name(std::string_view name) {
  for (const DType t : {DType::F32, DType::BF16, DType::F16, DType::F64, DType::I64, DType::I32, DType::I16, DType::I8,
                        DType::U8, DType::Bool, DType::F8_E4M3})
    if (name == name_of(t)) return t;
  return std::nullopt;
}

namespace detail {

/// A non-negative integer of at most 63 bits.
inline std::int64_t header_integer(const nlohmann::json& value, const std::string& subject) {
  if (!value.is_number_unsigned() || value.get<std::uint64_t>() > std::uint64_t{1} << 62)
    fail(subject, ": got ", value.dump(), ", wanted a non-negative integer");
  return value.get<std::int64_t>();
}

inline DType header_dtype(const nlohmann::json& value, const std::string& subject) {
  if (!value.is_string()) fail(subject, ": dtype is ", value.dump(), ", wanted a string");
  const auto name = value.get<std::string>();
  if (const auto dtype = dtype_from_name(name)) return *dtype;
  const bool quantised = name.starts_with("F8_") || name.starts_with("F4") || name.starts_with("F6_");
  fail(subject, ": dtype ", name, " is not supported",
       quantised ? ": this is a quantised checkpoint, use the bf16 or fp8 release of the model"
                 : "; known are F32, BF16, F16, F64, I64, I32, I16, I8, U8, BOOL and F8_E4M3");
}

/// One tensor's entry; offset still counts from the end of the header.
inline TensorEntry header_entry(const std::string& name, const nlohmann::json& value, const std::string& subject) {
  if (!value.is_object()) fail(subject, ": got ", value.type_name(), ", wanted an object");
  for (const char* key : {"dtype", "shape", "data_offsets"})
    if (!value.contains(key)) fail(subject, ": has no ", key);
  if (value.size() != 3) fail(subject, ": has other keys than dtype, shape and data_offsets");

  TensorEntry entry;
  entry.info.name = name;
  entry.info.dtype = header_dtype(value["dtype"], subject);
  if (!value["shape"].is_array()) fail(subject, ": shape is not an array");
  std::uint64_t bytes = size_bytes(entry.info.dtype);
  for (const auto& extent : value["shape"]) {
    entry.info.shape.push_back(header_integer(extent, subject + ": shape"));
    const auto n = static_cast<std::uint64_t>(entry.info.shape.back());
    if (n != 0 && bytes > std::numeric_limits<std::int64_t>::max() / n)
      fail(subject, ": shape ", value["shape"].dump(), " has more bytes than a file can");
    bytes *= n;
  }
  const auto& offsets = value["data_offsets"];
  if (!offsets.is_array() || offsets.size() != 2) fail(subject, ": data_offsets is not a pair");
  const std::int64_t begin = header_integer(offsets[0], subject + ": data_offsets");
  const std::int64_t end = header_integer(offsets[1], subject + ": data_offsets");
  if (end < begin || static_cast<std::uint64_t>(end - begin) != bytes)
    fail(subject, ": ", name_of(entry.info.dtype), " ", shape_text(entry.info.shape), " has ", bytes,
         " bytes, data_offsets ", offsets.dump(), " hold ", end - begin);
  entry.info.bytes = bytes;
  entry.offset = static_cast<std::uint64_t>(begin);
  return entry;
}

/// Sorts entries by their bytes and checks that these cover [0, data_bytes) once.
inline void check_layout(std::vector<TensorEntry>& entries, std::uint64_t data_bytes, const std::string& file) {
  std::sort(entries.begin(), entries.end(), [](const TensorEntry& a, const TensorEntry& b) {
    return std::pair(a.offset, a.info.bytes) < std::pair(b.offset, b.info.bytes);
  });
  std::uint64_t covered = 0;
  for (const TensorEntry& e : entries) {
    if (e.offset < covered) fail(file, ": tensor ", e.info.name, " overlaps the one before it, at byte ", e.offset);
    if (e.offset > covered)
      fail(file, ": ", e.offset - covered, " bytes before tensor ", e.info.name, " belong to no tensor");
    covered += e.info.bytes;
    if (covered > data_bytes)
      fail(file, ": tensor ", e.info.name, " ends at byte ", covered, " of the data, the file has ", data_bytes,
           ": was the download cut off?");
  }
  if (covered != data_bytes) fail(file, ": ", data_bytes - covered, " bytes after the last tensor belong to no tensor");
}

}  // namespace detail

inline TensorFile TensorFile::open(const std::filesystem::path& path) {
  TensorFile out;
  out.file_ = io::File(path);
  const std::string subject = path.string();
  const std::uint64_t size = out.file_.size();
  if (size < 8) fail(subject, ": ", size, " bytes, too short for a safetensors file: was the download cut off?");
  std::string beginning(std::min<std::uint64_t>(size, 64), '\0');
  out.file_.read(0, std::as_writable_bytes(std::span(beginning)));
  io::refuse_lfs_pointer(path, beginning);
  std::array<unsigned char, 8> raw;
  out.file_.read(0, std::as_writable_bytes(std::span(raw)));
  std::uint64_t header_bytes = 0;
  for (int i = 7; i >= 0; --i) header_bytes = header_bytes << 8 | raw[static_cast<std::size_t>(i)];
  if (header_bytes > max_header_bytes)
    fail(subject, ": claims a header of ", header_bytes, " bytes, the format allows ", max_header_bytes,
         ": is this a safetensors file?");
  if (header_bytes > size - 8)
    fail(subject, ": its header has ", header_bytes, " bytes, the file ends after ", size - 8,
         ": was the download cut off?");

  std::string text(header_bytes, '\0');
  out.file_.read(8, std::as_writable_bytes(std::span(text)));
  if (!text.starts_with('{')) fail(subject, ": its header does not begin with {: is this a safetensors file?");
  const std::string header_of = subject + ": header";
  const auto header = io::parse_json<nlohmann::json>(text, {.subject = header_of, .depth = 3});
  for (const auto& [name, value] : header.items()) {
    if (name != "__metadata__") {
      out.entries_.push_back(detail::header_entry(name, value, subject + ": tensor " + name));
      continue;
    }
    if (!value.is_object()) fail(subject, ": __metadata__ is not an object");
    for (const auto& [key, item] : value.items()) {
      if (!item.is_string()) fail(subject, ": __metadata__ ", key, " is ", item.dump(), ", wanted a string");
      out.metadata_[key] = item.get<std::string>();
    }
  }
  detail::check_layout(out.entries_, size - 8 - header_bytes, subject);
  for (TensorEntry& e : out.entries_) e.offset += 8 + header_bytes;
  out.mapping_ = io::Mapping(out.file_);
  return out;
}

}  // namespace lamina::checkpoint
