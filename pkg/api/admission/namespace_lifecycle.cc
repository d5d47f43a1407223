// NamespaceLifecycle: objects live in namespaces that exist and are not going away; the system's own namespaces stay.
#include "api/admission/plugins.h"
#include "base/strings.h"

namespace monopod::api {
namespace {

constexpr std::string_view kImmortal[] = {"default", "kube-system", "kube-public"};

class NamespaceLifecycle final : public AdmissionPlugin {
 public:
  explicit NamespaceLifecycle(CacheSet& caches) : caches_(caches) {}
  std::string_view name() const override { return "NamespaceLifecycle"; }

  bool handles(const AdmissionRequest& request) const override {
    if (request.is("", "namespaces")) return true;
    return request.resource.namespaced && request.operation == Operation::kCreate;
  }

  async::Task<Outcome<>> mutate(AdmissionRequest& request) override {
    if (request.is("", "namespaces")) co_return on_namespace(request);
    WatchCache* namespaces = caches_.find("", "namespaces");
    ObjectPtr home = namespaces->find(request.ns);
    if (!home) {  // it may have been made a moment ago
      CO_OUT(co_await caches_.fresh());
      home = namespaces->find(request.ns);
    }
    if (!home) co_return refuse(not_found({"", "namespaces"}, request.ns));
    if (!home->deleting()) co_return Outcome<>();
    if (request.is("", "events") || request.is("authorization.k8s.io", "localsubjectaccessreviews")) co_return Outcome<>();
    Status status = forbidden(request.ref(), request.name,
                              cat("unable to create new content in namespace ", request.ns, " because it is being terminated"));
    status.causes.push_back({"NamespaceTerminating", cat("namespace ", request.ns, " is being terminated"), "metadata.namespace"});
    co_return refuse(std::move(status));
  }

 private:
  static Outcome<> on_namespace(AdmissionRequest& request) {
    if (request.operation == Operation::kDelete) {
      for (std::string_view name : kImmortal)
        if (name == request.name) return refuse(forbidden({"", "namespaces"}, request.name, "this namespace may not be deleted"));
      return {};
    }
    if (request.operation != Operation::kCreate) return {};
    json::Value& object = *request.object;
    json::at_path(object, {"metadata", "labels", "kubernetes.io/metadata.name"}) = request.name;
    json::Value& finalizers = json::at_path(object, {"spec", "finalizers"});
    if (!finalizers.is_array()) finalizers = json::Array();
    for (const json::Value& known : finalizers.as_array())
      if (known.is_string() && std::string_view(known.get_string()) == "kubernetes") return {};
    finalizers.as_array().emplace_back("kubernetes");
    return {};
  }

  CacheSet& caches_;
};

}  // namespace

std::unique_ptr<AdmissionPlugin> make_namespace_lifecycle(const AdmissionParts& parts) {
  return std::make_unique<NamespaceLifecycle>(parts.caches);
}

}  // namespace monopod::api
