// Private: an upgrade to SPDY/3.1 as Kubernetes' clients ask for it, by HTTP/1.1 or through a WebSocket.
#pragma once

#include <memory>
#include <span>
#include <string>

#include "async/stream.h"
#include "http/exchange.h"

namespace monopod::http {

inline constexpr std::string_view kSpdy = "SPDY/3.1";

struct SpdyWire {
  std::unique_ptr<async::Stream> stream;
  std::string protocol;  // the one chosen of X-Stream-Protocol-Version; the oldest where the client named none
};

// protocols: what we speak, newest first. Null stream: the exchange has been answered (403, with what is accepted).
async::Task<Result<SpdyWire>> upgrade_to_spdy(Exchange& exchange, std::span<const std::string_view> protocols);

}  // namespace monopod::http
