#pragma once
#include <charconv>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <system_error>

#include <lamina/io/program/usage.hpp>

/// The seam between lamina-train and the page that shows a run (serve/run_page/): no header of HTTP reaches the
/// trainer.
namespace lamina::train {

/// Where a page is served.
struct PageAddress {
  std::string host = "127.0.0.1";
  unsigned short port = 0;  ///< 0: any free one
};

/// Reads "8001", "0.0.0.0:8001", "[::1]:8001". UsageError for other words.
inline PageAddress read_page_address(std::string_view word) {
  PageAddress address;
  const std::size_t colon = word.rfind(':');
  std::string_view host = colon == word.npos ? "" : word.substr(0, colon);
  const std::string_view port = colon == word.npos ? word : word.substr(colon + 1);
  if (host.starts_with('[') && host.ends_with(']')) host = host.substr(1, host.size() - 2);
  const auto [end, error] = std::from_chars(port.data(), port.data() + port.size(), address.port);
  if (port.empty() || error != std::errc() || end != port.data() + port.size() || (colon != word.npos && host.empty()))
    io::usage("--watch \"", word, "\": wanted PORT, 0 to 65535 (0: any free one), or ADDRESS:PORT");
  if (!host.empty()) address.host = host;
  return address;
}

/// A page that is served while this lives.
class RunPage {
 public:
  virtual ~RunPage() = default;
  virtual std::string url() const = 0;
  /// Returns after Ctrl-C, if the page was opened to take signals.
  virtual void wait() = 0;
};

enum class PageSignals { ignored, end_it };

/// Serves the page of a run's folder from a thread of its own. Error if the address cannot be had.
using OpenRunPage =
    std::function<std::unique_ptr<RunPage>(const std::filesystem::path& folder, const PageAddress&, PageSignals)>;
/// The one of lamina-train, which is a unit of its own.
std::unique_ptr<RunPage> open_run_page(const std::filesystem::path& folder, const PageAddress&, PageSignals);

}  // namespace lamina::train
