// Netlink messages (linux/netlink.h): writing requests, and reading what the kernel sends with every length checked.
#pragma once

#include <cstdint>
#include <cstring>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "base/error.h"

namespace monopod::network::netlink {

// Appends messages with nested attributes to one buffer, in the order
//   begin, fixed header, put.., nest(put..), end.
// An attribute or nest over 64 KiB marks the writer as overflown; sockets refuse to send it.
class Writer {
 public:
  void begin(std::uint16_t type, std::uint16_t flags, std::uint32_t sequence);
  template <typename T>
    requires std::is_trivially_copyable_v<T>
  void header(const T& value) {
    append(&value, sizeof value);
  }
  void put(std::uint16_t type, std::span<const std::uint8_t> bytes);
  void put_u8(std::uint16_t type, std::uint8_t v);
  void put_u16(std::uint16_t type, std::uint16_t v);
  void put_u32(std::uint16_t type, std::uint32_t v);
  void put_be16(std::uint16_t type, std::uint16_t host_order);
  void put_be32(std::uint16_t type, std::uint32_t host_order);
  void put_be64(std::uint16_t type, std::uint64_t host_order);
  void put_string(std::uint16_t type, std::string_view text);  // with its terminating NUL
  void put_flag(std::uint16_t type) { put(type, {}); }

  [[nodiscard]] std::size_t nest(std::uint16_t type);  // pass what it returns to close()
  void close(std::size_t nest);
  void end();  // of the message

  // Copies whole messages, renumbering them from first_sequence on.
  void append_messages(const Writer& from, std::uint32_t first_sequence);

  std::span<const std::uint8_t> bytes() const { return bytes_; }
  std::size_t messages() const { return messages_; }
  bool overflown() const { return overflown_; }
  void clear();
  // Sets flags on the message begun last.
  void add_flags_to_last(std::uint16_t flags);

 private:
  void append(const void* data, std::size_t size);
  void pad();

  std::vector<std::uint8_t> bytes_;
  std::size_t message_at_ = 0;
  std::size_t messages_ = 0;
  bool overflown_ = false;
};

// RAII for a nest: { Nest data(writer, IFLA_INFO_DATA); writer.put_u32(...); }
class Nest {
 public:
  Nest(Writer& writer, std::uint16_t type) : writer_(writer), at_(writer.nest(type)) {}
  ~Nest() { writer_.close(at_); }
  Nest(const Nest&) = delete;
  Nest& operator=(const Nest&) = delete;

 private:
  Writer& writer_;
  std::size_t at_;
};

struct Attribute {
  std::uint16_t type = 0;  // without the nested and byte-order flags
  std::span<const std::uint8_t> bytes{};

  // nullopt where the size does not fit.
  std::optional<std::uint8_t> u8() const;
  std::optional<std::uint16_t> u16() const;
  std::optional<std::uint32_t> u32() const;
  std::optional<std::uint16_t> be16() const;
  std::optional<std::uint32_t> be32() const;
  std::optional<std::uint64_t> be64() const;
  std::string_view text() const;  // up to the first NUL
};

// Attributes in order. Stops at the first one whose length lies; what came before is still given.
class Attributes {
 public:
  explicit Attributes(std::span<const std::uint8_t> bytes) : rest_(bytes) {}
  std::optional<Attribute> next();
  // The first of that type, from the present position; does not move it.
  std::optional<Attribute> find(std::uint16_t type) const;
  std::optional<Attributes> find_nested(std::uint16_t type) const;

 private:
  std::span<const std::uint8_t> rest_;
};

struct Message {
  std::uint16_t type = 0;
  std::uint16_t flags = 0;
  std::uint32_t sequence = 0;
  std::span<const std::uint8_t> payload{};

  // The fixed header at the front of the payload; nullopt if shorter.
  template <typename T>
    requires std::is_trivially_copyable_v<T>
  std::optional<T> fixed() const {
    if (payload.size() < sizeof(T)) return std::nullopt;
    T value;
    std::memcpy(&value, payload.data(), sizeof value);
    return value;
  }
  // What follows a fixed header of that size.
  Attributes attributes(std::size_t fixed_bytes) const;
};

// Messages of one datagram. Stops at the first malformed one.
class Messages {
 public:
  explicit Messages(std::span<const std::uint8_t> datagram) : rest_(datagram) {}
  std::optional<Message> next();

 private:
  std::span<const std::uint8_t> rest_;
};

// The kernel's answer to a request: NLMSG_ERROR, 0 for an acknowledgement. text: the extended ACK's words, if any.
struct Ack {
  int os_errno = 0;
  std::string text{};
};
std::optional<Ack> parse_ack(const Message& message);

}  // namespace monopod::network::netlink
