// Bytes from the kernel's random source through OpenSSL's DRBG: keys, tokens, serial numbers. Not for tests that replay:
// those use base/rng.h.
#pragma once

#include <cstddef>
#include <string>

#include "base/error.h"

namespace monopod::pki {

// Prepares libcrypto without reading any openssl.cnf. Every entry of this package calls it; call it early in main to
// pay for it there.
void initialise();

// kInternal when the random source fails.
Result<std::string> random_bytes(std::size_t count);
// count random bytes as lowercase hex: bearer tokens and identifiers.
Result<std::string> random_token(std::size_t count);

}  // namespace monopod::pki
