#pragma once
#include <openssl/ssl.h>
// before Boost's, which would choose versions otherwise
#include <boost/asio/connect.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/read.hpp>
#include <boost/asio/ssl.hpp>
#include <boost/asio/streambuf.hpp>
#include <boost/asio/write.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http.hpp>

#include <optional>
#include <string>

#include "support/made/certificate.hpp"

namespace lamina::test {

/// A client that speaks TLS and trusts one certificate.
class TlsClient {
 public:
  struct Options {
    std::optional<testing::Certificate> own = {};  ///< shows this one
    int version = TLS1_3_VERSION;                  ///< at most
  };
  using Response = boost::beast::http::response<boost::beast::http::string_body>;

  /// Throws boost::system::system_error if no connection stands.
  TlsClient(unsigned short port, const std::string& trusted, Options options)
      : context_(boost::asio::ssl::context::tls_client), stream_(io_, trust(context_, trusted, options)) {
    stream_.lowest_layer().connect({boost::asio::ip::make_address("127.0.0.1"), port});
    stream_.set_verify_callback(boost::asio::ssl::host_name_verification("127.0.0.1"));
    stream_.handshake(boost::asio::ssl::stream_base::client);
  }
  TlsClient(unsigned short port, const std::string& trusted) : TlsClient(port, trusted, Options{}) {}

  void send(const std::string& bytes) { boost::asio::write(stream_, boost::asio::buffer(bytes)); }
  Response reply() {
    Response out;
    boost::beast::http::read(stream_, buffer_, out);
    return out;
  }
  Response ask(const std::string& bytes) {
    send(bytes);
    return reply();
  }
  /// How the server ends the connection: eof if it says so, stream_truncated if it does not.
  boost::system::error_code end() {
    boost::system::error_code error;
    char byte;
    boost::asio::read(stream_, boost::asio::buffer(&byte, 1), error);
    return error;
  }
  std::string version() { return SSL_get_version(stream_.native_handle()); }

 private:
  static boost::asio::ssl::context& trust(boost::asio::ssl::context& context, const std::string& trusted,
                                          const Options& options) {
    context.add_certificate_authority(boost::asio::buffer(trusted));
    context.set_verify_mode(boost::asio::ssl::verify_peer);
    SSL_CTX_set_max_proto_version(context.native_handle(), options.version);
    if (options.own) {
      context.use_certificate(boost::asio::buffer(options.own->certificate), boost::asio::ssl::context::pem);
      context.use_private_key(boost::asio::buffer(options.own->key), boost::asio::ssl::context::pem);
    }
    return context;
  }

  boost::asio::io_context io_;
  boost::asio::ssl::context context_;
  boost::asio::ssl::stream<boost::asio::ip::tcp::socket> stream_;
  boost::beast::flat_buffer buffer_;
};

}  // namespace lamina::test
