// Kubernetes' base64 subprotocols over a WebSocket, for clients that send text only: what is a binary message here is a text message of
// base64 (RFC 4648 section 4) there.
#pragma once

#include <memory>

#include "http/websocket.h"

namespace monopod::http {

// channels: the first byte of a message is its channel, which travels as one digit before the base64 ("1aGVsbG8=" is "hello" on channel 1).
// read() fails with kInvalidArgument for what is not of that form, after a close frame.
std::unique_ptr<WebSocket> make_websocket_base64(std::unique_ptr<WebSocket> socket, bool channels);

}  // namespace monopod::http
