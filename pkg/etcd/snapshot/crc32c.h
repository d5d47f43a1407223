// CRC-32C (Castagnoli; RFC 3720 appendix B.4), which etcd's hashes are made of.
#pragma once

#include <cstdint>
#include <string_view>

namespace monopod::etcd {

// crc: 0, or what the call before returned.
std::uint32_t crc32c(std::uint32_t crc, std::string_view bytes);

}  // namespace monopod::etcd
