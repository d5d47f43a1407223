// Counting a quota anew: everything of the namespace that it limits, from one moment of the caches, in slices of the loop.
#include "api/quota/ledger.h"
#include "api/slice.h"
#include "base/strings.h"

namespace monopod::api {
namespace {

// Kinds whose usage is in their content; of all others every object takes the same.
bool is_measured(const Resource& resource) {
  return resource.group().empty() && (resource.plural() == "pods" || resource.plural() == "services" || resource.plural() == "persistentvolumeclaims");
}

// Custom kinds have a row for each version, and other ones once their definition changed.
bool same_kind(const Resource& a, const Resource& b) { return &a == &b || (a.is_custom && a.plural() == b.plural() && a.group() == b.group()); }

}  // namespace

struct QuotaLedger::Count {
  struct Source {
    const Resource* resource;
    std::shared_ptr<const void> keep;
    std::vector<ObjectPtr> objects;
  };
  std::vector<std::string> hard;
  std::vector<QuotaScope> scopes;
  std::vector<Source> sources;
  std::vector<PendingPtr> pending;  // what the sources do not hold yet
  Amounts used;
  WallTime now;

  void take(const Resource& resource, const json::Value& object) {
    if (matches_scopes(scopes, resource, object)) used = add(std::move(used), mask(quota_usage(resource, object, now), hard));
  }
};

void QuotaLedger::snapshot(Count& count, const std::string& ns) const {
  for (const auto& [id, cache] : caches_.caches()) {
    const Resource& resource = cache->resource();
    bool counts = false;
    for (const std::string& name : count.hard) {
      if (!is_counted_by(resource, name)) continue;
      counts = true;
      count.used.emplace(name, Quantity::of(0));
    }
    if (!counts) continue;
    Count::Source source{&resource, cache->keep(), {}};
    for (auto it = cache->first_of(ns); it != cache->objects().end() && (*it)->ns() == ns; ++it) source.objects.push_back(*it);
    for (const PendingPtr& pending : pending_) {
      if (!same_kind(*pending->resource, resource) || pending->ns != ns) continue;
      ObjectPtr there = cache->find(pending->key);
      bool awaited = pending->old.is_null() ? !there || there->uid() != json::get_string(pending->object, {"metadata", "uid"})
                                            : there && there->revision() == pending->revision;
      if (awaited) count.pending.push_back(pending);
    }
    count.sources.push_back(std::move(source));
  }
}

void QuotaLedger::count_pending(Count& count) const {
  for (const PendingPtr& pending : count.pending) {
    if (pending->old.is_null()) {
      count.take(*pending->resource, pending->object);
      continue;
    }
    if (!matches_scopes(count.scopes, *pending->resource, pending->object)) continue;
    Amounts more = quota_usage(*pending->resource, pending->object, count.now);
    if (matches_scopes(count.scopes, *pending->resource, pending->old)) more = subtract_to_zero(more, quota_usage(*pending->resource, pending->old, count.now));
    count.used = add(std::move(count.used), mask(more, count.hard));
  }
}

async::Task<Outcome<json::Value>> QuotaLedger::counted(const json::Value& quota) {
  Count count;
  const json::Object* hard = json::get_object(quota, {"spec", "hard"});
  count.hard = names_of(read_amounts(hard));
  count.scopes = scopes_of(quota);
  count.now = time_.wall();
  snapshot(count, std::string(json::get_string(quota, {"metadata", "namespace"})));
  count_pending(count);
  Slice slice;
  for (const Count::Source& source : count.sources) {
    if (!is_measured(*source.resource)) {
      static const json::Value kAny = json::Object();
      if (!count.scopes.empty() || source.objects.empty()) continue;
      for (const auto& [name, one] : mask(quota_usage(*source.resource, kAny, count.now), count.hard))
        count.used[name] += Quantity::of(one.value() * static_cast<std::int64_t>(source.objects.size()));
      continue;
    }
    for (const ObjectPtr& object : source.objects) {
      count.take(*source.resource, object->tree());
      if (slice.spent()) CO_OUT(co_await slice.yield());
    }
  }
  // What nobody counts keeps what somebody wrote.
  Amounts used = mask(read_amounts(json::get_object(quota, {"status", "used"})), count.hard);
  for (auto& [name, amount] : count.used) used[name] = amount;
  json::Value out = quota;
  json::at_path(out, {"status", "hard"}) = hard == nullptr ? json::Object() : *hard;
  json::at_path(out, {"status", "used"}) = write_amounts(used);
  co_return out;
}

}  // namespace monopod::api
