#pragma once
#include <unistd.h>

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <sstream>
#include <string>

#include <sys/resource.h>

namespace lamina::serve {

/// What the system knows of this process, under the names that Prometheus' own clients give. -1: not known.
struct ProcessFigures {
  double cpu_seconds = -1, start_time = -1, virtual_bytes = -1, resident_bytes = -1, open_files = -1, most_files = -1;

  static ProcessFigures read() {
    ProcessFigures out;
    if (rusage use{}; getrusage(RUSAGE_SELF, &use) == 0)
      out.cpu_seconds = static_cast<double>(use.ru_utime.tv_sec + use.ru_stime.tv_sec) +
                        1e-6 * static_cast<double>(use.ru_utime.tv_usec + use.ru_stime.tv_usec);
    if (rlimit limit{}; getrlimit(RLIMIT_NOFILE, &limit) == 0) out.most_files = static_cast<double>(limit.rlim_cur);
    std::error_code failed;
    const std::filesystem::directory_iterator files("/proc/self/fd", failed);
    if (!failed) out.open_files = static_cast<double>(std::distance(begin(files), end(files)));
    out.read_stat();
    return out;
  }

 private:
  /// Fields 22 to 24 of proc(5)'s stat: the start in clock ticks since the system started, bytes, pages.
  void read_stat() {
    std::ifstream file("/proc/self/stat"), system("/proc/stat");
    std::string text((std::istreambuf_iterator<char>(file)), {}), word;
    if (const std::size_t name_end = text.rfind(')'); name_end != text.npos) {
      std::istringstream fields(text.substr(name_end + 1));
      for (int field = 3; field < 22; ++field) fields >> word;
      double ticks = 0, bytes = 0, pages = 0, boot = 0;
      if (!(fields >> ticks >> bytes >> pages)) return;
      virtual_bytes = bytes, resident_bytes = pages * static_cast<double>(sysconf(_SC_PAGESIZE));
      while (system >> word)
        if (word == "btime" && system >> boot) start_time = boot + ticks / static_cast<double>(sysconf(_SC_CLK_TCK));
    }
  }
};

}  // namespace lamina::serve
