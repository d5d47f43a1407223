// ResourceQuota: what a write takes is charged to the quotas of its namespace (api/quota), or the write is refused.
#include "api/admission/plugins.h"
#include "api/quota/ledger.h"

namespace monopod::api {
namespace {

class ResourceQuota final : public AdmissionPlugin {
 public:
  explicit ResourceQuota(QuotaLedger& ledger) : ledger_(ledger) {}
  std::string_view name() const override { return "ResourceQuota"; }

  bool handles(const AdmissionRequest& request) const override {
    if (request.object == nullptr || !is_quotable(request.resource)) return false;
    if (request.operation == Operation::kUpdate) {
      if (!can_grow(request)) return false;
    } else if (request.operation != Operation::kCreate || !request.subresource.empty()) {
      return false;
    }
    return ledger_.has_quota(request.ns);
  }

  async::Task<Outcome<>> validate(AdmissionRequest& request) override { return ledger_.charge(request); }

 private:
  // Of an update: services change their type, claims and resized pods their amounts, pods the scope that they are in.
  static bool can_grow(const AdmissionRequest& request) {
    if (request.is("", "pods"))
      return request.subresource == "resize" || (request.subresource.empty() && is_terminating(*request.object) != is_terminating(*request.old));
    return request.subresource.empty() && (request.is("", "services") || request.is("", "persistentvolumeclaims"));
  }

  QuotaLedger& ledger_;
};

}  // namespace

std::unique_ptr<AdmissionPlugin> make_resource_quota(const AdmissionParts& parts) { return std::make_unique<ResourceQuota>(parts.quotas); }

}  // namespace monopod::api
