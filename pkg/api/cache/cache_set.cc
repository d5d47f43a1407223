#include "api/cache/cache_set.h"

#include "api/limits.h"
#include "api/slice.h"
#include "base/log.h"
#include "base/strings.h"

namespace monopod::api {

std::string store_prefix(const Resource& resource) {
  return cat(kRegistryPrefix, resource.group().empty() ? std::string_view("core") : resource.group(), '/', resource.plural(), '/');
}

std::string store_key(const Resource& resource, std::string_view ns, std::string_view name) {
  std::string key = store_prefix(resource);
  if (resource.namespaced) key += cat(ns, '/');
  key += name;
  return key;
}

CacheSet::CacheSet(async::Executor executor, store::Backend& store, async::Time& time, std::size_t ring_events_max)
    : executor_(executor), store_(store), time_(time), ring_events_max_(ring_events_max), advanced_(executor) {}

WatchCache& CacheSet::add(const Resource& resource) {
  auto key = std::make_pair(std::string(resource.group()), std::string(resource.plural()));
  auto& slot = caches_[key];
  if (!slot) {
    slot = std::make_shared<WatchCache>(executor_, resource, ring_events_max_);
    slot->set_ring_floor(revision_);
  }
  return *slot;
}

WatchCache* CacheSet::find(std::string_view group, std::string_view plural) const {
  auto it = caches_.find(std::pair(group, plural));
  return it == caches_.end() ? nullptr : it->second.get();
}

std::shared_ptr<WatchCache> CacheSet::find_shared(std::string_view group, std::string_view plural) const {
  auto it = caches_.find(std::pair(group, plural));
  return it == caches_.end() ? nullptr : it->second;
}

async::Task<Result<std::shared_ptr<WatchCache>>> CacheSet::open(const Resource& resource, std::shared_ptr<const void> keep) {
  auto cache = std::make_shared<WatchCache>(executor_, resource, ring_events_max_);
  cache->rebind(resource, std::move(keep));
  cache->begin_snapshot();  // from here on the feed is kept for later
  caches_[std::make_pair(std::string(resource.group()), std::string(resource.plural()))] = cache;
  Slice slice;
  std::string prefix = store_prefix(resource);
  store::RangeRequest request{.key = prefix, .range_end = store::prefix_end(prefix), .limit = 500};
  while (true) {
    Result<store::RangeResult> page = co_await store_.range(request);
    if (!page) {
      close(resource.group(), resource.plural());
      co_return fail(page.error());
    }
    if (request.revision.value == 0) request.revision = page->revision;
    for (const store::KeyValue& kv : page->kvs) {
      auto object = cache->read(*kv.value, kv.mod.value);
      if (object) cache->load(std::move(*object));
      else log::error("object in the store cannot be read", {{"key", kv.key}, {"error", object.error()}});
      if (slice.spent()) CO_TRY(co_await slice.yield());
    }
    if (!page->more || page->kvs.empty()) break;
    request.key = page->kvs.back().key + '\0';
  }
  cache->end_snapshot(request.revision.value);
  CO_TRY(co_await wait_for(request.revision.value));
  co_return cache;
}

void CacheSet::close(std::string_view group, std::string_view plural) {
  auto it = caches_.find(std::pair(group, plural));
  if (it == caches_.end()) return;
  std::erase_if(pending_, [&](const auto& adopted) { return adopted.first.first == it->second.get(); });
  it->second->close_watchers();
  caches_.erase(it);
}

CacheSet::Place CacheSet::place_of(std::string_view store_key) const {
  if (!store_key.starts_with(kRegistryPrefix)) return {};
  std::string_view rest = store_key.substr(kRegistryPrefix.size());
  std::size_t group_end = rest.find('/');
  if (group_end == std::string_view::npos) return {};
  std::size_t plural_end = rest.find('/', group_end + 1);
  if (plural_end == std::string_view::npos) return {};
  std::string_view group = rest.substr(0, group_end);
  if (group == "core") group = {};
  return {find(group, rest.substr(group_end + 1, plural_end - group_end - 1)), rest.substr(plural_end + 1)};
}

async::Task<Result<>> CacheSet::load() {
  Slice slice;
  store::RangeRequest request{.key = std::string(kRegistryPrefix), .range_end = store::prefix_end(kRegistryPrefix), .limit = 500};
  while (true) {
    CO_TRY_ASSIGN(store::RangeResult page, co_await store_.range(request));
    if (request.revision.value == 0) request.revision = page.revision;
    for (const store::KeyValue& kv : page.kvs) {
      Place place = place_of(kv.key);
      if (place.cache == nullptr) continue;
      auto object = place.cache->read(*kv.value, kv.mod.value);
      if (object) place.cache->load(std::move(*object));
      else log::error("object in the store cannot be read", {{"key", kv.key}, {"error", object.error()}});
      if (slice.spent()) CO_TRY(co_await slice.yield());
    }
    if (!page.more || page.kvs.empty()) break;
    request.key = page.kvs.back().key + '\0';
  }
  revision_ = request.revision.value;
  for (const auto& [name, cache] : caches_) cache->set_ring_floor(revision_);
  CO_TRY_ASSIGN(watch_, co_await store_.watch({.key = std::string(kRegistryPrefix),
                                               .range_end = store::prefix_end(kRegistryPrefix),
                                               .start_revision = store::Revision(revision_ + 1)}));
  advanced_.wake_all();
  co_return Result<>();
}

void CacheSet::apply(const store::WatchBatch& batch) {
  if (batch.shared) {
    for (const store::WatchEvent& event : batch.events()) {
      Place place = place_of(event.kv.key);
      if (place.cache == nullptr) continue;
      if (event.type == store::WatchEvent::Type::kDelete) {
        place.cache->remove(place.object_key, event.kv.mod.value);
        continue;
      }
      auto known = pending_.find({place.cache, event.kv.mod.value});
      if (known != pending_.end() && known->second->key() == place.object_key) {
        place.cache->put(std::move(known->second));
        pending_.erase(known);
        continue;
      }
      auto object = place.cache->read(*event.kv.value, event.kv.mod.value);
      if (object) place.cache->put(std::move(*object));
      else log::error("object in the store cannot be read", {{"key", event.kv.key}, {"error", object.error()}});
    }
  }
  revision_ = std::max(revision_, batch.revision.value);
  advanced_.wake_all();
  for (const auto& callback : callbacks_) callback();
}

async::Task<Result<>> CacheSet::run() {
  while (true) {
    Result<store::WatchBatch> batch = co_await watch_->next();
    if (batch) {
      apply(*batch);
      continue;
    }
    if (batch.error().code() != Code::kOutOfRange) co_return fail(batch.error().with("watch the store"));
    CO_TRY(co_await reload());
  }
}

// The log between our revision and now is gone: read everything and feed the differences as events.
async::Task<Result<>> CacheSet::reload() {
  log::warn("the store compacted past the watch cache, reading it anew", {{"revision", revision_}});
  store::RangeRequest request{.key = std::string(kRegistryPrefix), .range_end = store::prefix_end(kRegistryPrefix)};
  CO_TRY_ASSIGN(store::RangeResult all, co_await store_.range(request));
  std::map<const WatchCache*, std::set<std::string, std::less<>>> seen;
  for (const store::KeyValue& kv : all.kvs) {
    Place place = place_of(kv.key);
    if (place.cache == nullptr) continue;
    seen[place.cache].emplace(place.object_key);
    ObjectPtr known = place.cache->find(place.object_key);
    if (known && known->revision() == kv.mod.value) continue;
    if (auto object = place.cache->read(*kv.value, kv.mod.value)) place.cache->put(std::move(*object));
  }
  for (const auto& [name, cache] : caches_) {
    std::vector<std::string> gone;
    for (const ObjectPtr& object : cache->objects())
      if (!seen[cache.get()].contains(object->key())) gone.emplace_back(object->key());
    for (const std::string& key : gone) cache->remove(key, all.revision.value);
    cache->set_ring_floor(all.revision.value);
  }
  revision_ = all.revision.value;
  pending_.clear();
  CO_TRY_ASSIGN(watch_, co_await store_.watch({.key = request.key, .range_end = request.range_end,
                                               .start_revision = store::Revision(revision_ + 1)}));
  advanced_.wake_all();
  co_return Result<>();
}

async::Task<Result<>> CacheSet::fresh() {
  CO_TRY_ASSIGN(store::Revision newest, co_await store_.newest_revision());
  co_return co_await wait_for(newest.value);
}

namespace {

async::Task<Result<>> until_revision(const std::int64_t& revision, async::Notify& advanced, std::int64_t wanted) {
  while (revision < wanted) CO_TRY(co_await advanced.wait());
  co_return Result<>();
}

}  // namespace

async::Task<Result<>> CacheSet::wait_for(std::int64_t revision) {
  if (revision_ >= revision) co_return Result<>();
  if (watch_) watch_->request_progress();
  co_return co_await async::with_timeout<void>(time_, kConsistentReadMax, "wait for the watch cache",
                                               until_revision(revision_, advanced_, revision));
}

Result<ObjectPtr> CacheSet::adopt(WatchCache& cache, std::string_view key, std::string_view stored, std::int64_t revision) {
  const bool fed = revision_ >= revision;
  if (ObjectPtr held = fed ? cache.find(key) : nullptr; held && held->revision() == revision) return held;
  TRY_ASSIGN(ObjectPtr made, cache.read(stored, revision));
  if (!fed) pending_[{&cache, revision}] = made;
  return made;
}

}  // namespace monopod::api
