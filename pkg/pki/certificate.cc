#include "pki/certificate.h"

#include <algorithm>
#include <ctime>
#include <optional>

#include "base/bytes.h"
#include "pki/digest.h"
#include "pki/names.h"
#include "pki/openssl.h"

namespace monopod::pki {

std::optional<KeyKind> kind_of(EVP_PKEY* key);  // key.cc

namespace {

constexpr std::size_t kDerBytesMax = 64U << 10;
constexpr std::size_t kBundleMax = 64;
constexpr std::size_t kSystemBundleMax = 512;

Result<WallTime> time_of(const ASN1_TIME* time) {
  std::tm parts{};
  if (ASN1_TIME_to_tm(time, &parts) != 1) return fail(Code::kInvalidArgument, "certificate: broken time");
  return WallTime(std::chrono::seconds(timegm(&parts)));
}

bool supported(X509* certificate) {
  EVP_PKEY* key = X509_get0_pubkey(certificate);
  return key != nullptr;
}

}  // namespace

Result<Certificate> Certificate::parse_der(std::string_view der) {
  initialise();
  if (der.size() > kDerBytesMax) return fail(Code::kInvalidArgument, "certificate: too large");
  const auto* p = reinterpret_cast<const unsigned char*>(der.data());
  const unsigned char* end = p + der.size();
  OwnedX509 parsed(d2i_X509(nullptr, &p, static_cast<long>(der.size())));
  ERR_clear_error();
  if (!parsed || p != end || !supported(parsed.get())) return fail(Code::kInvalidArgument, "certificate: not X.509 DER");
  return Certificate(std::shared_ptr<X509>(parsed.release(), X509_free));
}

Result<Certificate> Certificate::parse_pem(std::string_view pem) {
  TRY_ASSIGN(std::vector<Certificate> all, parse_bundle_pem(pem));
  return std::move(all.front());
}

Result<std::vector<Certificate>> Certificate::parse_bundle_pem(std::string_view pem) {
  initialise();
  std::vector<Certificate> out;
  OwnedBio bio = read_bio(pem);
  std::size_t limit = pem.size() > kBundleMax * kDerBytesMax ? kSystemBundleMax : kBundleMax;
  while (OwnedX509 parsed{PEM_read_bio_X509(bio.get(), nullptr, no_passphrase, nullptr)}) {
    if (out.size() == limit) return fail(Code::kInvalidArgument, "certificate bundle: too many certificates");
    if (!supported(parsed.get())) return fail(Code::kInvalidArgument, "certificate: unsupported key");
    out.push_back(Certificate(std::shared_ptr<X509>(parsed.release(), X509_free)));
  }
  unsigned long code = ERR_peek_last_error();
  bool at_end = ERR_GET_LIB(code) == ERR_LIB_PEM && ERR_GET_REASON(code) == PEM_R_NO_START_LINE;
  ERR_clear_error();
  if (!at_end) return fail(Code::kInvalidArgument, "certificate bundle: broken PEM");
  if (out.empty()) return fail(Code::kInvalidArgument, "certificate bundle: no certificate");
  return out;
}

Result<Identity> Certificate::identity() const {
  Identity out;
  X509* x509 = certificate_.get();
  TRY(read_subject(X509_get_subject_name(x509), out));
  Owned<GENERAL_NAMES, GENERAL_NAMES_free> names(
      static_cast<GENERAL_NAMES*>(X509_get_ext_d2i(x509, NID_subject_alt_name, nullptr, nullptr)));
  if (names) TRY(read_alternative_names(names.get(), out));
  TRY_ASSIGN(out.not_before, time_of(X509_get0_notBefore(x509)));
  TRY_ASSIGN(out.not_after, time_of(X509_get0_notAfter(x509)));
  OwnedBignum serial(ASN1_INTEGER_to_BN(X509_get0_serialNumber(x509), nullptr));
  if (char* hex = serial ? BN_bn2hex(serial.get()) : nullptr) {
    out.serial_hex = hex;
    std::ranges::transform(out.serial_hex, out.serial_hex.begin(), [](char c) { return c >= 'A' && c <= 'F' ? static_cast<char>(c + 32) : c; });
    OPENSSL_free(hex);
  }
  out.is_authority = X509_check_ca(x509) == 1;
  ERR_clear_error();
  return out;
}

PublicKey Certificate::public_key() const {
  EVP_PKEY* key = X509_get0_pubkey(certificate_.get());
  return PublicKey(std::shared_ptr<EVP_PKEY>(certificate_, key), kind_of(key).value_or(KeyKind::kRsa));
}

std::string Certificate::der() const {
  unsigned char* der = nullptr;
  int size = i2d_X509(certificate_.get(), &der);
  if (size <= 0) return {};
  std::string out(reinterpret_cast<char*>(der), static_cast<std::size_t>(size));
  OPENSSL_free(der);
  return out;
}

std::string Certificate::format_pem() const {
  OwnedBio bio = make_bio();
  PEM_write_bio_X509(bio.get(), certificate_.get());
  return bio_text(bio.get());
}

std::string Certificate::sha256_fingerprint_hex() const { return sha256_hex(der()); }

bool Certificate::signed_by(const Certificate& issuer) const {
  bool good = X509_verify(certificate_.get(), X509_get0_pubkey(issuer.handle())) == 1;
  ERR_clear_error();
  return good;
}

bool Certificate::matches(const PrivateKey& key) const {
  bool good = EVP_PKEY_eq(X509_get0_pubkey(certificate_.get()), key.handle()) == 1;
  ERR_clear_error();
  return good;
}

Result<> verify_chain(std::span<const Certificate> chain, std::span<const Certificate> roots, WallTime when, Purpose purpose) {
  if (chain.empty()) return fail(Code::kUnauthenticated, "verify certificate: none given");
  Owned<X509_STORE, X509_STORE_free> store(X509_STORE_new());
  for (const Certificate& root : roots) X509_STORE_add_cert(store.get(), root.handle());
  STACK_OF(X509)* intermediates = sk_X509_new_null();
  for (const Certificate& extra : chain.subspan(1)) sk_X509_push(intermediates, extra.handle());
  Owned<X509_STORE_CTX, X509_STORE_CTX_free> context(X509_STORE_CTX_new());
  bool ready = X509_STORE_CTX_init(context.get(), store.get(), chain.front().handle(), intermediates) == 1;
  int verified = 0;
  if (ready) {
    X509_STORE_CTX_set_time(context.get(), 0, std::chrono::duration_cast<std::chrono::seconds>(when.time_since_epoch()).count());
    if (purpose != Purpose::kAny)
      X509_STORE_CTX_set_purpose(context.get(), purpose == Purpose::kServer ? X509_PURPOSE_SSL_SERVER : X509_PURPOSE_SSL_CLIENT);
    X509_VERIFY_PARAM_set_depth(X509_STORE_CTX_get0_param(context.get()), 8);
    verified = X509_verify_cert(context.get());
  }
  int reason = ready ? X509_STORE_CTX_get_error(context.get()) : X509_V_ERR_UNSPECIFIED;
  sk_X509_free(intermediates);
  ERR_clear_error();
  if (verified == 1) return {};
  return fail(Code::kUnauthenticated, std::string("verify certificate: ") + X509_verify_cert_error_string(reason));
}

}  // namespace monopod::pki
