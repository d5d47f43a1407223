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
    if (!same_member(request, {"metadata", "ownerReferences"})) return deny(request, cat("node \"", node, "\" is not allowed to set ownerReferences on itself"));
    // Also of labels that go: what a label keeps away from a node comes back without it.
    for (const json::Value* one : {static_cast<const json::Value*>(request.object), request.old}) {
      const json::Object* labels = one == nullptr ? nullptr : json::get_object(*one, {"metadata", "labels"});
      if (labels == nullptr) continue;
      for (const auto& [key, value] : *labels)
        if (restricted_label(key) && !same_member(request, {"metadata", "labels", std::string_view(key)}))
          return deny(request, cat("is not allowed to modify labels: ", std::string_view(key)));
    }
    if (request.operation == Operation::kUpdate && !same_member(request, {"spec", "taints"})) return deny(request, cat("node \"", node, "\" is not allowed to modify taints"));
    return {};
  }

  static bool same_member(const AdmissionRequest& request, std::initializer_list<std::string_view> path) {
    const json::Value *now = json::find(*request.object, path), *before = request.old == nullptr ? nullptr : json::find(*request.old, path);
    return now == nullptr || before == nullptr ? now == before : *now == *before;
  }

  // A pod that a node makes of its own accord must not give it what it had no right to see.
  static Outcome<> check_mirror(const AdmissionRequest& request, const std::string& node) {
    const json::Value& pod = *request.object;
    auto refers = [&](std::string_view what) { return deny(request, cat("node \"", node, "\" can not create pods that reference ", what)); };
    if (!json::get_string(pod, {"spec", "serviceAccountName"}).empty()) return refers("a service account");
    const json::Array* claims = json::get_array(pod, {"spec", "resourceClaims"});
    if (claims != nullptr && !claims->empty()) return refers("resourceclaims");
    for (std::string_view plural : {"secrets", "configmaps", "persistentvolumeclaims"})
      if (pod_refers(pod, plural)) return refers(plural);
    const json::Array* owners = json::get_array(pod, {"metadata", "ownerReferences"});
    bool own = owners == nullptr || owners->empty();  // as kubelets before 1.17 made them
    if (!own && owners->size() == 1) own = json::get_string((*owners)[0], {"kind"}) == "Node" && json::get_string((*owners)[0], {"apiVersion"}) == "v1" && json::get_string((*owners)[0], {"name"}) == node;
    if (!own) return deny(request, cat("node \"", node, "\" can only create pods with an owner reference set to itself"));
    return {};
  }

  static Outcome<> check_pod(const AdmissionRequest& request, const std::string& node) {
    auto bound_here = [&node](const json::Value* pod) { return json::get_string(*pod, {"spec", "nodeName"}) == node; };
    if (request.operation == Operation::kCreate && request.subresource.empty()) {
      if (!mirror_pod(*request.object)) return deny(request, cat("pod does not have \"kubernetes.io/config.mirror\" annotation, node \"", node, "\" can only create mirror pods"));
      if (!bound_here(request.object)) return deny(request, cat("node \"", node, "\" can only create pods with spec.nodeName set to itself"));
      return check_mirror(request, node);
    }
    if (request.old != nullptr && !bound_here(request.old))
      return deny(request, cat("node \"", node, "\" can only update pods with spec.nodeName set to itself"));
    if (request.object != nullptr && !bound_here(request.object))
      return deny(request, cat("node \"", node, "\" can only update pods with spec.nodeName set to itself"));
    if (request.operation == Operation::kUpdate && request.subresource != "status")
      return deny(request, cat("node \"", node, "\" can only update the status of pods"));
    if (request.operation == Operation::kUpdate && !same_member(request, {"metadata", "labels"}))
      return deny(request, cat("node \"", node, "\" cannot update labels through pod status"));
    return {};
  }
};

}  // namespace

std::unique_ptr<AdmissionPlugin> make_node_restriction(const AdmissionParts&) { return std::make_unique<NodeRestriction>(); }

}  // namespace monopod::api
