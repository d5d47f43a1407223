// Priority: the number behind a pod's priorityClassName.
#include "api/admission/plugins.h"
#include "base/strings.h"

namespace monopod::api {
namespace {

class Priority final : public AdmissionPlugin {
 public:
  explicit Priority(CacheSet& caches) : caches_(caches) {}
  std::string_view name() const override { return "Priority"; }
  bool handles(const AdmissionRequest& request) const override {
    return request.operation == Operation::kCreate && request.is("", "pods") && request.subresource.empty();
  }

  async::Task<Outcome<>> mutate(AdmissionRequest& request) override {
    json::Value& pod = *request.object;
    WatchCache* classes = caches_.find("scheduling.k8s.io", "priorityclasses");
    std::string wanted(json::get_string(pod, {"spec", "priorityClassName"}));
    ObjectPtr found = wanted.empty() ? global_default(*classes) : classes->find(wanted);
    if (!wanted.empty() && !found)
      co_return refuse(forbidden(request.ref(), request.name, cat("no PriorityClass with name ", wanted, " was found")));
    std::int64_t value = 0;
    std::string policy = "PreemptLowerPriority";
    if (found) {
      json::Value tree = found->tree();
      value = json::get_int(tree, {"value"});
      policy = json::get_string(tree, {"preemptionPolicy"}, policy);
      json::at_path(pod, {"spec", "priorityClassName"}) = found->name();
    }
    if (const json::Value* given = json::find(pod, {"spec", "priority"}); given != nullptr && given->is_int64() && given->get_int64() != value)
      co_return refuse(forbidden(request.ref(), request.name,
                                 cat("the integer value of priority (", given->get_int64(), ") must not be provided in pod spec; priority admission controller computed ",
                                     value, " from the given PriorityClass name")));
    json::at_path(pod, {"spec", "priority"}) = value;
    if (json::find(pod, {"spec", "preemptionPolicy"}) == nullptr) json::at_path(pod, {"spec", "preemptionPolicy"}) = policy;
    co_return Outcome<>();
  }

 private:
  static ObjectPtr global_default(const WatchCache& classes) {
    for (const ObjectPtr& one : classes.objects())
      if (one->json()->find("\"globalDefault\":true") != std::string::npos && json::get_bool(one->tree(), {"globalDefault"})) return one;
    return nullptr;
  }

  CacheSet& caches_;
};

}  // namespace

std::unique_ptr<AdmissionPlugin> make_priority(const AdmissionParts& parts) { return std::make_unique<Priority>(parts.caches); }

}  // namespace monopod::api
