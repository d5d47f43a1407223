#include "controllers/service_pods.h"

#include <algorithm>

#include "api/selector/selector.h"
#include "controllers/pods.h"

namespace monopod::controllers {
namespace {

// Port number for a service port's target on this pod; 0 where the pod does not have the named port.
std::int64_t target_port(const json::Value& port, const json::Value& pod) {
  const json::Value* target = json::find(port, {"targetPort"});
  if (target == nullptr) return json::get_int(port, {"port"});
  if (!target->is_string()) return json::get_int(port, {"targetPort"}) != 0 ? json::get_int(port, {"targetPort"}) : json::get_int(port, {"port"});
  std::string_view name = target->get_string();
  std::string_view protocol = json::get_string(port, {"protocol"}, "TCP");
  for (std::string_view list : {"containers", "initContainers"}) {
    const json::Array* containers = json::get_array(pod, {"spec", list});
    if (containers == nullptr) continue;
    for (const json::Value& container : *containers) {
      if (list == "initContainers" && json::get_string(container, {"restartPolicy"}) != "Always") continue;
      const json::Array* ports = json::get_array(container, {"ports"});
      if (ports == nullptr) continue;
      for (const json::Value& p : *ports)
        if (json::get_string(p, {"name"}) == name && json::get_string(p, {"protocol"}, "TCP") == protocol) return json::get_int(p, {"containerPort"});
    }
  }
  return 0;
}

}  // namespace

bool selects_pods(const json::Value& service) {
  const json::Object* selector = json::get_object(service, {"spec", "selector"});
  return selector != nullptr && !selector->empty() && json::get_string(service, {"spec", "type"}) != "ExternalName";
}

std::vector<Backend> backends_of(const json::Value& service, const client::Informer& pods) {
  std::vector<Backend> out;
  const json::Object* selector = json::get_object(service, {"spec", "selector"});
  bool publish_all = json::get_bool(service, {"spec", "publishNotReadyAddresses"});
  for (const client::ObjectPtr& pod : pods.indexer().by_index(client::kNamespaceIndex, std::string(client::namespace_of(service)))) {
    json::Value tree = pod->tree();
    if (!api::map_selects(selector, client::labels_of(tree))) continue;
    std::string ip(json::get_string(tree, {"status", "podIP"}));
    std::string_view phase = phase_of(tree);
    if (ip.empty() || phase == "Succeeded" || phase == "Failed") continue;
    bool terminating = client::is_deleting(tree);
    bool serving = is_ready(tree);
    out.push_back({.ip = std::move(ip), .pod = std::move(tree), .ready = publish_all || (serving && !terminating), .serving = serving, .terminating = terminating});
  }
  std::sort(out.begin(), out.end(), [](const Backend& a, const Backend& b) { return a.ip < b.ip; });
  return out;
}

json::Array resolved_ports(const json::Value& service, const json::Value& pod) {
  json::Array out;
  const json::Array* ports = json::get_array(service, {"spec", "ports"});
  if (ports == nullptr) return out;
  for (const json::Value& port : *ports) {
    std::int64_t number = target_port(port, pod);
    if (number == 0) continue;
    json::Object resolved{{"name", json::get_string(port, {"name"})}, {"port", number}, {"protocol", json::get_string(port, {"protocol"}, "TCP")}};
    if (std::string_view app = json::get_string(port, {"appProtocol"}); !app.empty()) resolved["appProtocol"] = app;
    out.push_back(std::move(resolved));
  }
  return out;
}

void watch_service_pods(client::Informer& services, client::Informer& pods, std::function<void(std::string)> add) {
  services.add_handler([add](const client::ObjectPtr& old, const client::ObjectPtr& now) { add((now ? now : old)->key()); });
  pods.add_handler([&services, add](const client::ObjectPtr& old, const client::ObjectPtr& now) {
    auto candidates = services.indexer().by_index(client::kNamespaceIndex, (now ? now : old)->ns);
    if (candidates.empty()) return;
    json::Value before = old ? old->tree() : json::Value();
    json::Value after = now ? now->tree() : json::Value();
    for (const client::ObjectPtr& service : candidates) {
      json::Value tree = service->tree();
      if (!selects_pods(tree)) continue;
      const json::Object* selector = json::get_object(tree, {"spec", "selector"});
      if (api::map_selects(selector, client::labels_of(before)) || api::map_selects(selector, client::labels_of(after))) add(service->key());
    }
  });
}

json::Object pod_reference(const json::Value& pod) {
  return {{"kind", "Pod"}, {"name", client::name_of(pod)}, {"namespace", client::namespace_of(pod)}, {"uid", client::uid_of(pod)}};
}

}  // namespace monopod::controllers
