// What a pod worker asks of the machine, in pods' terms: sandboxes and containers. machine.h implements it over the container,
// image and network engines; tests of the worker have a double that fails on demand.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "agent/env.h"
#include "agent/pod.h"
#include "async/stream.h"
#include "base/clock.h"

namespace monopod::agent {

enum class RunState { kCreated, kRunning, kExited };

// One attempt at running a container of a pod. What survives a restart of the node process.
struct Instance {
  std::string id;         // of the container engine, without "monopod://"
  std::string container;  // name in the pod
  int attempt = 0;        // restart count
  std::string hash;       // Container::hash it was made from
  std::string image;      // as the spec has it
  std::string image_id;
  RunState state = RunState::kCreated;
  WallTime created_at{};
  WallTime started_at{};
  WallTime finished_at{};
  int exit_code = 0;
  int signal = 0;
  bool oom_killed = false;
  std::string reason;     // of an exit: Completed, Error, OOMKilled, ContainerCannotRun, StartError, ContainerStatusUnknown
  std::string message;    // termination message
};

struct Sandbox {
  bool ready = false;
  std::vector<std::string> ips{};  // empty on the host's network: the node's are used
  WallTime created_at{};
};

// A pod as the machine has it.
struct PodRecord {
  std::string uid;
  std::string name;
  std::string namespace_name;
  Sandbox sandbox;
  std::vector<Instance> instances;
};

// One mount of a container, made by the volume manager.
struct Bind {
  std::string source;       // path on the node; resolved below root where sub_path is set
  std::string sub_path;     // below source, never leaving it
  std::string destination;
  bool read_only = false;
  std::string propagation;
};

// What of an image decides how its container runs.
struct ImageFacts {
  std::string id;         // "sha256:..."
  std::string reference;  // what containerStatuses[].imageID shows: a repository digest, else the id
  std::vector<std::string> entrypoint;
  std::vector<std::string> cmd;
  std::vector<std::string> env;
  std::string working_dir;
  std::string user;
  std::string stop_signal;
  std::uint64_t size_bytes = 0;
};

struct ContainerPlan {
  const Pod* pod = nullptr;              // outlives the call
  const Container* container = nullptr;  // outlives the call
  int attempt = 0;
  ImageFacts image;
  std::vector<std::string> command;
  std::vector<std::string> env;
  std::vector<Bind> binds;
};

struct ExecResult {
  int exit_code = 0;
  std::string output;  // stdout and stderr, cut at the limit asked for
};

class PodRuntime {
 public:
  virtual ~PodRuntime() = default;

  // Idempotent; repairs what is missing.
  virtual async::Task<Result<Sandbox>> start_sandbox(const Pod& pod) = 0;
  // Containers are gone by now. Idempotent: network, namespaces, cgroup, mounts of the pod.
  virtual async::Task<Result<>> stop_sandbox(std::string pod_uid) = 0;
  // Everything the machine still knows of the pod, dead containers and directories too.
  virtual async::Task<Result<>> remove_pod(std::string pod_uid) = 0;

  // Errors: kFailedPrecondition for a configuration that cannot run (CreateContainerConfigError), else CreateContainerError.
  virtual async::Task<Result<Instance>> create_container(ContainerPlan plan) = 0;
  // An error means the program could not be started (RunContainerError); the instance is then exited with code 127/126/128.
  virtual async::Task<Result<>> start_container(std::string id) = 0;
  virtual async::Task<Result<>> signal_container(std::string id, int signal) = 0;
  virtual async::Task<Result<>> remove_container(std::string id) = 0;
  // kDeadlineExceeded where the program is not done in time (it is killed).
  virtual async::Task<Result<ExecResult>> exec(std::string id, std::vector<std::string> argv, Duration timeout, std::size_t output_bytes_max) = 0;

  virtual std::optional<ImageFacts> find_image(std::string_view reference) const = 0;

  // As last seen; kept current by exits. null where unknown.
  virtual const Instance* find_instance(std::string_view id) const = 0;
  virtual std::vector<PodRecord> list() const = 0;

  virtual std::string log_path(const Pod& pod, std::string_view container, int attempt) const = 0;

  // Called on the loop with the pod's uid and the instance when a container ends.
  std::function<void(const std::string& pod_uid, const Instance&)> on_exit;
};

}  // namespace monopod::agent
