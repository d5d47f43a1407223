// What the node answers for the API server (kubectl logs, exec, attach) and for people: the kubelet's paths. Authorisation is
// the caller's business.
//
//   GET  /containerLogs/{ns}/{pod}/{container}   follow tailLines sinceSeconds sinceTime timestamps limitBytes previous
//   GET  /exec|/attach/{ns}/{pod}/{container}    WebSocket, v5/v4.channel.k8s.io
//   GET|POST /portForward/{ns}/{pod}             WebSocket or SPDY/3.1, see http/port_forward.h
//   POST /run/{ns}/{pod}/{container}?cmd=        output as text
//   GET  /pods /healthz /stats/summary /metrics/resource /metrics/proxy
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "agent/agent.h"
#include "agent/machine.h"
#include "agent/node_info.h"
#include "agent/pod_worker.h"
#include "http/exchange.h"
#include "http/query.h"

namespace monopod::agent {

// The pods of this node as their workers have them.
class PodDirectory {
 public:
  virtual ~PodDirectory() = default;
  // Until the API has told which there are, after a start. kUnavailable where that takes more than 10 s.
  virtual async::Task<Result<>> wait_complete() = 0;
  virtual const PodWorker* find(std::string_view ns, std::string_view name) const = 0;
  virtual std::vector<const PodWorker*> all() const = 0;
};

class NodeHandler final : public http::Handler {
 public:
  NodeHandler(const AgentDependencies& dependencies, const AgentOptions& options, PodDirectory& pods, Machine& machine)
      : deps_(dependencies), options_(options), pods_(pods), machine_(machine) {}
  async::Task<Result<>> handle(http::Exchange& exchange) override;

 private:
  // A container of a pod by the last three parts of a path.
  struct Target {
    std::shared_ptr<const Pod> pod;
    const Container* container = nullptr;  // of *pod
    ContainerState state;
  };
  Result<Target> find_target(const std::vector<std::string>& parts) const;

  async::Task<Result<>> logs(http::Exchange& exchange, Target target);        // node_handler.cc
  async::Task<Result<>> exec(http::Exchange& exchange, Target target);        // node_exec.cc
  async::Task<Result<>> attach(http::Exchange& exchange, Target target);      // node_exec.cc
  async::Task<Result<>> run(http::Exchange& exchange, Target target);         // node_exec.cc
  async::Task<Result<>> port_forward(http::Exchange& exchange, const std::vector<std::string>& parts);  // node_port_forward.cc
  async::Task<Result<>> list_pods(http::Exchange& exchange);                  // node_handler.cc
  async::Task<Result<>> stats_summary(http::Exchange& exchange);              // node_stats.cc
  async::Task<Result<>> resource_metrics(http::Exchange& exchange);           // node_stats.cc

  struct ContainerUsage {
    std::string ns, pod, uid, container;
    container::ContainerStats stats;
    WallTime started_at{};
  };
  async::Task<Result<std::vector<ContainerUsage>>> collect();

  AgentDependencies deps_;
  AgentOptions options_;
  PodDirectory& pods_;
  Machine& machine_;
};

}  // namespace monopod::agent
