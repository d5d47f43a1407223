#include "proxy/codec/proxy_protocol.h"

#include <netinet/in.h>

#include <cstring>

#include "base/strings.h"

namespace monopod::proxy {
namespace {

constexpr std::string_view kSignature("\r\n\r\n\0\r\nQUIT\n", 12);
constexpr std::size_t kV1BytesMax = 107;

std::unexpected<Error> refuse(std::string_view why) { return fail(Code::kInvalidArgument, cat("PROXY header: ", why)); }

Result<std::optional<ProxyHeader>> parse_v1(std::string_view input) {
  std::size_t end = input.substr(0, kV1BytesMax).find('\n');
  if (end == std::string_view::npos) {
    if (input.size() >= kV1BytesMax) return refuse("line too long");
    return std::optional<ProxyHeader>();
  }
  if (end == 0 || input[end - 1] != '\r') return refuse("bare line feed");
  std::vector<std::string_view> words = split(input.substr(0, end - 1), ' ');
  ProxyHeader out{.bytes = end + 1};
  if (words.size() >= 2 && words[1] == "UNKNOWN") return out;
  bool v6 = words.size() == 6 && words[1] == "TCP6";
  if (words.size() != 6 || (!v6 && words[1] != "TCP4")) return refuse("malformed");
  auto parse = [v6](std::string_view ip, std::string_view port) { return Address::parse(v6 ? cat("[", ip, "]:", port) : cat(ip, ":", port)); };
  Result<Address> source = parse(words[2], words[4]);
  if (!source || !parse(words[3], words[5])) return refuse("malformed address");
  out.source = *source;
  return out;
}

Result<std::optional<ProxyHeader>> parse_v2(std::string_view input) {
  if (input.size() < 16) return std::optional<ProxyHeader>();
  auto byte = [input](std::size_t i) { return static_cast<unsigned char>(input[i]); };
  std::size_t length = static_cast<std::size_t>(byte(14)) << 8 | byte(15);
  int command = byte(12) & 15;
  if (byte(12) >> 4 != 2 || command > 1) return refuse("unknown version or command");
  if (16 + length > kProxyHeaderBytesMax) return refuse("too long");
  if (input.size() < 16 + length) return std::optional<ProxyHeader>();
  ProxyHeader out{.bytes = 16 + length};
  if (command == 0) return out;  // LOCAL: a health check of the sender itself
  std::string_view body = input.substr(16, length);
  if (byte(13) == 0x11) {
    if (length < 12) return refuse("short address");
    auto& four = reinterpret_cast<sockaddr_in&>(out.source.emplace().storage);
    four.sin_family = AF_INET;
    std::memcpy(&four.sin_addr, body.data(), 4);
    std::memcpy(&four.sin_port, body.data() + 8, 2);
    out.source->size = sizeof four;
  } else if (byte(13) == 0x21) {
    if (length < 36) return refuse("short address");
    auto& six = reinterpret_cast<sockaddr_in6&>(out.source.emplace().storage);
    six.sin6_family = AF_INET6;
    std::memcpy(&six.sin6_addr, body.data(), 16);
    std::memcpy(&six.sin6_port, body.data() + 32, 2);
    out.source->size = sizeof six;
  } else if (byte(13) != 0) {
    return refuse("unsupported address family");
  }
  return out;
}

}  // namespace

Result<std::optional<ProxyHeader>> parse_proxy_header(std::string_view input) {
  constexpr std::string_view kV1 = "PROXY ";
  if (input.starts_with(kSignature)) return parse_v2(input);
  if (input.starts_with(kV1)) return parse_v1(input);
  if (kSignature.starts_with(input) || kV1.starts_with(input)) return std::optional<ProxyHeader>();
  return refuse("missing");
}

std::string format_proxy_v1(const Address& source, const Address& destination) {
  bool v6 = source.is_v6();
  if (v6 != destination.is_v6()) return "PROXY UNKNOWN\r\n";
  return cat("PROXY TCP", v6 ? "6 " : "4 ", source.format_ip(), " ", destination.format_ip(), " ", source.port(), " ", destination.port(), "\r\n");
}

std::string format_proxy_v2(const Address& source, const Address& destination) {
  unsigned char from[16], to[16];
  source.copy_ip(from);
  destination.copy_ip(to);
  bool v6 = source.is_v6() || destination.is_v6();
  std::size_t skip = v6 ? 0 : 12;
  std::string out(kSignature);
  out += '\x21';
  out += v6 ? '\x21' : '\x11';
  out += '\0';
  out += v6 ? '\x24' : '\x0c';
  out.append(reinterpret_cast<const char*>(from) + skip, 16 - skip);
  out.append(reinterpret_cast<const char*>(to) + skip, 16 - skip);
  for (std::uint16_t port : {source.port(), destination.port()}) {
    out += static_cast<char>(port >> 8);
    out += static_cast<char>(port & 0xff);
  }
  return out;
}

}  // namespace monopod::proxy
