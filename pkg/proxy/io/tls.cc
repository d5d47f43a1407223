#include "proxy/io/tls.h"

#include <openssl/ssl.h>

#include <algorithm>

#include "base/strings.h"
#include "pki/certificate.h"

namespace monopod::proxy {
namespace {

int choose_certificate(SSL* ssl, int*, void* server) {
  const char* name = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);
  if (name == nullptr) return SSL_TLSEXT_ERR_OK;
  ssl_ctx_st* context = static_cast<const ServerTls*>(server)->find(to_lower(name));
  if (context != SSL_get_SSL_CTX(ssl)) SSL_set_SSL_CTX(ssl, context);
  return SSL_TLSEXT_ERR_OK;
}

}  // namespace

Result<std::shared_ptr<const ServerTls>> ServerTls::make(const ServerTlsSpec& spec) {
  auto out = std::make_shared<ServerTls>();
  out->spec_ = spec;
  for (std::size_t i = 0; i < spec.certificates.size(); ++i) {
    const CertificateSpec& c = spec.certificates[i];
    http::TlsServerOptions options{.certificate_pem = c.certificate_pem, .key_pem = c.key_pem, .client_ca_pem = spec.client_ca_pem, .http2 = spec.http2};
    if (!spec.client_ca_pem.empty()) options.client_certificate = spec.require_client_certificate ? http::ClientCertificate::kRequired : http::ClientCertificate::kOptional;
    auto made = http::TlsServer::make(options);
    if (!made) return fail(std::move(made).error().with(cat("certificates[", i, "]")));
    std::shared_ptr<ssl_ctx_st> context = (*made)->context();
    if (spec.tls_1_3_only) SSL_CTX_set_min_proto_version(context.get(), TLS1_3_VERSION);
    std::vector<std::string> names = c.server_names;
    if (names.empty()) {
      TRY_ASSIGN(pki::Certificate leaf, pki::Certificate::parse_pem(c.certificate_pem));
      TRY_ASSIGN(pki::Identity identity, leaf.identity());
      names = identity.dns_names;
    }
    for (const std::string& name : names) out->names_.emplace(to_lower(name), i);
    out->contexts_.push_back(std::move(context));
  }
  SSL_CTX_set_tlsext_servername_callback(out->contexts_.front().get(), choose_certificate);
  SSL_CTX_set_tlsext_servername_arg(out->contexts_.front().get(), out.get());
  return std::shared_ptr<const ServerTls>(std::move(out));
}

ssl_ctx_st* ServerTls::find(const std::string& server_name) const {
  auto found = names_.find(server_name);
  if (std::size_t dot = server_name.find('.'); found == names_.end() && dot != std::string::npos) found = names_.find(cat("*", server_name.substr(dot)));
  return contexts_[found == names_.end() ? 0 : found->second].get();
}

PeerIdentity peer_identity(ssl_st* ssl) {
  PeerIdentity out;
  X509* leaf = SSL_get0_peer_certificate(ssl);
  if (leaf == nullptr || SSL_get_verify_result(ssl) != X509_V_OK) return out;
  unsigned char* der = nullptr;
  int size = i2d_X509(leaf, &der);
  if (size <= 0) return out;
  auto parsed = pki::Certificate::parse_der({reinterpret_cast<char*>(der), static_cast<std::size_t>(size)});
  OPENSSL_free(der);
  if (!parsed) return out;
  if (auto identity = parsed->identity()) {
    out.uris = std::move(identity->uris);
    out.common_name = std::move(identity->common_name);
  }
  return out;
}

bool is_accepted(const std::vector<std::string>& ids, const PeerIdentity& peer) {
  if (ids.empty()) return true;
  return std::ranges::any_of(ids, [&peer](std::string_view id) {
    bool prefix = id.ends_with("/*");
    return std::ranges::any_of(peer.uris, [&](std::string_view uri) { return prefix ? uri.starts_with(id.substr(0, id.size() - 1)) : uri == id; });
  });
}

}  // namespace monopod::proxy
