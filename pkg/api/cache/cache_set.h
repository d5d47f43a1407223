// The caches of all stored resources, fed by one watch over the store.
#pragma once

#include <functional>
#include <map>

#include "api/cache/watch_cache.h"
#include "async/time.h"
#include "store/backend.h"

namespace monopod::api {

// Group and plural of a resource.
struct CacheKeyLess {
  using is_transparent = void;
  bool operator()(const auto& a, const auto& b) const {
    const int order = std::string_view(a.first).compare(b.first);
    return order != 0 ? order < 0 : std::string_view(a.second) < std::string_view(b.second);
  }
};

class CacheSet {
 public:
  using Caches = std::map<std::pair<std::string, std::string>, std::shared_ptr<WatchCache>, CacheKeyLess>;

  // All outlive it.
  CacheSet(async::Executor executor, store::Backend& store, async::Time& time, std::size_t ring_events_max);

  // Adds a stored resource (idempotent). Before load(), or at any time while nothing of it is in the store.
  WatchCache& add(const Resource& resource);
  WatchCache* find(std::string_view group, std::string_view plural) const;
  std::shared_ptr<WatchCache> find_shared(std::string_view group, std::string_view plural) const;
  // A custom kind while the server runs: reads what the store may hold of it; complete up to revision() when it returns.
  async::Task<Result<std::shared_ptr<WatchCache>>> open(const Resource& resource, std::shared_ptr<const void> keep);
  // Nothing of it is followed any more. Who still has the cache may go on reading it.
  void close(std::string_view group, std::string_view plural);

  // Reads everything at one revision and opens the watch after it.
  async::Task<Result<>> load();
  // Follows the store until cancelled; after a compaction that outran it, loads anew (watchers see the differences).
  async::Task<Result<>> run();

  // Everything up to this revision is in the caches.
  std::int64_t revision() const { return revision_; }
  // Waits until the caches hold everything the store acknowledged by now, to whomever. kDeadlineExceeded after kConsistentReadMax.
  async::Task<Result<>> fresh();
  async::Task<Result<>> wait_for(std::int64_t revision);

  // The object that was just written at that revision under key ("ns/name" or "name"): what the feed cut out of the store's bytes, or is spared to.
  Result<ObjectPtr> adopt(WatchCache& cache, std::string_view key, std::string_view stored, std::int64_t revision);

  // Called after each batch.
  void on_advance(std::function<void()> callback) { callbacks_.push_back(std::move(callback)); }
  const Caches& caches() const { return caches_; }

 private:
  struct Place {
    WatchCache* cache = nullptr;
    std::string_view object_key;
  };
  Place place_of(std::string_view store_key) const;
  void apply(const store::WatchBatch& batch);
  async::Task<Result<>> reload();

  async::Executor executor_;
  store::Backend& store_;
  async::Time& time_;
  std::size_t ring_events_max_;
  Caches caches_;
  std::unique_ptr<store::Watch> watch_;
  std::int64_t revision_ = 0;
  async::Notify advanced_;
  std::map<std::pair<const WatchCache*, std::int64_t>, ObjectPtr> pending_;  // adopted, not yet fed
  std::vector<std::function<void()>> callbacks_;
};

inline constexpr std::string_view kRegistryPrefix = "/registry/";
// "/registry/<group or core>/<plural>/"
std::string store_prefix(const Resource& resource);
// The key of one object: segments are validated by the caller (valid_segment).
std::string store_key(const Resource& resource, std::string_view ns, std::string_view name);

}  // namespace monopod::api
