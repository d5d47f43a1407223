// The node's own objects: v1.Node registered and kept true, and the Lease by which the control plane sees that we live.
#pragma once

#include <functional>
#include <string>

#include "agent/agent.h"
#include "agent/node_info.h"
#include "image/store.h"

namespace monopod::agent {

struct NodeConditions {
  bool memory_pressure = false;
  bool disk_pressure = false;
  bool pid_pressure = false;
  bool ready = true;
  std::string not_ready_message;
  bool operator==(const NodeConditions&) const = default;
};
// Thresholds of the field: memory.available < 100Mi, nodefs.available < 10 %, nodefs.inodesFree < 5 %, pids over 90 %.
NodeConditions judge_pressure(const NodePressure& pressure);

// Pure: the whole object for registration, and its status. previous: the status in the API, for transition times; may be null.
json::Value make_node(const AgentOptions& options, const NodeInfo& info);
json::Value make_node_status(const AgentOptions& options, const NodeInfo& info, const NodeConditions& conditions, const std::vector<image::Image>& images,
                             const std::string& node_ip, WallTime now, const json::Value& previous);

class NodeStatus {
 public:
  NodeStatus(const AgentDependencies& dependencies, const AgentOptions& options, NodeInfo info, std::string node_ip);

  // Registers, then renews the Lease every 10 s; the status is written when it changes, else every 5 minutes. Until cancelled.
  async::Task<Result<>> run();

  const NodeInfo& info() const { return info_; }
  const std::string& node_ip() const { return node_ip_; }
  const std::string& node_uid() const { return node_uid_; }  // empty until it is registered
  const NodeConditions& conditions() const { return conditions_; }
  // Called with fresh values at each check, every 10 s.
  std::function<void(const NodeConditions&, const NodePressure&)> on_check;
  std::function<void()> on_registered;
  // A condition of the node changed: what an event says of it ("NodeReady", "Node n status is now: NodeReady").
  std::function<void(std::string reason, std::string message)> on_event;
  // Something of the status changed (images).
  void poke() { changed_.set(); }

 private:
  async::Task<Result<>> register_node();
  async::Task<Result<>> renew_lease();
  async::Task<Result<>> write_status();
  void announce(const json::Value& before, const json::Value& now) const;

  AgentDependencies deps_;
  AgentOptions options_;
  NodeInfo info_;
  std::string node_ip_;
  std::string node_uid_;
  NodeConditions conditions_;
  json::Value status_;
  MonoTime written_at_{};
  async::Event changed_;
};

}  // namespace monopod::agent
