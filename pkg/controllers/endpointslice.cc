// EndpointSlices of every service that selects pods: one group of slices per distinct set of resolved ports, at most 100
// endpoints each (KEP-752; discovery.k8s.io/v1).
#include <map>

#include "base/strings.h"
#include "controllers/managed_slices.h"
#include "controllers/pods.h"
#include "controllers/service_pods.h"

namespace monopod::controllers {
namespace {

using client::ObjectPtr;
namespace resources = client::resources;

json::Object endpoint(const Backend& backend, const json::Value& service) {
  json::Object out{{"addresses", json::Array{json::Value(backend.ip)}},
                   {"conditions", json::Object{{"ready", backend.ready}, {"serving", backend.serving}, {"terminating", backend.terminating}}},
                   {"targetRef", pod_reference(backend.pod)}};
  if (std::string_view node = json::get_string(backend.pod, {"spec", "nodeName"}); !node.empty()) out["nodeName"] = node;
  std::string_view hostname = json::get_string(backend.pod, {"spec", "hostname"});
  if (!hostname.empty() && json::get_string(backend.pod, {"spec", "subdomain"}) == client::name_of(service)) out["hostname"] = hostname;
  return out;
}

std::vector<WantedSlice> wanted_slices(const json::Value& service, const client::Informer& pods) {
  std::map<std::string, WantedSlice> groups;  // by the text of their ports
  for (const Backend& backend : backends_of(service, pods)) {
    json::Array ports = resolved_ports(service, backend.pod);
    WantedSlice& group = groups[json::format(ports)];
    group.ports = std::move(ports);
    group.endpoints.push_back(endpoint(backend, service));
  }
  std::vector<WantedSlice> out;
  for (auto& [text, group] : groups) append_slices(group, out);
  if (out.empty()) out.push_back({});  // a service with no pod keeps one empty slice
  return out;
}

class EndpointSliceController final : public QueueController {
 public:
  explicit EndpointSliceController(const ControllerParts& parts)
      : QueueController(parts, "endpoint-slice-controller"),
        services_(parts.informers.informer(resources::kServices)),
        pods_(parts.informers.informer(resources::kPods)),
        slices_(parts, "endpointslice-controller.k8s.io", [this](std::string key) { queue_.add(std::move(key)); }) {
    watch_service_pods(services_, pods_, [this](std::string key) { queue_.add(std::move(key)); });
  }

 private:
  async::Task<Result<Outcome>> reconcile(std::string key) override {
    ObjectPtr service = services_.indexer().find(key);
    if (!service) {
      slices_.forget(key);  // its slices have it as owner: the garbage collector takes them
      co_return Outcome{};
    }
    if (slices_.lags(key)) co_return Outcome{};
    json::Value tree = service->tree();
    if (!selects_pods(tree) || client::is_deleting(tree)) co_return Outcome{};
    CO_TRY(co_await slices_.put({.key = key, .resource = resources::kServices, .object = *service, .labels = wanted_labels(tree)}, wanted_slices(tree, pods_)));
    co_return Outcome{};
  }

  static json::Object wanted_labels(const json::Value& service) {
    json::Object labels;
    if (const json::Object* own = client::labels_of(service)) labels = *own;
    if (json::get_string(service, {"spec", "clusterIP"}) == "None") labels["service.kubernetes.io/headless"] = "";
    return labels;
  }

  client::Informer& services_;
  client::Informer& pods_;
  ManagedSlices slices_;
};

}  // namespace

std::unique_ptr<Controller> make_endpointslice_controller(const ControllerParts& parts) { return std::make_unique<EndpointSliceController>(parts); }

}  // namespace monopod::controllers
