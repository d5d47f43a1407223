// A WebSocket connection (RFC 6455), either side, no extensions. Pings are answered inside read(); fragments are joined.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "async/task.h"

namespace monopod::http {

// One reader and one writer at a time. Destroying it drops the connection.
class WebSocket {
 public:
  struct Message {
    bool binary = false;
    std::string data;
  };

  virtual ~WebSocket() = default;
  // The next whole message, up to websocket_message_bytes_max (limits.h; kResourceExhausted past it).
  // kUnavailable "websocket closed" after the peer's close or end of stream; kInvalidArgument for a protocol error or text
  // that is not UTF-8, after a close frame with 1002 or 1007 was sent.
  virtual async::Task<Result<Message>> read() = 0;
  virtual async::Task<Result<>> write_binary(std::span<const std::byte> bytes) = 0;
  virtual async::Task<Result<>> write_text(std::string_view text) = 0;
  // Sends a close frame; then read() until it fails, or destroy. Idempotent.
  virtual async::Task<Result<>> close(std::uint16_t code) = 0;
  // Chosen in the handshake; empty if none.
  virtual std::string_view subprotocol() const = 0;
  // Both directions at once; waits in progress fail. Does not wait.
  virtual void abort() = 0;
};

}  // namespace monopod::http
