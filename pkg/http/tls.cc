#include "http/tls.h"

#include <fcntl.h>
#include <openssl/ssl.h>
#include <unistd.h>

#include <algorithm>
#include <array>

#include "base/strings.h"
#include "pki/certificate.h"
#include "pki/key.h"
#include "pki/openssl.h"
#include "sys/fd.h"

namespace monopod::http {
namespace {

using Context = std::shared_ptr<ssl_ctx_st>;

int select_protocol(const unsigned char** out, unsigned char* out_size, const unsigned char* in, unsigned in_size, bool http2) {
  std::string_view offered(reinterpret_cast<const char*>(in), in_size);
  bool has_h2 = false;
  const char* h1 = nullptr;
  const char* h2 = nullptr;
  for (std::size_t at = 0; at < offered.size();) {
    std::size_t size = static_cast<unsigned char>(offered[at]);
    std::string_view name = offered.substr(at + 1, size);
    if (name == "h2") {
      has_h2 = true;
      h2 = name.data();
    } else if (name == "http/1.1") {
      h1 = name.data();
    }
    at += size + 1;
  }
  const char* chosen = http2 && has_h2 ? h2 : h1;
  if (chosen == nullptr) return SSL_TLSEXT_ERR_NOACK;
  *out = reinterpret_cast<const unsigned char*>(chosen);
  *out_size = chosen == h2 ? 2 : 8;
  return SSL_TLSEXT_ERR_OK;
}
int select_both(SSL*, const unsigned char** out, unsigned char* out_size, const unsigned char* in, unsigned in_size, void*) {
  return select_protocol(out, out_size, in, in_size, true);
}
int select_http1(SSL*, const unsigned char** out, unsigned char* out_size, const unsigned char* in, unsigned in_size, void*) {
  return select_protocol(out, out_size, in, in_size, false);
}

Result<Context> make_context(const SSL_METHOD* method) {
  pki::initialise();
  Context context(SSL_CTX_new(method), SSL_CTX_free);
  if (!context) return fail(Code::kInternal, "tls: " + pki::openssl_reason());
  SSL_CTX_set_min_proto_version(context.get(), TLS1_2_VERSION);
  // The session must be retryable from another buffer, and hold none while idle.
  SSL_CTX_set_mode(context.get(), SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
  SSL_CTX_set_options(context.get(), SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_TICKET | SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_NO_COMPRESSION);
  SSL_CTX_set_num_tickets(context.get(), 0);
  SSL_CTX_set_session_cache_mode(context.get(), SSL_SESS_CACHE_OFF);
  SSL_CTX_set_read_ahead(context.get(), 1);
  SSL_CTX_set_max_cert_list(context.get(), 64L << 10);
  return context;
}

Result<> use_pair(ssl_ctx_st* context, std::string_view certificate_pem, std::string_view key_pem) {
  TRY_ASSIGN(std::vector<pki::Certificate> chain, pki::Certificate::parse_bundle_pem(certificate_pem));
  TRY_ASSIGN(pki::PrivateKey key, pki::PrivateKey::parse_pem(key_pem));
  if (!chain.front().matches(key)) return fail(Code::kInvalidArgument, "tls: key does not match the certificate");
  bool good = SSL_CTX_use_certificate(context, chain.front().handle()) == 1 && SSL_CTX_use_PrivateKey(context, key.handle()) == 1;
  for (std::size_t i = 1; good && i < chain.size(); ++i) good = SSL_CTX_add1_chain_cert(context, chain[i].handle()) == 1;
  if (!good) return fail(Code::kInvalidArgument, "tls: " + pki::openssl_reason());
  return {};
}

Result<> trust(ssl_ctx_st* context, std::string_view pem) {
  TRY_ASSIGN(std::vector<pki::Certificate> roots, pki::Certificate::parse_bundle_pem(pem));
  X509_STORE* store = SSL_CTX_get_cert_store(context);
  for (const pki::Certificate& root : roots) X509_STORE_add_cert(store, root.handle());
  // A root handed in is trusted even where it is not self-signed.
  X509_STORE_set_flags(store, X509_V_FLAG_PARTIAL_CHAIN);
  ERR_clear_error();
  return {};
}

constexpr std::array<const char*, 4> kRootPlaces = {"/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/ca-bundle.pem",
                                                    "/etc/ssl/cert.pem"};

Result<std::string> read_system_roots() {
  for (const char* place : kRootPlaces) {
    sys::Fd file(::open(place, O_RDONLY | O_CLOEXEC));
    if (!file) continue;
    std::string text;
    std::array<char, 32768> buffer;
    for (ssize_t n = 0; (n = ::read(file.get(), buffer.data(), buffer.size())) > 0 && text.size() < (4U << 20);)
      text.append(buffer.data(), static_cast<std::size_t>(n));
    if (!text.empty()) return text;
  }
  return fail(Code::kNotFound, "tls: this host has no bundle of root certificates");
}

// The host's roots are read when the first certificate is judged: some 20 ms and 2 MB that most processes never need.
int verify_by_system_roots(X509_STORE_CTX* judged, void*) {
  X509_STORE* store = X509_STORE_CTX_get0_store(judged);
  if (sk_X509_OBJECT_num(X509_STORE_get0_objects(store)) == 0) {
    Result<std::string> pem = read_system_roots();
    Result<std::vector<pki::Certificate>> roots = pem ? pki::Certificate::parse_bundle_pem(*pem) : fail(pem.error());
    if (roots)
      for (const pki::Certificate& root : *roots) X509_STORE_add_cert(store, root.handle());
    ERR_clear_error();
  }
  return X509_verify_cert(judged);
}

Result<Context> make_server_context(const TlsServerOptions& options) {
  TRY_ASSIGN(Context context, make_context(TLS_server_method()));
  TRY(use_pair(context.get(), options.certificate_pem, options.key_pem));
  SSL_CTX_set_alpn_select_cb(context.get(), options.http2 ? select_both : select_http1, nullptr);
  if (options.client_certificate == ClientCertificate::kNone) return context;
  TRY(trust(context.get(), options.client_ca_pem));
  TRY_ASSIGN(std::vector<pki::Certificate> roots, pki::Certificate::parse_bundle_pem(options.client_ca_pem));
  for (const pki::Certificate& root : roots) SSL_CTX_add_client_CA(context.get(), root.handle());
  int mode = SSL_VERIFY_PEER;
  if (options.client_certificate == ClientCertificate::kRequired) mode |= SSL_VERIFY_FAIL_IF_NO_PEER_CERT;
  SSL_CTX_set_verify(context.get(), mode, nullptr);
  SSL_CTX_set_verify_depth(context.get(), 8);
  return context;
}

Result<Context> make_client_context(const TlsClientOptions& options) {
  TRY_ASSIGN(Context context, make_context(TLS_client_method()));
  if (!options.certificate_pem.empty()) TRY(use_pair(context.get(), options.certificate_pem, options.key_pem));
  if (options.insecure_skip_verify) {
    SSL_CTX_set_verify(context.get(), SSL_VERIFY_NONE, nullptr);
    return context;
  }
  SSL_CTX_set_verify(context.get(), SSL_VERIFY_PEER, nullptr);
  if (!options.ca_pem.empty()) {
    TRY(trust(context.get(), options.ca_pem));
    return context;
  }
  bool there = std::any_of(kRootPlaces.begin(), kRootPlaces.end(), [](const char* place) { return ::access(place, R_OK) == 0; });
  if (!there) return fail(Code::kNotFound, "tls: this host has no bundle of root certificates");
  X509_STORE_set_flags(SSL_CTX_get_cert_store(context.get()), X509_V_FLAG_PARTIAL_CHAIN);
  SSL_CTX_set_cert_verify_callback(context.get(), verify_by_system_roots, nullptr);
  return context;
}

}  // namespace

Result<std::unique_ptr<TlsServer>> TlsServer::make(const TlsServerOptions& options) {
  TRY_ASSIGN(Context context, make_server_context(options));
  return std::unique_ptr<TlsServer>(new TlsServer(std::move(context)));
}

Result<> TlsServer::replace(const TlsServerOptions& options) {
  TRY_ASSIGN(context_, make_server_context(options));
  return {};
}

Result<std::unique_ptr<TlsClient>> TlsClient::make(const TlsClientOptions& options) {
  std::unique_ptr<TlsClient> out(new TlsClient);
  TRY(out->replace(options));
  return out;
}

Result<> TlsClient::replace(const TlsClientOptions& options) {
  TRY_ASSIGN(context_, make_client_context(options));
  server_name_ = options.server_name;
  verifies_ = !options.insecure_skip_verify;
  http2_ = options.http2;
  return {};
}

}  // namespace monopod::http
