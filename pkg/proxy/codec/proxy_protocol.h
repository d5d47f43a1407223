// The PROXY protocol (haproxy.org/download/2.6/doc/proxy-protocol.txt), versions 1 and 2: who the client was, ahead of its bytes.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "proxy/io/address.h"

namespace monopod::proxy {

inline constexpr std::size_t kProxyHeaderBytesMax = 536;  // the first read a sender may rely on; a v2 header with more is refused

struct ProxyHeader {
  std::size_t bytes = 0;               // of the input
  std::optional<Address> source{};     // none: LOCAL or UNKNOWN, the connection's own stands
};
// At the start of input: nullopt: not whole yet; kInvalidArgument: none.
Result<std::optional<ProxyHeader>> parse_proxy_header(std::string_view input);

std::string format_proxy_v1(const Address& source, const Address& destination);
std::string format_proxy_v2(const Address& source, const Address& destination);

}  // namespace monopod::proxy
