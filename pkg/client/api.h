// What a program can ask of a Kubernetes API server: one abstract class, implemented over HTTPS (http_api.h, also against a
// real control plane) and inside the server's own process without a socket (local_api.h). Controllers, scheduler and
// agent see nothing else.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "async/task.h"
#include "base/bytes.h"
#include "codec/json.h"

namespace monopod::client {

// A kind of object as paths name it: {"apps", "v1", "deployments", "Deployment"}. Group "" is core.
struct Resource {
  std::string_view group;
  std::string_view version;
  std::string_view plural;
  std::string_view kind;
  bool namespaced = true;

  std::string api_version() const;  // "v1", "apps/v1"
  bool operator==(const Resource&) const = default;
};

// The kinds our own loops use (rows of api/kinds, spelled once here).
namespace resources {
inline constexpr Resource kNamespaces{"", "v1", "namespaces", "Namespace", false};
inline constexpr Resource kNodes{"", "v1", "nodes", "Node", false};
inline constexpr Resource kPods{"", "v1", "pods", "Pod"};
inline constexpr Resource kConfigMaps{"", "v1", "configmaps", "ConfigMap"};
inline constexpr Resource kSecrets{"", "v1", "secrets", "Secret"};
inline constexpr Resource kServices{"", "v1", "services", "Service"};
inline constexpr Resource kEndpoints{"", "v1", "endpoints", "Endpoints"};
inline constexpr Resource kServiceAccounts{"", "v1", "serviceaccounts", "ServiceAccount"};
inline constexpr Resource kEvents{"", "v1", "events", "Event"};
inline constexpr Resource kPersistentVolumes{"", "v1", "persistentvolumes", "PersistentVolume", false};
inline constexpr Resource kPersistentVolumeClaims{"", "v1", "persistentvolumeclaims", "PersistentVolumeClaim"};
inline constexpr Resource kStorageClasses{"storage.k8s.io", "v1", "storageclasses", "StorageClass", false};
inline constexpr Resource kEndpointSlices{"discovery.k8s.io", "v1", "endpointslices", "EndpointSlice"};
inline constexpr Resource kLeases{"coordination.k8s.io", "v1", "leases", "Lease"};
inline constexpr Resource kDeployments{"apps", "v1", "deployments", "Deployment"};
inline constexpr Resource kReplicaSets{"apps", "v1", "replicasets", "ReplicaSet"};
inline constexpr Resource kStatefulSets{"apps", "v1", "statefulsets", "StatefulSet"};
inline constexpr Resource kDaemonSets{"apps", "v1", "daemonsets", "DaemonSet"};
inline constexpr Resource kControllerRevisions{"apps", "v1", "controllerrevisions", "ControllerRevision"};
inline constexpr Resource kJobs{"batch", "v1", "jobs", "Job"};
inline constexpr Resource kCronJobs{"batch", "v1", "cronjobs", "CronJob"};
inline constexpr Resource kReplicationControllers{"", "v1", "replicationcontrollers", "ReplicationController"};
inline constexpr Resource kPodDisruptionBudgets{"policy", "v1", "poddisruptionbudgets", "PodDisruptionBudget"};
}  // namespace resources

// One object as the server sent it: canonical JSON, shared and immutable; the tree is built when asked for.
struct Object {
  SharedBytes bytes;
  std::string ns;  // empty for cluster-scoped kinds
  std::string name;
  std::string uid;
  std::string resource_version;

  std::string key() const { return ns.empty() ? name : ns + "/" + name; }
  // The bytes parsed; they come from the API server, so a parse error is a bug and yields an empty object.
  json::Value tree() const;
};

// Reads the metadata out of JSON bytes. Fails where it is no object with metadata.name.
Result<Object> parse_object(std::string bytes);

struct ObjectList {
  std::vector<Object> items;
  std::string resource_version;
  std::string continue_token;  // empty at the end
};

struct ListOptions {
  std::string ns;  // empty: all namespaces
  std::string label_selector;
  std::string field_selector;
  std::string resource_version;
  std::int64_t limit = 0;  // 0: everything at once
  std::string continue_token;
};

struct WatchOptions {
  std::string ns;
  std::string label_selector;
  std::string field_selector;
  std::string resource_version;
  bool send_initial_events = false;  // WatchList (KEP-3157)
};

enum class EventType { kAdded, kModified, kDeleted, kBookmark };

struct WatchEvent {
  EventType type;
  Object object;  // of a bookmark only resource_version is meaningful
  bool initial_events_end = false;
};

class Watch {
 public:
  virtual ~Watch() = default;
  // kOutOfRange: the version asked for is compacted (410), list again. kUnavailable: the stream ended, watch again.
  virtual async::Task<Result<WatchEvent>> next() = 0;
};

enum class PatchType { kJson, kMerge, kStrategicMerge, kApply };

struct WriteOptions {
  std::string subresource;    // "status", "scale", ...
  std::string field_manager;  // as kubectl's --field-manager
  bool force = false;         // kApply only
};

struct DeleteOptions {
  std::optional<std::int64_t> grace_period_seconds;
  std::string propagation_policy;  // "Background", "Foreground", "Orphan"
  std::string precondition_uid;
  std::string precondition_resource_version;
};

// Errors keep the server's text; codes by HTTP status: kNotFound, kAborted (conflict), kAlreadyExists, kFailedPrecondition
// (invalid), kPermissionDenied, kResourceExhausted (too many requests), kOutOfRange (gone), kUnavailable (no server).
class Api {
 public:
  virtual ~Api() = default;
  virtual async::Task<Result<Object>> get(Resource resource, std::string ns, std::string name) = 0;
  // What a subresource of it answers: "scale" for a Scale.
  virtual async::Task<Result<json::Value>> get_subresource(Resource resource, std::string ns, std::string name, std::string subresource) = 0;
  virtual async::Task<Result<ObjectList>> list(Resource resource, ListOptions options) = 0;
  virtual async::Task<Result<std::unique_ptr<Watch>>> watch(Resource resource, WatchOptions options) = 0;
  virtual async::Task<Result<Object>> create(Resource resource, std::string ns, json::Value object, WriteOptions options) = 0;
  // metadata.resourceVersion in object makes it conditional.
  virtual async::Task<Result<Object>> update(Resource resource, std::string ns, std::string name, json::Value object,
                                             WriteOptions options) = 0;
  virtual async::Task<Result<Object>> patch(Resource resource, std::string ns, std::string name, PatchType type,
                                            json::Value patch, WriteOptions options) = 0;
  virtual async::Task<Result<>> remove(Resource resource, std::string ns, std::string name, DeleteOptions options) = 0;
  // POST to a subresource that is no stored object: binding, eviction, token. Returns the answer's body.
  virtual async::Task<Result<json::Value>> post(Resource resource, std::string ns, std::string name, std::string subresource,
                                                json::Value body) = 0;
};

}  // namespace monopod::client
