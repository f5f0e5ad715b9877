// The server on a Unix socket.
#include <sys/socket.h>
#include <sys/un.h>

#include <fstream>

#include "serve/message_of.hpp"
#include "serve/running_server.hpp"
#include "support/catch.hpp"
#include "support/error_of.hpp"

using namespace lamina;
using namespace lamina::test;
using testing::contains;
namespace fs = std::filesystem;

namespace {

struct SocketFolder {
  SocketFolder() {
    std::string name = (fs::temp_directory_path() / "lamina-uds-XXXXXX").string();
    REQUIRE(::mkdtemp(name.data()));
    path = name;
  }
  ~SocketFolder() { fs::remove_all(path); }
  fs::path path;
};

}  // namespace

TEST_CASE("Unix socket: requests are answered, by more clients than an address may have") {
  const SocketFolder folder;
  serve::HttpLimits limits;
  limits.connections = 20, limits.connections_per_address = 2;
  RunningServer server({.limits = limits, .uds = folder.path / "s"});
  std::vector<std::unique_ptr<Client>> clients;
  for (int i = 0; i < 20; ++i) {
    clients.push_back(std::make_unique<Client>(folder.path / "s"));
    CHECK(clients.back()->ask("GET", "/health").status == 200);
  }
  CHECK(server.http.connections() == 20);
  CHECK(contains(clients.front()->ask("POST", "/v1/chat/completions", question).body, "The answer is 42."));
  server.http.stop();
  CHECK(!fs::exists(folder.path / "s"));
}

TEST_CASE("Unix socket: one that was left behind is replaced, another kind of file and one in use are refused") {
  const SocketFolder folder;
  const fs::path path = folder.path / "s";
  {
    const int left = ::socket(AF_UNIX, SOCK_STREAM, 0);
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    path.string().copy(address.sun_path, sizeof address.sun_path - 1);
    REQUIRE(::bind(left, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0);
    ::close(left);
  }
  RunningServer server({.uds = path});
  CHECK(Client(path).ask("GET", "/health").status == 200);
  const auto error = [](const fs::path& at) { return message_of([&] { RunningServer({.uds = at}); }); };
  CHECK(contains(error(path), "--uds " + path.string() + ": a program listens there already"));
  CHECK(Client(path).ask("GET", "/health").status == 200);
  std::ofstream(folder.path / "file") << "mine";
  CHECK(contains(error(folder.path / "file"), "is there already and is no socket"));
  CHECK(fs::file_size(folder.path / "file") == 4);
  CHECK(contains(error(folder.path / std::string(200, 'x')), "the path of a socket has at most 107"));
  CHECK(contains(error(folder.path / "none/s"), "No such file or directory"));
}

TEST_CASE("Unix socket: a server that ends leaves another's socket alone") {
  const SocketFolder folder;
  const fs::path path = folder.path / "s";
  RunningServer first({.uds = path});
  fs::rename(path, folder.path / "moved");
  RunningServer second({.uds = path});
  first.http.stop();
  CHECK(Client(path).ask("GET", "/health").status == 200);
}
