// RuntimeClass: what a pod's class says of overhead and of where its pods may run becomes the pod's (KEP-585, KEP-688).
#include <algorithm>

#include "api/admission/plugins.h"
#include "api/admission/pod_specs.h"
#include "api/quantity/quantity.h"
#include "base/strings.h"

namespace monopod::api {
namespace {

bool same_amounts(const json::Object& a, const json::Value* b) {
  if (b == nullptr || !b->is_object() || b->get_object().size() != a.size()) return false;
  return std::ranges::all_of(a, [&](const auto& member) {
    const json::Value* other = b->get_object().if_contains(member.key());
    if (other == nullptr || !other->is_string() || !member.value().is_string()) return false;
    auto x = parse_quantity(std::string_view(member.value().get_string())), y = parse_quantity(std::string_view(other->get_string()));
    return x && y && !(*x < *y) && !(*x > *y);
  });
}

// Whether one toleration tolerates all that the other does.
bool covers(const json::Value& one, const json::Value& other) {
  auto text = [](const json::Value& v, std::string_view member) { return json::get_string(v, {member}); };
  if (one == other) return true;
  bool any_key = text(one, "key").empty() && text(one, "operator") == "Exists";
  if (!any_key && text(one, "key") != text(other, "key")) return false;
  if (!text(one, "effect").empty() && text(one, "effect") != text(other, "effect")) return false;
  if (text(one, "effect") == "NoExecute") {
    const json::Value *mine = json::find(one, {"tolerationSeconds"}), *theirs = json::find(other, {"tolerationSeconds"});
    if (mine != nullptr && (theirs == nullptr || json::get_int(one, {"tolerationSeconds"}) < json::get_int(other, {"tolerationSeconds"}))) return false;
  }
  if (text(one, "operator") == "Exists") return true;
  bool equal = text(one, "operator") == "Equal" || text(one, "operator").empty();
  return equal && text(other, "operator") == "Equal" && text(one, "value") == text(other, "value");
}

void merge_tolerations(json::Array& into, const json::Array& more) {
  json::Array all(into);
  all.insert(all.end(), more.begin(), more.end());
  json::Array merged;
  for (std::size_t i = 0; i < all.size(); ++i) {
    bool told = std::ranges::any_of(merged, [&](const json::Value& have) { return covers(have, all[i]); });
    for (std::size_t j = i + 1; j < all.size() && !told; ++j) told = all[j] != all[i] && covers(all[j], all[i]);
    if (!told) merged.push_back(all[i]);
  }
  into = std::move(merged);
}

class RuntimeClass final : public AdmissionPlugin {
 public:
  explicit RuntimeClass(CacheSet& caches) : caches_(caches) {}
  std::string_view name() const override { return "RuntimeClass"; }
  bool handles(const AdmissionRequest& request) const override {
    if (request.operation != Operation::kCreate || !request.is("", "pods") || !request.subresource.empty()) return false;
    return json::find(*request.object, {"spec", "runtimeClassName"}) != nullptr || json::find(*request.object, {"spec", "overhead"}) != nullptr;
  }

  async::Task<Outcome<>> mutate(AdmissionRequest& request) override {
    json::Value& pod = *request.object;
    CO_OUT_ASSIGN(json::Value found, class_of(request));
    if (const json::Object* fixed = overhead_of(found)) {
      const json::Value* given = json::find(pod, {"spec", "overhead"});
      if (given != nullptr && !same_amounts(*fixed, given)) co_return refuse(no_match(request));
      json::at_path(pod, {"spec", "overhead"}) = *fixed;
    }
    if (const json::Object* selector = json::get_object(found, {"scheduling", "nodeSelector"})) {
      for (const auto& [key, value] : *selector) {
        json::Value& slot = json::at_path(pod, {"spec", "nodeSelector", std::string_view(key)});
        if (slot.is_string() && slot != value)
          co_return refuse(forbidden(request.ref(), request.name, cat("conflict: runtimeClass.scheduling.nodeSelector[", std::string_view(key), "] = ", std::string_view(value.as_string()),
                                                                      "; pod.spec.nodeSelector[", std::string_view(key), "] = ", std::string_view(slot.as_string()))));
        slot = value;
      }
    }
    if (const json::Array* tolerations = json::get_array(found, {"scheduling", "tolerations"})) merge_tolerations(array_at(pod, {"spec", "tolerations"}), *tolerations);
    co_return Outcome<>();
  }

  async::Task<Outcome<>> validate(AdmissionRequest& request) override {
    CO_OUT_ASSIGN(json::Value found, class_of(request));
    const json::Value* given = json::find(*request.object, {"spec", "overhead"});
    const json::Object* fixed = overhead_of(found);
    if (fixed != nullptr && !same_amounts(*fixed, given)) co_return refuse(no_match(request));
    if (fixed == nullptr && given != nullptr)
      co_return refuse(forbidden(request.ref(), request.name, "pod rejected: Pod Overhead set without corresponding RuntimeClass defined Overhead"));
    co_return Outcome<>();
  }

 private:
  // Null where the pod names none.
  Outcome<json::Value> class_of(const AdmissionRequest& request) const {
    std::string wanted(json::get_string(*request.object, {"spec", "runtimeClassName"}));
    if (wanted.empty()) return json::Value();
    const WatchCache* classes = caches_.find("node.k8s.io", "runtimeclasses");
    ObjectPtr found = classes == nullptr ? nullptr : classes->find(wanted);
    if (!found) return refuse(forbidden(request.ref(), request.name, cat("pod rejected: RuntimeClass \"", wanted, "\" not found")));
    return found->tree();
  }

  static const json::Object* overhead_of(const json::Value& found) { return json::get_object(found, {"overhead", "podFixed"}); }
  static Status no_match(const AdmissionRequest& request) {
    return forbidden(request.ref(), request.name, "pod rejected: Pod's Overhead doesn't match RuntimeClass's defined Overhead");
  }

  CacheSet& caches_;
};

}  // namespace

std::unique_ptr<AdmissionPlugin> make_runtime_class(const AdmissionParts& parts) { return std::make_unique<RuntimeClass>(parts.caches); }

}  // namespace monopod::api
