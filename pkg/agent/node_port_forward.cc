#include "agent/node_handler.h"
#include "base/strings.h"
#include "streams/forward.h"

namespace monopod::agent {

async::Task<Result<>> NodeHandler::port_forward(http::Exchange& exchange, const std::vector<std::string>& parts) {
  const PodWorker* worker = pods_.find(parts[1], parts[2]);
  if (!worker) co_return fail(Code::kNotFound, "pod does not exist");
  std::shared_ptr<const Pod> pod = worker->shared_pod();
  if (parts.size() == 4 && parts[3] != pod->uid) co_return fail(Code::kNotFound, "pod not found");
  streams::ForwardTarget target{deps_.time, deps_.pool, machine_.namespaces(pod->uid).network_path, pod->name, pod->uid};
  if (target.network_path.empty() && !pod->host_network) co_return fail(Code::kUnavailable, cat("network namespace for sandbox \"", pod->uid, "\" is closed"));
  co_return co_await streams::serve_port_forward(exchange, std::move(target));
}

}  // namespace monopod::agent
