// Endpoints that somebody wrote by hand, for a service without a selector, mirrored to EndpointSlices, which is what routers of traffic read
// (KEP-752; discovery.k8s.io/v1).
#include <map>

#include "controllers/managed_slices.h"
#include "controllers/pods.h"
#include "controllers/service_pods.h"

namespace monopod::controllers {
namespace {

using client::ObjectPtr;
namespace resources = client::resources;

constexpr std::size_t kSubsetAddressesMax = 1000;  // more of one subset are not mirrored, as upstream
constexpr std::string_view kLastApplied = "kubectl.kubernetes.io/last-applied-configuration";
constexpr std::string_view kTriggerTime = "endpoints.kubernetes.io/last-change-trigger-time";

json::Object endpoint(const json::Value& address, bool ready) {
  json::Object out{{"addresses", json::Array{json::get_string(address, {"ip"})}}, {"conditions", json::Object{{"ready", ready}}}};
  for (std::string_view copied : {"hostname", "nodeName", "targetRef"})
    if (const json::Value* value = json::find(address, {copied})) out[copied] = *value;
  return out;
}

std::vector<WantedSlice> wanted_slices(const json::Value& endpoints) {
  std::map<std::string, WantedSlice> groups;  // by address type and the text of their ports
  const json::Array* subsets = json::get_array(endpoints, {"subsets"});
  for (std::size_t i = 0; subsets != nullptr && i < subsets->size(); ++i) {
    const json::Value& subset = (*subsets)[i];
    json::Array ports;
    if (const json::Array* given = json::get_array(subset, {"ports"})) ports = *given;
    for (json::Value& port : ports)
      if (port.is_object() && !port.get_object().contains("name")) port.get_object()["name"] = "";
    std::size_t count = 0;
    for (std::string_view list : {"addresses", "notReadyAddresses"}) {
      const json::Array* addresses = json::get_array(subset, {list});
      for (std::size_t k = 0; addresses != nullptr && k < addresses->size() && count < kSubsetAddressesMax; ++k, ++count) {
        bool v6 = json::get_string((*addresses)[k], {"ip"}).find(':') != std::string_view::npos;
        WantedSlice& group = groups[(v6 ? "6" : "4") + json::format(ports)];
        group.address_type = v6 ? "IPv6" : "IPv4";
        group.ports = ports;
        group.endpoints.push_back(endpoint((*addresses)[k], list == "addresses"));
      }
    }
  }
  std::vector<WantedSlice> out;
  for (auto& [text, group] : groups) append_slices(group, out);
  return out;
}

class MirroringController final : public QueueController {
 public:
  explicit MirroringController(const ControllerParts& parts)
      : QueueController(parts, "endpoint-slice-mirroring-controller"),
        services_(parts.informers.informer(resources::kServices)),
        endpoints_(parts.informers.informer(resources::kEndpoints)),
        slices_(parts, "endpointslicemirroring-controller.k8s.io", [this](std::string key) { queue_.add(std::move(key)); }) {
    watch_keys(services_);
    watch_keys(endpoints_);
  }

 private:
  static bool wanted(const json::Value& endpoints) {
    return json::get_string(endpoints, {"metadata", "labels", "endpointslice.kubernetes.io/skip-mirror"}) != "true" &&
           json::find(endpoints, {"metadata", "annotations", "control-plane.alpha.kubernetes.io/leader"}) == nullptr &&
           !client::is_deleting(endpoints);
  }

  async::Task<Result<Outcome>> reconcile(std::string key) override {
    ObjectPtr endpoints = endpoints_.indexer().find(key);
    ObjectPtr service = services_.indexer().find(key);
    if (!endpoints) {
      slices_.forget(key);  // they own their slices: the garbage collector takes them
      co_return Outcome{};
    }
    if (slices_.lags(key)) co_return Outcome{};
    json::Value tree = endpoints->tree();
    bool mirrored = service && !selects_pods(service->tree()) && wanted(tree);
    ManagedSlices::Of of{.key = key, .resource = resources::kEndpoints, .object = *endpoints, .labels = {}};
    if (const json::Object* own = client::labels_of(tree)) of.labels = *own;
    if (const json::Object* own = json::get_object(tree, {"metadata", "annotations"})) of.annotations = *own;
    of.annotations.erase(kLastApplied);
    of.annotations.erase(kTriggerTime);
    std::vector<WantedSlice> slices;
    if (mirrored) slices = wanted_slices(tree);
    CO_TRY(co_await slices_.put(std::move(of), std::move(slices)));
    co_return Outcome{};
  }

  client::Informer& services_;
  client::Informer& endpoints_;
  ManagedSlices slices_;
};

}  // namespace

std::unique_ptr<Controller> make_endpointslice_mirroring_controller(const ControllerParts& parts) { return std::make_unique<MirroringController>(parts); }

}  // namespace monopod::controllers
