// The server side of Kubernetes' exec and attach, one interface over two protocols.
//   WebSocket, subprotocols v5.channel.k8s.io (KEP-4006), v4.channel.k8s.io and channel.k8s.io (also where none is named): each binary message
//     starts with its channel: 0 stdin, 1 stdout, 2 stderr, 3 error (from v4 on one Status object, before the text of a failure), 4 resize
//     ({"Width":w,"Height":h}); v5 adds 255: the peer closes the channel named by the next byte (stdin's end of file). All before v5 begin with an
//     empty message on the first channel that the client reads. v4.base64.channel.k8s.io and base64.channel.k8s.io: the same in text messages.
//   SPDY/3.1 with X-Stream-Protocol-Version v5 to v1: a stream each, header streamtype error, stdin, stdout, stderr, resize (from v3 on). The
//     error stream carries a Status object from v4 on, before it only the text of a failure.
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "async/scope.h"
#include "async/task.h"
#include "async/time.h"
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
  // The newest size; kUnavailable once the client is gone.
  virtual async::Task<Result<TerminalSize>> next_resize() = 0;
  // Sends the Status object on the error channel and closes in order. Last call.
  virtual async::Task<Result<>> finish(std::string status_json) = 0;
};

// What the client is to give and to get: over SPDY it opens a stream for each.
struct RemoteStreams {
  bool in = false;
  bool out = false;
  bool err = false;
  bool tty = false;
};

// True when the request is a WebSocket upgrade that offers one of the subprotocols or none, or one to SPDY/3.1.
bool wants_remote_command(const Exchange& exchange);

// Accepts the upgrade, choosing the newest protocol. What reads runs in scope, which must be joined before the handler returns. Null: the
// exchange has been answered (no protocol in common). kInvalidArgument when the request asks for no upgrade; kDeadlineExceeded when the client
// does not open its streams. time outlives scope.
async::Task<Result<std::unique_ptr<RemoteCommand>>> accept_remote_command(Exchange& exchange, async::Time& time, async::Scope& scope, RemoteStreams streams);

// {"Width":80,"Height":24}; nullopt for anything else.
std::optional<TerminalSize> parse_terminal_size(std::string_view text);

// What the protocols before v4 say of a Status: nothing where it is a success, else its message.
std::string failure_text(std::string_view status_json);

// The Status object for a command's end: Success, or Failure with reason NonZeroExitCode and the code as cause.
std::string format_exit_status(int exit_code);
std::string format_failure_status(const Error& error);

}  // namespace monopod::http
