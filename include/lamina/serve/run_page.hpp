#pragma once
#include <chrono>
#include <filesystem>
#include <string>

#include <lamina/serve/http.hpp>
#include <lamina/serve/run_page/run_routes.hpp>
#include <lamina/train/program/run_page.hpp>

namespace lamina::serve {

/// The page of a run's folder, served by one thread. Whoever looks at it reads files: the run itself does nothing for
/// it, and ends without waiting for a client.
class ServedRunPage final : public train::RunPage {
 public:
  ServedRunPage(const std::filesystem::path& folder, const train::PageAddress& address, train::PageSignals signals)
      : host_(address.host),
        routes_(RunFiles(folder), address.host),
        server_({.host = address.host,
                 .port = address.port,
                 .limits = limits(),
                 .threads = 1,
                 .grace = std::chrono::milliseconds(0),
                 .handle_signals = signals == train::PageSignals::end_it},
                routes_) {}

  std::string url() const override {
    const std::string host = host_.find(':') == std::string::npos ? host_ : "[" + host_ + "]";
    return cat("http://", host, ":", server_.port(), "/");
  }
  void wait() override { server_.wait(); }

 private:
  /// No request has a body, and few people look at once.
  static HttpLimits limits() {
    HttpLimits limits;
    limits.header_bytes = 16 * 1024;
    limits.body_bytes = 0;
    limits.connections = limits.connections_per_address = 32;
    limits.spare_connections = 0;
    limits.all_unsent_bytes = 128 * 1024 * 1024;
    return limits;
  }

  std::string host_;
  RunRoutes routes_;
  HttpServer server_;
};

}  // namespace lamina::serve
