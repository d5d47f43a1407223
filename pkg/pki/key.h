// Asymmetric keys: ECDSA P-256 and Ed25519 are made here, RSA (>= 2048 bits) is also read. Value types, cheap to copy
// (the key material is shared and freed with its last copy). No error and no log ever holds key bytes.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "base/error.h"

struct evp_pkey_st;

namespace monopod::pki {

enum class KeyKind { kEcdsaP256, kEd25519, kRsa };

class PublicKey {
 public:
  // PEM "PUBLIC KEY" or "CERTIFICATE" (its key), or "RSA PUBLIC KEY". kInvalidArgument for anything else, other curves, weak RSA.
  static Result<PublicKey> parse_pem(std::string_view pem);

  KeyKind kind() const { return kind_; }
  std::string format_pem() const;  // SubjectPublicKeyInfo
  std::string der() const;         // SubjectPublicKeyInfo
  // Unpadded base64url of SHA-256 over der(): the key id Kubernetes puts into service account tokens.
  std::string key_id() const;
  evp_pkey_st* handle() const { return key_.get(); }  // OpenSSL's, borrowed

 private:
  friend class PrivateKey;
  friend class Certificate;
  PublicKey(std::shared_ptr<evp_pkey_st> key, KeyKind kind) : key_(std::move(key)), kind_(kind) {}
  std::shared_ptr<evp_pkey_st> key_;
  KeyKind kind_;
};

class PrivateKey {
 public:
  static Result<PrivateKey> make(KeyKind kind = KeyKind::kEcdsaP256);  // kRsa: 2048 bits, slow (100 ms and more)
  // PEM "PRIVATE KEY" (PKCS#8), "EC PRIVATE KEY" or "RSA PRIVATE KEY", not encrypted.
  static Result<PrivateKey> parse_pem(std::string_view pem);

  KeyKind kind() const { return kind_; }
  PublicKey public_key() const;
  std::string format_pem() const;  // PKCS#8; a secret: files 0600
  evp_pkey_st* handle() const { return key_.get(); }  // OpenSSL's, borrowed

 private:
  PrivateKey(std::shared_ptr<evp_pkey_st> key, KeyKind kind) : key_(std::move(key)), kind_(kind) {}
  std::shared_ptr<evp_pkey_st> key_;
  KeyKind kind_;
};

// Raw signatures. ECDSA: SHA-256, 64 bytes r||s as RFC 7518 has it; RSA: PKCS#1 v1.5 with SHA-256; Ed25519: 64 bytes.
Result<std::string> sign(const PrivateKey& key, std::string_view data);
bool verify(const PublicKey& key, std::string_view data, std::string_view signature);
// RSASSA-PSS with SHA-256 and a salt of its length, as RFC 7518 has it (PS256). False for other kinds.
bool verify_pss(const PublicKey& key, std::string_view data, std::string_view signature);

}  // namespace monopod::pki
