// The server name in a TLS ClientHello (RFC 8446 section 4.1.2, RFC 6066 section 3), read without taking part in the handshake.
#pragma once

#include <string>
#include <string_view>

namespace monopod::proxy {

struct ServerName {
  // kAbsent: a ClientHello without one; kOther: no TLS; kPartial: more bytes are needed.
  enum Kind : std::uint8_t { kFound, kAbsent, kOther, kPartial } kind = kOther;
  std::string name{};  // lowercase; empty but for kFound
};
// The first bytes of a connection. A hello of more than a slab is kOther.
ServerName find_server_name(std::string_view bytes);

}  // namespace monopod::proxy
