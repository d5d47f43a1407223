#include "pki/authority.h"

#include <algorithm>
#include <ctime>
#include <optional>

#include "pki/names.h"
#include "pki/openssl.h"

namespace monopod::pki {

std::optional<KeyKind> kind_of(EVP_PKEY* key);  // key.cc

namespace {

std::time_t seconds_of(WallTime t) { return std::chrono::duration_cast<std::chrono::seconds>(t.time_since_epoch()).count(); }

Result<> set_times(X509* into, WallTime not_before, WallTime not_after) {
  // GeneralizedTime from 2050 on is chosen by ASN1_TIME_adj itself.
  if (ASN1_TIME_set(X509_getm_notBefore(into), seconds_of(not_before)) == nullptr ||
      ASN1_TIME_set(X509_getm_notAfter(into), seconds_of(not_after)) == nullptr)
    return fail(Code::kInternal, "issue certificate: time out of range");
  return {};
}

Result<> set_random_serial(X509* into) {
  TRY_ASSIGN(std::string bytes, random_bytes(16));
  bytes[0] = static_cast<char>((static_cast<unsigned char>(bytes[0]) & 0x7fU) | 0x40U);  // positive, never zero, of constant length
  OwnedBignum number(BN_bin2bn(reinterpret_cast<const unsigned char*>(bytes.data()), static_cast<int>(bytes.size()), nullptr));
  if (!number || BN_to_ASN1_INTEGER(number.get(), X509_get_serialNumber(into)) == nullptr) return fail(Code::kInternal, "issue certificate: serial");
  return {};
}

Result<> add_extension(X509* into, X509* issuer, int nid, const char* value) {
  X509V3_CTX context;
  X509V3_set_ctx_nodb(&context);
  X509V3_set_ctx(&context, issuer, into, nullptr, nullptr, 0);
  Owned<X509_EXTENSION, X509_EXTENSION_free> extension(X509V3_EXT_nconf_nid(nullptr, &context, nid, value));
  if (!extension || X509_add_ext(into, extension.get(), -1) != 1) return fail(Code::kInternal, "issue certificate: " + openssl_reason());
  return {};
}

Result<> sign_certificate(X509* certificate, const PrivateKey& key) {
  if (X509_sign(certificate, key.handle(), key.kind() == KeyKind::kEd25519 ? nullptr : EVP_sha256()) <= 0)
    return fail(Code::kInternal, "issue certificate: " + openssl_reason());
  return {};
}

const char* extended_usage(const IssueOptions& options) {
  if (options.server && options.client) return "serverAuth,clientAuth";
  return options.server ? "serverAuth" : "clientAuth";
}

}  // namespace

Result<CertificateAuthority> CertificateAuthority::make(const Clock& clock, const AuthorityOptions& options) {
  TRY_ASSIGN(PrivateKey key, PrivateKey::make(options.key));
  return sign_itself(clock, std::move(key), options);
}

Result<CertificateAuthority> CertificateAuthority::renew(const Clock& clock, AuthorityOptions options) const {
  TRY_ASSIGN(PrivateKey key, PrivateKey::parse_pem(key_pem()));
  TRY_ASSIGN(Identity own, certificate_.identity());
  options.common_name = own.common_name;
  return sign_itself(clock, std::move(key), options);
}

Result<CertificateAuthority> CertificateAuthority::sign_itself(const Clock& clock, PrivateKey key, const AuthorityOptions& options) {
  OwnedX509 x509(X509_new());
  X509_set_version(x509.get(), X509_VERSION_3);
  TRY(set_random_serial(x509.get()));
  TRY(set_times(x509.get(), clock.wall() - options.backdate, clock.wall() + options.lifetime));
  TRY(write_subject({.common_name = options.common_name}, X509_get_subject_name(x509.get())));
  X509_set_issuer_name(x509.get(), X509_get_subject_name(x509.get()));
  X509_set_pubkey(x509.get(), key.handle());
  TRY(add_extension(x509.get(), x509.get(), NID_basic_constraints, "critical,CA:TRUE"));
  TRY(add_extension(x509.get(), x509.get(), NID_key_usage, "critical,digitalSignature,keyEncipherment,keyCertSign,cRLSign"));
  TRY(add_extension(x509.get(), x509.get(), NID_subject_key_identifier, "hash"));
  TRY(sign_certificate(x509.get(), key));
  return CertificateAuthority(Certificate(std::shared_ptr<X509>(x509.release(), X509_free)), std::move(key));
}

Result<CertificateAuthority> CertificateAuthority::parse_pem(std::string_view certificate_pem, std::string_view key_pem) {
  TRY_ASSIGN(Certificate certificate, Certificate::parse_pem(certificate_pem));
  TRY_ASSIGN(PrivateKey key, PrivateKey::parse_pem(key_pem));
  if (!certificate.matches(key)) return fail(Code::kInvalidArgument, "certificate authority: key does not match the certificate");
  if (X509_check_ca(certificate.handle()) != 1) return fail(Code::kInvalidArgument, "certificate authority: not a CA certificate");
  return CertificateAuthority(std::move(certificate), std::move(key));
}

Result<KeyPair> CertificateAuthority::issue(const Clock& clock, const IssueOptions& options) const {
  TRY_ASSIGN(PrivateKey key, PrivateKey::make(options.key));
  TRY_ASSIGN(std::string certificate, issue_for(clock, key.public_key(), options));
  return KeyPair{std::move(certificate), key.format_pem()};
}

Result<std::string> CertificateAuthority::issue_for(const Clock& clock, const PublicKey& key, const IssueOptions& options) const {
  if (!options.server && !options.client) return fail(Code::kInvalidArgument, "issue certificate: neither server nor client");
  TRY_ASSIGN(Identity own, certificate_.identity());
  X509* issuer = certificate_.handle();
  OwnedX509 x509(X509_new());
  X509_set_version(x509.get(), X509_VERSION_3);
  TRY(set_random_serial(x509.get()));
  TRY(set_times(x509.get(), clock.wall() - options.backdate, std::min(clock.wall() + options.lifetime, own.not_after)));
  TRY(write_subject(options, X509_get_subject_name(x509.get())));
  X509_set_issuer_name(x509.get(), X509_get_subject_name(issuer));
  X509_set_pubkey(x509.get(), key.handle());
  TRY(add_extension(x509.get(), issuer, NID_basic_constraints, "critical,CA:FALSE"));
  TRY(add_extension(x509.get(), issuer, NID_key_usage, key.kind() == KeyKind::kRsa ? "critical,digitalSignature,keyEncipherment" : "critical,digitalSignature"));
  TRY(add_extension(x509.get(), issuer, NID_ext_key_usage, extended_usage(options)));
  TRY(add_extension(x509.get(), issuer, NID_authority_key_identifier, "keyid"));
  TRY_ASSIGN(X509_EXTENSION * names, make_alternative_names(options));
  if (names != nullptr) {
    Owned<X509_EXTENSION, X509_EXTENSION_free> owned(names);
    X509_add_ext(x509.get(), names, -1);
  }
  TRY(sign_certificate(x509.get(), key_));
  return Certificate(std::shared_ptr<X509>(x509.release(), X509_free)).format_pem();
}

Result<SigningRequest> parse_signing_request_pem(std::string_view pem) {
  initialise();
  Owned<X509_REQ, X509_REQ_free> request(PEM_read_bio_X509_REQ(read_bio(pem).get(), nullptr, no_passphrase, nullptr));
  ERR_clear_error();
  if (!request) return fail(Code::kInvalidArgument, "signing request: not PEM");
  EVP_PKEY* handle = X509_REQ_get0_pubkey(request.get());
  bool good = handle != nullptr && X509_REQ_verify(request.get(), handle) == 1;
  ERR_clear_error();
  if (!good) return fail(Code::kInvalidArgument, "signing request: its signature does not verify");
  OwnedBio bio = make_bio();
  PEM_write_bio_PUBKEY(bio.get(), handle);
  TRY_ASSIGN(PublicKey key, PublicKey::parse_pem(bio_text(bio.get())));
  Identity identity;
  TRY(read_subject(X509_REQ_get_subject_name(request.get()), identity));
  STACK_OF(X509_EXTENSION)* extensions = X509_REQ_get_extensions(request.get());
  Result<> read;
  if (extensions != nullptr) {
    Owned<GENERAL_NAMES, GENERAL_NAMES_free> names(
        static_cast<GENERAL_NAMES*>(X509V3_get_d2i(extensions, NID_subject_alt_name, nullptr, nullptr)));
    if (names) read = read_alternative_names(names.get(), identity);
    sk_X509_EXTENSION_pop_free(extensions, X509_EXTENSION_free);
  }
  ERR_clear_error();
  if (!read) return fail(std::move(read).error());
  return SigningRequest{std::move(identity), std::move(key)};
}

Result<std::string> make_signing_request_pem(const PrivateKey& key, const IssueOptions& options) {
  Owned<X509_REQ, X509_REQ_free> request(X509_REQ_new());
  X509_REQ_set_version(request.get(), X509_REQ_VERSION_1);
  TRY(write_subject(options, X509_REQ_get_subject_name(request.get())));
  X509_REQ_set_pubkey(request.get(), key.handle());
  TRY_ASSIGN(X509_EXTENSION * names, make_alternative_names(options));
  if (names != nullptr) {
    STACK_OF(X509_EXTENSION)* extensions = sk_X509_EXTENSION_new_null();
    sk_X509_EXTENSION_push(extensions, names);
    X509_REQ_add_extensions(request.get(), extensions);
    sk_X509_EXTENSION_pop_free(extensions, X509_EXTENSION_free);
  }
  if (X509_REQ_sign(request.get(), key.handle(), key.kind() == KeyKind::kEd25519 ? nullptr : EVP_sha256()) <= 0)
    return fail(Code::kInternal, "make signing request: " + openssl_reason());
  OwnedBio bio = make_bio();
  PEM_write_bio_X509_REQ(bio.get(), request.get());
  return bio_text(bio.get());
}

}  // namespace monopod::pki
