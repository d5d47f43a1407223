// create, update, patch and the read-modify-write under them.
#include "api/convert/convert.h"
#include "api/crd/kind.h"
#include "api/kinds/kinds.h"
#include "api/limits.h"
#include "api/patch/managed_fields.h"
#include "api/patch/patch.h"
#include "api/registry/deletion.h"
#include "api/registry/registry.h"
#include "api/request_info.h"
#include "api/schema/canonical.h"
#include "base/strings.h"

namespace monopod::api {
namespace {

FieldManager manager_of(const Call& call, const Resource& resource, const async::Time& time) {
  return {call.manager(), std::string(resource.group_version()), call.subresource, time.wall()};
}

Status invalid_status(const Resource& resource, std::string_view name, const FieldErrors& errors) {
  return parse_status(make_invalid_status(resource.group(), resource.kind(), name, errors));
}

// The store itself is the source of resourceVersion: what it keeps has none.
void drop_version(json::Value& object) {
  if (json::Value* meta = json::find(object, {"metadata"}); meta && meta->is_object()) meta->as_object().stable_erase("resourceVersion");
}

// A custom object is written in the version that its kind stores; its members stay as they are.
void name_stored_version(json::Value& object, const Resource& resource) {
  if (const crd::CustomResource* custom = resource.custom()) object.get_object()["apiVersion"] = custom->stored->api_version;
}

std::string take_stored_text(json::Value& object, const Resource& resource) {
  drop_version(object);
  name_stored_version(object, resource);
  return json::format(object);
}

Outcome<void> check_open(const Call& call, const WatchCache& cache) {
  if (!cache.closed_to_creates) return {};
  Status status = method_not_supported(call.ref(), "create");
  status.message = "create not allowed while custom resource definition is terminating";
  return refuse(std::move(status));
}

void set_meta(json::Value& object, std::string_view name, std::string_view value) {
  json::at_path(object, {"metadata", name}) = value;
}

Outcome<void> check_scope(const Call& call, const Resource& resource, json::Value& object) {
  std::string_view ns = json::get_string(object, {"metadata", "namespace"});
  if (!resource.namespaced) {
    if (!ns.empty()) {
      return refuse(bad_request("namespace is not allowed for this object: it is not namespaced"));
    }
    return {};
  }
  if (call.ns.empty()) return refuse(bad_request("an empty namespace may not be set during creation"));
  if (!ns.empty() && ns != call.ns)
    return refuse(bad_request("the namespace of the provided object does not match the namespace sent on the request"));
  set_meta(object, "namespace", call.ns);
  return {};
}

struct DoneList {
  std::vector<std::function<void(bool)>> callbacks;
  bool committed = false;
  ~DoneList() {
    for (auto& callback : callbacks) callback(committed);
  }
};

async::Task<Outcome<json::Value>> ready(Outcome<json::Value> value) { co_return value; }

}  // namespace

std::string Call::manager() const {
  if (!options.field_manager.empty()) return options.field_manager;
  std::string_view agent = user_agent;
  agent = agent.substr(0, agent.find('/'));
  return agent.empty() ? "unknown" : std::string(agent.substr(0, 128));
}

Registry::Registry(store::Backend& store, CacheSet& caches, AdmissionChain& admission, async::Time& time, Rng& rng)
    : store_(store), caches_(caches), admission_(admission), time_(time), rng_(rng) {}

Outcome<WatchCache*> Registry::cache_of(const Call& call) const {
  if (call.cache) return call.cache.get();
  const Resource& stored = stored_resource(*call.resource);
  WatchCache* cache = caches_.find(stored.group(), stored.plural());
  if (cache == nullptr) return refuse(method_not_supported(call.ref(), call.verb));
  return cache;
}

async::Task<Outcome<ObjectPtr>> Registry::create(Call& call, json::Value object) {
  const Resource& resource = working_resource(*call.resource);
  CO_OUT(check_scope(call, resource, object));
  std::string name(json::get_string(object, {"metadata", "name"}));
  if (!name.empty()) {
    call.name = name;
    co_return co_await create_once(call, object);
  }
  std::string base(json::get_string(object, {"metadata", "generateName"}).substr(0, 58));
  if (base.empty()) {
    FieldErrors errors;
    errors.required(Path("metadata.name"), "name or generateName is required");
    co_return refuse(invalid_status(resource, "", errors));
  }
  for (int tries = 1;; ++tries) {
    call.name = base + rng_.name_suffix(5);
    set_meta(object, "name", call.name);
    Outcome<ObjectPtr> made = co_await create_once(call, object);
    if (made || made.error().reason != "AlreadyExists" || tries >= kGenerateNameTriesMax) co_return made;
  }
}

async::Task<Outcome<ObjectPtr>> Registry::create_once(Call& call, const json::Value& body) {
  const Resource& resource = working_resource(*call.resource);
  CO_OUT_ASSIGN(WatchCache * cache, cache_of(call));
  json::Arena arena;
  json::Value object(body, arena.storage());
  bool name_fits = valid_segment(call.name);

  set_defaults(object, resource);
  DoneList done;
  AdmissionRequest request{call.user, Operation::kCreate, resource, call.ns, call.name, call.subresource, &object, nullptr,
                           call.options.dry_run, call.warnings, done.callbacks, call.kind};
  CO_OUT(co_await admission_.mutate(request));
  prepare_create(object, resource, rng_.uuid());
  set_meta(object, "creationTimestamp", format_rfc3339(time_.wall()));
  if (!call.fields_managed) update_managed_fields(object, nullptr, resource.type(), manager_of(call, *call.resource, time_));
  FieldErrors errors = validate_create(object, resource);
  if (errors.empty() && !name_fits) errors.invalid(Path("metadata.name"), call.name, "may not be used as a path segment");
  if (!errors.empty()) co_return refuse(invalid_status(resource, call.name, errors));
  CO_OUT(co_await admission_.validate(request));

  CO_OUT(check_open(call, *cache));
  std::string text = take_stored_text(object, resource);
  if (call.options.dry_run) {
    CO_OUT(co_await caches_.fresh());
    if (cache->find(resource.namespaced ? cat(call.ns, '/', call.name) : call.name)) co_return refuse(already_exists(call.ref(), call.name));
    auto shown = Object::parse(share(std::move(text)), 0, cache->fields());
    CO_OUT(shown);
    co_return *shown;
  }
  SharedBytes bytes = share(std::move(text));
  Result<store::Revision> revision = co_await store_.create(store_key(resource, call.ns, call.name), bytes);
  if (!revision && revision.error().code() == Code::kAlreadyExists) co_return refuse(already_exists(call.ref(), call.name));
  CO_OUT(revision);
  done.committed = true;  // whatever comes of the rest
  CO_OUT_ASSIGN(ObjectPtr held, caches_.adopt(*cache, resource.namespaced ? cat(call.ns, '/', call.name) : call.name, *bytes, revision->value));
  if (!done.callbacks.empty()) CO_OUT(co_await caches_.wait_for(revision->value));
  co_return held;
}

async::Task<Outcome<ObjectPtr>> Registry::update(Call& call, json::Value object) {
  const Resource& resource = working_resource(*call.resource);
  CO_OUT(check_scope(call, resource, object));
  std::string_view name = json::get_string(object, {"metadata", "name"});
  if (name.empty()) {
    if (call.name.empty()) co_return refuse(bad_request("name must be provided"));
    set_meta(object, "name", call.name);
  } else if (name != call.name) {
    co_return refuse(bad_request(cat("the name of the object (", name, ") does not match the name on the URL (", call.name, ")")));
  }
  const Behavior* behavior = find_behavior(resource.group(), resource.kind());
  bool unconditional = takes_unconditional_update(resource);
  if (!unconditional && json::get_string(object, {"metadata", "resourceVersion"}).empty()) {
    FieldErrors errors;
    errors.invalid(Path("metadata.resourceVersion"), std::string_view("0x0"), "must be specified for an update");
    co_return refuse(invalid_status(resource, call.name, errors));
  }
  Mutation replace = [&object](const json::Value&) { return ready(object); };
  Outcome<ObjectPtr> out = co_await modify(call, replace);
  bool absent = !out && out.error().code == 404;
  if (absent && behavior != nullptr && behavior->create_on_update && call.subresource.empty() &&
      json::get_string(object, {"metadata", "uid"}).empty() && json::get_string(object, {"metadata", "resourceVersion"}).empty())
    co_return co_await create(call, std::move(object));
  co_return out;
}

async::Task<Outcome<ObjectPtr>> Registry::modify(Call& call, Mutation mutation, bool managed) {
  CO_OUT_ASSIGN(WatchCache * cache, cache_of(call));
  std::string key = cache->resource().namespaced ? cat(call.ns, '/', call.name) : call.name;
  Outcome<ObjectPtr> out = refuse(object_modified(call.ref(), call.name));
  for (int tries = 0; tries < kWriteRetriesMax; ++tries) {
    CO_OUT(co_await caches_.fresh());
    ObjectPtr current = cache->find(key);
    if (!current) co_return refuse(not_found(call.ref(), call.name));
    bool stale = false;
    out = co_await try_modify(call, *cache, current, mutation, managed, stale);
    if (!stale) co_return out;
  }
  co_return out;
}

async::Task<Outcome<ObjectPtr>> Registry::try_modify(Call& call, WatchCache& cache, ObjectPtr current, const Mutation& mutation,
                                                     bool managed, bool& stale) {
  const Resource& resource = call.resource->is_custom ? *call.resource : cache.resource();
  json::Arena arena;
  const json::Value old = resource.is_custom ? to_requested(current->tree(arena), resource) : current->tree(arena);
  CO_OUT_ASSIGN(json::Value wanted, co_await mutation(old));
  bool same = wanted.is_null() && !call.trusted;
  if (same && !current->deleting() && is_idle_update(call, resource)) co_return current;
  json::Value object = wanted.is_null() ? json::Value(old) : std::move(wanted);
  if (!object.is_object()) co_return refuse(bad_request("the object must be a JSON object"));
  std::string_view version = json::get_string(object, {"metadata", "resourceVersion"});
  if (!version.empty() && version != "0" && version != current->resource_version()) co_return refuse(object_modified(call.ref(), call.name));
  std::string_view uid = json::get_string(object, {"metadata", "uid"});
  if (!uid.empty() && uid != current->uid())
    co_return refuse(conflict(call.ref(), call.name, cat("Precondition failed: UID in precondition: ", uid, ", UID in object meta: ", current->uid())));

  std::vector<std::string> found;
  if (call.trusted) co_return co_await commit(call, cache, current, old, std::move(object), stale);
  // What is as it was needs no more than admission's word: unless that changes it.
  same = same || same_tree(object, old);
  TreeShape settled = same ? shape_of(object) : set_defaults(object, resource);
  DoneList done;
  AdmissionRequest request{call.user, Operation::kUpdate, resource, call.ns, call.name, call.subresource, &object, &old,
                           call.options.dry_run, found, done.callbacks, call.kind};
  CO_OUT(co_await admission_.mutate(request));
  same = same && same_tree(object, old);
  std::string_view kind_of_update = call.subresource == "scale" ? std::string_view() : std::string_view(call.subresource);
  if (!same) {
    prepare_update(object, old, resource, kind_of_update, settled);
    if (managed) update_managed_fields(object, &old, resource.type(), manager_of(call, *call.resource, time_));
    FieldErrors errors = validate_update(object, old, resource, kind_of_update);
    if (!errors.empty()) co_return refuse(invalid_status(resource, call.name, errors));
  }
  CO_OUT(co_await admission_.validate(request));

  Outcome<ObjectPtr> out = co_await commit(call, cache, current, old, std::move(object), stale);
  if (!stale) {
    for (std::string& warning : found) call.warnings.push_back(std::move(warning));
    done.committed = out.has_value();
    if (out && !done.callbacks.empty()) CO_OUT(co_await caches_.wait_for((*out)->revision()));
  }
  co_return out;
}

async::Task<Outcome<ObjectPtr>> Registry::commit(Call& call, WatchCache& cache, ObjectPtr current, const json::Value& old, json::Value object, bool& stale) {
  if (is_finally_deleted(object)) {
    if (call.options.dry_run) co_return current;
    CO_OUT_ASSIGN(Removed removed, co_await erase(call, cache, current, stale));
    co_return removed.object;
  }
  // Nothing changed: nothing is written, and the revision stays (upstream's no-op update).
  set_meta(object, "resourceVersion", current->resource_version());
  if (same_tree(object, old)) co_return current;
  drop_version(object);
  name_stored_version(object, *call.resource);
  std::string text = json::format(object);
  if (call.options.dry_run) {
    auto shown = Object::from_store(text, current->revision(), cache.fields());
    CO_OUT(shown);
    co_return *shown;
  }
  SharedBytes bytes = share(std::move(text));
  Result<store::Revision> revision =
      co_await store_.update(store_key(cache.resource(), current->ns(), current->name()), bytes, store::Revision(current->revision()));
  if (!revision) {
    if (revision.error().code() == Code::kAborted || revision.error().code() == Code::kNotFound) {
      stale = true;
      co_return refuse(object_modified(call.ref(), call.name));
    }
    co_return refuse(revision.error());
  }
  CO_OUT_ASSIGN(ObjectPtr made, caches_.adopt(cache, current->key(), *bytes, revision->value));
  co_return made;
}

const Resource& stored_resource(const Resource& resource) {
  if (const crd::CustomResource* custom = resource.custom()) return *custom->stored;
  if (resource.group() == "events.k8s.io")
    if (const Resource* core = find_resource("", "v1", "events")) return *core;
  return newest_version(resource);
}

}  // namespace monopod::api
