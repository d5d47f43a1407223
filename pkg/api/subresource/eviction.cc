// eviction (policy/v1): a delete that asks the PodDisruptionBudgets first.
#include <algorithm>

#include "api/selector/selector.h"
#include "api/subresource/subresource.h"
#include "base/strings.h"

namespace monopod::api {
namespace {

// The budgets that select the pod.
std::vector<ObjectPtr> budgets_of(Registry& registry, const Object& pod) {
  std::vector<ObjectPtr> out;
  WatchCache* cache = registry.caches().find("policy", "poddisruptionbudgets");
  if (cache == nullptr) return out;
  json::Value tree = pod.tree();
  const json::Object* labels = json::get_object(tree, {"metadata", "labels"});
  std::string prefix = cat(pod.ns(), '/');
  for (auto it = cache->first_of(pod.ns()); it != cache->objects().end() && (*it)->key().starts_with(prefix); ++it) {
    json::Value budget = (*it)->tree();
    const json::Value* selector = json::find(budget, {"spec", "selector"});
    if (selector == nullptr || !selector->is_object()) continue;
    auto parsed = make_label_selector(*selector);
    if (parsed && parsed->matches(labels)) out.push_back(*it);
  }
  return out;
}

bool needs_budget(const json::Value& pod) {
  std::string_view phase = json::get_string(pod, {"status", "phase"});
  return phase != "Succeeded" && phase != "Failed" && phase != "Pending" && json::find(pod, {"metadata", "deletionTimestamp"}) == nullptr;
}

bool is_ready(const json::Value& pod) {
  const json::Array* conditions = json::get_array(pod, {"status", "conditions"});
  return conditions != nullptr && std::ranges::any_of(*conditions, [](const json::Value& c) { return json::get_string(c, {"type"}) == "Ready" && json::get_string(c, {"status"}) == "True"; });
}

// A pod that is not ready is not among those that the budget counts on (KEP-3017, spec.unhealthyPodEvictionPolicy).
bool may_go_unhealthy(const json::Value& pod, const json::Value& budget) {
  if (is_ready(pod)) return false;
  if (json::get_string(budget, {"spec", "unhealthyPodEvictionPolicy"}) == "AlwaysAllow") return true;
  std::int64_t desired = json::get_int(budget, {"status", "desiredHealthy"});
  return desired > 0 && json::get_int(budget, {"status", "currentHealthy"}) >= desired;
}

Status still_processed(std::string_view budget) {
  Status status = too_many_requests("Cannot evict pod as it would violate the pod's disruption budget.", 10);
  status.causes.push_back({"DisruptionBudget", cat("The disruption budget ", budget, " is still being processed by the server."), ""});
  return status;
}

// The pod with the condition that says why it goes (KEP-3329); as the deletion after it, only where the preconditions hold.
async::Task<Outcome<json::Value>> as_target(const Call& call, const DeleteOptions& options, json::Value pod, WallTime now) {
  std::string_view version = json::get_string(pod, {"metadata", "resourceVersion"}), uid = json::get_string(pod, {"metadata", "uid"});
  if (!options.resource_version.empty() && options.resource_version != version)
    co_return refuse(conflict({"", "pods"}, call.name, cat("Precondition failed: ResourceVersion in precondition: ", options.resource_version, ", ResourceVersion in object meta: ", version)));
  if (!options.uid.empty() && options.uid != uid)
    co_return refuse(conflict({"", "pods"}, call.name, cat("Precondition failed: UID in precondition: ", options.uid, ", UID in object meta: ", uid)));
  json::Object condition{{"lastProbeTime", nullptr}, {"lastTransitionTime", format_rfc3339(now)}, {"message", "Eviction API: evicting"},
                         {"observedGeneration", json::get_int(pod, {"metadata", "generation"})}, {"reason", "EvictionByEvictionAPI"}, {"status", "True"}, {"type", "DisruptionTarget"}};
  json::Value& list = json::at_path(pod, {"status", "conditions"});
  if (!list.is_array()) list = json::Array();
  json::Array& conditions = list.as_array();
  auto known = std::ranges::find_if(conditions, [](const json::Value& c) { return json::get_string(c, {"type"}) == "DisruptionTarget"; });
  if (known == conditions.end()) {
    conditions.push_back(std::move(condition));
  } else {
    if (json::get_string(*known, {"status"}) == "True") condition["lastTransitionTime"] = known->get_object()["lastTransitionTime"];
    *known = std::move(condition);
  }
  co_return pod;
}

async::Task<Outcome<json::Value>> with_one_disruption(json::Value budget, std::string pod, WallTime now) {
  std::int64_t allowed = json::get_int(budget, {"status", "disruptionsAllowed"});
  std::string_view name = json::get_string(budget, {"metadata", "name"});
  if (json::get_int(budget, {"status", "observedGeneration"}) < json::get_int(budget, {"metadata", "generation"})) co_return refuse(still_processed(name));
  if (allowed <= 0) {
    Status status = too_many_requests("Cannot evict pod as it would violate the pod's disruption budget.", 0);
    status.causes.push_back({"DisruptionBudget",
                             cat("The disruption budget ", name, " needs ", json::get_int(budget, {"status", "desiredHealthy"}),
                                 " healthy pods and has ", json::get_int(budget, {"status", "currentHealthy"}), " currently"), ""});
    co_return refuse(std::move(status));
  }
  json::at_path(budget, {"status", "disruptionsAllowed"}) = allowed - 1;
  json::at_path(budget, {"status", "disruptedPods", pod}) = format_rfc3339(now);
  co_return budget;
}

class Eviction final : public SubresourceHandler {
 public:
  explicit Eviction(Registry& registry) : registry_(registry) {}
  std::string_view name() const override { return "eviction"; }
  std::string_view plural() const override { return "pods"; }

