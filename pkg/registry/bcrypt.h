// bcrypt (Provos and Mazières, "A Future-Adaptable Password Scheme", 1999), verifying only: the hashes that htpasswd -B writes.
#pragma once

#include <string_view>

namespace monopod::registry {

// "$2a$", "$2b$" or "$2y$", two digits of cost (4 to 17), '$', 22 characters of salt and 31 of hash.
bool is_bcrypt_hash(std::string_view hash);
// Slow on purpose: on a pool. False for a hash that is none. A password counts up to its 72nd byte, and up to a NUL.
bool verify_bcrypt(std::string_view password, std::string_view hash);

}  // namespace monopod::registry
