// port-forward: each connection of a client joined to one of the pod's own loopback.
//
//   client --data--> to_pod   --> socket      ends with the client's end of file (the socket is half-closed), or its reset
//   client <--data-- from_pod <-- socket      ends with the pod's; then the client has a moment to send its rest
#include "agent/node_handler.h"
#include "agent/pod_dial.h"
#include "base/strings.h"
#include "http/port_forward.h"
#include "sys/stream.h"

namespace monopod::agent {

namespace {

constexpr std::size_t kChunkBytes = 32U << 10;
constexpr Duration kRestMax = std::chrono::seconds(1);  // for the client's direction, once the pod's is over

struct Forward {
  async::Time& time;
  async::Pool& pool;
  std::string network_path;
  std::string pod;
  std::string uid;
};

struct Joined {
  Joined(async::Executor executor, async::Time& t, async::Stream& c, async::Stream& p) : time(t), client(c), pod(p), sent(executor) {}
  async::Time& time;
  async::Stream& client;
  async::Stream& pod;
  async::Event sent;  // everything of the client went to the pod
};

// True at the end of from; false when to takes nothing any more; an error when from was lost.
async::Task<Result<bool>> copy(async::Stream& from, async::Stream& to) {
  std::vector<std::byte> buffer(kChunkBytes);
  for (;;) {  // forever: until either side ends
    CO_TRY_ASSIGN(std::size_t n, co_await from.read_some(buffer));
    if (n == 0) co_return true;
    Result<> written = co_await to.write_all(std::span(buffer).first(n));
    if (!written) co_return false;
  }
}

async::Task<> to_pod(Joined& joined, async::Scope& scope) {
  Result<bool> copied = co_await copy(joined.client, joined.pod);
  if (!copied) scope.cancel();  // reset: nobody waits for what the pod has to say
  else if (*copied) (void)co_await joined.pod.shutdown_write();
  joined.sent.set();
}

async::Task<> from_pod(Joined& joined, async::Scope& scope) {
  // A pod that resets its connection ends it, and not the forwarding of the others: clients take any word on the error stream for that.
  (void)co_await copy(joined.pod, joined.client);
  (void)co_await joined.client.shutdown_write();
  (void)co_await async::with_timeout<void>(joined.time, kRestMax, "rest", joined.sent.wait());
  scope.cancel();
}

async::Task<Result<>> join_streams(async::Time& time, async::Stream& client, async::Stream& pod) {
  async::Executor executor = co_await async::this_executor();
  Joined joined(executor, time, client, pod);
  async::Scope scope(executor);
  scope.spawn(to_pod(joined, scope));
  scope.spawn(from_pod(joined, scope));
  co_return co_await scope.join();
}

async::Task<> carry(Forward& forward, http::ForwardedConnection connection) {
  Result<sys::Fd> socket = co_await dial_loopback(forward.time, forward.pool, forward.network_path, forward.uid, connection.port);
  if (socket) {
    async::Executor executor = co_await async::this_executor();
    std::unique_ptr<async::Stream> pod = sys::make_stream(executor, std::move(*socket));
    (void)co_await join_streams(forward.time, *connection.data, *pod);
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
