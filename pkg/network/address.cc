#include "network/address.h"

#include <arpa/inet.h>

#include <algorithm>
#include <cstring>

#include "base/strings.h"

namespace monopod::network {

IpAddress IpAddress::v4(std::uint32_t host_order) {
  const std::array<std::uint8_t, 4> bytes{static_cast<std::uint8_t>(host_order >> 24), static_cast<std::uint8_t>(host_order >> 16),
                                          static_cast<std::uint8_t>(host_order >> 8), static_cast<std::uint8_t>(host_order)};
  return v4(std::span<const std::uint8_t, 4>(bytes));
}

IpAddress IpAddress::v4(std::span<const std::uint8_t, 4> network_order) {
  IpAddress ip;
  ip.size_ = 4;
  std::ranges::copy(network_order, ip.bytes_.begin());
  return ip;
}

IpAddress IpAddress::v6(std::span<const std::uint8_t, 16> network_order) {
  IpAddress ip;
  ip.size_ = 16;
  std::ranges::copy(network_order, ip.bytes_.begin());
  return ip;
}

bool IpAddress::is_loopback() const {
  if (is_v4()) return bytes_[0] == 127;
  return is_v6() && bytes_[15] == 1 && std::all_of(bytes_.begin(), bytes_.begin() + 15, [](std::uint8_t b) { return b == 0; });
}

std::uint32_t IpAddress::v4_host_order() const {
  return std::uint32_t{bytes_[0]} << 24 | std::uint32_t{bytes_[1]} << 16 | std::uint32_t{bytes_[2]} << 8 | std::uint32_t{bytes_[3]};
}

Result<IpAddress> parse_ip(std::string_view text) {
  std::array<char, INET6_ADDRSTRLEN> copy{};
  if (!text.empty() && text.size() < copy.size() && text.find('\0') == std::string_view::npos) {
    std::ranges::copy(text, copy.begin());
    std::array<std::uint8_t, 16> bytes{};
    if (::inet_pton(AF_INET, copy.data(), bytes.data()) == 1) return IpAddress::v4(std::span<const std::uint8_t, 4>(bytes.data(), 4));
    if (::inet_pton(AF_INET6, copy.data(), bytes.data()) == 1) return IpAddress::v6(bytes);
  }
  return fail(Code::kInvalidArgument, cat("not an IP address: \"", text.substr(0, 64), "\""));
}

std::string format_ip(const IpAddress& address) {
  std::array<char, INET6_ADDRSTRLEN> text{};
  if (!address.is_set()) return {};
  ::inet_ntop(address.is_v4() ? AF_INET : AF_INET6, address.bytes().data(), text.data(), text.size());
  return text.data();
}

namespace {
IpAddress masked(const IpAddress& ip, unsigned prefix_bits) {
  std::array<std::uint8_t, 16> bytes{};
  std::ranges::copy(ip.bytes(), bytes.begin());
  for (unsigned i = 0; i < 16; ++i) {
    unsigned keep = prefix_bits > i * 8 ? std::min(8U, prefix_bits - i * 8) : 0;
    bytes[i] = static_cast<std::uint8_t>(bytes[i] & (0xFF00U >> keep));
  }
  return ip.is_v4() ? IpAddress::v4(std::span<const std::uint8_t, 4>(bytes.data(), 4)) : IpAddress::v6(bytes);
}
}  // namespace

bool Cidr::contains(const IpAddress& ip) const {
  return ip.is_set() && ip.bytes().size() == address.bytes().size() && masked(ip, prefix_bits) == masked(address, prefix_bits);
}

Result<Cidr> parse_cidr(std::string_view text) {
  auto [ip_text, bits_text] = split_once(text, '/');
  Result<IpAddress> ip = parse_ip(ip_text);
  std::optional<unsigned> bits = parse_int<unsigned>(bits_text.value_or(""));
  if (!ip || !bits || *bits > ip->bytes().size() * 8) return fail(Code::kInvalidArgument, cat("not a CIDR: \"", text.substr(0, 64), "\""));
  return Cidr{masked(*ip, *bits), static_cast<std::uint8_t>(*bits)};
}

std::string format_cidr(const Cidr& cidr) {
  return cidr.address.is_set() ? cat(format_ip(cidr.address), "/", static_cast<unsigned>(cidr.prefix_bits)) : std::string();
}

std::optional<Protocol> parse_protocol(std::string_view text) {
  for (Protocol p : {Protocol::kTcp, Protocol::kUdp, Protocol::kSctp})
    if (iequals(text, format_protocol(p))) return p;
  return std::nullopt;
}

std::string_view format_protocol(Protocol protocol) {
  switch (protocol) {
    case Protocol::kTcp: return "TCP";
    case Protocol::kUdp: return "UDP";
    case Protocol::kSctp: return "SCTP";
  }
  return "UNKNOWN";
}

}  // namespace monopod::network
