// The older Endpoints object beside the slices, for clients that still read it (core/v1, deprecated since 1.33).
#include <map>

#include "controllers/controllers.h"
#include "controllers/pods.h"
#include "controllers/service_pods.h"

namespace monopod::controllers {
namespace {

using client::ObjectPtr;
namespace resources = client::resources;

constexpr std::size_t kAddressesMax = 1000;  // as upstream: more are cut, with an annotation

class EndpointsController final : public QueueController {
 public:
  explicit EndpointsController(const ControllerParts& parts)
      : QueueController(parts, "endpoint-controller"),
        services_(parts.informers.informer(resources::kServices)),
        pods_(parts.informers.informer(resources::kPods)),
        endpoints_(parts.informers.informer(resources::kEndpoints)) {
    watch_service_pods(services_, pods_, [this](std::string key) { queue_.add(std::move(key)); });
    endpoints_.add_handler([this](const ObjectPtr& old, const ObjectPtr& now) {
      if (!now) queue_.add(old->key());
    });
  }

 private:
  static json::Array subsets_of(const json::Value& service, const client::Informer& pods, bool& cut) {
    struct Subset {
      json::Array ports, ready, not_ready;
    };
    std::map<std::string, Subset> groups;
    std::size_t count = 0;
    for (const Backend& backend : backends_of(service, pods)) {
      if (backend.terminating) continue;
      if (++count > kAddressesMax) {
        cut = true;
        break;
      }
      json::Array ports = resolved_ports(service, backend.pod);
      for (json::Value& port : ports)
        if (json::get_string(port, {"name"}).empty()) port.get_object().erase("name");
      Subset& subset = groups[json::format(ports)];
      subset.ports = std::move(ports);
      json::Object address{{"ip", backend.ip}, {"targetRef", pod_reference(backend.pod)}};
      if (std::string_view node = json::get_string(backend.pod, {"spec", "nodeName"}); !node.empty()) address["nodeName"] = node;
      (backend.ready ? subset.ready : subset.not_ready).push_back(std::move(address));
    }
    json::Array out;
    for (auto& [text, subset] : groups) {
      json::Object o;
      if (!subset.ready.empty()) o["addresses"] = std::move(subset.ready);
      if (!subset.not_ready.empty()) o["notReadyAddresses"] = std::move(subset.not_ready);
      if (!subset.ports.empty()) o["ports"] = std::move(subset.ports);
      out.push_back(std::move(o));
    }
    return out;
  }

  async::Task<Result<Outcome>> reconcile(std::string key) override {
    ObjectPtr service = services_.indexer().find(key);
    auto [ns, name] = client::split_key(key);
    if (!service) {
      Result<> removed = co_await parts_.api.remove(resources::kEndpoints, ns, name, {});
      if (!removed && removed.error().code() != Code::kNotFound) co_return fail(removed.error());
      co_return Outcome{};
    }
    json::Value tree = service->tree();
    if (!selects_pods(tree) || client::is_deleting(tree)) co_return Outcome{};
    bool cut = false;
    json::Array subsets = subsets_of(tree, pods_, cut);
    json::Object labels;
    if (const json::Object* own = client::labels_of(tree)) labels = *own;
    labels["endpoints.kubernetes.io/managed-by"] = "endpoint-controller";
    json::Object metadata{{"name", name}, {"namespace", ns}, {"labels", labels}};
    if (cut) metadata["annotations"] = json::Object{{"endpoints.kubernetes.io/over-capacity", "truncated"}};
    ObjectPtr existing = endpoints_.indexer().find(key);
    if (existing) {
      json::Value current = existing->tree();
      const json::Array* old = json::get_array(current, {"subsets"});
      const json::Object* old_labels = client::labels_of(current);
      if ((old == nullptr ? json::Array() : *old) == subsets && old_labels != nullptr && *old_labels == labels) co_return Outcome{};
      json::at_path(current, {"metadata", "labels"}) = labels;
      current.get_object()["subsets"] = std::move(subsets);
      auto updated = co_await parts_.api.update(resources::kEndpoints, ns, name, std::move(current), {});
      if (!updated) co_return fail(updated.error());
      co_return Outcome{};
    }
    json::Value body = json::Object{{"apiVersion", "v1"}, {"kind", "Endpoints"}, {"metadata", std::move(metadata)}, {"subsets", std::move(subsets)}};
    auto created = co_await parts_.api.create(resources::kEndpoints, ns, std::move(body), {});
    if (!created && created.error().code() != Code::kAlreadyExists && !namespace_is_terminating(created.error())) co_return fail(created.error());
    co_return Outcome{};
  }

  client::Informer& services_;
  client::Informer& pods_;
  client::Informer& endpoints_;
};

}  // namespace

std::unique_ptr<Controller> make_endpoints_controller(const ControllerParts& parts) { return std::make_unique<EndpointsController>(parts); }

}  // namespace monopod::controllers
