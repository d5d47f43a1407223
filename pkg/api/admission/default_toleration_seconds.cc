// DefaultTolerationSeconds: a pod stays five minutes on a node that is not ready or cannot be reached, unless it says otherwise.
#include "api/admission/plugins.h"
#include "api/admission/pod_specs.h"

namespace monopod::api {
namespace {

constexpr std::int64_t kSeconds = 300;

bool tolerates(const json::Array& tolerations, std::string_view key) {
  for (const json::Value& one : tolerations) {
    std::string_view known = json::get_string(one, {"key"}), effect = json::get_string(one, {"effect"});
    if ((known == key || known.empty()) && (effect == "NoExecute" || effect.empty())) return true;
  }
  return false;
}

class DefaultTolerationSeconds final : public AdmissionPlugin {
 public:
  std::string_view name() const override { return "DefaultTolerationSeconds"; }
  bool handles(const AdmissionRequest& request) const override {
    return request.is("", "pods") && request.subresource.empty() && request.operation == Operation::kCreate;
  }

  async::Task<Outcome<>> mutate(AdmissionRequest& request) override {
    json::Array& tolerations = array_at(*request.object, {"spec", "tolerations"});
    for (std::string_view key : {"node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"})
      if (!tolerates(tolerations, key))
        tolerations.push_back(json::Object{{"effect", "NoExecute"}, {"key", key}, {"operator", "Exists"}, {"tolerationSeconds", kSeconds}});
    co_return Outcome<>();
  }
};

}  // namespace

std::unique_ptr<AdmissionPlugin> make_default_toleration_seconds(const AdmissionParts&) { return std::make_unique<DefaultTolerationSeconds>(); }

}  // namespace monopod::api
