// Leases: grant, revoke, keep-alive on the monotonic clock. The remaining time is stored now and then and at close, so that it
// survives a restart (a crash gives back at most the time since the last store).
#include "base/failpoint.h"
#include "base/log.h"
#include "base/strings.h"
#include "store/sqlite_store.h"

namespace monopod::store {
namespace {

constexpr std::chrono::minutes kStoreInterval{5};

Error no_lease() { return Error(Code::kNotFound, "etcdserver: requested lease not found"); }

LeaseRow row_of(std::int64_t id, const LeaseEntry& entry, std::chrono::milliseconds remaining) {
  return {.id = id, .ttl_s = entry.ttl.count(), .remaining_ms = remaining.count()};
}

}  // namespace

Lease SqliteStore::describe(LeaseId id, const LeaseEntry& entry) const {
  return {.id = id, .ttl = entry.ttl, .remaining = std::chrono::floor<std::chrono::seconds>(remaining_at(entry, time_.mono()))};
}

async::Task<Result<Lease>> SqliteStore::lease_grant(std::chrono::seconds ttl, LeaseId id) {
  CO_TRY(writable());
  if (ttl > kLeaseTtlMax) co_return fail(Code::kOutOfRange, "etcdserver: too large lease TTL");
  ttl = std::max(ttl, kLeaseTtlMin);
  while (id.value == 0) id.value = static_cast<std::int64_t>(rng_.next() >> 1);
  if (mvcc_.leases.find(id.value)) {
    CO_TRY(co_await settled());
    co_return fail(Code::kFailedPrecondition, "etcdserver: lease already exists");
  }
  LeaseEntry entry{.ttl = ttl, .expires = time_.mono() + ttl, .stored = ttl};
  Lease lease = describe(id, entry);
  WorkPtr work = make_work();
  work->writes.leases.push_back({.row = row_of(id.value, entry, entry.stored)});
  work->undo = [this, id] { mvcc_.leases.take(id.value); };
  work->on_durable = [this] { leases_changed_.wake_all(); };  // not here: the caller may be gone by then
  mvcc_.leases.insert(id.value, std::move(entry));
  CO_TRY(co_await finish(std::move(work)));
  co_return lease;
}

async::Task<Result<>> SqliteStore::lease_revoke(LeaseId id) {
  CO_TRY(writable());
  std::optional<LeaseEntry> entry = mvcc_.leases.take(id.value);
  if (!entry) {
    CO_TRY(co_await settled());
    co_return fail(no_lease());
  }
  WorkPtr work = make_work();
  work->writes.leases.push_back({.row = {.id = id.value}, .remove = true});
  Result<std::vector<Change>> changes = mvcc_.delete_keys(entry->keys);
  if (!changes) {
    mvcc_.leases.insert(id.value, *std::move(entry));
    co_return fail(changes.error());
  }
  take_changes(*work, *std::move(changes));
  // undo of the changes runs first and finds no lease to attach to, hence the whole entry comes back here.
  auto kept = std::make_shared<LeaseEntry>(*std::move(entry));
  work->undo = [this, id, kept] {
    mvcc_.leases.insert(id.value, std::move(*kept));
    leases_changed_.wake_all();
  };
  co_return co_await finish(std::move(work));
}

async::Task<Result<Lease>> SqliteStore::lease_keep_alive(LeaseId id) {
  CO_TRY(writable());
  LeaseEntry* entry = mvcc_.leases.find(id.value);
  MonoTime now = time_.mono();
  if (!entry || entry->expires <= now) {
    CO_TRY(co_await settled());
    co_return fail(no_lease());
  }
  entry->expires = now + entry->ttl;
  Lease lease = describe(id, *entry);
  if (entry->stored == entry->ttl) {
    CO_TRY(co_await settled());
    co_return lease;
  }
  // The file has less: after a crash the lease would end before its time.
  WorkPtr work = make_work();
  work->undo = [this, id, before = entry->stored] {
    if (LeaseEntry* kept = mvcc_.leases.find(id.value)) kept->stored = before;
  };
  entry->stored = entry->ttl;
  work->writes.leases.push_back({.row = row_of(id.value, *entry, entry->stored)});
  CO_TRY(co_await finish(std::move(work)));
  co_return lease;
}

// What is read here may rest on writes that are not durable yet: it counts once they are, and is read again if they were taken back.
async::Task<Result<bool>> SqliteStore::settled_or_again() {
  Result<> durable = co_await settled();
  if (durable) co_return true;
  if (durable.error().code() == Code::kResourceExhausted || failure_) co_return false;
  co_return fail(durable.error());
}

async::Task<Result<Lease>> SqliteStore::lease_time_to_live(LeaseId id) {
  for (;;) {
    CO_TRY(usable());
    LeaseEntry* entry = mvcc_.leases.find(id.value);
    Lease lease{.id = id, .remaining = std::chrono::seconds(-1)};
    if (entry && entry->expires > time_.mono()) {
      lease = describe(id, *entry);
      lease.keys.assign(entry->keys.begin(), entry->keys.end());
    }
    CO_TRY_ASSIGN(bool counts, co_await settled_or_again());
    if (counts) co_return lease;
  }
}

async::Task<Result<std::vector<LeaseId>>> SqliteStore::leases() {
  for (;;) {
    CO_TRY(usable());
    std::vector<LeaseId> ids;
    for (const auto& [id, entry] : mvcc_.leases.all()) ids.emplace_back(id);
    CO_TRY_ASSIGN(bool counts, co_await settled_or_again());
    if (counts) co_return ids;
  }
}

async::Task<Result<>> SqliteStore::store_lease_times() {
  WorkPtr work = make_work();
  MonoTime now = time_.mono();
  for (auto& [id, entry] : mvcc_.leases.all()) {
    auto remaining = remaining_at(entry, now);
    if (entry.stored - remaining < std::chrono::seconds(1)) continue;
    entry.stored = remaining;
    work->writes.leases.push_back({.row = row_of(id, entry, remaining)});
  }
  if (work->writes.leases.empty()) co_return Result<>();
  co_return co_await finish(std::move(work));
}

async::Task<Result<>> SqliteStore::run_lessor() {
  MonoTime store_at = time_.mono() + kStoreInterval;
  for (;;) {
    std::optional<MonoTime> next = mvcc_.leases.next_expiry();
    if (!next) {
      CO_TRY(co_await leases_changed_.wait());
      continue;
    }
    MonoTime now = time_.mono();
    MonoTime until = std::min(*next, store_at);
    if (until > now) {
      // Ends early if a lease was granted; a lease kept alive is looked at again at its old time.
      Result<> woken = co_await async::with_timeout<void>(time_, until - now, "lease", leases_changed_.wait());
      if (!woken && woken.error().code() == Code::kCancelled) co_return woken;
      continue;
    }
    if (failure_) co_return Result<>();
    if (store_at <= now) {
      store_at = now + kStoreInterval;
      (void)co_await store_lease_times();
      continue;
    }
    std::vector<std::int64_t> expired;
    for (const auto& [id, entry] : mvcc_.leases.all())
      if (entry.expires <= now) expired.push_back(id);
    for (std::int64_t id : expired) {
      LeaseEntry* entry = mvcc_.leases.find(id);
      if (!entry || entry->expires > time_.mono()) continue;
      Result<> revoked = failpoint("store.before_lease_end");
      if (revoked) revoked = co_await lease_revoke(LeaseId(id));
      if (revoked || revoked.error().code() == Code::kNotFound) continue;
      if (revoked.error().code() == Code::kCancelled) co_return revoked;
      log::warn("lease expiry failed, will be tried again", {{"lease", id}, {"error", revoked.error()}});
      CO_TRY(co_await time_.sleep_for(std::chrono::seconds(1)));
    }
  }
}

}  // namespace monopod::store
