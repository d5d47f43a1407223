// StorageObjectInUseProtection: volumes and claims begin with the finalizer that keeps them while they are used; the controller
// volume_protection takes it away.
#include "api/admission/plugins.h"

namespace monopod::api {
namespace {

class StorageObjectInUseProtection final : public AdmissionPlugin {
 public:
  std::string_view name() const override { return "StorageObjectInUseProtection"; }
  bool handles(const AdmissionRequest& request) const override {
    return request.operation == Operation::kCreate && request.subresource.empty() && (request.is("", "persistentvolumeclaims") || request.is("", "persistentvolumes"));
  }

  async::Task<Outcome<>> mutate(AdmissionRequest& request) override {
    std::string_view finalizer = request.resource.plural() == "persistentvolumes" ? "kubernetes.io/pv-protection" : "kubernetes.io/pvc-protection";
    json::Value& list = json::at_path(*request.object, {"metadata", "finalizers"});
    json::Array& finalizers = list.is_array() ? list.get_array() : list.emplace_array();
    for (const json::Value& one : finalizers)
      if (one.is_string() && one.get_string() == finalizer) co_return Outcome<>();
    finalizers.emplace_back(finalizer);
    co_return Outcome<>();
  }
};

}  // namespace

std::unique_ptr<AdmissionPlugin> make_storage_object_in_use_protection() { return std::make_unique<StorageObjectInUseProtection>(); }

}  // namespace monopod::api
