#include <lamina/io/file.hpp>
#include <lamina/io/json/file.hpp>

#include <sys/socket.h>
#include <sys/un.h>

#include <filesystem>
#include <string>

#include "support/catch.hpp"
#include "support/error_of.hpp"
#include "support/temporary_folder.hpp"

using namespace lamina;
using testing::error_of;

TEST_CASE("Files: a pipe, a socket, a device and a folder are refused at once, by what they are") {
  const testing::TemporaryFolder folder;
  const auto refusal = [](const std::filesystem::path& path) { return error_of([&] { io::read_text(path); }); };
  const auto pipe = folder.path() / "pipe", socket_path = folder.path() / "socket";
  REQUIRE(::mkfifo(pipe.c_str(), 0600) == 0);
  CHECK(refusal(pipe) == pipe.string() + ": is a pipe, wanted a regular file");
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  REQUIRE(socket_path.string().copy(address.sun_path, sizeof address.sun_path - 1) == socket_path.string().size());
  const int listening = ::socket(AF_UNIX, SOCK_STREAM, 0);
  REQUIRE(::bind(listening, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0);
  CHECK(refusal(socket_path) == socket_path.string() + ": is a socket, wanted a regular file");
  ::close(listening);
  CHECK(refusal("/dev/zero") == "/dev/zero: is a device, wanted a regular file");
  CHECK(refusal(folder.path()) == folder.path().string() + ": is a folder, wanted a regular file");
  CHECK(refusal(folder.path() / "none") ==
        (folder.path() / "none").string() + ": cannot open: No such file or directory");
  CHECK_THROWS_AS(io::File(pipe), io::FileError);
}

TEST_CASE("Files: one that is too large is refused by its size, before it is read") {
  const testing::TemporaryFolder folder;
  const auto sparse = folder.path() / "sparse.json";
  io::write_text(sparse, "{}");
  std::filesystem::resize_file(sparse, std::uintmax_t{1} << 40);
  CHECK(error_of([&] { io::read_json_object<nlohmann::json>(sparse); }) ==
        sparse.string() + ": has 1099511627776 bytes, more than the 16777216 that such a file may have");
}
