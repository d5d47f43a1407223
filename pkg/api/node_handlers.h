// How the API server reaches a node's own API (logs, exec, attach, port-forward, proxy): it hands the request over, path
// rewritten to the kubelet form, in process and without a copy.
#pragma once

#include <string_view>

namespace monopod::http {
class Handler;
}

namespace monopod::api {

class NodeHandlers {
 public:
  virtual ~NodeHandlers() = default;
  // The handler of the node of that name; null where it is not known or not reachable. Outlives the call it serves.
  //   /containerLogs/{ns}/{pod}/{container}  /exec/{ns}/{pod}/{container}  /attach/{ns}/{pod}/{container}
  //   /portForward/{ns}/{pod}  anything else for nodes/proxy. Query parameters as the client gave them.
  virtual http::Handler* find(std::string_view node_name) = 0;
};

class NoNodeHandlers final : public NodeHandlers {
 public:
  http::Handler* find(std::string_view) override { return nullptr; }
};

}  // namespace monopod::api
