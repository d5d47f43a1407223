// Private: RFC 6455 over any duplex stream.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "async/stream.h"
#include "http/limits.h"
#include "http/websocket.h"

namespace monopod::http {

// The Sec-WebSocket-Accept for a key.
std::string websocket_accept(std::string_view key);

struct WebSocketOptions {
  bool client = false;  // clients mask
  std::string subprotocol{};
  std::size_t message_bytes_max = Limits{}.websocket_message_bytes_max;
};
std::unique_ptr<WebSocket> make_websocket(async::Executor executor, std::unique_ptr<async::Stream> stream, WebSocketOptions options);

}  // namespace monopod::http
