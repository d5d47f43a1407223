// X.509 certificates as values: parse, identity as Kubernetes reads it, chain verification. RFC 5280.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/error.h"
#include "pki/key.h"

struct x509_st;

namespace monopod::pki {

// Who a certificate speaks for. Kubernetes: user = common name, groups = organizations.
struct Identity {
  std::string common_name{};
  std::vector<std::string> organizations{};
  std::vector<std::string> dns_names{};
  std::vector<std::string> ip_addresses{};  // text form
  std::vector<std::string> uris{};          // SPIFFE ids stand here
  WallTime not_before{};
  WallTime not_after{};
  std::string serial_hex{};
  bool is_authority = false;
};

class Certificate {
 public:
  static Result<Certificate> parse_der(std::string_view der);
  static Result<Certificate> parse_pem(std::string_view pem);  // the first "CERTIFICATE" block
  // Every block, in order; kInvalidArgument when there is none or one is broken. At most 64.
  static Result<std::vector<Certificate>> parse_bundle_pem(std::string_view pem);

  // kInvalidArgument when a name holds NUL or control characters.
  Result<Identity> identity() const;
  PublicKey public_key() const;
  std::string der() const;
  std::string format_pem() const;
  std::string sha256_fingerprint_hex() const;
  // Signed by issuer's key (one step, no times).
  bool signed_by(const Certificate& issuer) const;
  bool matches(const PrivateKey& key) const;
  x509_st* handle() const { return certificate_.get(); }  // OpenSSL's, borrowed

 private:
  friend class CertificateAuthority;
  explicit Certificate(std::shared_ptr<x509_st> certificate) : certificate_(std::move(certificate)) {}
  std::shared_ptr<x509_st> certificate_;
};

enum class Purpose { kServer, kClient, kAny };

// Builds a path from chain[0] (the leaf) to one of roots at the given time. kUnauthenticated with OpenSSL's reason otherwise.
Result<> verify_chain(std::span<const Certificate> chain, std::span<const Certificate> roots, WallTime when, Purpose purpose);

// A certificate and what follows it up to, not including, the root; with its key.
struct KeyPair {
  std::string certificate_pem{};  // leaf first
  std::string key_pem{};          // secret
};

}  // namespace monopod::pki
