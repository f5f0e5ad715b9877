#pragma once
#include <filesystem>
#include <string>

namespace lamina::serve {

/// Files and rules of a server that speaks TLS 1.2 or newer; the names are vLLM's flags.
struct TlsOptions {
  std::filesystem::path certfile = {};  ///< a chain as PEM, the server's own certificate first
  std::filesystem::path keyfile = {};   ///< its key; empty: in certfile
  std::filesystem::path ca_certs = {};  ///< who signs clients' certificates
  int cert_reqs = 0;                    ///< of clients: 0 none, 1 if they have one, 2 required
  std::string ciphers = {};             ///< OpenSSL's list, for TLS 1.2; empty: OpenSSL's own
  bool refresh = false;                 ///< files that change are read again, for connections that come after that
};

}  // namespace lamina::serve
