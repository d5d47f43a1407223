// EndpointSlices of every service that selects pods: one group of slices per distinct set of resolved ports, at most 100
// endpoints each (KEP-752; discovery.k8s.io/v1).
#include <algorithm>
#include <map>
#include <set>

#include "base/strings.h"
#include "controllers/controllers.h"
#include "controllers/pods.h"
#include "controllers/service_pods.h"

namespace monopod::controllers {
namespace {

using client::ObjectPtr;
namespace resources = client::resources;

constexpr std::size_t kEndpointsMax = 100;  // per slice
constexpr std::string_view kServiceName = "kubernetes.io/service-name";
constexpr std::string_view kManagedBy = "endpointslice.kubernetes.io/managed-by";
constexpr std::string_view kManager = "endpointslice-controller.k8s.io";
constexpr std::string_view kServiceIndex = "service";

json::Object endpoint(const Backend& backend, const json::Value& service) {
  json::Object out{{"addresses", json::Array{json::Value(backend.ip)}},
                   {"conditions", json::Object{{"ready", backend.ready}, {"serving", backend.serving}, {"terminating", backend.terminating}}},
                   {"targetRef", pod_reference(backend.pod)}};
  if (std::string_view node = json::get_string(backend.pod, {"spec", "nodeName"}); !node.empty()) out["nodeName"] = node;
  std::string_view hostname = json::get_string(backend.pod, {"spec", "hostname"});
  if (!hostname.empty() && json::get_string(backend.pod, {"spec", "subdomain"}) == client::name_of(service)) out["hostname"] = hostname;
  return out;
}

// One slice as it should be.
struct Wanted {
  json::Array ports;
  json::Array endpoints;
};

std::vector<Wanted> wanted_slices(const json::Value& service, const client::Informer& pods) {
  std::map<std::string, Wanted> groups;  // by the text of their ports
  for (const Backend& backend : backends_of(service, pods)) {
    json::Array ports = resolved_ports(service, backend.pod);
    Wanted& group = groups[json::format(ports)];
    group.ports = std::move(ports);
    group.endpoints.push_back(endpoint(backend, service));
  }
  std::vector<Wanted> out;
  for (auto& [text, group] : groups) {
    for (std::size_t i = 0; i < group.endpoints.size(); i += kEndpointsMax) {
      Wanted slice{.ports = group.ports, .endpoints = {}};
      for (std::size_t k = i; k < std::min(i + kEndpointsMax, group.endpoints.size()); ++k) slice.endpoints.push_back(group.endpoints[k]);
      out.push_back(std::move(slice));
    }
  }
  if (out.empty()) out.push_back({});  // a service with no pod keeps one empty slice
  return out;
}

class EndpointSliceController final : public QueueController {
 public:
  explicit EndpointSliceController(const ControllerParts& parts)
      : QueueController(parts, "endpoint-slice-controller"),
        services_(parts.informers.informer(resources::kServices)),
        pods_(parts.informers.informer(resources::kPods)),
        slices_(parts.informers.informer(resources::kEndpointSlices)) {
    slices_.indexer().add_index(std::string(kServiceIndex), [](const client::Object& slice) { return service_key_of(slice); });
    watch_service_pods(services_, pods_, [this](std::string key) { queue_.add(std::move(key)); });
    slices_.add_handler([this](const ObjectPtr& old, const ObjectPtr& now) {
      for (std::string& key : service_key_of(*(now ? now : old))) {
        unseen_[key].erase((now ? now : old)->name);
        queue_.add(std::move(key));
      }
    });
  }

 private:
  // "ns/service" where the slice is one of ours.
  static std::vector<std::string> service_key_of(const client::Object& slice) {
    json::Value tree = slice.tree();
    if (json::get_string(tree, {"metadata", "labels", kManagedBy}) != kManager) return {};
    return {cat(slice.ns, "/", json::get_string(tree, {"metadata", "labels", kServiceName}))};
  }

