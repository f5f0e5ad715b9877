#pragma once
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

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
    add_value(magic);
    send();
  }

  void set(const std::string& key, const std::string& value) {
    begin(Query::set);
    add_text(key);
    add_text(value);
    send();
  }
  /// The value of a key; waits until a process has set it.
  std::string get(const std::string& key) {
    begin(Query::wait);
    add_value(std::uint64_t{1});
    add_text(key);
    send();
    if (server_.receive_value<std::uint8_t>() != 0) fail(server_.name(), " does not wait for ", key);
    begin(Query::get);
    add_text(key);
    send();
    const auto length = server_.receive_value<std::uint64_t>();
    if (length > most_bytes) fail(server_.name(), " has ", length, " bytes of ", key, ": is it torchrun's?");
    std::string value(length, '\0');
    server_.receive(std::as_writable_bytes(std::span(value)));
    return value;
  }

 private:
  static constexpr std::uint64_t most_bytes = 4096;
  enum class Query : std::uint8_t { validate = 0, set = 1, get = 3, wait = 6 };
  void begin(Query query) {
    message_.clear();
    add_value(query);
  }
  template <class T>
  void add_value(const T& value) {
    const auto bytes = std::as_bytes(std::span(&value, 1));
    message_.insert(message_.end(), bytes.begin(), bytes.end());
  }
  void add_text(const std::string& text) {
    add_value(std::uint64_t{text.size()});
    const auto bytes = std::as_bytes(std::span(text));
    message_.insert(message_.end(), bytes.begin(), bytes.end());
  }
  /// The store closes a connection whose first bytes are no whole message.
  void send() { server_.send(message_); }

  std::vector<std::byte> message_;
  Connection server_;
};

}  // namespace lamina::parallel
