// IP addresses and prefixes as values. IPv4-mapped IPv6 addresses are kept as what they are: IPv6.
#pragma once

#include <array>
#include <compare>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "base/error.h"

namespace monopod::network {

// IPv4 or IPv6; default-constructed it is the unset address (neither), which no parser returns.
class IpAddress {
 public:
  IpAddress() = default;
  static IpAddress v4(std::uint32_t host_order);
  static IpAddress v4(std::span<const std::uint8_t, 4> network_order);
  static IpAddress v6(std::span<const std::uint8_t, 16> network_order);

  bool is_set() const { return size_ != 0; }
  bool is_v4() const { return size_ == 4; }
  bool is_v6() const { return size_ == 16; }
  bool is_loopback() const;  // 127.0.0.0/8 or ::1
  // Network order, 4 or 16 bytes (none where unset).
  std::span<const std::uint8_t> bytes() const { return {bytes_.data(), size_}; }
  std::uint32_t v4_host_order() const;  // requires is_v4()

  auto operator<=>(const IpAddress&) const = default;

 private:
  std::uint8_t size_ = 0;
  std::array<std::uint8_t, 16> bytes_{};
};

// Dotted quad without leading zeros, or RFC 4291 text; no zone. kInvalidArgument otherwise.
Result<IpAddress> parse_ip(std::string_view text);
// RFC 5952 for IPv6; "" where unset.
std::string format_ip(const IpAddress& address);

struct Cidr {
  IpAddress address;  // host bits cleared by parse_cidr
  std::uint8_t prefix_bits = 0;

  bool contains(const IpAddress& ip) const;
  auto operator<=>(const Cidr&) const = default;
};
Result<Cidr> parse_cidr(std::string_view text);
std::string format_cidr(const Cidr& cidr);

enum class Protocol : std::uint8_t { kTcp = 6, kUdp = 17, kSctp = 132 };  // IANA protocol numbers
// "TCP", "UDP", "SCTP" as Kubernetes spells them, either case.
std::optional<Protocol> parse_protocol(std::string_view text);
std::string_view format_protocol(Protocol protocol);  // "TCP"

}  // namespace monopod::network
