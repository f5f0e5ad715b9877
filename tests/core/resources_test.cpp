#include <lamina/core/machine/resources.hpp>
#include "checkpoint/scratch.hpp"
#include "support/catch.hpp"

using namespace lamina;

namespace {

/// A folder with the files of /proc and /sys that say what a process may use.
class FakeHost {
 public:
  FakeHost(std::string_view groups, std::string_view mounts) {
    write("proc/self/cgroup", groups);
    write("proc/self/mountinfo", mounts);
    write("proc/meminfo", "MemTotal:       8000000 kB\nMemFree:          100 kB\nMemAvailable:    4000000 kB\n");
  }
  void write(const std::string& path, std::string_view text) {
    std::filesystem::create_directories((dir_ / path).parent_path());
    spill(dir_ / path, text);
  }
  int processors() const { return available_processors(dir_.dir().string()); }
  std::int64_t memory() const { return available_memory(dir_.dir().string()); }

 private:
  Scratch dir_;
};

constexpr std::string_view unified_mount = "31 23 0:28 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n";
constexpr std::string_view separate_mounts =
    "32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw shared:9 - cgroup cgroup rw,cpu,cpuacct\n"
    "35 31 0:32 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
    "41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n";

}  // namespace

TEST_CASE("resources: without a control group's limit the host's numbers hold") {
  const int all = detail::processors_of_affinity();
  FakeHost host("0::/\n", unified_mount);
  CHECK(host.processors() == all);
  CHECK(host.memory() == 4000000 * std::int64_t{1024});
  host.write("sys/fs/cgroup/cpu.max", "max 100000\n");
  host.write("sys/fs/cgroup/memory.current", "4096\n");
  host.write("sys/fs/cgroup/memory.max", "max\n");
  CHECK(host.processors() == all);
  CHECK(host.memory() == 4000000 * std::int64_t{1024});
}

TEST_CASE("resources: the quota of version 2 is rounded up, and a group around this one limits it too") {
  FakeHost host("0::/pod/main\n", unified_mount);
  host.write("sys/fs/cgroup/pod/main/cpu.max", "50000 100000\n");
  CHECK(host.processors() == 1);
  host.write("sys/fs/cgroup/pod/main/cpu.max", "9900000 100000\n");
  CHECK(host.processors() == detail::processors_of_affinity());
  host.write("sys/fs/cgroup/pod/cpu.max", "20000 100000\n");
  CHECK(host.processors() == 1);
}

TEST_CASE("resources: the limit of version 2 less what is used, files' pages not counted") {
  FakeHost host("0::/pod/main\n", unified_mount);
  host.write("sys/fs/cgroup/pod/main/memory.current", "3000000\n");
  host.write("sys/fs/cgroup/pod/main/memory.max", "5000000\n");
  CHECK(host.memory() == 2000000);
  host.write("sys/fs/cgroup/pod/main/memory.stat", "anon 1\nactive_file 300000\ninactive_file 700000\n");
  CHECK(host.memory() == 3000000);
  host.write("sys/fs/cgroup/pod/main/memory.high", "4000000\n");
  CHECK(host.memory() == 2000000);
  host.write("sys/fs/cgroup/pod/memory.current", "3000000\n");
  host.write("sys/fs/cgroup/pod/memory.max", "3500000\n");
  CHECK(host.memory() == 500000);
  host.write("sys/fs/cgroup/pod/memory.current", "9000000\n");
  CHECK(host.memory() == 1);  // 0 would say: not known
}

TEST_CASE("resources: quota and limit of version 1, each in a hierarchy of its own") {
  FakeHost host("9:cpuset:/other\n5:cpu,cpuacct:/docker/abc\n4:memory:/docker/abc\n0::/\n", separate_mounts);
  host.write("sys/fs/cgroup/cpu,cpuacct/docker/abc/cpu.cfs_period_us", "100000\n");
  host.write("sys/fs/cgroup/cpu,cpuacct/docker/abc/cpu.cfs_quota_us", "-1\n");
  CHECK(host.processors() == detail::processors_of_affinity());
  host.write("sys/fs/cgroup/cpu,cpuacct/docker/abc/cpu.cfs_quota_us", "60000\n");
  CHECK(host.processors() == 1);
  host.write("sys/fs/cgroup/memory/docker/abc/memory.limit_in_bytes", "2000000\n");
  host.write("sys/fs/cgroup/memory/docker/abc/memory.usage_in_bytes", "1500000\n");
  host.write("sys/fs/cgroup/memory/docker/abc/memory.stat", "inactive_file 7\ntotal_inactive_file 100000\n");
  CHECK(host.memory() == 600000);
  host.write("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n");
  CHECK(host.memory() == 600000);
}

TEST_CASE("resources: a container that sees its own group as the root of the mount") {
  FakeHost host("4:memory:/docker/abc\n",
                "35 31 0:32 /docker/abc /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n");
  host.write("sys/fs/cgroup/memory/memory.limit_in_bytes", "2000000\n");
  host.write("sys/fs/cgroup/memory/memory.usage_in_bytes", "500000\n");
  CHECK(host.memory() == 1500000);
}

TEST_CASE("resources: without /proc, as in a bare chroot, the memory is the kernel's own answer") {
  FakeHost host("0::/\n", unified_mount);
  host.write("proc/meminfo", "");
  CHECK(host.memory() > (std::int64_t{1} << 20));
}
