// A WebSocket whose binary messages are one stream of bytes: how SPDY is tunnelled (KEP-4006).
#pragma once

#include <memory>

#include "async/stream.h"
#include "http/websocket.h"

namespace monopod::http {

// Where messages begin and end means nothing. A text message is kInvalidArgument. shutdown_write() sends the close frame.
std::unique_ptr<async::Stream> make_websocket_bytes(std::unique_ptr<WebSocket> socket);

}  // namespace monopod::http
