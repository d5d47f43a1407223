#include "container/oci/bus_message.h"

#include <bit>
#include <cstring>

#include "base/strings.h"

namespace monopod::container::oci {
namespace {

static_assert(std::endian::native == std::endian::little);

constexpr std::uint8_t kLittleEndian = 'l';
constexpr std::uint8_t kVersion = 1;
constexpr std::size_t kFixedBytes = 16;  // with the length of the fields
constexpr std::size_t kArrayBytesMax = 1U << 16;  // of the header's fields

enum Field : std::uint8_t { kPath = 1, kInterface = 2, kMember = 3, kErrorName = 4, kReplySerial = 5, kDestination = 6, kSender = 7, kSignature = 8, kUnixFds = 9 };

std::size_t padded(std::size_t size) { return (size + 7) / 8 * 8; }

void put_field(BusWriter& out, Field field, std::string_view type, std::string_view value) {
  if (value.empty()) return;
  out.begin_struct();
  out.put_byte(field);
  out.put_signature(type);
  if (type == "g") out.put_signature(value);
  else out.put_text(value);
}

// One field into the message; what is not ours to know is passed over.
Result<> read_field(BusReader& in, BusMessage& message) {
  in.align(8);
  std::uint8_t field = in.byte();
  std::string_view type = in.signature();
  std::string_view text;
  std::uint32_t number = 0;
  if (type == "s" || type == "o") text = in.text();
  else if (type == "g") text = in.signature();
  else if (type == "u") number = in.u32();
  else return fail(Code::kDataLoss, "message of the bus: a header field of an unknown type");
  switch (field) {
    case kPath: message.path = text; break;
    case kInterface: message.interface = text; break;
    case kMember: message.member = text; break;
    case kErrorName: message.error_name = text; break;
    case kReplySerial: message.reply_serial = number; break;
    case kDestination: message.destination = text; break;
    case kSignature: message.signature = text; break;
    default: break;
  }
  return {};
}

}  // namespace

void BusWriter::put_u32(std::uint32_t value) {
  align(4);
  bytes_.append(reinterpret_cast<const char*>(&value), sizeof value);
}

void BusWriter::put_u64(std::uint64_t value) {
  align(8);
  bytes_.append(reinterpret_cast<const char*>(&value), sizeof value);
}

void BusWriter::put_text(std::string_view value) {
  put_u32(static_cast<std::uint32_t>(value.size()));
  bytes_.append(value);
  bytes_ += '\0';
}

void BusWriter::put_signature(std::string_view value) {
  put_byte(static_cast<std::uint8_t>(value.size()));
  bytes_.append(value);
  bytes_ += '\0';
}

BusWriter::Array BusWriter::begin_array(std::size_t alignment) {
  put_u32(0);
  std::size_t length_at = bytes_.size() - 4;
  align(alignment);
  return {length_at, bytes_.size()};
}

// The length is before the padding, and does not count it.
void BusWriter::end_array(const Array& array) {
  auto length = static_cast<std::uint32_t>(bytes_.size() - array.first_at);
  std::memcpy(bytes_.data() + array.length_at, &length, sizeof length);
}

std::string_view BusReader::take(std::size_t size) {
  if (!ok_ || size > bytes_.size() - at_) {
    ok_ = false;
    return {};
  }
  std::string_view out = bytes_.substr(at_, size);
  at_ += size;
  return out;
}

void BusReader::align(std::size_t to) { (void)take((to - at_ % to) % to); }

std::uint8_t BusReader::byte() {
  std::string_view one = take(1);
  return one.empty() ? 0 : static_cast<std::uint8_t>(one[0]);
}

std::uint32_t BusReader::u32() {
  align(4);
  std::string_view four = take(4);
  std::uint32_t out = 0;
  if (four.size() == 4) std::memcpy(&out, four.data(), 4);
  return out;
}

std::string_view BusReader::text() {
  std::string_view out = take(u32());
  if (byte() != 0) ok_ = false;
  return ok_ ? out : std::string_view();
}

std::string_view BusReader::signature() {
  std::string_view out = take(byte());
  if (byte() != 0) ok_ = false;
  return ok_ ? out : std::string_view();
}

std::string format_bus_message(const BusMessage& message) {
  BusWriter out;
  out.put_byte(kLittleEndian);
  out.put_byte(static_cast<std::uint8_t>(message.type));
  out.put_byte(0);
  out.put_byte(kVersion);
  out.put_u32(static_cast<std::uint32_t>(message.body.size()));
  out.put_u32(message.serial);
  BusWriter::Array fields = out.begin_array(8);
  put_field(out, kPath, "o", message.path);
  put_field(out, kInterface, "s", message.interface);
  put_field(out, kMember, "s", message.member);
  put_field(out, kErrorName, "s", message.error_name);
  put_field(out, kDestination, "s", message.destination);
  if (message.reply_serial != 0) {
    out.begin_struct();
    out.put_byte(kReplySerial);
    out.put_signature("u");
    out.put_u32(message.reply_serial);
  }
  put_field(out, kSignature, "g", message.signature);
  out.end_array(fields);
  out.begin_struct();  // the body begins aligned
  return out.bytes() + message.body;
}

Result<std::optional<BusMessage>> parse_bus_message(std::string& bytes) {
  if (bytes.size() < kFixedBytes) return std::nullopt;
  BusReader in(bytes);
  BusMessage out;
  if (in.byte() != kLittleEndian) return fail(Code::kDataLoss, "message of the bus: not little-endian");
  std::uint8_t type = in.byte();
  in.byte();  // flags
  if (in.byte() != kVersion) return fail(Code::kDataLoss, "message of the bus: of another version");
  std::size_t body_bytes = in.u32();
  out.serial = in.u32();
  std::size_t field_bytes = in.u32();
  if (type < 1 || type > 4) return fail(Code::kDataLoss, "message of the bus: of an unknown type");
  if (field_bytes > kArrayBytesMax || body_bytes > kBusMessageBytesMax) return fail(Code::kDataLoss, "message of the bus: too long");
  std::size_t body_at = padded(kFixedBytes + field_bytes);
  if (bytes.size() < body_at + body_bytes) return std::nullopt;
  out.type = static_cast<BusMessageType>(type);
  BusReader fields(std::string_view(bytes).substr(0, kFixedBytes + field_bytes));
  for (std::size_t i = 0; i < kFixedBytes; ++i) fields.byte();
  while (fields.ok() && fields.offset() < kFixedBytes + field_bytes) TRY(read_field(fields, out));
  if (!fields.ok()) return fail(Code::kDataLoss, "message of the bus: its header is cut short");
  out.body = bytes.substr(body_at, body_bytes);
  bytes.erase(0, body_at + body_bytes);
  return out;
}

}  // namespace monopod::container::oci
