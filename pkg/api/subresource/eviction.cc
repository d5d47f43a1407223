// eviction (policy/v1): a delete that asks the PodDisruptionBudgets first.
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

async::Task<Outcome<json::Value>> with_one_disruption(json::Value budget, std::string pod, WallTime now) {
  std::int64_t allowed = json::get_int(budget, {"status", "disruptionsAllowed"});
  std::string_view name = json::get_string(budget, {"metadata", "name"});
  if (json::get_int(budget, {"status", "observedGeneration"}) < json::get_int(budget, {"metadata", "generation"})) {
    Status status = too_many_requests("Cannot evict pod as it would violate the pod's disruption budget.", 10);
    status.causes.push_back({"DisruptionBudget", cat("The disruption budget ", name, " is still being processed by the server."), ""});
    co_return refuse(std::move(status));
  }
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
    if (needs_budget(pod->tree())) {
      std::vector<ObjectPtr> budgets = budgets_of(registry_, *pod);
      if (budgets.size() > 1)
        co_return refuse(internal("This pod has more than one PodDisruptionBudget, which the eviction subresource does not support."));
      if (!budgets.empty() && !options.dry_run) CO_OUT(co_await use_budget(call, *budgets.front(), std::string(pod->name())));
    }
    CO_OUT(co_await registry_.remove(call, options));
    co_return SubresourceAnswer{201, json::Object{{"kind", "Status"}, {"apiVersion", "v1"}, {"metadata", json::Object()}, {"status", "Success"}, {"code", 201}}};
  }

 private:
  async::Task<Outcome<>> use_budget(const Call& call, const Object& budget, std::string pod) {
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

  Registry& registry_;
};

}  // namespace

std::unique_ptr<SubresourceHandler> make_eviction(Registry& registry) { return std::make_unique<Eviction>(registry); }

}  // namespace monopod::api
