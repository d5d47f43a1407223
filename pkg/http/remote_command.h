// The server side of Kubernetes' exec and attach over WebSocket: subprotocols v5.channel.k8s.io and v4.channel.k8s.io (KEP-4006).
// Each binary message starts with its channel: 0 stdin, 1 stdout, 2 stderr, 3 error (one Status object), 4 resize
// ({"Width":w,"Height":h}); v5 adds 255: the peer closes the channel named by the next byte (stdin's end of file).
// RemoteCommand is the seam: SPDY/3.1 streams can stand behind the same interface.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "async/scope.h"
#include "async/task.h"
#include "http/exchange.h"

namespace monopod::http {

struct TerminalSize {
  std::uint16_t width = 0;
  std::uint16_t height = 0;
};

// One coroutine per method at a time. Reads of stdin and resize share the connection: either may run the pump.
class RemoteCommand {
 public:
  virtual ~RemoteCommand() = default;
  // At least one byte of stdin; 0 at its end (closed by the peer, or the connection ended). The peer is not read further
  // while stdin_bytes_max (256 KiB) wait.
  virtual async::Task<Result<std::size_t>> read_stdin(std::span<std::byte> into) = 0;
  virtual async::Task<Result<>> write_stdout(std::span<const std::byte> bytes) = 0;
  virtual async::Task<Result<>> write_stderr(std::span<const std::byte> bytes) = 0;
  // The newest size; kUnavailable when there will be none.
  virtual async::Task<Result<TerminalSize>> next_resize() = 0;
  // Sends the Status object on the error channel and closes in order. Last call.
  virtual async::Task<Result<>> finish(std::string status_json) = 0;
};

// True when the request is a WebSocket upgrade that offers one of the two subprotocols.
bool wants_remote_command(const Exchange& exchange);

// Accepts the upgrade, choosing v5 over v4. The read pump runs in scope, which must be joined before the handler returns.
// kInvalidArgument when the request does not ask for it.
async::Task<Result<std::unique_ptr<RemoteCommand>>> accept_remote_command(Exchange& exchange, async::Scope& scope);

// The Status object for a command's end: Success, or Failure with reason NonZeroExitCode and the code as cause.
std::string format_exit_status(int exit_code);
std::string format_failure_status(const Error& error);

}  // namespace monopod::http
