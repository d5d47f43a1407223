// The API without HTTP: what a client in this process (controllers, scheduler, agent) calls. The same path as a request
// from the network, from admission on: authorisation as the identity given, admission, validation, store. Objects that
// come back are the watch cache's own, shared and immutable.
//
// Errors: the code says the reason (kNotFound, kAlreadyExists, kAborted = conflict, kOutOfRange = 410 expired,
// kPermissionDenied, kFailedPrecondition = 422 invalid, kInvalidArgument, kResourceExhausted = 429), the message is
// metav1.Status.message as a client over HTTP would read it.
//
// All calls belong to the loop that runs the server; LocalApi is an interface so that nothing but api includes its works.
#pragma once

#include "api/object.h"
#include "api/user.h"
#include "async/task.h"

namespace monopod::api {

// namespace: empty for cluster-scoped resources; for list and watch of namespaced ones, empty means all namespaces.
struct ObjectRef {
  ResourceName resource;
  std::string ns;
  std::string name;
  std::string subresource;  // "", "status", "scale", "binding", "eviction", "finalize", "token"
};

struct ListOptions {
  std::string label_selector;
  std::string field_selector;
  std::string resource_version;        // "" = most recent, "0" = whatever the cache has, else not older than
  std::string resource_version_match;  // "", "Exact", "NotOlderThan"
  std::int64_t limit = 0;
  std::string continue_token;
};

struct ListResult {
  std::vector<ObjectPtr> items;
  std::string resource_version;
  std::string continue_token;
  std::optional<std::int64_t> remaining;
};

struct WatchOptions {
  std::string label_selector;
  std::string field_selector;
  std::string resource_version;  // "" or "0": begin with ADDED for all that is there; else the events after it
  bool bookmarks = false;
  bool send_initial_events = false;  // with resource_version: ADDED for all, then a bookmark with initial_events_end
};

struct WriteOptions {
  std::string field_manager;
  std::string field_validation;  // "", "Ignore", "Warn", "Strict"
  bool dry_run = false;
  bool force = false;  // server-side apply: take over conflicting fields
};

struct DeleteOptions {
  std::optional<std::int64_t> grace_period_seconds;
  std::string propagation_policy;  // "", "Orphan", "Background", "Foreground"
  std::string uid;                 // preconditions, where not empty
  std::string resource_version;
  bool dry_run = false;
};

enum class PatchType { kJson, kMerge, kStrategic, kApply };

enum class EventType { kAdded, kModified, kDeleted, kBookmark };

struct WatchEvent {
  EventType type = EventType::kAdded;
  ObjectPtr object;           // null for a bookmark; for kDeleted the last state, with the revision of the deletion
  std::int64_t revision = 0;  // where a new watch would continue from
  bool initial_events_end = false;
};

class LocalWatch {
 public:
  virtual ~LocalWatch() = default;
  // The next event, in order, none twice and none missing. kOutOfRange: too slow or too old, list again. kCancelled.
  virtual async::Task<Result<WatchEvent>> next() = 0;
  // One that is ready, without waiting.
  virtual std::optional<WatchEvent> try_next() = 0;
};

class LocalApi {
 public:
  virtual ~LocalApi() = default;

  virtual async::Task<Result<ObjectPtr>> get(ObjectRef ref) = 0;
  virtual async::Task<Result<ListResult>> list(ResourceName resource, std::string ns, ListOptions options) = 0;
  virtual async::Task<Result<std::unique_ptr<LocalWatch>>> watch(ResourceName resource, std::string ns, WatchOptions options) = 0;
  // body: JSON. For create, ref.name is empty unless a subresource is meant (binding, eviction, token). The answer of a
  // subresource is what the server answers (a Status, a TokenRequest), not always the object.
  virtual async::Task<Result<ObjectPtr>> create(ObjectRef ref, std::string body, WriteOptions options) = 0;
  // Conflict (kAborted) when body carries a resourceVersion that is no longer current.
  virtual async::Task<Result<ObjectPtr>> update(ObjectRef ref, std::string body, WriteOptions options) = 0;
  virtual async::Task<Result<ObjectPtr>> patch(ObjectRef ref, PatchType type, std::string body, WriteOptions options) = 0;
  // The object as it was, or as it is now where finalizers or grace keep it (deletionTimestamp set).
  virtual async::Task<Result<ObjectPtr>> remove(ObjectRef ref, DeleteOptions options) = 0;
  virtual async::Task<Result<>> remove_all(ResourceName resource, std::string ns, ListOptions which, DeleteOptions options) = 0;
};

}  // namespace monopod::api
