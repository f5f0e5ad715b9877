#include <lamina/serve/http/connection/table.hpp>

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "serve/running_server.hpp"
#include "support/catch.hpp"

using namespace lamina;
using namespace lamina::test;
using serve::detail::ClientAddress;
using serve::detail::ConnectionTable;

namespace {

/// Connections that leave as soon as they are asked to.
struct Crowd {
  explicit Crowd(const serve::HttpLimits& limits) : table(limits) {}
  /// A new connection that goes straight to a stage; the number of its seat, -1 if it got none or a spare one.
  int enter(const char* address, ConnectionTable::Stage stage) {
    auto seat = table.seat(ClientAddress(boost::asio::ip::make_address(address)));
    if (!seat || seat->spare()) return -1;
    const int number = next++;
    seat->on_eviction([this, number] { seats.erase(number); });
    seat->enter(stage);
    seats[number] = std::move(seat);
    return number;
  }
  bool has(int number) const { return seats.contains(number); }

  ConnectionTable table;
  std::map<int, std::unique_ptr<ConnectionTable::Seat>> seats;
  int next = 0;
};

using enum ConnectionTable::Stage;

}  // namespace

TEST_CASE("connections: addresses that fill the table with half-sent requests make way for others at once") {
  serve::HttpLimits limits;
  limits.connections = 12;
  limits.connections_per_address = 6;
  Crowd crowd(limits);
  const char* hostile[] = {"127.0.0.3", "127.0.0.4", "127.0.0.5"};
  for (int i = 0; i < 12; ++i) CHECK(crowd.enter(hostile[i % 3], reading) == i);
  const int guest = crowd.enter("127.0.0.9", idle);
  CHECK(guest >= 0);
  CHECK_FALSE(crowd.has(11));  // the last to begin, of addresses that have four each
  CHECK(crowd.has(0));
  // They come back, without end: the guest stays before and while it sends its request.
  for (int i = 0; i < 40; ++i) {
    if (i == 20) crowd.seats[guest]->enter(reading);
    crowd.enter(hostile[i % 3], reading);
    CHECK(crowd.has(guest));
  }
}

TEST_CASE("connections: clients with one connection each do not cut off one another, nor any answer") {
  serve::HttpLimits limits;
  limits.connections = 4;
  limits.connections_per_address = 3;
  Crowd crowd(limits);
  SECTION("one each") {
    for (const char* address : {"10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.4"})
      CHECK(crowd.enter(address, reading) >= 0);
    CHECK(crowd.enter("10.0.0.5", reading) == -1);
    CHECK(crowd.seats.size() == 4);
  }
  SECTION("answers stay, of whatever address") {
    for (int i = 0; i < 3; ++i) CHECK(crowd.enter("10.0.0.1", answering) >= 0);
    CHECK(crowd.enter("10.0.0.2", reading) >= 0);
    CHECK(crowd.enter("10.0.0.3", reading) == -1);
    CHECK(crowd.seats.size() == 4);
  }
}

TEST_CASE("HTTP: slow headers from several addresses do not keep out a client from another") {
  serve::HttpLimits limits;
  limits.connections = 12;
  limits.connections_per_address = 6;
  RunningServer server({.limits = limits});
  const char* hostile[] = {"127.0.0.3", "127.0.0.4", "127.0.0.5"};
  std::vector<std::unique_ptr<Client>> slow;
  for (int i = 0; i < 40; ++i) {
    slow.push_back(std::make_unique<Client>(server.http.port(), hostile[i % 3]));
    slow.back()->send("G");
    if (i < 12) continue;
    Client guest(server.http.port(), "127.0.0.9");
    CHECK(guest.ask("POST", "/tokenize", R"({"prompt":"x"})").status == 200);
  }
}
