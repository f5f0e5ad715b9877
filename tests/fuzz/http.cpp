#include <boost/asio/buffer.hpp>
#include <boost/beast/http/empty_body.hpp>
#include <boost/beast/http/parser.hpp>

#include "fuzz.hpp"

#include <lamina/serve/http/head.hpp>

using namespace lamina::serve;

/// The head of a request: where it ends, how its body ends, its host and its path.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  return fuzz::run<ApiError>([&] {
    const HttpLimits limits;
    const std::string_view received = fuzz::text(data, size);
    detail::HeaderScan scan(limits);
    const auto end = scan.find_end(received);
    if (!end) return;
    boost::beast::http::request_parser<boost::beast::http::empty_body> parser;
    parser.header_limit(UINT32_MAX);
    boost::beast::error_code error;
    parser.put(boost::asio::const_buffer(received.data(), *end), error);
    if (error || !parser.is_header_done()) return;
    const auto& header = parser.get().base();
    detail::check_framing(header);
    detail::check_host(header);
    const auto method = header.method_string(), target = header.target();
    detail::path_of({method.data(), method.size()}, {target.data(), target.size()});
  });
}
