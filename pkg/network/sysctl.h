// Kernel settings under /proc/sys/net, of the network namespace of the calling thread.
#pragma once

#include <string>
#include <string_view>

#include "base/error.h"

namespace monopod::network {

// name: "ipv4/ip_forward". Writes only if the value differs, so a read-only /proc/sys that is right already does.
Result<> set_sysctl(std::string_view name, std::string_view value);
// The same where the setting may be absent (IPv6 off) or refused: a warning, no error.
void try_set_sysctl(std::string_view name, std::string_view value);
Result<std::string> get_sysctl(std::string_view name);

}  // namespace monopod::network
