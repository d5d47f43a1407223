// What a cluster has before anybody asks: system namespaces, bootstrap roles, priority classes, a storage class, the kubernetes Service.
#include <algorithm>

#include "api/admission/default_class.h"
#include "api/authz/bootstrap.h"
#include "api/serve/works.h"
#include "async/scope.h"
#include "base/log.h"
#include "base/strings.h"

namespace monopod::api {
namespace {

UserInfo apiserver_user() { return system_user("system:apiserver"); }

Call system_call(std::string verb, const Resource& resource, std::string_view ns, std::string_view name) {
  Call call;
  call.user = apiserver_user();
  call.verb = std::move(verb);
  call.resource = &resource;
  call.ns = ns;
  call.name = name;
  call.options.field_manager = "monopod";
  return call;
}

// Creates the object unless it is there. A refusal is logged: the node should still come up.
async::Task<Result<>> ensure(ServerWorks& works, const Resource* resource, json::Value object) {
  if (resource == nullptr) co_return Result<>();
  std::string ns(json::get_string(object, {"metadata", "namespace"})), name(json::get_string(object, {"metadata", "name"}));
  WatchCache* cache = works.caches.find(resource->group(), resource->plural());
  if (cache == nullptr || cache->find(resource->namespaced ? cat(ns, '/', name) : name)) co_return Result<>();
  auto decoded = decode_tree(std::move(object), {&resource->type(), resource->group_version(), resource->kind()}, FieldValidation::kIgnore);
  CO_TRY(decoded);
  Call call = system_call("create", *resource, ns, "");
  Outcome<ObjectPtr> made = co_await works.registry.create(call, std::move(decoded->object));
  if (!made && made.error().reason != "AlreadyExists")
    log::warn("cluster object not made", {{"resource", resource->plural()}, {"name", name}, {"error", made.error().message}});
  co_return Result<>();
}

using Reconcile = bool (*)(json::Value& live, const json::Value& wanted);

async::Task<Outcome<json::Value>> reconciled(json::Value live, const json::Value& wanted, Reconcile reconcile) {
  reconcile(live, wanted);
  co_return live;
}

async::Task<Result<>> ensure_rbac(ServerWorks& works, std::string plural, json::Value wanted, Reconcile reconcile) {
  const Resource* resource = find_resource("rbac.authorization.k8s.io", "v1", plural);
  WatchCache* cache = works.caches.find("rbac.authorization.k8s.io", plural);
  if (resource == nullptr || cache == nullptr) co_return Result<>();
  std::string ns(json::get_string(wanted, {"metadata", "namespace"})), name(json::get_string(wanted, {"metadata", "name"}));
  ObjectPtr live = cache->find(resource->namespaced ? cat(ns, '/', name) : name);
  if (!live) co_return co_await ensure(works, resource, std::move(wanted));
  json::Value tree = live->tree();
  if (!reconcile(tree, wanted)) co_return Result<>();
  Call call = system_call("update", *resource, ns, name);
  Mutation mutation = [&wanted, reconcile](const json::Value& old) { return reconciled(old, wanted, reconcile); };
  Outcome<ObjectPtr> out = co_await works.registry.modify(call, mutation);
  if (!out) log::warn("bootstrap role not reconciled", {{"name", name}, {"error", out.error().message}});
  co_return Result<>();
}

json::Value make(std::string_view version, std::string_view kind, json::Object meta) {
  return json::Object{{"apiVersion", version}, {"kind", kind}, {"metadata", std::move(meta)}};
}

json::Value make_namespace(std::string_view name) { return make("v1", "Namespace", {{"name", name}}); }

json::Value make_priority_class(std::string_view name, std::int64_t value, std::string_view text) {
  json::Value out = make("scheduling.k8s.io/v1", "PriorityClass", {{"name", name}});
  out.as_object()["value"] = value;
  out.as_object()["description"] = text;
  return out;
}

// The address of cluster-IP number n of a network "a.b.c.d/len".
std::string nth_address(std::string_view cidr, std::uint32_t n) {
  std::uint32_t address = 0;
  for (std::string_view part : split(split_once(cidr, '/').first, '.')) address = address << 8 | parse_int<std::uint32_t>(part).value_or(0);
  address += n;
  return cat(address >> 24, '.', address >> 16 & 255, '.', address >> 8 & 255, '.', address & 255);
}

json::Value make_kubernetes_service(const ServerOptions& options) {
  json::Value out = make("v1", "Service", {{"name", "kubernetes"}, {"namespace", "default"},
                                           {"labels", json::Object{{"component", "apiserver"}, {"provider", "kubernetes"}}}});
  out.as_object()["spec"] = json::Object{
      {"clusterIP", nth_address(options.service_cidr, 1)},
      {"type", "ClusterIP"},
      {"ports", json::Array{json::Object{{"name", "https"}, {"port", 443}, {"protocol", "TCP"}, {"targetPort", options.advertise_port}}}}};
  return out;
}

json::Value make_kubernetes_endpoints(const ServerOptions& options) {
  json::Value out = make("v1", "Endpoints", {{"name", "kubernetes"}, {"namespace", "default"},
                                             {"labels", json::Object{{"endpointslice.kubernetes.io/skip-mirror", "true"}}}});
  out.as_object()["subsets"] = json::Array{
      json::Object{{"addresses", json::Array{json::Object{{"ip", options.advertise_address}}}},
                   {"ports", json::Array{json::Object{{"name", "https"}, {"port", options.advertise_port}, {"protocol", "TCP"}}}}}};
  return out;
}

json::Value make_kubernetes_slice(const ServerOptions& options) {
  json::Value out = make("discovery.k8s.io/v1", "EndpointSlice", {{"name", "kubernetes"}, {"namespace", "default"},
                                                                  {"labels", json::Object{{"kubernetes.io/service-name", "kubernetes"}}}});
  out.as_object()["addressType"] = "IPv4";
  out.as_object()["endpoints"] = json::Array{json::Object{{"addresses", json::Array{options.advertise_address}},
                                                          {"conditions", json::Object{{"ready", true}}}}};
  out.as_object()["ports"] = json::Array{json::Object{{"name", "https"}, {"port", options.advertise_port}, {"protocol", "TCP"}}};
  return out;
}

async::Task<Outcome<json::Value>> with_endpoint(json::Value live, const json::Value& wanted, std::string member) {
  if (const json::Value* value = json::find(wanted, {member})) live.as_object()[member] = *value;
  co_return live;
}

// The endpoint follows the advertised address, which may differ from that of the last start.
async::Task<Result<>> ensure_endpoint(ServerWorks& works, const Resource* resource, json::Value wanted, std::string member) {
  WatchCache* cache = resource == nullptr ? nullptr : works.caches.find(resource->group(), resource->plural());
  if (cache == nullptr) co_return Result<>();
  if (!cache->find("default/kubernetes")) co_return co_await ensure(works, resource, std::move(wanted));
  Call call = system_call("update", *resource, "default", "kubernetes");
  Mutation mutation = [&](const json::Value& live) { return with_endpoint(live, wanted, member); };
  Outcome<ObjectPtr> out = co_await works.registry.modify(call, mutation);
  if (!out) log::warn("kubernetes endpoint not updated", {{"error", out.error().message}});
  co_return Result<>();
}

// apiregistration.k8s.io's picture of what is served here: upstream's priorities, by which clients order groups.
struct GroupPriority {
  std::string_view group;
  int minimum, version;
};
constexpr GroupPriority kPriorities[] = {
    {"", 18000, 1},
    {"apps", 17800, 15},
    {"events.k8s.io", 17750, 15},
    {"authentication.k8s.io", 17700, 15},
    {"authorization.k8s.io", 17600, 15},
    {"autoscaling", 17500, 15},
    {"batch", 17400, 15},
    {"certificates.k8s.io", 17300, 15},
    {"networking.k8s.io", 17200, 15},
    {"policy", 17100, 15},
    {"rbac.authorization.k8s.io", 17000, 15},
    {"storage.k8s.io", 16800, 15},
    {"apiextensions.k8s.io", 16700, 15},
    {"admissionregistration.k8s.io", 16700, 15},
    {"scheduling.k8s.io", 16600, 15},
    {"coordination.k8s.io", 16500, 15},
    {"node.k8s.io", 16300, 15},
    {"discovery.k8s.io", 16200, 15},
    {"flowcontrol.apiserver.k8s.io", 16100, 21},
    {"resource.k8s.io", 15200, 15},
    {"metrics.k8s.io", 100, 100},
};

async::Task<Outcome<json::Value>> with_status(json::Value live, const json::Value& status) {
  live.as_object()["status"] = status;
  co_return live;
}

// apiregistration.k8s.io itself has none, as upstream.
async::Task<Result<>> ensure_api_service(ServerWorks& works, const Resource* resource, std::string_view group, std::string_view version) {
  auto known = std::ranges::find(kPriorities, group, &GroupPriority::group);
  WatchCache* cache = resource == nullptr ? nullptr : works.caches.find(resource->group(), resource->plural());
  if (known == std::end(kPriorities) || cache == nullptr) co_return Result<>();
  std::string name = cat(version, '.', group);
  if (cache->find(name)) co_return Result<>();
  json::Value service = make("apiregistration.k8s.io/v1", "APIService", {{"name", name}, {"labels", json::Object{{"kube-aggregator.kubernetes.io/automanaged", "onstart"}}}});
  json::Object spec{{"groupPriorityMinimum", known->minimum}, {"version", version}, {"versionPriority", group == "autoscaling" && version == "v2" ? 30 : known->version}};
  if (!group.empty()) spec["group"] = group;
  service.as_object()["spec"] = std::move(spec);
  CO_TRY(co_await ensure(works, resource, std::move(service)));
  const json::Value status = json::Object{{"conditions", json::Array{json::Object{{"type", "Available"}, {"status", "True"}, {"reason", "Local"}, {"message", "Local APIServices are always available"},
                                                                                  {"lastTransitionTime", format_rfc3339(works.parts.time.wall())}}}}};
  Call call = system_call("update", *resource, "", name);
  call.subresource = "status";
  Mutation mutation = [&status](const json::Value& live) { return with_status(live, status); };
  Outcome<ObjectPtr> out = co_await works.registry.modify(call, mutation);
  if (!out) log::warn("API service not marked available", {{"name", name}, {"error", out.error().message}});
  co_return Result<>();
}

// Of the namespace kube-system: that the class was made once. Who deletes it does not want it back.
constexpr std::string_view kClassMade = "monopod.io/default-storage-class";

async::Task<Outcome<json::Value>> with_annotation(json::Value live, std::string_view name, std::string_view value) {
  json::at_path(live, {"metadata", "annotations", name}) = value;
  co_return live;
}

json::Value make_storage_class(std::string_view provisioner) {
  json::Value out = make("storage.k8s.io/v1", "StorageClass", {{"name", "local-path"}, {"annotations", json::Object{{"storageclass.kubernetes.io/is-default-class", "true"}}}});
  json::Object& members = out.as_object();
  members["provisioner"] = provisioner;
  members["reclaimPolicy"] = "Delete";
  members["volumeBindingMode"] = "WaitForFirstConsumer";
  members["allowVolumeExpansion"] = true;
  return out;
}

async::Task<Result<>> ensure_storage_class(ServerWorks& works) {
  const Resource *classes = find_resource("storage.k8s.io", "v1", "storageclasses"), *namespaces = find_resource("", "v1", "namespaces");
  const WatchCache *known = works.caches.find("storage.k8s.io", "storageclasses"), *spaces = works.caches.find("", "namespaces");
  if (works.options.default_provisioner.empty() || known == nullptr || spaces == nullptr) co_return Result<>();
  ObjectPtr home = spaces->find("kube-system");
  if (!home || !json::get_string(home->tree(), {"metadata", "annotations", kClassMade}).empty()) co_return Result<>();
  std::string chosen = default_class(*known, {"storageclass.kubernetes.io/is-default-class", "storageclass.beta.kubernetes.io/is-default-class"});
  if (!chosen.empty() && chosen != "local-path") co_return Result<>();  // the user's own
  CO_TRY(co_await ensure(works, classes, make_storage_class(works.options.default_provisioner)));
  Call call = system_call("update", *namespaces, "", "kube-system");
  Mutation mutation = [](const json::Value& live) { return with_annotation(live, kClassMade, "made"); };
  Outcome<ObjectPtr> out = co_await works.registry.modify(call, mutation);
  if (!out) log::warn("default storage class not marked as made", {{"error", out.error().message}});
  co_return Result<>();
}

// Aggregates until nothing changes: edit takes in view, admin takes in edit.
void aggregate(std::vector<json::Value>& roles) {
  for (int round = 0; round < 4; ++round) {
    bool changed = false;
    for (json::Value& role : roles) {
      json::Value rules = aggregate_rules(role, roles);
      if (rules.is_null()) continue;
      const json::Value* known = json::find(role, {"rules"});
      if (known != nullptr && *known == rules) continue;
      role.as_object()["rules"] = std::move(rules);
      changed = true;
    }
    if (!changed) return;
  }
}

async::Task<Result<>> make_all(ServerWorks& works, async::Scope& scope) {
  const ServerOptions& options = works.options;
  std::vector<json::Value> roles = bootstrap_cluster_roles();
  aggregate(roles);
  for (json::Value& role : roles) scope.spawn(ensure_rbac(works, "clusterroles", std::move(role), reconcile_role));
  for (json::Value& binding : bootstrap_cluster_role_bindings())
    scope.spawn(ensure_rbac(works, "clusterrolebindings", std::move(binding), reconcile_binding));
  for (json::Value& role : bootstrap_roles()) scope.spawn(ensure_rbac(works, "roles", std::move(role), reconcile_role));
  for (json::Value& binding : bootstrap_role_bindings()) scope.spawn(ensure_rbac(works, "rolebindings", std::move(binding), reconcile_binding));
  const std::shared_ptr<const crd::KindSet> kinds = works.kinds.snapshot();  // its groups' names are held by it
  for (const ServedGroup& group : served_groups(*kinds))
    for (std::string_view version : group.versions) scope.spawn(ensure_api_service(works, find_resource("apiregistration.k8s.io", "v1", "apiservices"), group.group, version));
  const Resource* classes = find_resource("scheduling.k8s.io", "v1", "priorityclasses");
  scope.spawn(ensure(works, classes, make_priority_class("system-node-critical", 2'000'001'000, "For pods without which the node does not work.")));
  scope.spawn(ensure(works, classes, make_priority_class("system-cluster-critical", 2'000'000'000, "For pods without which the cluster does not work.")));
  const Resource* levels = find_resource("flowcontrol.apiserver.k8s.io", "v1", "prioritylevelconfigurations");
  for (json::Value& level : flow::bootstrap_levels()) scope.spawn(ensure(works, levels, std::move(level)));
  const Resource* schemas = find_resource("flowcontrol.apiserver.k8s.io", "v1", "flowschemas");
  for (json::Value& schema : flow::bootstrap_schemas()) scope.spawn(ensure(works, schemas, std::move(schema)));
  scope.spawn(ensure_storage_class(works));
  scope.spawn(ensure(works, find_resource("", "v1", "services"), make_kubernetes_service(options)));
  scope.spawn(ensure_endpoint(works, find_resource("", "v1", "endpoints"), make_kubernetes_endpoints(options), "subsets"));
  scope.spawn(ensure_endpoint(works, find_resource("discovery.k8s.io", "v1", "endpointslices"), make_kubernetes_slice(options), "endpoints"));
  co_return co_await scope.join();
}

async::Task<Outcome<json::Value>> with_rules(json::Value role, json::Value rules) {
  role.as_object()["rules"] = std::move(rules);
  co_return role;
}

}  // namespace

async::Task<Result<>> make_cluster_basics(ServerWorks& works) {
  async::Scope namespaces(works.parts.executor);
  for (std::string_view name : {"default", "kube-system", "kube-public", "kube-node-lease"})
    namespaces.spawn(ensure(works, find_resource("", "v1", "namespaces"), make_namespace(name)));
  CO_TRY(co_await namespaces.join());
  CO_TRY(co_await works.caches.fresh());
  async::Scope rest(works.parts.executor);
  CO_TRY(co_await make_all(works, rest));
  co_return co_await works.caches.fresh();
}

async::Task<Result<>> keep_roles_aggregated(ServerWorks& works) {
  WatchCache* cache = works.caches.find("rbac.authorization.k8s.io", "clusterroles");
  const Resource* resource = find_resource("rbac.authorization.k8s.io", "v1", "clusterroles");
  if (cache == nullptr || resource == nullptr) co_return Result<>();
  Selection all;
  all.resource = resource;
  std::unique_ptr<Watcher> changes = cache->subscribe(std::move(all), nullptr);
  while (true) {
    std::vector<json::Value> roles;
    for (const ObjectPtr& role : cache->objects()) roles.push_back(role->tree());
    for (const json::Value& role : roles) {
      json::Value rules = aggregate_rules(role, roles);
      const json::Value* known = json::find(role, {"rules"});
      if (rules.is_null() || (known != nullptr && *known == rules) || (known == nullptr && rules.as_array().empty())) continue;
      Call call = system_call("update", *resource, "", json::get_string(role, {"metadata", "name"}));
      Mutation mutation = [&rules](const json::Value& live) { return with_rules(live, rules); };
      Outcome<ObjectPtr> out = co_await works.registry.modify(call, mutation);
      if (!out && out.error().code != http_status(Code::kCancelled)) log::warn("aggregated role not updated", {{"name", call.name}, {"error", out.error().message}});
    }
    auto next = co_await changes->next();
    while (next && changes->try_next()) {  // what else has changed is looked at together
    }
    if (!next && next.error().code() == Code::kOutOfRange) {
      Selection again;
      again.resource = resource;
      changes = cache->subscribe(std::move(again), nullptr);
      continue;
    }
    if (!next) co_return fail(next.error());
  }
}

}  // namespace monopod::api
