// A pod as the agent works with it: the fields of v1.Pod that decide what runs, parsed once per object revision into
// values. The whole object stays beside it for what is copied through (status, downward API). Values; no I/O.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/error.h"
#include "codec/json.h"

namespace monopod::agent {

using Labels = std::map<std::string, std::string>;

// configMapKeyRef, secretKeyRef.
struct KeyRef {
  std::string name;
  std::string key;
  bool optional = false;
};

struct EnvVar {
  std::string name;
  std::string value;                        // where no source is set; may hold $(VAR)
  std::optional<std::string> field_path;    // fieldRef
  std::optional<std::string> resource;      // resourceFieldRef, "limits.cpu"
  std::string resource_container;           // "" means this container
  std::string divisor;                      // "" means 1
  std::optional<KeyRef> config_map;
  std::optional<KeyRef> secret;
};

struct EnvFrom {
  std::string prefix;
  std::optional<KeyRef> config_map;  // key unused
  std::optional<KeyRef> secret;
};

struct VolumeMount {
  std::string name;
  std::string path;
  std::string sub_path;
  std::string sub_path_expr;
  bool read_only = false;
  std::string propagation;  // "", None, HostToContainer, Bidirectional
};

// What a hook or a probe does. Exactly one is set; none means the handler is empty.
struct Handler {
  struct HttpGet {
    std::string path = "/";
    std::string host;    // "" means the pod's address
    std::string port;    // number or a port's name
    std::string scheme = "HTTP";
    std::vector<std::pair<std::string, std::string>> headers;
  };
  struct TcpSocket {
    std::string host;
    std::string port;
  };
  struct Grpc {
    std::string port;
    std::string service;
  };
  std::optional<std::vector<std::string>> exec;
  std::optional<HttpGet> http;
  std::optional<TcpSocket> tcp;
  std::optional<Grpc> grpc;
  std::optional<std::int64_t> sleep_seconds;
};

struct Probe {
  Handler handler;
  std::int64_t initial_delay_seconds = 0;
  std::int64_t timeout_seconds = 1;
  std::int64_t period_seconds = 10;
  std::int64_t success_threshold = 1;
  std::int64_t failure_threshold = 3;
  std::optional<std::int64_t> grace_seconds;  // terminationGracePeriodSeconds of the probe
};

struct SeccompProfile {
  std::string type;       // RuntimeDefault, Unconfined, Localhost
  std::string localhost;  // file below <data-dir>/seccomp
};

struct SecurityContext {
  std::optional<std::int64_t> run_as_user;
  std::optional<std::int64_t> run_as_group;
  std::optional<bool> run_as_non_root;
  std::optional<SeccompProfile> seccomp;
  // container only
  bool privileged = false;
  bool read_only_root = false;
  std::optional<bool> allow_privilege_escalation;
  std::string proc_mount;  // "", Default, Unmasked
  std::vector<std::string> capabilities_add;
  std::vector<std::string> capabilities_drop;
  // pod only
  std::optional<std::int64_t> fs_group;
  std::string fs_group_change_policy;
  std::vector<std::int64_t> supplemental_groups;
  std::string supplemental_groups_policy;  // "", Merge, Strict
  std::vector<std::pair<std::string, std::string>> sysctls;
};

// "cpu" in millicores, everything else in its unit (bytes, counts).
struct ResourceList {
  std::map<std::string, std::int64_t> amounts;
  std::optional<std::int64_t> get(const std::string& name) const {
    auto it = amounts.find(name);
    return it == amounts.end() ? std::nullopt : std::optional(it->second);
  }
};

struct Resources {
  ResourceList requests;
  ResourceList limits;
};

struct Port {
  std::string name;
  int container_port = 0;
  int host_port = 0;
  std::string host_ip;
  std::string protocol = "TCP";
};

struct Container {
  std::string name;
  std::string image;
  std::string pull_policy;
  std::optional<std::vector<std::string>> command;
  std::optional<std::vector<std::string>> args;
  std::string working_dir;
  std::vector<EnvVar> env;
  std::vector<EnvFrom> env_from;
  std::vector<VolumeMount> mounts;
  std::vector<Port> ports;
  Resources resources;
  SecurityContext security;
  std::optional<Probe> startup;
  std::optional<Probe> liveness;
  std::optional<Probe> readiness;
  std::optional<Handler> post_start;
  std::optional<Handler> pre_stop;
  std::string stop_signal;  // lifecycle.stopSignal, "SIGTERM" form; "" is the image's
  std::string termination_path = "/dev/termination-log";
  std::string termination_policy = "File";
  bool stdin_open = false;
  bool stdin_once = false;
  bool tty = false;
  bool restartable_init = false;  // an init container with restartPolicy Always (a sidecar)
  bool ephemeral = false;         // of ephemeralContainers: runs once, beside whatever the pod does
  std::string target;             // ephemeral only: the container whose processes it sees; "" is none
  std::string hash;               // of what a change of which restarts the container (name and image)
};

// A file of a configMap, secret or downwardAPI volume.
struct KeyToPath {
  std::string key;   // downward: the field path, or "limits.cpu" where resource is set
  std::string path;
  std::optional<int> mode;
  bool resource = false;
  std::string container;
  std::string divisor;
};

// One source of a projected volume, or a volume of its own that works the same way.
struct ProjectionSource {
  enum class Kind { kConfigMap, kSecret, kDownward, kToken };
  Kind kind = Kind::kConfigMap;
  std::string name;
  bool optional = false;
  std::vector<KeyToPath> items;  // empty for a config map or secret: every key
  // token
  std::string audience;
  std::int64_t expiration_seconds = 3600;
  std::string path;
};

struct Volume {
  enum class Kind { kEmptyDir, kHostPath, kProjected, kPersistentClaim, kLocal, kImage, kUnsupported };
  std::string name;
  Kind kind = Kind::kEmptyDir;
  std::string source;  // the member of v1.Volume that is set, "emptyDir"
  // emptyDir
  bool memory = false;
  std::optional<std::int64_t> size_limit_bytes;
  std::string size_limit;  // as written, for messages
  // hostPath, local (which only a persistent volume can be)
  std::string path;
  std::string path_type;
  // configMap, secret, downwardAPI, projected
  std::vector<ProjectionSource> sources;
  int default_mode = 0644;
  // persistentVolumeClaim; ephemeral, whose claim is <pod>-<volume>
  std::string claim;
  bool read_only = false;
};

struct HostAlias {
  std::string ip;
  std::vector<std::string> hostnames;
};

struct DnsConfig {
  std::vector<std::string> nameservers;
  std::vector<std::string> searches;
  std::vector<std::pair<std::string, std::string>> options;
};

enum class RestartPolicy { kAlways, kOnFailure, kNever };

struct Pod {
  std::string name;
  std::string namespace_name;
  std::string uid;
  std::string resource_version;
  std::int64_t generation = 0;
  Labels labels;
  Labels annotations;
  std::optional<WallTime> deletion_time;
  std::optional<std::int64_t> deletion_grace_seconds;
  std::string node_name;
  std::string phase;  // status.phase as the API has it
  std::vector<Container> init_containers;
  std::vector<Container> containers;
  std::vector<Container> ephemeral_containers;  // no part of what the pod is: neither of its phase nor of its resources
  std::vector<Volume> volumes;
  RestartPolicy restart_policy = RestartPolicy::kAlways;
  std::int64_t grace_seconds = 30;
  std::optional<std::int64_t> active_deadline_seconds;
  std::string dns_policy = "ClusterFirst";
  DnsConfig dns_config;
  bool host_network = false;
  bool host_users = true;
  bool host_pid = false;
  bool host_ipc = false;
  bool share_process = false;
  bool enable_service_links = true;
  bool hostname_as_fqdn = false;
  SecurityContext security;
  std::string hostname;
  std::string subdomain;
  std::string service_account;
  std::vector<HostAlias> host_aliases;
  std::vector<std::string> readiness_gates;
  std::vector<std::string> pull_secrets;
  std::int64_t priority = 0;
  std::string static_source;  // kubernetes.io/config.source of a static pod: "file"; "" for the API's
  bool mirror = false;        // the API's copy of a static pod

  std::shared_ptr<const json::Value> object;

  std::string full_name() const { return name + "_" + namespace_name; }
  // Init, main and ephemeral container by name; null where absent.
  const Container* find_container(std::string_view container) const;
};

// Fails with kInvalidArgument naming the field. Unknown fields are ignored: the API server judged them.
Result<Pod> parse_pod(std::shared_ptr<const json::Value> object);

// Kubernetes quantity to millis ("250m" -> 250, "2" -> 2000) or whole units rounded up ("1Ki" -> 1024, "1500m" -> 2).
Result<std::int64_t> parse_quantity_milli(std::string_view text);
Result<std::int64_t> parse_quantity(std::string_view text);

}  // namespace monopod::agent
