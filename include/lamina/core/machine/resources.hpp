#pragma once
#include <algorithm>
#include <bit>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <thread>
#include <vector>

#if defined(__linux__)
#include <sched.h>
#include <sys/sysinfo.h>
#include <unistd.h>
#endif

/// How many processors and how much memory this process may use: what the host has, the affinity mask allows and the
/// limits of its control group leave. Containers set those limits, so nothing else may ask the host.
/// source: Linux, Documentation/admin-guide/cgroup-v2.rst and cgroup-v1/memory.rst; scheduler/sched-bwc.rst
namespace lamina {

namespace detail {

/// A small text file, empty if it cannot be read.
inline std::string read_small_file(const std::string& path) {
  std::string text;
  std::FILE* in = std::fopen(path.c_str(), "r");
  if (!in) return text;
  char buffer[4096];
  for (std::size_t n; (n = std::fread(buffer, 1, sizeof buffer, in)) > 0;) text.append(buffer, n);
  std::fclose(in);
  return text;
}
inline std::vector<std::string> split(const std::string& text, char at) {
  std::vector<std::string> parts;
  for (std::size_t first = 0; first < text.size();) {
    const std::size_t end = std::min(text.find(at, first), text.size());
    parts.push_back(text.substr(first, end - first));
    first = end + 1;
  }
  return parts;
}

/// Whether a list such as "rw,cpu,cpuacct" holds a name.
inline bool lists(const std::string& names, const std::string& name) {
  const std::vector<std::string> all = split(names, ',');
  return std::find(all.begin(), all.end(), name) != all.end();
}

/// The folders of this process's control group of a controller ("cpu" or "memory") and of all groups around it, whose
/// limits hold as well; both of version 1 and of version 2.
inline std::vector<std::string> cgroup_folders(const std::string& root, const std::string& controller) {
  std::vector<std::string> folders;
  const std::vector<std::string> groups = split(read_small_file(root + "/proc/self/cgroup"), '\n');
  for (const std::string& mount : split(read_small_file(root + "/proc/self/mountinfo"), '\n')) {
    const std::size_t dash = mount.find(" - ");
    if (dash == std::string::npos) continue;
    const std::vector<std::string> where = split(mount.substr(0, dash), ' '), what = split(mount.substr(dash + 3), ' ');
    if (where.size() < 5 || what.size() < 3) continue;
    const bool unified = what[0] == "cgroup2";
    if (!unified && !(what[0] == "cgroup" && lists(what[2], controller))) continue;
    const std::string &outermost = where[3], &point = where[4];
    for (const std::string& group : groups) {  // 4:cpu,cpuacct:/path, or 0::/path in version 2
      const std::size_t first = group.find(':'), second = group.find(':', first + 1);
      if (first == std::string::npos || second == std::string::npos) continue;
      const std::string controllers = group.substr(first + 1, second - first - 1);
      if (unified ? !controllers.empty() : !lists(controllers, controller)) continue;
      std::string path = group.substr(second + 1);
      if (outermost != "/")
        path = path.compare(0, outermost.size(), outermost) == 0 ? path.substr(outermost.size()) : "";
      if (path == "/" || path.find("..") != std::string::npos) path.clear();
      for (;; path.resize(path.rfind('/'))) {
        folders.push_back(root + point + path);
        if (path.find('/') == std::string::npos) break;
      }
    }
  }
  return folders;
}

/// The number in a file; `none` if there is no such file, or no number in it ("max").
inline std::int64_t read_number(const std::string& path, std::int64_t none) {
  const std::string text = read_small_file(path);
  char* end = nullptr;
  const long long value = std::strtoll(text.c_str(), &end, 10);
  return end == text.c_str() ? none : value;
}

/// The number after a name at the start of a line, 0 if there is none.
inline std::int64_t read_field(const std::string& text, const std::string& name) {
  for (const std::string& line : split(text, '\n'))
    if (line.compare(0, name.size(), name) == 0) return std::strtoll(line.c_str() + name.size(), nullptr, 10);
  return 0;
}

/// Processors' worth of time that a control group may use; 0: no limit.
inline double cpu_quota(const std::string& folder) {
  long long quota = 0, period = 0;
  if (std::sscanf(read_small_file(folder + "/cpu.max").c_str(), "%lld %lld", &quota, &period) != 2) {
    quota = read_number(folder + "/cpu.cfs_quota_us", -1);
    period = read_number(folder + "/cpu.cfs_period_us", 0);
  }
  return quota > 0 && period > 0 ? static_cast<double>(quota) / static_cast<double>(period) : 0;
}

/// Bytes that a control group may still take, pages of files that can be dropped counted as free, at least 1; `none`:
/// no limit.
inline std::int64_t memory_left(const std::string& folder, std::int64_t none) {
  constexpr std::int64_t no_limit = INT64_MAX;
  const bool unified = read_number(folder + "/memory.current", -1) >= 0;
  const std::int64_t limit =
      unified ? std::min(read_number(folder + "/memory.max", no_limit), read_number(folder + "/memory.high", no_limit))
              : read_number(folder + "/memory.limit_in_bytes", no_limit);
  if (limit == no_limit) return none;
  const std::int64_t used = read_number(folder + (unified ? "/memory.current" : "/memory.usage_in_bytes"), 0);
  const std::string statistics = read_small_file(folder + "/memory.stat"), prefix = unified ? "" : "total_";
  const std::int64_t files =
      read_field(statistics, prefix + "active_file ") + read_field(statistics, prefix + "inactive_file ");
  return std::min(none, std::max<std::int64_t>(1, limit - std::max<std::int64_t>(0, used - files)));
}

/// The words of this thread's affinity mask; empty if it is not known.
inline std::vector<unsigned long> affinity_mask() {
#if defined(__linux__)
  std::vector<unsigned long> mask(16);  // 1024 processors; the kernel refuses a mask shorter than its own
  for (; mask.size() <= 1024; mask.resize(2 * mask.size()))
    if (sched_getaffinity(0, mask.size() * sizeof mask[0], reinterpret_cast<cpu_set_t*>(mask.data())) == 0) return mask;
#endif
  return {};
}
/// Processors of this thread's affinity mask.
inline int processors_of_affinity() {
  int count = 0;
  for (const unsigned long word : affinity_mask()) count += std::popcount(word);
  return std::max(1, count > 0 ? count : static_cast<int>(std::thread::hardware_concurrency()));
}

/// Bytes of memory that the host has free or can free; less if /proc cannot be read, as in a bare chroot, since the
/// kernel's other answer leaves out pages of files. 0: not known.
inline std::int64_t free_memory(const std::string& root) {
  if (const std::int64_t kib = read_field(read_small_file(root + "/proc/meminfo"), "MemAvailable:")) return 1024 * kib;
#if defined(__linux__)
  if (struct sysinfo host{}; ::sysinfo(&host) == 0)
    return static_cast<std::int64_t>(host.freeram + host.bufferram) * host.mem_unit;
#endif
  return 0;
}

}  // namespace detail

/// Processors that this process may keep busy: those of its affinity mask, at most its control group's quota, rounded
/// up; at least 1. `root` is a prefix of /proc and /sys, for tests.
inline int available_processors(const std::string& root = "") {
  double most = detail::processors_of_affinity();
  for (const std::string& folder : detail::cgroup_folders(root, "cpu")) {
    if (const double quota = detail::cpu_quota(folder); quota > 0) most = std::min(most, quota);
  }
  const int whole = static_cast<int>(most);
  return std::max(1, whole < most ? whole + 1 : whole);
}

/// Bytes of memory that this process may still take: what the host has free or can free, at most what the limits of its
/// control group leave and at least 1; 0 if that is not known.
inline std::int64_t available_memory(const std::string& root = "") {
  std::int64_t bytes = detail::free_memory(root);
  if (bytes == 0) return 0;
  for (const std::string& folder : detail::cgroup_folders(root, "memory")) bytes = detail::memory_left(folder, bytes);
  return bytes;
}

/// Bytes of memory that this process has in use; 0 if that is not known.
inline std::int64_t resident_memory() {
#if defined(__linux__)
  const std::string text = detail::read_small_file("/proc/self/statm");  // in pages: in all, resident, ...
  const std::size_t second = text.find(' ');
  if (second != std::string::npos) return std::atoll(text.c_str() + second) * ::sysconf(_SC_PAGESIZE);
#endif
  return 0;
}

}  // namespace lamina