  async::Task<Outcome<SubresourceAnswer>> create(Call& call, json::Value body) override {
    std::string_view name = json::get_string(body, {"metadata", "name"});
    if (!name.empty() && name != call.name)
      co_return refuse(bad_request(cat("name in URL does not match name in Eviction object")));
    DeleteOptions options;
    if (const json::Value* grace = json::find(body, {"deleteOptions", "gracePeriodSeconds"}); grace != nullptr && grace->is_int64())
      options.grace_period_seconds = grace->get_int64();
    options.propagation_policy = json::get_string(body, {"deleteOptions", "propagationPolicy"});
    options.uid = json::get_string(body, {"deleteOptions", "preconditions", "uid"});
    options.resource_version = json::get_string(body, {"deleteOptions", "preconditions", "resourceVersion"});
    const json::Array* dry = json::get_array(body, {"deleteOptions", "dryRun"});
    options.dry_run = call.options.dry_run || (dry != nullptr && !dry->empty());

    CO_OUT_ASSIGN(ObjectPtr pod, co_await registry_.get(call, ""));
    bool pinned = !options.resource_version.empty();  // by the client
    std::string unguarded;                            // the budget that did not have to be asked
    if (json::Value tree = pod->tree(); needs_budget(tree)) {
      std::vector<ObjectPtr> budgets = budgets_of(registry_, *pod);
      if (budgets.size() > 1)
        co_return refuse(internal("This pod has more than one PodDisruptionBudget, which the eviction subresource does not support."));
      if (!budgets.empty()) {
        if (may_go_unhealthy(tree, budgets.front()->tree())) unguarded = budgets.front()->name();
        else CO_OUT(co_await use_budget(call, *budgets.front(), std::string(pod->name()), options.dry_run));
      }
    }
    // What was decided for a pod that was not ready must not befall one that became it.
    if (!unguarded.empty() && !pinned) options.resource_version = pod->resource_version();
    Outcome<> gone = co_await remove(call, options);
    if (!gone && gone.error().code == 409 && !unguarded.empty() && !pinned) co_return refuse(still_processed(unguarded));
    CO_OUT(gone);
    co_return SubresourceAnswer{201, json::Object{{"kind", "Status"}, {"apiVersion", "v1"}, {"metadata", json::Object()}, {"status", "Success"}, {"code", 201}}};
  }

 private:
  async::Task<Outcome<>> use_budget(const Call& call, const Object& budget, std::string pod, bool dry_run) {
    if (dry_run) {
      CO_OUT(co_await with_one_disruption(budget.tree(), pod, registry_.time().wall()));
      co_return Outcome<>();
    }
    Call inner;
    inner.user = call.user;
    inner.verb = "update";
    inner.resource = find_resource("policy", "v1", "poddisruptionbudgets");
    inner.ns = budget.ns();
    inner.name = budget.name();
    inner.trusted = true;
    Mutation mutation = [this, &pod](const json::Value& live) { return with_one_disruption(live, pod, registry_.time().wall()); };
    CO_OUT(co_await registry_.modify(inner, mutation));
    co_return Outcome<>();
  }

  // Says in the pod why it goes, then deletes it.
  async::Task<Outcome<>> remove(Call& call, DeleteOptions options) {
    if (!options.dry_run) {
      Call inner = call;
      inner.trusted = true;
      Mutation mutation = [this, &call, &options](const json::Value& live) { return as_target(call, options, live, registry_.time().wall()); };
      CO_OUT_ASSIGN(ObjectPtr marked, co_await registry_.modify(inner, mutation));
      if (!options.resource_version.empty()) options.resource_version = marked->resource_version();
    }
    CO_OUT(co_await registry_.remove(call, options));
    co_return Outcome<>();
  }

  Registry& registry_;
};

}  // namespace

std::unique_ptr<SubresourceHandler> make_eviction(Registry& registry) { return std::make_unique<Eviction>(registry); }

}  // namespace monopod::api
