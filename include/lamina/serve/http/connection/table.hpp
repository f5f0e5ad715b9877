#pragma once
#include <algorithm>
#include <array>
#include <chrono>
#include <compare>
#include <cstdint>
#include <functional>
#include <list>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <utility>

#include <boost/asio/ip/address.hpp>

#include <lamina/serve/http/limits.hpp>

namespace lamina::serve::detail {

/// Whom connections are counted for: an IPv4 address, or the first 64 bits of an IPv6 address, which is the smallest
/// part that one customer is given.
class ClientAddress {
 public:
  ClientAddress() = default;  ///< of a client of a Unix socket
  explicit ClientAddress(const boost::asio::ip::address& address) {
    if (address.is_v4() || address.to_v6().is_v4_mapped()) {
      const auto v4 = address.is_v4() ? address.to_v4()
                                      : boost::asio::ip::make_address_v4(boost::asio::ip::v4_mapped, address.to_v6());
      const auto bytes = v4.to_bytes();
      std::copy(bytes.begin(), bytes.end(), key_.begin() + 1);
      key_[0] = 4;
    } else {
      const auto bytes = address.to_v6().to_bytes();
      std::copy_n(bytes.begin(), 8, key_.begin() + 1);
      key_[0] = 6;
    }
  }
  /// Equal for equal addresses, and of no other meaning.
  std::string key() const { return {key_.begin(), key_.end()}; }
  friend auto operator<=>(const ClientAddress&, const ClientAddress&) = default;

 private:
  std::array<unsigned char, 9> key_{};
};

/// The connections of a server, bounded in all and for each client address. If there is no place for a new one, the
/// connection that has been idle longest is closed for it, else one that has been sending a request for longer than a
/// header may take, else the last to have begun one among those of the address that has most connections; answers are
/// never cut off. An address does not take the place of one that has no more connections than itself, unless that place
/// has been left unused for longer than a header may take: a few clients that come back without end cannot keep out
/// others. If nobody can be closed, the new one gets one of a few spare seats, on which only requests are answered that
/// need no more than their header (/health). Thread-safe.
class ConnectionTable {
 public:
  using Clock = std::chrono::steady_clock;
  enum class Stage { idle, reading, answering };

 private:
  struct Occupant {
    ClientAddress address;
    bool spare = false, leaving = false;
    Stage stage = Stage::idle;
    Clock::time_point since = Clock::now();
    std::function<void()> close = {};
  };
  using Occupants = std::list<Occupant>;

 public:
  /// A connection's place; given back when it is destroyed.
  class Seat {
   public:
    Seat(ConnectionTable& table, Occupants::iterator row) : table_(table), row_(row) {}
    Seat(const Seat&) = delete;
    Seat& operator=(const Seat&) = delete;
    ~Seat() { table_.leave(row_); }
    /// What to do if the place is wanted for somebody else; may be called from any thread.
    void on_eviction(std::function<void()> close) {
      const std::lock_guard lock(table_.mutex_);
      row_->close = std::move(close);
    }
    void enter(Stage stage) {
      const std::lock_guard lock(table_.mutex_);
      if (row_->stage == stage) return;
      row_->stage = stage;
      row_->since = Clock::now();
    }
    bool spare() const { return spare_; }
    const ClientAddress& address() const { return address_; }

   private:
    ConnectionTable& table_;
    Occupants::iterator row_;
    const bool spare_ = row_->spare;
    const ClientAddress address_ = row_->address;
  };

  explicit ConnectionTable(const HttpLimits& limits) : limits_(limits) {}

