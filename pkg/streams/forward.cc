#include "streams/forward.h"

#include "async/join.h"
#include "async/scope.h"
#include "base/strings.h"
#include "http/port_forward.h"
#include "streams/dial.h"
#include "sys/stream.h"

namespace monopod::streams {

namespace {

async::Task<> carry(const ForwardTarget& forward, http::ForwardedConnection connection) {
  Result<sys::Fd> socket = co_await dial_loopback(forward.time, forward.pool, forward.network_path, forward.uid, connection.port);
  if (socket) {
    async::Executor executor = co_await async::this_executor();
    std::unique_ptr<async::Stream> pod = sys::make_stream(executor, std::move(*socket));
    // A pod that resets its connection ends it, and not the forwarding of the others: clients take any word on the error stream for that.
    (void)co_await async::join_streams(forward.time, *connection.data, *pod);
  } else {
    std::string text = cat("error forwarding port ", connection.port, " to pod ", forward.pod, ", uid ", forward.uid, ": ", socket.error().message());
    (void)co_await connection.error->write_all(as_bytes(text));
  }
  (void)co_await connection.data->shutdown_write();
  (void)co_await connection.error->shutdown_write();
}

async::Task<Result<>> serve(const ForwardTarget& forward, http::Exchange& exchange, async::Scope& scope) {
  CO_TRY_ASSIGN(std::unique_ptr<http::PortForward> client, co_await http::accept_port_forward(exchange, forward.time, scope));
  if (!client) co_return Result<>();
  for (;;) {  // forever: the client decides
    Result<http::ForwardedConnection> connection = co_await client->next();
    if (!connection) co_return Result<>();
    scope.spawn(carry(forward, std::move(*connection)));
  }
}

}  // namespace

async::Task<Result<>> serve_port_forward(http::Exchange& exchange, ForwardTarget target) {
  co_return co_await async::run_scoped([&](async::Scope& scope) { return serve(target, exchange, scope); });
}

}  // namespace monopod::streams
