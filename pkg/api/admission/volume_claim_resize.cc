// PersistentVolumeClaimResize: a claim grows where its class allows it.
#include "api/admission/plugins.h"
#include "api/quantity/quantity.h"

namespace monopod::api {
namespace {

class VolumeClaimResize final : public AdmissionPlugin {
 public:
  explicit VolumeClaimResize(CacheSet& caches) : caches_(caches) {}
  std::string_view name() const override { return "PersistentVolumeClaimResize"; }
  bool handles(const AdmissionRequest& request) const override {
    return request.operation == Operation::kUpdate && request.is("", "persistentvolumeclaims") && request.subresource.empty();
  }

  async::Task<Outcome<>> validate(AdmissionRequest& request) override {
    auto now = parse_quantity(json::get_string(*request.object, {"spec", "resources", "requests", "storage"}));
    auto before = parse_quantity(json::get_string(*request.old, {"spec", "resources", "requests", "storage"}));
    if (!now || !before || *now <= *before) co_return Outcome<>();
    if (json::get_string(*request.old, {"status", "phase"}) != "Bound" || may_grow(*request.old)) co_return Outcome<>();  // of one that is not bound nothing may change: its validation says so
    co_return refuse(forbidden(request.ref(), request.name, "only dynamically provisioned pvc can be resized and the storageclass that provisions the pvc must support resize"));
  }

 private:
  bool may_grow(const json::Value& claim) const {
    std::string_view name = json::get_string(claim, {"metadata", "annotations", "volume.beta.kubernetes.io/storage-class"});
    if (name.empty()) name = json::get_string(claim, {"spec", "storageClassName"});
    const WatchCache* classes = caches_.find("storage.k8s.io", "storageclasses");
    ObjectPtr found = classes == nullptr || name.empty() ? nullptr : classes->find(name);
    return found && json::get_bool(found->tree(), {"allowVolumeExpansion"});
  }

  CacheSet& caches_;
};

}  // namespace

std::unique_ptr<AdmissionPlugin> make_volume_claim_resize(const AdmissionParts& parts) { return std::make_unique<VolumeClaimResize>(parts.caches); }

}  // namespace monopod::api
