#include <algorithm>

#include "api/kinds/kinds.h"
#include "api/limits.h"
#include "api/registry/deletion.h"
#include "base/strings.h"

namespace monopod::api {
namespace {

bool is_pod(const Resource& resource) { return resource.group().empty() && resource.plural() == "pods"; }
bool is_namespace(const Resource& resource) { return resource.group().empty() && resource.plural() == "namespaces"; }

bool has_entries(const json::Value& object, std::initializer_list<std::string_view> path) {
  const json::Array* list = json::get_array(object, path);
  return list != nullptr && !list->empty();
}

std::vector<std::string> finalizers_of(const json::Value& object) {
  std::vector<std::string> out;
  if (const json::Array* list = json::get_array(object, {"metadata", "finalizers"}))
    for (const json::Value& item : *list)
      if (item.is_string()) out.emplace_back(item.get_string());
  return out;
}

// The propagation policy as finalizers: orphan and foreground are promises the garbage collector keeps before it removes them.
void set_propagation(json::Value& object, const std::string& policy) {
  std::vector<std::string> names = finalizers_of(object);
  if (policy.empty()) return;
  std::erase(names, kOrphanFinalizer);
  std::erase(names, kForegroundFinalizer);
  if (policy == "Orphan") names.emplace_back(kOrphanFinalizer);
  if (policy == "Foreground") names.emplace_back(kForegroundFinalizer);
  json::Object& meta = json::at_path(object, {"metadata"}).as_object();
  if (names.empty()) {
    meta.erase("finalizers");
    return;
  }
  json::Array list;
  for (const std::string& name : names) list.emplace_back(name);
  meta["finalizers"] = std::move(list);
}

Outcome<void> check_preconditions(const Call& call, const Object& current, const DeleteOptions& options) {
  if (!options.uid.empty() && options.uid != current.uid())
    return refuse(conflict(call.ref(), call.name,
                           cat("Precondition failed: UID in precondition: ", options.uid, ", UID in object meta: ", current.uid())));
  if (!options.resource_version.empty() && options.resource_version != current.resource_version())
    return refuse(conflict(call.ref(), call.name, cat("Precondition failed: ResourceVersion in precondition: ", options.resource_version,
                                                      ", ResourceVersion in object meta: ", current.resource_version())));
  return {};
}

}  // namespace

bool is_finally_deleted(const json::Value& object) {
  if (json::find(object, {"metadata", "deletionTimestamp"}) == nullptr) return false;
  if (has_entries(object, {"metadata", "finalizers"})) return false;
  if (json::get_string(object, {"kind"}) == "Namespace" && json::get_string(object, {"apiVersion"}) == "v1") return !has_entries(object, {"spec", "finalizers"});
  return json::get_int(object, {"metadata", "deletionGracePeriodSeconds"}, 0) == 0;
}

std::int64_t grace_seconds(const Resource& resource, const json::Value& object, const std::optional<std::int64_t>& asked) {
  if (!is_pod(resource)) return 0;
  std::int64_t grace = asked ? *asked : json::get_int(object, {"spec", "terminationGracePeriodSeconds"}, 30);
  if (grace < 0) grace = 1;
  std::string_view phase = json::get_string(object, {"status", "phase"});
  if (json::get_string(object, {"spec", "nodeName"}).empty() || phase == "Succeeded" || phase == "Failed") grace = 0;
  return grace;
}

Outcome<void> check_delete_options(const DeleteOptions& options) {
  const std::string& policy = options.propagation_policy;
  if (!policy.empty() && policy != "Orphan" && policy != "Background" && policy != "Foreground") {
    Status status(422, "Invalid",
                  cat("DeleteOptions.meta.k8s.io \"\" is invalid: propagationPolicy: Unsupported value: \"", policy,
                      "\": supported values: \"Background\", \"Foreground\", \"Orphan\""));
    return refuse(std::move(status));
  }
  return {};
}

async::Task<Outcome<Removed>> Registry::remove(Call& call, DeleteOptions options) {
  CO_OUT_ASSIGN(WatchCache * cache, cache_of(call));
  CO_OUT(check_delete_options(options));
  std::string key = cache->resource().namespaced ? cat(call.ns, '/', call.name) : call.name;
  Outcome<Removed> out = refuse(object_modified(call.ref(), call.name));
  for (int tries = 0; tries < kWriteRetriesMax; ++tries) {
    CO_OUT(co_await caches_.fresh());
    ObjectPtr current = cache->find(key);
    if (!current) co_return refuse(not_found(call.ref(), call.name));
    bool stale = false;
    out = co_await try_remove(call, *cache, current, options, stale);
    if (!stale) co_return out;
  }
  co_return out;
}

async::Task<Outcome<Removed>> Registry::try_remove(Call& call, WatchCache& cache, ObjectPtr current, const DeleteOptions& options,
                                                   bool& stale) {
  const Resource& resource = call.resource->is_custom ? *call.resource : cache.resource();
  CO_OUT(check_preconditions(call, *current, options));
  const json::Value old = current->tree();
  std::vector<std::function<void(bool)>> done;
  AdmissionRequest request{call.user, Operation::kDelete, resource, call.ns, call.name, call.subresource, nullptr, &old,
                           options.dry_run, call.warnings, done, call.kind};
  CO_OUT(co_await admission_.mutate(request));
  CO_OUT(co_await admission_.validate(request));

  json::Value object = old;
  if (!current->deleting()) prepare_delete(object, resource, time_.wall());
  set_propagation(object, options.propagation_policy);
  std::int64_t grace = grace_seconds(resource, object, options.grace_period_seconds);
  bool kept = grace > 0 || has_entries(object, {"metadata", "finalizers"}) ||
              (is_namespace(resource) && has_entries(object, {"spec", "finalizers"}));
  if (options.dry_run) co_return Removed{current, !kept};
  if (!kept) co_return co_await erase(call, cache, current, stale);

  json::Object& meta = json::at_path(object, {"metadata"}).as_object();
  std::int64_t pending = json::get_int(object, {"metadata", "deletionGracePeriodSeconds"}, 0);
  bool marked = current->deleting();
  if (!marked || grace < pending) {  // a second delete can only shorten the grace
    WallTime now = time_.wall();
    WallTime begun = now;
    if (marked) {
      if (auto until = parse_rfc3339(json::get_string(object, {"metadata", "deletionTimestamp"})))
        begun = *until - std::chrono::seconds(pending);
    }
    WallTime until = std::max(now, begun + std::chrono::seconds(grace));
    if (!marked || is_pod(resource)) meta["deletionTimestamp"] = format_rfc3339(until);
    meta["deletionGracePeriodSeconds"] = grace;
    if (std::int64_t generation = json::get_int(object, {"metadata", "generation"}); generation > 0 && !marked)
      meta["generation"] = generation + 1;
    if (is_namespace(resource)) json::at_path(object, {"status", "phase"}) = "Terminating";
  }
  Call inner = call;
  inner.options.dry_run = false;
  Outcome<ObjectPtr> marked_object = co_await commit(inner, cache, current, old, std::move(object), stale);
  CO_OUT(marked_object);
  co_return Removed{*marked_object, false};
}

async::Task<Outcome<Removed>> Registry::erase(Call& call, WatchCache& cache, ObjectPtr current, bool& stale) {
  Result<store::Revision> revision =
      co_await store_.remove(store_key(cache.resource(), current->ns(), current->name()), store::Revision(current->revision()));
  if (!revision) {
    if (revision.error().code() == Code::kAborted || revision.error().code() == Code::kNotFound) {
      stale = true;
      co_return refuse(object_modified(call.ref(), call.name));
    }
    co_return refuse(revision.error());
  }
  ObjectPtr last = with_revision(*current, revision->value, cache.fields());
  co_return Removed{last ? last : current, true};
}

async::Task<Outcome<ListResult>> Registry::remove_all(Call& call, ListOptions which, DeleteOptions options) {
  CO_OUT(check_delete_options(options));
  CO_OUT_ASSIGN(ListResult all, co_await list(call, std::move(which)));
  ListResult removed;
  removed.resource_version = all.resource_version;
  for (const ObjectPtr& object : all.items) {
    Call one = call;
    one.name = object->name();
    one.ns = object->ns();
    Outcome<Removed> gone = co_await remove(one, options);
    if (!gone && gone.error().code != 404) co_return refuse(gone.error());
    if (gone) removed.items.push_back(gone->object);
  }
  co_return removed;
}

}  // namespace monopod::api
