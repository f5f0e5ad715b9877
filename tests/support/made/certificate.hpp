#pragma once
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include <functional>
#include <string>

#include <lamina/core/error.hpp>

namespace lamina::testing {

/// A certificate and its key, as PEM.
struct Certificate {
  std::string certificate, key;
};

inline std::string pem_of(const std::function<int(BIO*)>& write) {
  BIO* const memory = BIO_new(BIO_s_mem());
  if (write(memory) != 1) fail("OpenSSL: cannot write PEM");
  char* data = nullptr;
  const long size = BIO_get_mem_data(memory, &data);
  std::string text(data, static_cast<std::size_t>(size));
  BIO_free(memory);
  return text;
}

/// One that signs itself, for one day. subject: "IP:127.0.0.1" or "DNS:another.test". password: of the key, if not
/// empty.
inline Certificate make_certificate(const char* subject, std::string password = "") {
  EVP_PKEY* const key = EVP_EC_gen("P-256");
  X509* const certificate = X509_new();
  X509_set_version(certificate, 2);
  ASN1_INTEGER_set(X509_get_serialNumber(certificate), 1);
  X509_gmtime_adj(X509_getm_notBefore(certificate), -60);
  X509_gmtime_adj(X509_getm_notAfter(certificate), 86'400);
  X509_set_pubkey(certificate, key);
  X509_NAME* const name = X509_get_subject_name(certificate);
  X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, reinterpret_cast<const unsigned char*>("a test"), -1, -1, 0);
  X509_set_issuer_name(certificate, name);
  X509_EXTENSION* const names = X509V3_EXT_conf_nid(nullptr, nullptr, NID_subject_alt_name, subject);
  X509_add_ext(certificate, names, -1);
  X509_EXTENSION_free(names);
  if (X509_sign(certificate, key, EVP_sha256()) <= 0) fail("OpenSSL: cannot sign");
  auto* const secret = reinterpret_cast<unsigned char*>(password.data());
  Certificate out{pem_of([&](BIO* to) { return PEM_write_bio_X509(to, certificate); }), pem_of([&](BIO* to) {
                    return PEM_write_bio_PrivateKey(to, key, password.empty() ? nullptr : EVP_aes_128_cbc(), secret,
                                                    static_cast<int>(password.size()), nullptr, nullptr);
                  })};
  X509_free(certificate);
  EVP_PKEY_free(key);
  return out;
}

}  // namespace lamina::testing
