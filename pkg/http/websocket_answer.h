// A request for a WebSocket whose answer is a stream of bytes or lines: each piece that the handler writes goes out as a message, as
// upstream's API server serves logs and watches to clients that ask for an upgrade. An answer that is a failure stays an HTTP answer.
#pragma once

#include "async/scope.h"
#include "async/time.h"
#include "http/exchange.h"

namespace monopod::http {

enum class Messages {
  kBytes,  // a binary message for each piece; subprotocols binary.k8s.io, none, and base64.binary.k8s.io as text
  kLines,  // a text message for each line, without a subprotocol
};

// Runs handler on the exchange, which asked for a WebSocket, and ends when it is done or the client has gone. What the client sends is
// not looked at. time outlives the call.
async::Task<Result<>> answer_by_messages(Exchange& exchange, Handler& handler, Messages messages, async::Time& time);

}  // namespace monopod::http
