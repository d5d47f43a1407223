// DefaultIngressClass: an Ingress that names no class, by field or by the older annotation, gets the default one.
#include "api/admission/default_class.h"
#include "api/admission/plugins.h"

namespace monopod::api {
namespace {

class DefaultIngressClass final : public AdmissionPlugin {
 public:
  explicit DefaultIngressClass(CacheSet& caches) : caches_(caches) {}
  std::string_view name() const override { return "DefaultIngressClass"; }
  bool handles(const AdmissionRequest& request) const override {
    return request.operation == Operation::kCreate && request.is("networking.k8s.io", "ingresses") && request.subresource.empty();
  }

  async::Task<Outcome<>> mutate(AdmissionRequest& request) override {
    json::Value& ingress = *request.object;
    bool named = json::find(ingress, {"spec", "ingressClassName"}) != nullptr || json::find(ingress, {"metadata", "annotations", "kubernetes.io/ingress.class"}) != nullptr;
    const WatchCache* classes = caches_.find("networking.k8s.io", "ingressclasses");
    if (named || classes == nullptr) co_return Outcome<>();
    std::string found = default_class(*classes, {"ingressclass.kubernetes.io/is-default-class"});
    if (!found.empty()) json::at_path(ingress, {"spec", "ingressClassName"}) = found;
    co_return Outcome<>();
  }

 private:
  CacheSet& caches_;
};

}  // namespace

std::unique_ptr<AdmissionPlugin> make_default_ingress_class(const AdmissionParts& parts) { return std::make_unique<DefaultIngressClass>(parts.caches); }

}  // namespace monopod::api
