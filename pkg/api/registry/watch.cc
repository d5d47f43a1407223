// watch: where a watcher's events come from before it is fed live.
//
//   resourceVersion "" or "0"      the cache's content as ADDED, then live
//   sendInitialEvents              the same, then a bookmark with initial-events-end
//   inside the ring                the ring's events, then live
//   older, still in the store      the log's events up to now, then live
//   compacted                      410 "too old resource version"
#include "api/convert/convert.h"
#include "api/limits.h"
#include "api/registry/registry.h"
#include "api/slice.h"
#include "base/strings.h"

namespace monopod::api {
namespace {

Status too_old(std::int64_t wanted, std::int64_t oldest) {
  return expired(cat("too old resource version: ", wanted, " (", oldest, ")"));
}

void queue_state(const WatchCache& cache, Watcher& watcher) {
  const Selection& selection = watcher.selection();
  std::string prefix = selection.ns.empty() ? "" : cat(selection.ns, '/');
  for (auto it = cache.first_of(selection.ns); it != cache.objects().end(); ++it) {
    if (!(*it)->key().starts_with(prefix)) break;
    WatchCache::replay(watcher, {EventType::kAdded, (*it)->revision(), *it, nullptr});
  }
}

// Every change of this resource after `from`, until everything up to `until` has been seen, queued for the watcher.
async::Task<Outcome<>> replay_log(store::Backend& store, const WatchCache& cache, Watcher& watcher, std::int64_t from, std::int64_t until) {
  std::string prefix = store_prefix(cache.resource());
  auto opened = co_await store.watch({.key = prefix, .range_end = store::prefix_end(prefix),
                                      .start_revision = store::Revision(from + 1), .prev_kv = true});
  if (!opened && opened.error().code() == Code::kOutOfRange) co_return refuse(too_old(from, store.compact_revision().value));
  CO_OUT(opened);
  store::Watch& log = **opened;
  log.request_progress();
  std::int64_t seen = from;
  while (seen < until) {
    Result<store::WatchBatch> batch = co_await log.next();
    if (!batch && batch.error().code() == Code::kOutOfRange) co_return refuse(too_old(from, store.compact_revision().value));
    CO_OUT(batch);
    seen = batch->revision.value;
    if (!batch->shared) continue;
    for (const store::WatchEvent& event : batch->events()) {
      std::int64_t revision = event.kv.mod.value;
      if (revision > until) break;
      CachedEvent out{EventType::kAdded, revision, nullptr, nullptr};
      if (event.prev) {
        if (auto made = cache.read(*event.prev->value, event.prev->mod.value)) out.previous = std::move(*made);
      }
      if (event.type == store::WatchEvent::Type::kDelete) {
        if (!out.previous) co_return refuse(too_old(from, store.compact_revision().value));  // its last state is compacted
        out.type = EventType::kDeleted;
        out.object = with_revision(*out.previous, revision, cache.fields());
      } else if (auto made = cache.read(*event.kv.value, revision)) {
        out.object = std::move(*made);
        if (event.kv.version > 1) out.type = EventType::kModified;
      }
      if (out.object) WatchCache::replay(watcher, out);
    }
  }
  co_return Outcome<>();
}

}  // namespace

async::Task<Outcome<std::unique_ptr<Watcher>>> Registry::watch(Call& call, WatchOptions options, std::shared_ptr<const FrameForm> form) {
  CO_OUT_ASSIGN(WatchCache * cache, cache_of(call));
  CO_OUT_ASSIGN(Selection selection, make_selection(*call.resource, call.ns, options.label_selector, options.field_selector));
  selection.resource = &working_resource(*call.resource);  // fields are asked for in the form that is served, found in the one that is stored
  selection.keep = call.kind;
  std::int64_t from = 0;
  if (!options.resource_version.empty()) {
    auto parsed = parse_int<std::int64_t>(options.resource_version);
    if (!parsed || *parsed < 0)
      co_return refuse(bad_request(cat("resourceVersion: Invalid value: \"", options.resource_version, "\": strconv.ParseUint: parsing \"",
                                       options.resource_version, "\": invalid syntax")));
    from = *parsed;
  }
  if (options.resource_version.empty()) CO_OUT(co_await caches_.fresh());
  if (options.send_initial_events && from > caches_.revision()) {
    Result<> reached = co_await caches_.wait_for(from);
    if (!reached) co_return refuse(Status(504, "Timeout", cat("Too large resource version: ", from, ", current: ", caches_.revision())));
  }
  // No wait between here and the subscription of the first two cases: the state and what follows it meet without a seam.
  std::int64_t now = caches_.revision();
  if (options.send_initial_events || from == 0) {
    auto watcher = cache->subscribe(std::move(selection), std::move(form));
    queue_state(*cache, *watcher);
    if (options.send_initial_events) watcher->push_bookmark(now, true);
    co_return watcher;
  }
  if (from > now) {  // the future: live events up to it are not wanted
    Result<> reached = co_await caches_.wait_for(from);
    if (!reached) co_return refuse(Status(504, "Timeout", cat("Too large resource version: ", from, ", current: ", caches_.revision())));
    co_return cache->subscribe(std::move(selection), std::move(form));
  }
  if (cache->ring_covers(from)) {
    auto watcher = cache->subscribe(std::move(selection), std::move(form));
    cache->replay_ring(*watcher, from);
    co_return watcher;
  }
  // Older than the ring: the log up to now first; what happens meanwhile is held back behind it.
  auto watcher = cache->subscribe(std::move(selection), std::move(form));
  watcher->hold();
  CO_OUT(co_await replay_log(store_, *cache, *watcher, from, now));
  watcher->release();
  co_return watcher;
}

}  // namespace monopod::api
