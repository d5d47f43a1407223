// PodRuntime over the engines: sandboxes from pinned namespaces and the network engine, containers from image snapshots
// and the container engine.
//
//   start_sandbox: directories -> cgroups -> namespaces -> address -> proxy, where one is asked for -> /etc files -> pause (shared process namespace only)
//   create_container: snapshot -> root mount -> user -> sub paths -> config -> engine
//
// Each step is idempotent and recorded by what it leaves (a record in <data>/pods/<uid>/pod.json, annotations of containers), so
// that open() finds everything again after the process died at any step.
#pragma once

#include <map>
#include <set>
#include <string>

#include "agent/agent.h"
#include "agent/container_config.h"
#include "agent/paths.h"
#include "agent/pod_runtime.h"
#include "agent/sidecar.h"
#include "async/scope.h"
#include "container/runtime.h"
#include "image/store.h"
#include "network/network.h"

namespace monopod::agent {

class Machine final : public PodRuntime {
 public:
  // scope: owns short tasks that follow exits; all references outlive it.
  Machine(async::Scope& scope, const AgentDependencies& dependencies, const AgentOptions& options, std::int64_t node_memory_bytes);

  // Finds what an earlier process left and removes what belongs to no pod. Once, before anything else.
  async::Task<Result<>> open();

  async::Task<Result<Sandbox>> start_sandbox(const Pod& pod) override;
  async::Task<Result<>> stop_sandbox(std::string pod_uid) override;
  async::Task<Result<>> remove_pod(std::string pod_uid) override;
  async::Task<Result<Instance>> create_container(ContainerPlan plan) override;
  async::Task<Result<>> start_container(std::string id) override;
  async::Task<Result<>> signal_container(std::string id, int signal) override;
  async::Task<Result<>> remove_container(std::string id) override;
  async::Task<Result<ExecResult>> exec(std::string id, std::vector<std::string> argv, Duration timeout, std::size_t output_bytes_max) override;
  std::optional<ImageFacts> find_image(std::string_view reference) const override;
  const Instance* find_instance(std::string_view id) const override;
  std::vector<PodRecord> list() const override;
  std::string log_path(const Pod& pod, std::string_view container, int attempt) const override;

  const Paths& paths() const { return paths_; }
  container::SandboxNamespaces namespaces(const std::string& pod_uid) const;
  std::string group(const std::string& pod_uid) const;  // of the pod; empty where unknown

 private:
  struct PodEntry {
    std::string name;
    std::string namespace_name;
    bool host_network = false;
    std::string group;
    std::string pause_id;
    Sandbox sandbox;
    std::optional<SidecarWish> sidecar;  // as it was decided when the sandbox was made
  };
  struct ContainerEntry {
    std::string pod_uid;
    std::string termination_policy;
    Instance instance;
  };

  // machine_sandbox.cc
  async::Task<Result<>> make_groups(const Pod& pod, std::string group);
  async::Task<Result<Sandbox>> build_sandbox(const Pod& pod, PodEntry& entry);
  async::Task<Result<>> start_pause(const Pod& pod, PodEntry& entry);
  async::Task<Result<std::optional<SidecarWish>>> decide_on_sidecar(const Pod& pod);
  async::Task<Result<>> attach_sidecar(std::string uid, std::string netns_path);
  async::Task<Result<>> write_record(std::string uid);
  async::Task<Result<>> load_records();
  async::Task<Result<>> write_etc_files(const Pod& pod, std::vector<std::string> ips);

  // machine.cc
  void adopt(const container::ContainerState& state);
  void stopped(const container::ContainerState& state);
  async::Task<> finish_stopped(std::string id);
  async::Task<Result<>> prepare_and_create(const ContainerPlan& plan, std::string id, std::string termination_file);
  Result<std::string> find_target(const std::string& uid, const std::string& name) const;
  async::Task<> discard(std::string id, std::string pod_uid);

  async::Scope& scope_;
  AgentDependencies deps_;
  AgentOptions options_;
  Paths paths_;
  std::int64_t node_memory_bytes_;
  std::map<std::string, PodEntry> pods_;
  std::map<std::string, ContainerEntry, std::less<>> containers_;
};

// Reads what a container left as its last words; blocking. At most 4096 bytes.
std::string read_termination_message(const std::string& file, const std::string& policy, bool failed, const std::string& log_path);

}  // namespace monopod::agent
