#include <lamina/checkpoint/safetensors.hpp>
#include "scratch.hpp"
#include "support/catch.hpp"

#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>

using namespace lamina;
using namespace lamina::checkpoint;

namespace {

/// Runs f in a forked child; gives its wait status.
template <class F>
int in_child(F f) {
  const pid_t child = ::fork();
  if (child == 0) ::_exit(f());
  int status = 0;
  ::waitpid(child, &status, 0);
  return status;
}

std::vector<TensorData> tensors_of(const std::vector<float>& values) {
  const auto n = static_cast<std::int64_t>(values.size());
  return {{"a", DType::F32, {n}, std::as_bytes(std::span(values))},
          {"b", DType::F32, {n}, std::as_bytes(std::span(values))}};
}

/// Files of at most 64 KiB from here on: the disk is "full" after that.
void fill_disk() {
  ::signal(SIGXFSZ, SIG_IGN);
  const rlimit limit{1 << 16, 1 << 16};
  ::setrlimit(RLIMIT_FSIZE, &limit);
}

}  // namespace

TEST_CASE("Saving: on a full disk the error says so, the old file stays and nothing is left behind") {
  Scratch dir;
  write_safetensors(dir / "model.safetensors", tensors_of({1, 2, 3}));
  const std::string before = slurp(dir / "model.safetensors");
  const std::vector<float> large(1 << 16);
  const int status = in_child([&] {
    fill_disk();
    const std::string single = error_of([&] { write_safetensors(dir / "model.safetensors", tensors_of(large)); });
    const std::string several = error_of([&] { write_sharded(dir.dir(), tensors_of(large), 300'000); });
    spill(dir / "message", single + "\n" + several);
    return contains(single, "File too large") && contains(single, "free some space") &&
                   contains(several, "File too large")
               ? 0
               : 1;
  });
  INFO(slurp(dir / "message"));
  CHECK(WIFEXITED(status));
  CHECK(WEXITSTATUS(status) == 0);
  std::filesystem::remove(dir / "message");
  CHECK(slurp(dir / "model.safetensors") == before);
  CHECK(std::distance(std::filesystem::directory_iterator(dir.dir()), {}) == 1);
}

TEST_CASE("Saving: a kill -9 in the middle leaves the old file whole, and the next save works") {
  Scratch dir;
  write_safetensors(dir / "model.safetensors", tensors_of({1, 2, 3}));
  const std::string before = slurp(dir / "model.safetensors");
  const std::vector<float> values(1 << 12, 7.0f);
  const int status = in_child([&] {
    SafetensorsWriter writer(dir / "model.safetensors", checkpoint::detail::infos_of(tensors_of(values)));
    writer.append(std::as_bytes(std::span(values)));
    ::kill(::getpid(), SIGKILL);
    return 0;
  });
  CHECK(WIFSIGNALED(status));
  CHECK(slurp(dir / "model.safetensors") == before);
  CHECK(Checkpoint::open(dir.dir()).at("a").shape == std::vector<std::int64_t>{3});
  write_safetensors(dir / "model.safetensors", tensors_of(values));
  CHECK(Checkpoint::open(dir.dir()).at("a").shape == std::vector<std::int64_t>{1 << 12});
  CHECK(std::distance(std::filesystem::directory_iterator(dir.dir()), {}) == 1);
}

TEST_CASE("Saving: a folder that cannot be written is an error that names it") {
  const auto write = [](const char* path) { return error_of([&] { io::write_text(path, "x"); }); };
  CHECK(contains(write("/nowhere/at/all/model.safetensors"), "/nowhere/at/all/model.safetensors: cannot write here"));
  CHECK(contains(write("/proc/version/model"), "cannot write here"));
}

TEST_CASE("Saving: a writer destroyed before its commit leaves nothing, and refuses to commit half a file") {
  Scratch dir;
  {
    SafetensorsWriter writer(dir / "a.safetensors", {{"a", DType::U8, {1}, 1}, {"b", DType::U8, {1}, 1}});
    const std::byte one[1] = {};
    writer.append(one);
    CHECK(contains(error_of([&] { writer.commit(); }), "1 of 2 tensors were written"));
    CHECK(contains(error_of([&] { writer.append({}); }), "wants 1 bytes, got 0"));
  }
  CHECK(std::filesystem::is_empty(dir.dir()));
}
