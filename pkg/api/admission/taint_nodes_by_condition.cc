// TaintNodesByCondition: a new node takes no pods until it has said that it is ready.
#include "api/admission/plugins.h"
#include "api/admission/pod_specs.h"

namespace monopod::api {
namespace {

constexpr std::string_view kNotReady = "node.kubernetes.io/not-ready";

class TaintNodesByCondition final : public AdmissionPlugin {
 public:
  std::string_view name() const override { return "TaintNodesByCondition"; }
  bool handles(const AdmissionRequest& request) const override {
    return request.operation == Operation::kCreate && request.is("", "nodes") && request.subresource.empty();
  }

  async::Task<Outcome<>> mutate(AdmissionRequest& request) override {
    if (const json::Array* conditions = json::get_array(*request.object, {"status", "conditions"}))
      for (const json::Value& one : *conditions)
        if (json::get_string(one, {"type"}) == "Ready" && json::get_string(one, {"status"}) == "True") co_return Outcome<>();
    json::Array& taints = array_at(*request.object, {"spec", "taints"});
    for (const json::Value& taint : taints)
      if (json::get_string(taint, {"key"}) == kNotReady && json::get_string(taint, {"effect"}) == "NoSchedule") co_return Outcome<>();
    taints.push_back(json::Object{{"effect", "NoSchedule"}, {"key", kNotReady}});
    co_return Outcome<>();
  }
};

}  // namespace

std::unique_ptr<AdmissionPlugin> make_taint_nodes_by_condition(const AdmissionParts&) { return std::make_unique<TaintNodesByCondition>(); }

}  // namespace monopod::api
