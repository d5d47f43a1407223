// Sets of keys that others publish, then a token: whatever they hold, keys are of a known kind and no token verifies that nobody signed.
#include "base/strings.h"
#include "pki/jwks.h"
#include "tests/fuzz/fuzz.h"

using namespace monopod;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  auto [set, token] = split_once(fuzz::text_of(data, size), '\n');
  auto keys = pki::parse_jwks(set);
  if (!keys) return 0;
  fuzz::check(!keys->empty() && keys->size() <= pki::kJwksKeysMax, "as many keys as allowed");
  if (token) fuzz::check(!pki::verify_with_jwks(*token, *keys), "the corpus has no private keys");
  return 0;
}
