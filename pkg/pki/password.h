// Password hashes: scrypt (RFC 7914) with a random salt, in the PHC string form "$scrypt$ln=14,r=8,p=1$salt$hash", so that costs can be
// raised later and old hashes still verify. Slow on purpose, and it takes memory: call it on a pool, never on the loop.
#pragma once

#include <string>
#include <string_view>

#include "base/error.h"

namespace monopod::pki {

inline constexpr std::size_t kPasswordBytesMax = 72;  // as bcrypt, which etcd uses; CVE-2020-15115
inline constexpr int kPasswordCostDefault = 14;       // log2 of scrypt's N: 16 MiB and 0.06 s on a server, as slow as etcd's bcrypt
inline constexpr int kPasswordCostMin = 4;            // for tests
inline constexpr int kPasswordCostMax = 20;           // 1 GiB

// kInvalidArgument for a longer password or a cost out of bounds.
Result<std::string> hash_password(std::string_view password, int cost = kPasswordCostDefault);
// False too for a hash that cannot be understood. Takes as long for a wrong password as for the right one.
bool verify_password(std::string_view password, std::string_view hash);

}  // namespace monopod::pki
