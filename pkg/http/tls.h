// TLS settings for either side: TLS 1.2 and 1.3, ALPN. Key material goes in as PEM and is never logged.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"

struct ssl_ctx_st;

namespace monopod::http {

enum class ClientCertificate {
  kNone,      // not asked for
  kOptional,  // asked for; none is fine, one that does not verify ends the handshake
  kRequired,
};

struct TlsServerOptions {
  std::string certificate_pem{};  // leaf first, then intermediates
  std::string key_pem{};
  std::string client_ca_pem{};  // one or more roots for client certificates
  ClientCertificate client_certificate = ClientCertificate::kNone;
  bool http2 = true;  // offer h2 in ALPN
};

// The certificates a server shows now. replace() is a hot rotation: handshakes from then on use the new ones, live
// connections go on. Outlives the servers that use it.
class TlsServer {
 public:
  static Result<std::unique_ptr<TlsServer>> make(const TlsServerOptions& options);
  Result<> replace(const TlsServerOptions& options);  // on failure the old ones stay

  std::shared_ptr<ssl_ctx_st> context() const { return context_; }

 private:
  explicit TlsServer(std::shared_ptr<ssl_ctx_st> context) : context_(std::move(context)) {}
  std::shared_ptr<ssl_ctx_st> context_;
};

struct TlsClientOptions {
  std::string ca_pem{};  // empty: the host's bundle (/etc/ssl/certs/ca-certificates.crt and its usual other places)
  std::string certificate_pem{};  // shown when asked for; empty: none
  std::string key_pem{};
  std::string server_name{};            // to verify and for SNI; empty: the endpoint's host
  bool insecure_skip_verify = false;  // kubelet-style probes
  bool http2 = true;
};

class TlsClient {
 public:
  static Result<std::unique_ptr<TlsClient>> make(const TlsClientOptions& options);
  Result<> replace(const TlsClientOptions& options);

  std::shared_ptr<ssl_ctx_st> context() const { return context_; }
  const std::string& server_name() const { return server_name_; }
  bool verifies() const { return verifies_; }
  bool http2() const { return http2_; }

 private:
  TlsClient() = default;
  std::shared_ptr<ssl_ctx_st> context_;
  std::string server_name_{};
  bool verifies_ = true;
  bool http2_ = true;
};

}  // namespace monopod::http
