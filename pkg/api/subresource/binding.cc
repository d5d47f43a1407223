// binding: the scheduler's verdict. Sets spec.nodeName once and the PodScheduled condition.
#include "api/subresource/subresource.h"
#include "base/strings.h"

namespace monopod::api {
namespace {

void set_scheduled(json::Value& pod, WallTime now) {
  json::Object condition{{"lastProbeTime", nullptr}, {"lastTransitionTime", format_rfc3339(now)}, {"status", "True"}, {"type", "PodScheduled"}};
  json::Value& list = json::at_path(pod, {"status", "conditions"});
  if (!list.is_array()) list = json::Array();
  for (json::Value& known : list.as_array()) {
    if (json::get_string(known, {"type"}) != "PodScheduled") continue;
    known = std::move(condition);
    return;
  }
  list.as_array().push_back(std::move(condition));
}

async::Task<Outcome<json::Value>> bound(const Call& call, json::Value pod, const json::Value& binding, WallTime now) {
  std::string_view node = json::get_string(binding, {"target", "name"});
  if (json::find(pod, {"metadata", "deletionTimestamp"}) != nullptr)
    co_return refuse(conflict({"", "pods/binding"}, call.name, cat("pod ", call.name, " is being deleted, cannot be assigned to a host")));
  std::string_view assigned = json::get_string(pod, {"spec", "nodeName"});
  if (!assigned.empty())
    co_return refuse(conflict({"", "pods/binding"}, call.name, cat("pod ", call.name, " is already assigned to node \"", assigned, "\"")));
  if (const json::Array* gates = json::get_array(pod, {"spec", "schedulingGates"}); gates != nullptr && !gates->empty())
    co_return refuse(conflict({"", "pods/binding"}, call.name, cat("pod ", call.name, " has non-empty .spec.schedulingGates")));
  std::string_view uid = json::get_string(binding, {"metadata", "uid"});
  if (!uid.empty() && uid != json::get_string(pod, {"metadata", "uid"}))
    co_return refuse(conflict({"", "pods/binding"}, call.name,
                              cat("Precondition failed: UID in precondition: ", uid, ", UID in object meta: ", json::get_string(pod, {"metadata", "uid"}))));
  std::string name(node);
  json::at_path(pod, {"spec", "nodeName"}) = name;
  if (const json::Object* annotations = json::get_object(binding, {"metadata", "annotations"}))
    for (const auto& [key, value] : *annotations) json::at_path(pod, {"metadata", "annotations", std::string_view(key)}) = value;
  set_scheduled(pod, now);
  co_return pod;
}

class Binding final : public SubresourceHandler {
 public:
  explicit Binding(Registry& registry) : registry_(registry) {}
  std::string_view name() const override { return "binding"; }
  std::string_view plural() const override { return "pods"; }

  async::Task<Outcome<SubresourceAnswer>> create(Call& call, json::Value body) override {
    std::string_view kind = json::get_string(body, {"target", "kind"});
    if (!kind.empty() && kind != "Node")
      co_return refuse(invalid("", "Binding", call.name,
                               {{"FieldValueNotSupported", cat("Unsupported value: \"", kind, "\": supported values: \"Node\", \"<empty>\""), "target.kind"}}));
    if (json::get_string(body, {"target", "name"}).empty())
      co_return refuse(invalid("", "Binding", call.name, {{"FieldValueRequired", "Required value", "target.name"}}));
    Mutation mutation = [&](const json::Value& pod) { return bound(call, pod, body, registry_.time().wall()); };
    Call inner = call;
    inner.trusted = true;
    CO_OUT(co_await registry_.modify(inner, mutation));
    co_return SubresourceAnswer{201, json::Object{{"kind", "Status"}, {"apiVersion", "v1"}, {"metadata", json::Object()}, {"status", "Success"}, {"code", 201}}};
  }

 private:
  Registry& registry_;
};

}  // namespace

std::unique_ptr<SubresourceHandler> make_binding(Registry& registry) { return std::make_unique<Binding>(registry); }

}  // namespace monopod::api