  async::Task<Result<Outcome>> reconcile(std::string key) override {
    ObjectPtr service = services_.indexer().find(key);
    if (!service) {
      unseen_.erase(key);  // its slices have it as owner: the garbage collector takes them
      co_return Outcome{};
    }
    if (!unseen_[key].empty()) co_return Outcome{};  // the cache lags behind our own creations; their arrival brings us back
    json::Value tree = service->tree();
    if (!selects_pods(tree) || client::is_deleting(tree)) co_return Outcome{};
    std::vector<Wanted> wanted = wanted_slices(tree, pods_);
    std::vector<ObjectPtr> existing = slices_.indexer().by_index(kServiceIndex, key);
    std::sort(existing.begin(), existing.end(), [](const ObjectPtr& a, const ObjectPtr& b) { return a->name < b->name; });
    for (Wanted& slice : wanted) CO_TRY(co_await put_slice(*service, tree, key, slice, existing));
    for (const ObjectPtr& left : existing) {
      Result<> removed = co_await parts_.api.remove(resources::kEndpointSlices, left->ns, left->name, {.precondition_uid = left->uid});
      if (!removed && removed.error().code() != Code::kNotFound) co_return fail(removed.error());
    }
    co_return Outcome{};
  }

  // Writes the slice over an existing one with the same ports (taken out of existing), or a new one.
  async::Task<Result<>> put_slice(const client::Object& service, const json::Value& service_tree, const std::string& key, Wanted& slice, std::vector<ObjectPtr>& existing) {
    json::Object labels = wanted_labels(service_tree);
    ObjectPtr match;
    for (auto it = existing.begin(); it != existing.end() && !match; ++it) {
      const json::Value tree = (*it)->tree();
      const json::Array* ports = json::get_array(tree, {"ports"});
      if ((ports == nullptr ? json::Array() : *ports) != slice.ports && existing.size() > 1) continue;
      match = *it;
      existing.erase(it);
      break;
    }
    if (match) {
      json::Value tree = match->tree();
      json::Value before = tree;
      json::Object& fields = tree.get_object();
      fields["endpoints"] = std::move(slice.endpoints);
      fields["ports"] = std::move(slice.ports);
      json::at_path(tree, {"metadata", "labels"}) = std::move(labels);
      if (tree == before) co_return Result<>();
      Result<client::Object> updated = co_await parts_.api.update(resources::kEndpointSlices, match->ns, match->name, std::move(tree), {});
      if (!updated) co_return fail(updated.error());
      co_return Result<>();
    }
    json::Value body = json::Object{{"apiVersion", "discovery.k8s.io/v1"},
                                    {"kind", "EndpointSlice"},
                                    {"metadata", json::Object{{"generateName", service.name + "-"},
                                                              {"namespace", service.ns},
                                                              {"labels", std::move(labels)},
                                                              {"ownerReferences", json::Array{client::controller_reference(resources::kServices, service)}}}},
                                    {"addressType", "IPv4"},
                                    {"endpoints", std::move(slice.endpoints)},
                                    {"ports", std::move(slice.ports)}};
    auto created = co_await parts_.api.create(resources::kEndpointSlices, service.ns, std::move(body), {});
    if (!created && namespace_is_terminating(created.error())) co_return Result<>();
    if (!created) co_return fail(created.error());
    if (!slices_.indexer().find(created->key())) unseen_[key].insert(created->name);
    co_return Result<>();
  }

  static json::Object wanted_labels(const json::Value& service) {
    json::Object labels;
    if (const json::Object* own = client::labels_of(service)) labels = *own;
    labels[kServiceName] = client::name_of(service);
    labels[kManagedBy] = kManager;
    if (json::get_string(service, {"spec", "clusterIP"}) == "None") labels["service.kubernetes.io/headless"] = "";
    return labels;
  }

  client::Informer& services_;
  client::Informer& pods_;
  client::Informer& slices_;
  std::map<std::string, std::set<std::string>> unseen_;  // service -> slices we made that the informer has not shown yet
};

}  // namespace

std::unique_ptr<Controller> make_endpointslice_controller(const ControllerParts& parts) { return std::make_unique<EndpointSliceController>(parts); }

}  // namespace monopod::controllers
