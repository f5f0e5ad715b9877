#include <lamina/parallel/tcp/torch_store.hpp>

#include <cstdlib>
#include <fstream>

#include "support/catch.hpp"
#include "support/error_of.hpp"
#include "support/peer.hpp"
#include "support/temporary_folder.hpp"

using namespace lamina;
using namespace lamina::parallel;

TEST_CASE("TorchStore: PyTorch's TCPStore keeps what one client sets for another") {
  const char* python = std::getenv("LAMINA_PYTHON");
  if (!python) {
    WARN("SKIPPED: LAMINA_PYTHON names no Python with torch");
    return;
  }
  const testing::TemporaryFolder folder;
  const auto script = folder.path() / "store.py", port_file = folder.path() / "port", done = folder.path() / "done";
  std::ofstream(script) << "import sys, os, time, torch.distributed as d\n"
                           "s = d.TCPStore('127.0.0.1', 0, is_master=True, wait_for_workers=False)\n"
                           "open(sys.argv[1] + '.new', 'w').write(str(s.port))\n"
                           "os.rename(sys.argv[1] + '.new', sys.argv[1])\n"
                           "for _ in range(600):\n"
                           "    time.sleep(0.1)\n"
                           "    if os.path.exists(sys.argv[2]): break\n";
  REQUIRE(std::system(cat("'", python, "' -W ignore ", script.string(), " ", port_file.string(), " ", done.string(),
                          " 2>/dev/null &")
                          .c_str()) == 0);
  int port = 0;
  for (int trial = 0; trial < 600 && port == 0; ++trial) {
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
    std::ifstream(port_file) >> port;
  }
  REQUIRE(port != 0);
  TorchStore first("127.0.0.1", port, Seconds(20)), second("127.0.0.1", port, Seconds(20));
  first.set("lamina/run", "10.0.0.1 4711");
  CHECK(second.get("lamina/run") == "10.0.0.1 4711");
  CHECK(first.get("lamina/run") == "10.0.0.1 4711");
  std::ofstream(done) << "";
}

TEST_CASE("TorchStore: what is no store, and promises more than a store holds, is an error") {
  std::string answer(9, '\xFF');  // waited; then the length of the value
  answer[0] = 0;
  const testing::Peer peer(answer);
  TorchStore store("127.0.0.1", peer.port(), Seconds(20));
  CHECK(testing::contains(testing::error_of([&] { store.get("key"); }), "bytes of key: is it torchrun's?"));
}
