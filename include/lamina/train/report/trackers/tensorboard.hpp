#pragma once
#include <unistd.h>

#include <boost/crc.hpp>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>

#include <lamina/core/error.hpp>
#include <lamina/parallel/processors.hpp>
#include <lamina/train/report/trackers/tracker.hpp>

/// Event files that TensorBoard opens. The few messages that they hold are written by hand: protobuf's compiler and
/// library would be needed for eleven fields.
/// source  tensorflow/core/util/event.proto, framework/summary.proto and tensor.proto; lib/io/record_writer.cc
namespace lamina::train {

namespace detail {

/// Fields of a protobuf message in its wire format.
class ProtoMessage {
 public:
  ProtoMessage& integer(int field, std::uint64_t value) {
    varint(static_cast<std::uint64_t>(field) << 3);
    varint(value);
    return *this;
  }
  ProtoMessage& real(int field, double value) { return fixed(field << 3 | 1, value); }
  ProtoMessage& real32(int field, float value) { return fixed(field << 3 | 5, value); }
  ProtoMessage& bytes(int field, std::string_view text) {
    varint(static_cast<std::uint64_t>(field) << 3 | 2);
    varint(text.size());
    out_ += text;
    return *this;
  }
  ProtoMessage& message(int field, const ProtoMessage& inner) { return bytes(field, inner.out_); }
  const std::string& text() const { return out_; }

 private:
  void varint(std::uint64_t value) {
    for (; value >= 0x80; value >>= 7) out_ += static_cast<char>(value | 0x80);
    out_ += static_cast<char>(value);
  }
  template <class T>
  ProtoMessage& fixed(int key, T value) {
    varint(static_cast<std::uint64_t>(key));
    out_.append(reinterpret_cast<const char*>(&value), sizeof value);  // little-endian, as all machines that we know
    return *this;
  }
  std::string out_;
};

/// The checksum of a record: CRC-32C, turned and shifted, so that sums of sums do not cancel.
inline std::uint32_t record_checksum(std::string_view bytes) {
  boost::crc_optimal<32, 0x1EDC6F41, 0xFFFFFFFF, 0xFFFFFFFF, true, true> crc;
  crc.process_bytes(bytes.data(), bytes.size());
  const std::uint32_t sum = crc.checksum();
  return (sum >> 15 | sum << 17) + 0xa282ead8u;
}
inline std::string record(const std::string& data) {
  const auto raw = [](auto value) { return std::string(reinterpret_cast<const char*>(&value), sizeof value); };
  const std::string length = raw(static_cast<std::uint64_t>(data.size()));
  return length + raw(record_checksum(length)) + data + raw(record_checksum(data));
}

/// "eval_loss" is "eval/loss", "loss" is "train/loss".   source  transformers, integration_utils.py, rewrite_logs
inline std::string tensorboard_tag(const std::string& key) {
  for (const std::string_view group : {"eval", "test"})
    if (key.starts_with(cat(group, "_"))) return cat(group, "/", key.substr(group.size() + 1));
  return "train/" + key;
}

}  // namespace detail

/// One event file of a run. Each call appends and flushes.
/// errors  Error if the file cannot be written
class TensorBoard final : public Tracker {
 public:
  explicit TensorBoard(const std::filesystem::path& folder) {
    std::filesystem::create_directories(folder);
    path_ = folder / cat("events.out.tfevents.", static_cast<std::int64_t>(now()), ".", parallel::host_name(), ".",
                         ::getpid(), ".0");
    out_.open(path_, std::ios::binary | std::ios::app);
    write(detail::ProtoMessage().real(1, now()).bytes(3, "brain.Event:2"));
  }
  /// Where a run's events go, as transformers has it: TENSORBOARD_LOGGING_DIR; logging_dir, if that is not empty; else
  /// runs/TIME_HOST below its output.
  static std::filesystem::path folder_of(const std::filesystem::path& logging_dir,
                                         const std::filesystem::path& output_dir) {
    if (const char* set = std::getenv("TENSORBOARD_LOGGING_DIR"); set && *set) return set;
    if (!logging_dir.empty()) return logging_dir;
    const std::time_t time = std::time(nullptr);
    std::tm local{};
    ::localtime_r(&time, &local);
    char text[32];
    std::strftime(text, sizeof text, "%b%d_%H-%M-%S", &local);
    return output_dir / "runs" / cat(text, "_", parallel::host_name());
  }

  /// A text at step 0: settings, the model's config.json.
  void text(const std::string& tag, std::string_view text) {
    constexpr int dt_string = 7;
    const detail::ProtoMessage shape = detail::ProtoMessage().message(2, detail::ProtoMessage().integer(1, 1)),
                               tensor = detail::ProtoMessage().integer(1, dt_string).message(2, shape).bytes(8, text),
                               plugin = detail::ProtoMessage().message(1, detail::ProtoMessage().bytes(1, "text"));
    event(0, detail::ProtoMessage().bytes(1, tag + "/text_summary").message(8, tensor).message(9, plugin));
  }
  /// The numbers of an entry of log_history.
  void log(const OrderedJson& entry) override {
    for (const auto& [key, value] : entry.items())
      if (key != "step" && value.is_number())
        event(entry.at("step").get<std::int64_t>(),
              detail::ProtoMessage().bytes(1, detail::tensorboard_tag(key)).real32(2, value.get<float>()));
  }
  void finish(bool) override {}
  std::string_view name() const override { return "tensorboard"; }
  const std::filesystem::path& path() const { return path_; }

 private:
  static double now() {
    return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
  }
  void event(std::int64_t step, const detail::ProtoMessage& value) {
    write(detail::ProtoMessage()
              .real(1, now())
              .integer(2, static_cast<std::uint64_t>(step))
              .message(5, detail::ProtoMessage().message(1, value)));
  }
  void write(const detail::ProtoMessage& message) {
    const std::string bytes = detail::record(message.text());
    out_.write(bytes.data(), static_cast<std::streamsize>(bytes.size())).flush();
    if (!out_) fail(path_.string(), ": cannot be written: is the disk full?");
  }

  std::filesystem::path path_;
  std::ofstream out_;
};

}  // namespace lamina::train
