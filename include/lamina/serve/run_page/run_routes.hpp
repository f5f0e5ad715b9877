#pragma once
#include <charconv>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include <boost/asio/ip/address.hpp>
#include <boost/beast/core/string.hpp>
#include <nlohmann/json.hpp>

#include <lamina/core/error.hpp>
#include <lamina/io/program/version.hpp>
#include <lamina/serve/http/transport.hpp>
#include <lamina/serve/run_page/page.hpp>
#include <lamina/serve/run_page/run_files.hpp>

namespace lamina::serve {

/// The page of a run at /, and what it asks for: /run, /log?from=BYTE, /state. All is answered from a request's header.
///
/// A page of another site may make a browser on this host ask here, under that site's name if it makes its name mean
/// this host (DNS rebinding). So a request's Host must be an address, localhost, or the name that the server was given.
class RunRoutes final : public HttpApplication {
 public:
  /// host: the name or address that the server listens on.
  RunRoutes(RunFiles files, std::string host) : files_(std::move(files)), host_(std::move(host)) {}

  std::optional<HttpReply> judge(const RequestHead& head) override {
    HttpReply reply = answered(head);
    for (const auto& [name, value] :
         {std::pair{"X-Content-Type-Options", "nosniff"}, std::pair{"Cross-Origin-Resource-Policy", "same-origin"},
          std::pair{"Referrer-Policy", "no-referrer"}, std::pair{"Cache-Control", "no-store"}})
      reply.headers.push_back({name, value});
    return reply;
  }
  void answer(std::shared_ptr<Exchange>, HttpRequest) override {}  // judge() has replied

 private:
  HttpReply answered(const RequestHead& head) const {
    if (!is_own_name(head.header("Host")))
      return error_reply({403, "Forbidden",
                          "Host: is neither an address nor localhost nor the name that --watch was given: open the "
                          "page under one of these"});
    const bool reads = head.method == "GET" || head.method == "HEAD";
    if (head.path == "/") return reads ? page() : not_allowed();
    if (head.path == "/run") return reads ? run() : not_allowed();
    if (head.path == "/log") return reads ? log(head.query) : not_allowed();
    if (head.path == "/state") return reads ? HttpReply{200, files_.state(), "application/json", {}} : not_allowed();
    return error_reply({404, "Not Found", "Not Found"});
  }

  bool is_own_name(const std::string* field) const {
    if (!field) return false;
    std::string_view name = *field;
    if (name.starts_with('['))
      name = name.substr(1, std::min(name.find(']'), name.size()) - 1);
    else
      name = name.substr(0, name.find(':'));
    boost::system::error_code is_no_address;
    boost::asio::ip::make_address(std::string(name), is_no_address);
    return !is_no_address || boost::beast::iequals({name.data(), name.size()}, "localhost") ||
           (!host_.empty() && boost::beast::iequals({name.data(), name.size()}, host_));
  }

  static HttpReply not_allowed() {
    HttpReply reply = error_reply({405, "Method Not Allowed", "Method Not Allowed"});
    reply.headers.push_back({"Allow", "GET, HEAD"});
    return reply;
  }
  static HttpReply page() {
    return {200, run_page(), "text/html; charset=utf-8", {{"Content-Security-Policy", std::string(page_policy)}}};
  }
  HttpReply run() const {
    std::filesystem::path folder = files_.folder();
    const nlohmann::json about = {
        {"folder", (folder.has_filename() ? folder : folder.parent_path()).filename().string()},
        {"version", std::string(version)}};
    return {200, about.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace), "application/json", {}};
  }
  HttpReply log(std::string_view query) const {
    std::uint64_t from = 0;
    constexpr std::string_view name = "from=";
    if (!query.empty()) {
      const std::string_view number = query.starts_with(name) ? query.substr(name.size()) : "";
      const auto [end, error] = std::from_chars(number.data(), number.data() + number.size(), from);
      if (number.empty() || error != std::errc() || end != number.data() + number.size())
        return error_reply({400, "Bad Request", "from: wanted a number of bytes"});
    }
    RunFiles::Lines lines = files_.log(from);
    return {200,
            std::move(lines.text),
            "text/plain; charset=utf-8",
            {{"Lamina-From", std::to_string(lines.from)},
             {"Lamina-Next", std::to_string(lines.next)},
             {"Lamina-Age", std::to_string(lines.age_s)}}};
  }

  RunFiles files_;
  std::string host_;
};

}  // namespace lamina::serve
