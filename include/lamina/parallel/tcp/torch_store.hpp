#pragma once
#include <cstdint>
#include <string>

#include <lamina/parallel/tcp/connection.hpp>

namespace lamina::parallel {

/// A client of the key-value store that torchrun's agent serves at MASTER_ADDR:MASTER_PORT.
/// source  PyTorch, torch/csrc/distributed/c10d/TCPStore.cpp and TCPStoreLibUvBackend.cpp
class TorchStore {
 public:
  TorchStore(const std::string& host, int port, Seconds timeout) : server_(Connection::to(host, port, timeout)) {
    server_.set_name(cat("torchrun's store at ", host, ":", port));
    constexpr std::uint32_t magic = 0x3C85F7CE;
    begin(Query::validate);
    server_.send_value(magic);
  }

  void set(const std::string& key, const std::string& value) {
    begin(Query::set);
    send_text(key);
    send_text(value);
  }
  /// The value of a key; waits until a process has set it.
  std::string get(const std::string& key) {
    begin(Query::wait);
    server_.send_value(std::uint64_t{1});
    send_text(key);
    if (server_.receive_value<std::uint8_t>() != 0) fail(server_.name(), " does not wait for ", key);
    begin(Query::get);
    send_text(key);
    const auto length = server_.receive_value<std::uint64_t>();
    if (length > most_bytes) fail(server_.name(), " has ", length, " bytes of ", key, ": is it torchrun's?");
    std::string value(length, '\0');
    server_.receive(std::as_writable_bytes(std::span(value)));
    return value;
  }

 private:
  static constexpr std::uint64_t most_bytes = 4096;
  enum class Query : std::uint8_t { validate = 0, set = 1, get = 3, wait = 6 };
  void begin(Query query) { server_.send_value(query); }
  void send_text(const std::string& text) {
    server_.send_value(std::uint64_t{text.size()});
    server_.send(std::as_bytes(std::span(text)));
  }

  Connection server_;
};

}  // namespace lamina::parallel
