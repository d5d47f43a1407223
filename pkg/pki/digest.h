// Hashes and message authentication. One-shot functions cannot fail; lengths in bytes.
#pragma once

#include <array>
#include <cstddef>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "base/bytes.h"

namespace monopod::pki {

// Raw digests (32 and 64 bytes) and their lowercase hex.
std::string sha256(std::string_view data);
std::string sha512(std::string_view data);
std::string sha256_hex(std::string_view data);
std::string sha512_hex(std::string_view data);
std::string sha1(std::string_view data);  // RFC 6455 handshake only; not for security

std::string hmac_sha256(std::string_view key, std::string_view data);

// AES-256-GMAC (NIST SP 800-38D) with zeros as the nonce: as a hash under a secret key of 32 bytes eight times as fast as SHA-256. Nobody else may see tags, as two of
// one key tell what they were made with: they are compared within the process, or go into an HMAC.
std::string secret_gmac(std::string_view key, std::string_view data);

// Same time whatever differs; false when the lengths differ.
bool equal_in_constant_time(std::string_view a, std::string_view b);

// A digest of bytes that come in pieces (image layers). Value-like but move-only.
class Sha256 {
 public:
  Sha256();
  ~Sha256();
  Sha256(Sha256&&) noexcept;
  Sha256& operator=(Sha256&&) noexcept;

  void update(std::span<const std::byte> bytes);
  void update(std::string_view text) { update(as_bytes(text)); }
  // The digest; the object then starts anew.
  std::string finish();
  std::string finish_hex();

 private:
  struct Context;
  std::unique_ptr<Context> context_;
};

}  // namespace monopod::pki
