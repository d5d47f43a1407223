#include "pki/key.h"

#include <openssl/ec.h>
#include <openssl/ecdsa.h>
#include <openssl/rsa.h>

#include <optional>

#include "base/bytes.h"
#include "pki/digest.h"
#include "pki/openssl.h"

namespace monopod::pki {
namespace {

std::shared_ptr<EVP_PKEY> shared(OwnedKey key) { return {key.release(), EVP_PKEY_free}; }

}  // namespace

// Declared where certificates need it too (certificate.cc).
std::optional<KeyKind> kind_of(EVP_PKEY* key) {
  switch (EVP_PKEY_get_base_id(key)) {
    case EVP_PKEY_EC: {
      char group[32] = {};
      std::size_t size = 0;
      if (EVP_PKEY_get_group_name(key, group, sizeof group, &size) != 1) return std::nullopt;
      if (std::string_view(group, size) != "prime256v1") return std::nullopt;
      return KeyKind::kEcdsaP256;
    }
    case EVP_PKEY_ED25519: return KeyKind::kEd25519;
    case EVP_PKEY_RSA: return EVP_PKEY_get_bits(key) >= 2048 ? std::optional(KeyKind::kRsa) : std::nullopt;
    default: return std::nullopt;
  }
}

namespace {

constexpr const char* kUnsupported = "key is not ECDSA P-256, Ed25519 or RSA of 2048 bits and more";
constexpr std::size_t kPemBytesMax = 64U << 10;

constexpr std::size_t kCoordinateBytes = 32;

std::optional<std::string> raw_from_der(std::string_view der) {
  const auto* p = reinterpret_cast<const unsigned char*>(der.data());
  Owned<ECDSA_SIG, ECDSA_SIG_free> parsed(d2i_ECDSA_SIG(nullptr, &p, static_cast<long>(der.size())));
  if (!parsed) return std::nullopt;
  std::string out(2 * kCoordinateBytes, '\0');
  auto* bytes = reinterpret_cast<unsigned char*>(out.data());
  if (BN_bn2binpad(ECDSA_SIG_get0_r(parsed.get()), bytes, kCoordinateBytes) < 0) return std::nullopt;
  if (BN_bn2binpad(ECDSA_SIG_get0_s(parsed.get()), bytes + kCoordinateBytes, kCoordinateBytes) < 0) return std::nullopt;
  return out;
}

std::optional<std::string> der_from_raw(std::string_view raw) {
  if (raw.size() != 2 * kCoordinateBytes) return std::nullopt;
  const auto* bytes = reinterpret_cast<const unsigned char*>(raw.data());
  OwnedBignum r(BN_bin2bn(bytes, kCoordinateBytes, nullptr));
  OwnedBignum s(BN_bin2bn(bytes + kCoordinateBytes, kCoordinateBytes, nullptr));
  Owned<ECDSA_SIG, ECDSA_SIG_free> signature(ECDSA_SIG_new());
  if (!r || !s || !signature || ECDSA_SIG_set0(signature.get(), r.get(), s.get()) != 1) return std::nullopt;
  [[maybe_unused]] BIGNUM* owned_by_signature_r = r.release();
  [[maybe_unused]] BIGNUM* owned_by_signature_s = s.release();
  unsigned char* der = nullptr;
  int size = i2d_ECDSA_SIG(signature.get(), &der);
  if (size <= 0) return std::nullopt;
  std::string out(reinterpret_cast<char*>(der), static_cast<std::size_t>(size));
  OPENSSL_free(der);
  return out;
}

}  // namespace

Result<PublicKey> PublicKey::parse_pem(std::string_view pem) {
  initialise();
  if (pem.size() > kPemBytesMax) return fail(Code::kInvalidArgument, "public key: too large");
  OwnedKey key(PEM_read_bio_PUBKEY(read_bio(pem).get(), nullptr, no_passphrase, nullptr));
  if (!key) {
    OwnedX509 certificate(PEM_read_bio_X509(read_bio(pem).get(), nullptr, no_passphrase, nullptr));
    if (certificate) key.reset(X509_get_pubkey(certificate.get()));
  }
  if (!key) {
    Owned<BIO, BIO_free_all> bio = read_bio(pem);
    char* name = nullptr;
    unsigned char* data = nullptr;
    char* header = nullptr;
    long size = 0;
    if (PEM_read_bio(bio.get(), &name, &header, &data, &size) == 1) {
      const unsigned char* p = data;
      if (std::string_view(name) == "RSA PUBLIC KEY") key.reset(d2i_PublicKey(EVP_PKEY_RSA, nullptr, &p, size));
      OPENSSL_free(name);
      OPENSSL_free(header);
      OPENSSL_free(data);
    }
  }
  ERR_clear_error();
  if (!key) return fail(Code::kInvalidArgument, "public key: not PEM");
  std::optional<KeyKind> kind = kind_of(key.get());
  if (!kind) return fail(Code::kInvalidArgument, kUnsupported);
  return PublicKey(shared(std::move(key)), *kind);
}

std::string PublicKey::format_pem() const {
  OwnedBio bio = make_bio();
  PEM_write_bio_PUBKEY(bio.get(), key_.get());
  return bio_text(bio.get());
}

std::string PublicKey::der() const {
  unsigned char* der = nullptr;
  int size = i2d_PUBKEY(key_.get(), &der);
  if (size <= 0) return {};
  std::string out(reinterpret_cast<char*>(der), static_cast<std::size_t>(size));
  OPENSSL_free(der);
  return out;
}

std::string PublicKey::key_id() const { return format_base64url(sha256(der())); }

Result<PrivateKey> PrivateKey::make(KeyKind kind) {
  initialise();
  EVP_PKEY* made = nullptr;
  switch (kind) {
    case KeyKind::kEcdsaP256: made = EVP_PKEY_Q_keygen(nullptr, nullptr, "EC", "P-256"); break;
    case KeyKind::kEd25519: made = EVP_PKEY_Q_keygen(nullptr, nullptr, "ED25519"); break;
    case KeyKind::kRsa: made = EVP_PKEY_Q_keygen(nullptr, nullptr, "RSA", static_cast<std::size_t>(2048)); break;
  }
  if (made == nullptr) return fail(Code::kInternal, "make key: " + openssl_reason());
  return PrivateKey(shared(OwnedKey(made)), kind);
}

Result<PrivateKey> PrivateKey::parse_pem(std::string_view pem) {
  initialise();
  if (pem.size() > kPemBytesMax) return fail(Code::kInvalidArgument, "private key: too large");
  OwnedKey key(PEM_read_bio_PrivateKey(read_bio(pem).get(), nullptr, no_passphrase, nullptr));
  ERR_clear_error();
  if (!key) return fail(Code::kInvalidArgument, "private key: not PEM, or encrypted");
  std::optional<KeyKind> kind = kind_of(key.get());
  if (!kind) return fail(Code::kInvalidArgument, kUnsupported);
  return PrivateKey(shared(std::move(key)), *kind);
}

PublicKey PrivateKey::public_key() const { return PublicKey(key_, kind_); }

std::string PrivateKey::format_pem() const {
  OwnedBio bio = make_bio();
  PEM_write_bio_PKCS8PrivateKey(bio.get(), key_.get(), nullptr, nullptr, 0, nullptr, nullptr);
  return bio_text(bio.get());
}

Result<std::string> sign(const PrivateKey& key, std::string_view data) {
  Owned<EVP_MD_CTX, EVP_MD_CTX_free> context(EVP_MD_CTX_new());
  const EVP_MD* hash = key.kind() == KeyKind::kEd25519 ? nullptr : EVP_sha256();
  const auto* bytes = reinterpret_cast<const unsigned char*>(data.data());
  std::size_t size = 0;
  if (EVP_DigestSignInit(context.get(), nullptr, hash, nullptr, key.handle()) != 1 ||
      EVP_DigestSign(context.get(), nullptr, &size, bytes, data.size()) != 1)
    return fail(Code::kInternal, "sign: " + openssl_reason());
  std::string out(size, '\0');
  if (EVP_DigestSign(context.get(), reinterpret_cast<unsigned char*>(out.data()), &size, bytes, data.size()) != 1)
    return fail(Code::kInternal, "sign: " + openssl_reason());
  out.resize(size);
  if (key.kind() != KeyKind::kEcdsaP256) return out;
  std::optional<std::string> raw = raw_from_der(out);
  if (!raw) return fail(Code::kInternal, "sign: unexpected signature form");
  return std::move(*raw);
}

bool verify(const PublicKey& key, std::string_view data, std::string_view signature) {
  std::string der;
  if (key.kind() == KeyKind::kEcdsaP256) {
    std::optional<std::string> converted = der_from_raw(signature);
    if (!converted) return false;
    der = std::move(*converted);
    signature = der;
  }
  Owned<EVP_MD_CTX, EVP_MD_CTX_free> context(EVP_MD_CTX_new());
  const EVP_MD* hash = key.kind() == KeyKind::kEd25519 ? nullptr : EVP_sha256();
  bool good = EVP_DigestVerifyInit(context.get(), nullptr, hash, nullptr, key.handle()) == 1 &&
              EVP_DigestVerify(context.get(), reinterpret_cast<const unsigned char*>(signature.data()), signature.size(),
                               reinterpret_cast<const unsigned char*>(data.data()), data.size()) == 1;
  ERR_clear_error();
  return good;
}

bool verify_pss(const PublicKey& key, std::string_view data, std::string_view signature) {
  if (key.kind() != KeyKind::kRsa) return false;
  Owned<EVP_MD_CTX, EVP_MD_CTX_free> context(EVP_MD_CTX_new());
  EVP_PKEY_CTX* padding = nullptr;
  bool good = EVP_DigestVerifyInit(context.get(), &padding, EVP_sha256(), nullptr, key.handle()) == 1 && EVP_PKEY_CTX_set_rsa_padding(padding, RSA_PKCS1_PSS_PADDING) == 1 &&
              EVP_PKEY_CTX_set_rsa_pss_saltlen(padding, RSA_PSS_SALTLEN_DIGEST) == 1 &&
              EVP_DigestVerify(context.get(), reinterpret_cast<const unsigned char*>(signature.data()), signature.size(),
                               reinterpret_cast<const unsigned char*>(data.data()), data.size()) == 1;
  ERR_clear_error();
  return good;
}

}  // namespace monopod::pki
