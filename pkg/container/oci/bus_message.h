// Messages of D-Bus (D-Bus specification 0.43, "Message Protocol"), as far as the manager of systemd is spoken to: little-endian, without descriptors.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/error.h"

namespace monopod::container::oci {

inline constexpr std::size_t kBusMessageBytesMax = 1U << 20;  // of one message; the protocol has 128 MiB

enum class BusMessageType : std::uint8_t { kCall = 1, kReturn = 2, kError = 3, kSignal = 4 };

struct BusMessage {
  BusMessageType type = BusMessageType::kCall;
  std::uint32_t serial = 0;
  std::uint32_t reply_serial = 0;  // of returns and errors
  std::string path;
  std::string interface;
  std::string member;
  std::string error_name;
  std::string destination;         // empty where there is no bus between
  std::string signature;           // of body
  std::string body;
};

std::string format_bus_message(const BusMessage& message);
// Takes one message off the front of bytes; nullopt: it is not all there. kDataLoss: no message ever begins like this.
Result<std::optional<BusMessage>> parse_bus_message(std::string& bytes);

// Values one after another, each aligned as its type is.
class BusWriter {
 public:
  void put_bool(bool value) { put_u32(value ? 1 : 0); }
  void put_byte(std::uint8_t value) { bytes_ += static_cast<char>(value); }
  void put_u32(std::uint32_t value);
  void put_u64(std::uint64_t value);
  void put_text(std::string_view value);       // s and o
  void put_signature(std::string_view value);  // g
  void begin_struct() { align(8); }
  // Elements go between these; alignment: of the first.
  struct Array {
    std::size_t length_at;
    std::size_t first_at;
  };
  Array begin_array(std::size_t alignment);
  void end_array(const Array& array);
  const std::string& bytes() const { return bytes_; }

 private:
  void align(std::size_t to) { bytes_.resize((bytes_.size() + to - 1) / to * to, '\0'); }
  std::string bytes_;
};

// The same read; past the end, or where a text is not what it should be, everything is zero and empty from then on, and ok() false.
class BusReader {
 public:
  explicit BusReader(std::string_view bytes) : bytes_(bytes) {}
  std::uint8_t byte();
  std::uint32_t u32();
  std::string_view text();
  std::string_view signature();
  void align(std::size_t to);
  std::size_t offset() const { return at_; }
  bool ok() const { return ok_; }

 private:
  std::string_view take(std::size_t size);
  std::string_view bytes_;
  std::size_t at_ = 0;
  bool ok_ = true;
};

}  // namespace monopod::container::oci
