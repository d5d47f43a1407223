#include "api/protobuf/wire.h"

#include <bit>

namespace monopod::api::wire {

bool Reader::varint(std::uint64_t& value) {
  value = 0;
  for (unsigned shift = 0; shift < 64; shift += 7) {
    if (rest_.empty()) return false;
    auto byte = static_cast<unsigned char>(rest_[0]);
    rest_.remove_prefix(1);
    value |= static_cast<std::uint64_t>(byte & 0x7fU) << shift;
    if (byte < 0x80) return true;
  }
  return false;
}

bool Reader::fixed(std::size_t bytes, std::uint64_t& value) {
  if (rest_.size() < bytes) return false;
  value = 0;
  for (std::size_t i = 0; i < bytes; ++i) value |= static_cast<std::uint64_t>(static_cast<unsigned char>(rest_[i])) << (8 * i);
  rest_.remove_prefix(bytes);
  return true;
}

std::optional<Piece> Reader::next() {
  if (rest_.empty() || !ok_) return std::nullopt;
  std::uint64_t tag = 0, size = 0;
  Piece piece;
  ok_ = varint(tag) && (tag >> 3) != 0 && (tag >> 3) < (1U << 29);
  if (!ok_) return std::nullopt;
  piece.number = static_cast<std::uint32_t>(tag >> 3);
  piece.kind = static_cast<std::uint32_t>(tag & 7U);
  switch (piece.kind) {
    case kVarint: ok_ = varint(piece.value); break;
    case kFixed64: ok_ = fixed(8, piece.value); break;
    case kFixed32: ok_ = fixed(4, piece.value); break;
    case kBytes:
      ok_ = varint(size) && size <= rest_.size();
      if (ok_) {
        piece.bytes = rest_.substr(0, size);
        rest_.remove_prefix(size);
      }
      break;
    default: ok_ = false;  // groups are not used
  }
  if (!ok_) return std::nullopt;
  return piece;
}

void put_varint(std::string& out, std::uint64_t value) {
  while (value >= 0x80) {
    out += static_cast<char>(value | 0x80U);
    value >>= 7;
  }
  out += static_cast<char>(value);
}
void put_tag(std::string& out, std::uint32_t number, Kind kind) { put_varint(out, static_cast<std::uint64_t>(number) << 3 | kind); }
void put_bytes(std::string& out, std::uint32_t number, std::string_view bytes) {
  put_tag(out, number, kBytes);
  put_varint(out, bytes.size());
  out += bytes;
}
void put_number(std::string& out, std::uint32_t number, std::uint64_t value) {
  put_tag(out, number, kVarint);
  put_varint(out, value);
}
void put_double(std::string& out, std::uint32_t number, double value) {
  put_tag(out, number, kFixed64);
  auto bits = std::bit_cast<std::uint64_t>(value);
  for (int i = 0; i < 8; ++i) out += static_cast<char>(bits >> (8 * i));
}

}  // namespace monopod::api::wire
