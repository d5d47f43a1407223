// A certificate authority: makes itself, issues server and client certificates. Certificates start in the past
// (backdate) since a small machine's clock may be wrong at boot.
#pragma once

#include <chrono>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "pki/certificate.h"
#include "pki/key.h"

namespace monopod::pki {

struct AuthorityOptions {
  std::string common_name = "monopod-ca";
  Duration lifetime = std::chrono::days(3650);
  Duration backdate = std::chrono::hours(24);
  KeyKind key = KeyKind::kEcdsaP256;
};

struct IssueOptions {
  std::string common_name{};                 // client: the user
  std::vector<std::string> organizations{};  // client: the groups
  std::vector<std::string> dns_names{};
  std::vector<std::string> ip_addresses{};  // IPv4 or IPv6 literals
  std::vector<std::string> uris{};
  bool server = false;  // extended key usage
  bool client = false;
  Duration lifetime = std::chrono::days(365);
  Duration backdate = std::chrono::hours(24);
  KeyKind key = KeyKind::kEcdsaP256;
};

class CertificateAuthority {
 public:
  static Result<CertificateAuthority> make(const Clock& clock, const AuthorityOptions& options = {});
  // kInvalidArgument unless the certificate is a CA and matches the key.
  static Result<CertificateAuthority> parse_pem(std::string_view certificate_pem, std::string_view key_pem);

  // The same key and name with new times: what was issued stays good, and whoever trusts the old certificate does until that expires.
  Result<CertificateAuthority> renew(const Clock& clock, AuthorityOptions options = {}) const;

  // A new key and its certificate. Never outlives the authority's own certificate. kInvalidArgument for broken names.
  Result<KeyPair> issue(const Clock& clock, const IssueOptions& options) const;
  // A certificate for a key held elsewhere (certificate signing requests).
  Result<std::string> issue_for(const Clock& clock, const PublicKey& key, const IssueOptions& options) const;

  const Certificate& certificate() const { return certificate_; }
  const PrivateKey& key() const { return key_; }
  std::string certificate_pem() const { return certificate_.format_pem(); }
  std::string key_pem() const { return key_.format_pem(); }

 private:
  static Result<CertificateAuthority> sign_itself(const Clock& clock, PrivateKey key, const AuthorityOptions& options);
  CertificateAuthority(Certificate certificate, PrivateKey key) : certificate_(std::move(certificate)), key_(std::move(key)) {}
  Certificate certificate_;
  PrivateKey key_;
};

// A PKCS#10 certificate signing request: the subject and names asked for; its own signature is checked.
struct SigningRequest {
  Identity identity;  // times and serial unset
  PublicKey key;
};
Result<SigningRequest> parse_signing_request_pem(std::string_view pem);
Result<std::string> make_signing_request_pem(const PrivateKey& key, const IssueOptions& options);

}  // namespace monopod::pki