  /// A place for a client; null if there is none, not even a spare one.
  std::unique_ptr<Seat> seat(const ClientAddress& address) {
    std::function<void()> close;
    std::unique_ptr<Seat> out;
    {
      const std::lock_guard lock(mutex_);
      const auto mine = [&](const Occupant& row) { return !row.spare && row.address == address; };
      const auto regular = [](const Occupant& row) { return !row.spare; };
      const auto spare = [](const Occupant& row) { return row.spare; };
      const bool crowded_client = count(mine) >= limits_.connections_per_address;
      const bool crowded = crowded_client || count(regular) >= limits_.connections;
      auto victim = !crowded ? rows_.end() : crowded_client ? closable(mine) : displaced_by(address);
      const bool take_spare = crowded && victim == rows_.end();
      if (take_spare && count(spare) >= limits_.spare_connections) {
        victim = oldest(spare);
        if (victim == rows_.end()) return nullptr;
      }
      Occupants fresh;
      fresh.push_back({.address = address, .spare = take_spare});
      out = std::make_unique<Seat>(*this, fresh.begin());
      rows_.splice(rows_.end(), fresh);
      if (victim != rows_.end()) close = ask_to_leave(victim);
    }
    if (close) close();
    return out;
  }
  /// Closes the connection that has been sending a request longest, if that is longer than a header may take. For a
  /// server that is short of memory: what slow clients have sent is what fills it.
  void close_slowest() {
    std::function<void()> close;
    {
      const std::lock_guard lock(mutex_);
      const auto victim = slowest([](const Occupant&) { return true; });
      if (victim != rows_.end()) close = ask_to_leave(victim);
    }
    if (close) close();
  }
  int size() const {
    const std::lock_guard lock(mutex_);
    return static_cast<int>(rows_.size() + leaving_.size());
  }

 private:
  template <class Which>
  int count(Which which) const {
    return static_cast<int>(std::count_if(rows_.begin(), rows_.end(), which));
  }
  /// The row that has been in its stage longest, among those that are not answering.
  template <class Which>
  Occupants::iterator oldest(Which which) {
    auto found = rows_.end();
    for (auto row = rows_.begin(); row != rows_.end(); ++row)
      if (which(*row) && row->stage != Stage::answering && (found == rows_.end() || row->since < found->since))
        found = row;
    return found;
  }
  template <class Which>
  Occupants::iterator closable(Which which) {
    const auto idle = oldest([&](const Occupant& row) { return which(row) && row.stage == Stage::idle; });
    if (idle != rows_.end()) return idle;
    return slowest(which);
  }
  template <class Which>
  Occupants::iterator slowest(Which which) {
    const auto slow_since = Clock::now() - limits_.header_read;
    return oldest(
        [&](const Occupant& row) { return which(row) && row.stage == Stage::reading && row.since < slow_since; });
  }
  /// The row of a full table that makes way for a new connection of `address`.
  Occupants::iterator displaced_by(const ClientAddress& address) {
    std::map<ClientAddress, int> held;
    for (const Occupant& row : rows_)
      if (!row.spare) ++held[row.address];
    const int mine = held[address];
    const auto long_ago = Clock::now() - limits_.header_read;
    const auto victim = closable([&](const Occupant& row) {
      return !row.spare && (row.address == address || held[row.address] > mine || row.since < long_ago);
    });
    if (victim != rows_.end()) return victim;
    auto found = rows_.end();
    for (auto row = rows_.begin(); row != rows_.end(); ++row) {
      // With one more than the newcomer will have, a crowd of clients with one connection each cuts nobody off.
      if (row->spare || row->stage != Stage::reading || held[row->address] <= mine + 1) continue;
      const auto rank = [&](const Occupant& r) { return std::pair(held[r.address], r.since); };
      if (found == rows_.end() || rank(*found) <= rank(*row)) found = row;
    }
    return found;
  }
  /// What to call for it, once the table is unlocked.
  std::function<void()> ask_to_leave(Occupants::iterator row) {
    row->leaving = true;
    leaving_.splice(leaving_.end(), rows_, row);
    return std::move(row->close);
  }
  void leave(Occupants::iterator row) {
    const std::lock_guard lock(mutex_);
    (row->leaving ? leaving_ : rows_).erase(row);
  }

  const HttpLimits limits_;
  mutable std::mutex mutex_;
  Occupants rows_, leaving_;  ///< leaving_: asked to close, and no longer counted
};

}  // namespace lamina::serve::detail
