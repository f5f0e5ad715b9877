#pragma once
#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include <cupti.h>

#include <lamina/core/error.hpp>

namespace lamina {

/// When the GPU was at work: each kernel, copy and fill, those of recorded graphs too. Begin before any graph is
/// recorded; one trace a process. Tracing itself takes time, so what it calls idle is an upper bound.
class GpuTrace {
 public:
  GpuTrace() {
    check(cuptiActivityRegisterCallbacks(give_buffer, take_buffer));
    for (const auto kind :
         {CUPTI_ACTIVITY_KIND_CONCURRENT_KERNEL, CUPTI_ACTIVITY_KIND_MEMCPY, CUPTI_ACTIVITY_KIND_MEMSET})
      check(cuptiActivityEnable(kind));
  }
  /// Forgets everything seen so far. The GPU has nothing to do at this moment.
  void restart() {
    check(cuptiActivityFlushAll(CUPTI_ACTIVITY_FLAG_FLUSH_FORCED));
    spans().clear();
    kernels().clear();
    launches().clear();
  }
  /// Launches and time of the kernels of one name.
  struct Kernel {
    std::string name;
    std::size_t launches = 0;
    double ms = 0;
  };
  /// Since restart(), the longest first. The GPU has nothing to do at this moment.
  std::vector<Kernel> by_kernel() {
    check(cuptiActivityFlushAll(CUPTI_ACTIVITY_FLAG_FLUSH_FORCED));
    std::vector<Kernel> out;
    for (const auto& [name, kernel] : kernels()) out.push_back({name, kernel.launches, kernel.ms});
    std::sort(out.begin(), out.end(), [](const Kernel& a, const Kernel& b) { return a.ms > b.ms; });
    return out;
  }

  /// One kernel of the trace; times in us.
  struct Launch {
    std::string name;
    double start = 0, end = 0;
    bool operator<(const Launch& other) const { return start < other.start; }
  };
  /// `count` launches in a row from the middle of what was seen since restart(), times from the first of them.
  std::vector<Launch> excerpt(std::size_t count) {
    check(cuptiActivityFlushAll(CUPTI_ACTIVITY_FLAG_FLUSH_FORCED));
    std::sort(launches().begin(), launches().end());
    const std::size_t first = launches().size() / 2, last = std::min(launches().size(), first + count);
    std::vector<Launch> out(launches().begin() + static_cast<std::ptrdiff_t>(first),
                            launches().begin() + static_cast<std::ptrdiff_t>(last));
    const double begin = out.empty() ? 0 : out.front().start;
    for (Launch& launch : out) launch.start -= begin, launch.end -= begin;
    return out;
  }

  struct Summary {
    std::size_t launches = 0;
    double busy_ms = 0, elapsed_ms = 0;  ///< elapsed: from the first start to the last end
    double idle_share() const { return 1 - busy_ms / elapsed_ms; }
  };
  /// Since restart(). The GPU has nothing to do at this moment.
  Summary summary() {
    check(cuptiActivityFlushAll(CUPTI_ACTIVITY_FLAG_FLUSH_FORCED));
    auto& seen = spans();
    if (seen.empty()) fail("CUPTI saw no kernels: does the driver allow this user to trace?");
    std::sort(seen.begin(), seen.end());
    std::uint64_t busy_ns = 0, until = seen.front().first;
    for (const auto& [start, end] : seen)
      if (end > until) busy_ns += end - std::max(start, until), until = end;
    return {seen.size(), 1e-6 * static_cast<double>(busy_ns), 1e-6 * static_cast<double>(until - seen.front().first)};
  }

 private:
  using Span = std::pair<std::uint64_t, std::uint64_t>;  // start and end in ns
  static std::vector<Span>& spans() {
    static std::vector<Span> seen;
    return seen;
  }
  static std::map<std::string, Kernel>& kernels() {
    static std::map<std::string, Kernel> seen;
    return seen;
  }
  static std::vector<Launch>& launches() {
    static std::vector<Launch> seen;
    return seen;
  }
  static void check(CUptiResult result) {
    const char* why = "";
    if (result == CUPTI_SUCCESS) return;
    cuptiGetResultString(result, &why);
    fail("CUPTI: ", why);
  }
  static void CUPTIAPI give_buffer(std::uint8_t** buffer, std::size_t* bytes, std::size_t* most_records) {
    *bytes = std::size_t{8} << 20;
    *buffer = static_cast<std::uint8_t*>(std::aligned_alloc(8, *bytes));
    *most_records = 0;  // as many as fit
  }
  template <class Record>
  static void keep(const CUpti_Activity* record) {
    const auto* timed = reinterpret_cast<const Record*>(record);
    spans().emplace_back(timed->start, timed->end);
  }
  static void keep_kernel(const CUpti_Activity* record) {
    keep<CUpti_ActivityKernel10>(record);
    const auto* timed = reinterpret_cast<const CUpti_ActivityKernel10*>(record);
    Kernel& kernel = kernels()[timed->name];
    launches().push_back(
        {timed->name, 1e-3 * static_cast<double>(timed->start), 1e-3 * static_cast<double>(timed->end)});
    ++kernel.launches;
    kernel.ms += 1e-6 * static_cast<double>(timed->end - timed->start);
  }
  static void CUPTIAPI take_buffer(CUcontext, std::uint32_t, std::uint8_t* buffer, std::size_t,
                                   std::size_t valid_bytes) {
    CUpti_Activity* record = nullptr;
    while (cuptiActivityGetNextRecord(buffer, valid_bytes, &record) == CUPTI_SUCCESS) {
      if (record->kind == CUPTI_ACTIVITY_KIND_CONCURRENT_KERNEL) keep_kernel(record);
      if (record->kind == CUPTI_ACTIVITY_KIND_MEMCPY) keep<CUpti_ActivityMemcpy6>(record);
      if (record->kind == CUPTI_ACTIVITY_KIND_MEMSET) keep<CUpti_ActivityMemset4>(record);
    }
    std::free(buffer);
  }
};

}  // namespace lamina
