#pragma once
#include <openssl/ssl.h>
// before Boost's, which would choose versions otherwise
#include <boost/asio/ssl/context.hpp>

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include <lamina/core/error.hpp>
#include <lamina/core/log.hpp>
#include <lamina/io/file.hpp>
#include <lamina/io/program/usage.hpp>
#include <lamina/serve/http/tls_options.hpp>

namespace lamina::serve {

namespace detail {

using TlsContext = boost::asio::ssl::context;

/// Makes what connections need of these files. Error that names the flag and the file.
inline std::shared_ptr<TlsContext> load_tls(const TlsOptions& options) {
  auto context = std::make_shared<TlsContext>(TlsContext::tls_server);
  boost::system::error_code error;
  for (const auto& [flag, file] :
       {std::pair("--ssl-certfile", options.certfile), std::pair("--ssl-keyfile", options.keyfile),
        std::pair("--ssl-ca-certs", options.ca_certs)})
    try {
      if (!file.empty()) io::File{file};  // OpenSSL would wait for a pipe
    } catch (const io::FileError& e) {
      throw io::FileError(cat(flag, " ", e.what()));
    }
  const auto require = [&](const char* flag, const std::string& value) {
    if (error) fail(flag, " ", value, ": OpenSSL cannot read it as PEM: ", error.message());
  };
  SSL_CTX* const raw = context->native_handle();
  SSL_CTX_set_min_proto_version(raw, TLS1_2_VERSION);
  SSL_CTX_set_options(raw, SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION | SSL_OP_CIPHER_SERVER_PREFERENCE);
  SSL_CTX_set_mode(raw, SSL_MODE_RELEASE_BUFFERS);
  // Without it OpenSSL refuses to go on with sessions of clients that have certificates.
  static constexpr unsigned char name[] = "lamina";
  SSL_CTX_set_session_id_context(raw, name, sizeof name - 1);
  context->set_password_callback([](std::size_t, auto) { return std::string(); }, error);  // nobody is at the terminal
  context->use_certificate_chain_file(options.certfile.string(), error);
  require("--ssl-certfile", options.certfile.string());
  const auto& key = options.keyfile.empty() ? options.certfile : options.keyfile;
  context->use_private_key_file(key.string(), TlsContext::pem, error);
  require(
      options.keyfile.empty() ? "--ssl-certfile (which must hold the key too, without --ssl-keyfile)" : "--ssl-keyfile",
      key.string());
  if (!options.ca_certs.empty()) {
    context->load_verify_file(options.ca_certs.string(), error);
    require("--ssl-ca-certs", options.ca_certs.string());
    SSL_CTX_set_client_CA_list(raw, SSL_load_client_CA_file(options.ca_certs.c_str()));
  }
  if (options.cert_reqs > 0)
    context->set_verify_mode(boost::asio::ssl::verify_peer |
                             (options.cert_reqs > 1 ? boost::asio::ssl::verify_fail_if_no_peer_cert : 0));
  if (!options.ciphers.empty() && SSL_CTX_set_cipher_list(raw, options.ciphers.c_str()) != 1)
    io::usage("--ssl-ciphers ", options.ciphers, ": OpenSSL knows no cipher of this list");
  return context;
}

}  // namespace detail

/// The TLS settings of a server, which may change while it runs. Not thread-safe.
class Tls {
 public:
  /// Error if the files cannot be used.
  explicit Tls(TlsOptions options)
      : options_(std::move(options)), stamps_(stamps()), context_(detail::load_tls(options_)) {}

  /// For a new connection. With `refresh`, of the files as they are now, at most a second late; if they cannot be used,
  /// which is logged, of those before.
  std::shared_ptr<detail::TlsContext> current() {
    if (options_.refresh && Clock::now() >= next_look_) look();
    return context_;
  }

 private:
  using Clock = std::chrono::steady_clock;
  /// Of a file: when it was written, and its size. A file that is replaced has another time.
  using Stamp = std::pair<std::filesystem::file_time_type, std::uintmax_t>;

  std::vector<Stamp> stamps() const {
    std::vector<Stamp> out;
    for (const auto& path : {options_.certfile, options_.keyfile, options_.ca_certs}) {
      std::error_code ignored;
      out.emplace_back(std::filesystem::last_write_time(path, ignored), std::filesystem::file_size(path, ignored));
    }
    return out;
  }
  void look() {
    next_look_ = Clock::now() + std::chrono::seconds(1);
    auto found = stamps();
    if (found == stamps_) return;
    stamps_ = std::move(found);
    try {
      context_ = detail::load_tls(options_);
      log_info("lamina-serve: the certificate was read again");
    } catch (const Error& e) {
      log_warning("lamina-serve: ", e.what(), ": the certificate before stays in use");
    }
  }

  TlsOptions options_;
  std::vector<Stamp> stamps_;
  std::shared_ptr<detail::TlsContext> context_;
  Clock::time_point next_look_ = {};
};

}  // namespace lamina::serve
