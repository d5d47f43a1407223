#include "pki/random.h"

#include <openssl/crypto.h>
#include <openssl/rand.h>

#include "base/bytes.h"

namespace monopod::pki {

void initialise() { OPENSSL_init_crypto(OPENSSL_INIT_NO_LOAD_CONFIG, nullptr); }

Result<std::string> random_bytes(std::size_t count) {
  initialise();
  std::string out(count, '\0');
  if (RAND_bytes(reinterpret_cast<unsigned char*>(out.data()), static_cast<int>(count)) != 1)
    return fail(Code::kInternal, "random source failed");
  return out;
}

Result<std::string> random_token(std::size_t count) {
  TRY_ASSIGN(std::string bytes, random_bytes(count));
  return format_hex(as_bytes(bytes));
}

}  // namespace monopod::pki
