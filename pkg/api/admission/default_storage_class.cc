// DefaultStorageClass: a claim that names no class gets the default one; "" is a name too, and asks for none.
#include "api/admission/default_class.h"
#include "api/admission/plugins.h"

namespace monopod::api {
namespace {

class DefaultStorageClass final : public AdmissionPlugin {
 public:
  explicit DefaultStorageClass(CacheSet& caches) : caches_(caches) {}
  std::string_view name() const override { return "DefaultStorageClass"; }
  bool handles(const AdmissionRequest& request) const override {
    return request.operation == Operation::kCreate && request.is("", "persistentvolumeclaims") && request.subresource.empty();
  }

  async::Task<Outcome<>> mutate(AdmissionRequest& request) override {
    json::Value& claim = *request.object;
    bool named = json::find(claim, {"spec", "storageClassName"}) != nullptr || json::find(claim, {"metadata", "annotations", "volume.beta.kubernetes.io/storage-class"}) != nullptr;
    const WatchCache* classes = caches_.find("storage.k8s.io", "storageclasses");
    if (named || classes == nullptr) co_return Outcome<>();
    std::string found = default_class(*classes, {"storageclass.kubernetes.io/is-default-class", "storageclass.beta.kubernetes.io/is-default-class"});
    if (!found.empty()) json::at_path(claim, {"spec", "storageClassName"}) = found;
    co_return Outcome<>();
  }

 private:
  CacheSet& caches_;
};

}  // namespace

std::unique_ptr<AdmissionPlugin> make_default_storage_class(const AdmissionParts& parts) { return std::make_unique<DefaultStorageClass>(parts.caches); }

}  // namespace monopod::api
