// 64-bit numbers as etcd's database keeps them, so that their order is that of their bytes.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace monopod::etcd {

inline std::string big_endian(std::uint64_t value) {
  std::string out(8, '\0');
  for (std::size_t i = 8; i-- > 0; value >>= 8) out[i] = static_cast<char>(value & 0xff);
  return out;
}
inline std::string big_endian(std::int64_t value) { return big_endian(static_cast<std::uint64_t>(value)); }

// Of the first 8 bytes, which must be there.
inline std::int64_t read_big_endian(std::string_view bytes) {
  std::uint64_t value = 0;
  for (char c : bytes.substr(0, 8)) value = value << 8 | static_cast<unsigned char>(c);
  return static_cast<std::int64_t>(value);
}

}  // namespace monopod::etcd
