// Carries out probes and lifecycle hooks: exec in the container, HTTP, TCP and gRPC to the pod.
#pragma once

#include <string>

#include "agent/pod_runtime.h"
#include "async/time.h"

namespace monopod::agent {

enum class ProbeKind { kStartup, kLiveness, kReadiness };
std::string_view probe_name(ProbeKind kind);  // "Startup"

struct ProbeOutcome {
  bool healthy = false;
  std::string text;  // why not, as the Unhealthy event says it
};

class Prober {
 public:
  virtual ~Prober() = default;
  // pod_ip: where the pod's servers are. Bounded by timeout.
  virtual async::Task<ProbeOutcome> run(std::shared_ptr<const Pod> pod, std::string container, std::string container_id, Handler handler,
                                        std::string pod_ip, Duration timeout) = 0;
};

// Through the runtime and the network; see http::Client.
std::unique_ptr<Prober> make_prober(async::Executor executor, async::Time& time, PodRuntime& runtime);

// A number, or the name of one of the container's ports; nullopt otherwise.
std::optional<int> resolve_port(const Pod& pod, std::string_view container, std::string_view port);

}  // namespace monopod::agent
