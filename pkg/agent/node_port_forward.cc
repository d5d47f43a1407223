// port-forward: each connection of a client joined to one of the pod's own loopback.
#include "agent/node_handler.h"
#include "agent/pod_dial.h"
#include "async/join.h"
#include "base/strings.h"
#include "http/port_forward.h"
#include "sys/stream.h"

namespace monopod::agent {

namespace {

struct Forward {
  async::Time& time;
  async::Pool& pool;
  std::string network_path;
  std::string pod;
  std::string uid;
};

async::Task<> carry(Forward& forward, http::ForwardedConnection connection) {
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

async::Task<Result<>> serve(Forward& forward, http::Exchange& exchange, async::Scope& scope) {
  CO_TRY_ASSIGN(std::unique_ptr<http::PortForward> client, co_await http::accept_port_forward(exchange, forward.time, scope));
  if (!client) co_return Result<>();
  for (;;) {  // forever: the client decides
    Result<http::ForwardedConnection> connection = co_await client->next();
    if (!connection) co_return Result<>();
    scope.spawn(carry(forward, std::move(*connection)));
  }
}

}  // namespace

async::Task<Result<>> NodeHandler::port_forward(http::Exchange& exchange, const std::vector<std::string>& parts) {
  const PodWorker* worker = pods_.find(parts[1], parts[2]);
  if (!worker) co_return fail(Code::kNotFound, "pod does not exist");
  std::shared_ptr<const Pod> pod = worker->shared_pod();
  if (parts.size() == 4 && parts[3] != pod->uid) co_return fail(Code::kNotFound, "pod not found");
  Forward forward{deps_.time, deps_.pool, machine_.namespaces(pod->uid).network_path, pod->name, pod->uid};
  if (forward.network_path.empty() && !pod->host_network) co_return fail(Code::kUnavailable, cat("network namespace for sandbox \"", pod->uid, "\" is closed"));
  co_return co_await async::run_scoped([&](async::Scope& scope) { return serve(forward, exchange, scope); });
}

}  // namespace monopod::agent
