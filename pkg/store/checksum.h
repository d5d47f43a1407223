// The checksum of a log row: CRC-32 (IEEE 802.3, zlib's) over five little-endian 64-bit numbers (row id, create, version, lease, key
// length), the key and the value.
#pragma once

#include "store/row.h"

namespace monopod::store {

std::uint32_t row_checksum(const Version& version, std::string_view key, std::string_view value);

}  // namespace monopod::store
