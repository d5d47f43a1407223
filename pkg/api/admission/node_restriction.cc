// NodeRestriction: a kubelet (system:node:<name>) writes its own Node, its own Lease and its own pods' status, nothing else.
// Old and new object are both looked at: what a write makes it must have been allowed to touch before (CVE-2021-25735).
#include "api/admission/plugins.h"
#include "base/strings.h"

namespace monopod::api {
namespace {

bool mirror_pod(const json::Value& pod) { return json::find(pod, {"metadata", "annotations", "kubernetes.io/config.mirror"}) != nullptr; }

bool restricted_label(std::string_view label) {
  std::string_view domain = split_once(label, '/').first;
  return domain == "node-restriction.kubernetes.io" || domain.ends_with(".node-restriction.kubernetes.io");
}

class NodeRestriction final : public AdmissionPlugin {
 public:
  std::string_view name() const override { return "NodeRestriction"; }
  bool handles(const AdmissionRequest& request) const override { return !node_of(request.user).empty(); }

  async::Task<Outcome<>> mutate(AdmissionRequest& request) override { co_return check(request, node_of(request.user)); }
  async::Task<Outcome<>> validate(AdmissionRequest& request) override { co_return check(request, node_of(request.user)); }

 private:
  static Outcome<> deny(const AdmissionRequest& request, std::string why) { return refuse(forbidden(request.ref(), request.name, why)); }

  static Outcome<> check(const AdmissionRequest& request, const std::string& node) {
    if (request.is("", "nodes")) return check_node(request, node);
    if (request.is("", "pods")) return check_pod(request, node);
    if (request.is("coordination.k8s.io", "leases")) {
      if (request.ns != "kube-node-lease") return deny(request, cat("can only access leases in the \"kube-node-lease\" system namespace"));
      std::string_view name = request.object ? json::get_string(*request.object, {"metadata", "name"}, request.name) : std::string_view(request.name);
      if (name != node) return deny(request, cat("can only access node lease with the same name as the requesting node"));
    }
    return {};
  }

  static Outcome<> check_node(const AdmissionRequest& request, const std::string& node) {
    if (request.name != node) return deny(request, cat("node \"", node, "\" is not allowed to modify node \"", request.name, "\""));
    if (request.object == nullptr) return {};
    if (json::find(*request.object, {"metadata", "ownerReferences"}) != nullptr &&
        (request.old == nullptr || json::find(*request.old, {"metadata", "ownerReferences"}) == nullptr))
      return deny(request, cat("node \"", node, "\" is not allowed to set ownerReferences on itself"));
    if (const json::Object* labels = json::get_object(*request.object, {"metadata", "labels"})) {
      for (const auto& [key, value] : *labels) {
        if (!restricted_label(key)) continue;
        const json::Value* before = request.old ? json::find(*request.old, {"metadata", "labels", std::string_view(key)}) : nullptr;
        if (before == nullptr || *before != value)
          return deny(request, cat("is not allowed to modify labels: ", std::string_view(key)));
      }
    }
    if (request.operation == Operation::kUpdate) {
      const json::Value* now = json::find(*request.object, {"spec", "taints"});
      const json::Value* before = json::find(*request.old, {"spec", "taints"});
      bool same = (now == nullptr) == (before == nullptr) && (now == nullptr || *now == *before);
      if (!same) return deny(request, cat("node \"", node, "\" is not allowed to modify taints"));
    }
    return {};
  }

  static Outcome<> check_pod(const AdmissionRequest& request, const std::string& node) {
    auto bound_here = [&node](const json::Value* pod) { return json::get_string(*pod, {"spec", "nodeName"}) == node; };
    if (request.operation == Operation::kCreate && request.subresource.empty()) {
      if (!mirror_pod(*request.object)) return deny(request, cat("pod does not have \"kubernetes.io/config.mirror\" annotation, node \"", node, "\" can only create mirror pods"));
      if (!bound_here(request.object)) return deny(request, cat("node \"", node, "\" can only create pods with spec.nodeName set to itself"));
      return {};
    }
    if (request.old != nullptr && !bound_here(request.old))
      return deny(request, cat("node \"", node, "\" can only update pods with spec.nodeName set to itself"));
    if (request.object != nullptr && !bound_here(request.object))
      return deny(request, cat("node \"", node, "\" can only update pods with spec.nodeName set to itself"));
    if (request.operation == Operation::kUpdate && request.subresource != "status")
      return deny(request, cat("node \"", node, "\" can only update the status of pods"));
    return {};
  }
};

}  // namespace

std::unique_ptr<AdmissionPlugin> make_node_restriction(const AdmissionParts&) { return std::make_unique<NodeRestriction>(); }

}  // namespace monopod::api
