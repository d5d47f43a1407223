#include "codec/proto_wire.h"

#include <array>

namespace monopod {

Result<std::uint64_t> read_varint(std::string_view& rest) {
  std::uint64_t value = 0;
  for (unsigned shift = 0; shift < 64 && !rest.empty(); shift += 7) {
    auto byte = static_cast<unsigned char>(rest.front());
    rest.remove_prefix(1);
    value |= static_cast<std::uint64_t>(byte & 0x7fU) << shift;
    if (byte < 0x80) return value;
  }
  return fail(Code::kInvalidArgument, "malformed request: bad varint");
}

Result<bool> ProtoReader::next() {
  if (rest_.empty()) return false;
  TRY_ASSIGN(std::uint64_t tag, read_varint(rest_));
  field_ = static_cast<std::uint32_t>(tag >> 3);
  wire_type_ = static_cast<std::uint32_t>(tag & 7U);
  number_ = 0;
  bytes_ = {};
  switch (wire_type_) {
    case 0: {
      TRY_ASSIGN(number_, read_varint(rest_));
      return true;
    }
    case 2: {
      TRY_ASSIGN(std::uint64_t size, read_varint(rest_));
      if (size > rest_.size()) break;
      bytes_ = rest_.substr(0, size);
      rest_.remove_prefix(size);
      return true;
    }
    case 1:
    case 5: {
      std::size_t size = wire_type_ == 1 ? 8 : 4;
      if (size > rest_.size()) break;
      for (std::size_t i = size; i-- > 0;) number_ = number_ << 8 | static_cast<unsigned char>(rest_[i]);
      rest_.remove_prefix(size);
      return true;
    }
    default: break;
  }
  return fail(Code::kInvalidArgument, "malformed request: bad field");
}

void ProtoWriter::varint(std::uint64_t value) {
  std::array<char, 10> bytes;
  std::size_t size = 0;
  for (; value >= 0x80; value >>= 7) bytes[size++] = static_cast<char>(value | 0x80U);
  bytes[size++] = static_cast<char>(value);
  out_.append(bytes.data(), size);
}

ProtoWriter& ProtoWriter::unsigned_integer(std::uint32_t field, std::uint64_t value) {
  return value == 0 ? *this : varint_field(field, value);
}

ProtoWriter& ProtoWriter::varint_field(std::uint32_t field, std::uint64_t value) {
  varint(std::uint64_t{field} << 3);
  varint(value);
  return *this;
}

ProtoWriter& ProtoWriter::integer(std::uint32_t field, std::int64_t value) { return unsigned_integer(field, static_cast<std::uint64_t>(value)); }

namespace {
std::size_t size_of_varint(std::uint64_t value) {
  std::size_t size = 1;
  for (; value >= 0x80; value >>= 7) ++size;
  return size;
}
}  // namespace

std::size_t ProtoWriter::size_of_integer(std::uint32_t field, std::int64_t value) {
  return value == 0 ? 0 : size_of_varint(std::uint64_t{field} << 3) + size_of_varint(static_cast<std::uint64_t>(value));
}

std::size_t ProtoWriter::size_of_bytes(std::uint32_t field, std::size_t size) {
  return size == 0 ? 0 : size_of_message(field, size);
}

std::size_t ProtoWriter::size_of_message(std::uint32_t field, std::size_t size) { return size_of_varint(std::uint64_t{field} << 3) + size_of_varint(size) + size; }

ProtoWriter& ProtoWriter::begin_message(std::uint32_t field, std::size_t size) {
  varint(std::uint64_t{field} << 3 | 2U);
  varint(size);
  return *this;
}

ProtoWriter& ProtoWriter::message(std::uint32_t field, std::string_view encoded) {
  varint(std::uint64_t{field} << 3 | 2U);
  varint(encoded.size());
  out_ += encoded;
  return *this;
}

ProtoWriter& ProtoWriter::bytes(std::uint32_t field, std::string_view value) { return value.empty() ? *this : message(field, value); }

}  // namespace monopod
