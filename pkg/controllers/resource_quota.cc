// ResourceQuotas: status follows spec, and what is gone is given back.
//
// This says when; the API server counts (api/quota), because only it knows the writes that are under way: a count from outside
// would lower `used` beneath a charge whose object is not stored yet. It hangs on the informers that garbage collection keeps
// anyway, so a namespace without quotas costs one look-up for each change, and idle costs one timer.
#include <algorithm>
#include <map>
#include <set>

#include "api/quota/counter.h"
#include "api/quota/usage.h"
#include "base/strings.h"
#include "controllers/controllers.h"

namespace monopod::controllers {
namespace {

using client::ObjectPtr;

constexpr std::chrono::minutes kResync{5};  // as upstream --resource-quota-sync-period
constexpr client::Resource kResourceQuotas{"", "v1", "resourcequotas", "ResourceQuota"};

// Kinds whose objects may come to take less without going away.
bool may_shrink(const api::Resource& resource) {
  return resource.group().empty() && (resource.plural() == "pods" || resource.plural() == "services" || resource.plural() == "persistentvolumeclaims");
}

class ResourceQuotaController final : public QueueController {
 public:
  explicit ResourceQuotaController(const ControllerParts& parts) : QueueController(parts, "resourcequota-controller") {
    parts.informers.informer(kResourceQuotas).add_handler([this](const ObjectPtr& old, const ObjectPtr& now) { on_quota(old, now); });
    for (const client::Resource& resource : parts.deletable_resources()) {
      if (!resource.namespaced || resource.plural == "events" || resource.plural == "leases") continue;  // as garbage collection: no informer of our own
      const api::Resource* row = api::find_resource(resource.group, resource.plural);
      if (row == nullptr || !api::is_quotable(*row)) continue;
      parts.informers.informer(resource).add_handler([this, row](const ObjectPtr& old, const ObjectPtr& now) { on_change(*row, old, now); });
    }
    if (parts.on_custom_kind) custom_kinds_ = parts.on_custom_kind([this](const client::Resource& resource, bool served) { on_kind(resource, served); });
    parts.quotas->on_stale([this](std::string_view key) { queue_.add(std::string(key)); });
  }
  ~ResourceQuotaController() override { parts_.quotas->on_stale({}); }

  async::Task<Result<>> run() override {
    async::Scope scope(parts_.executor);
    scope.spawn(QueueController::run());
    scope.spawn(resync());
    co_return co_await scope.join();
  }

 private:
  void on_quota(const ObjectPtr& old, const ObjectPtr& now) {
    const client::Object& quota = *(now ? now : old);
    std::string key = quota.key();
    if (!now) {
      auto of = limited_.find(quota.ns);
      if (of == limited_.end()) return;
      of->second.erase(key);
      if (of->second.empty()) limited_.erase(of);
      return;
    }
    json::Value tree = now->tree();
    api::Amounts hard = api::read_amounts(json::get_object(tree, {"spec", "hard"}));
    bool is_new = limited_[quota.ns].insert_or_assign(key, api::names_of(hard)).second;
    // Our own writes of the status come by here too; they ask for nothing.
    if (is_new || hard != api::read_amounts(json::get_object(tree, {"status", "hard"}))) queue_.add(std::move(key));
  }

  void on_change(const api::Resource& resource, const ObjectPtr& old, const ObjectPtr& now) {
    if (!old || limited_.empty()) return;  // what is new was charged when it was made
    auto of = limited_.find(old->ns);
    if (of == limited_.end()) return;
    if (now && (now == old || !may_shrink(resource) || takes_the_same(resource, old->tree(), now->tree()))) return;
    for (const auto& [key, names] : of->second)
      for (const std::string& name : names)
        if (api::is_counted_by(resource, name)) {
          queue_.add(key);
          break;
        }
  }

  // Of custom kinds only the number is counted.
  void on_kind(const client::Resource& resource, bool served) {
    if (!served || !resource.namespaced) return;
    client::Informer& informer = parts_.informers.informer(resource);
    if (!custom_.insert(&informer).second) return;
    std::string count = cat("count/", resource.plural, ".", resource.group);
    informer.add_handler([this, count](const ObjectPtr& old, const ObjectPtr& now) {
      auto of = old && !now ? limited_.find(old->ns) : limited_.end();
      if (of == limited_.end()) return;
      for (const auto& [key, names] : of->second)
        if (std::ranges::find(names, count) != names.end()) queue_.add(key);
    });
  }

  bool takes_the_same(const api::Resource& resource, const json::Value& old, const json::Value& now) const {
    WallTime at = parts_.time.wall();
    return api::quota_usage(resource, old, at) == api::quota_usage(resource, now, at) && api::is_terminating(old) == api::is_terminating(now);
  }

  async::Task<Result<>> resync() {
    while (true) {
      CO_TRY(co_await parts_.time.sleep_for(kResync));  // forever: until cancelled
      for (const auto& [ns, quotas] : limited_)
        for (const auto& [key, names] : quotas) queue_.add(key);
    }
  }

  async::Task<Result<Outcome>> reconcile(std::string key) override {
    auto [ns, name] = split_once(key, '/');
    CO_TRY(co_await parts_.quotas->recount(std::string(ns), std::string(name.value_or(""))));
    co_return Outcome{};
  }

  std::set<const client::Informer*> custom_;  // with a handler of ours
  std::shared_ptr<void> custom_kinds_;        // as long as it is held, on_kind() is called
  std::map<std::string, std::map<std::string, std::vector<std::string>>> limited_;  // namespace -> quota's key -> what it limits
};

}  // namespace

std::unique_ptr<Controller> make_resource_quota_controller(const ControllerParts& parts) { return std::make_unique<ResourceQuotaController>(parts); }

}  // namespace monopod::controllers
