#include "tests/robustness/store/history/traffic.h"

#include <algorithm>
#include <boost/asio/post.hpp>

#include "base/strings.h"

namespace monopod::testing {

using namespace store;
using async::Task;

namespace {

const std::string kAll(1, '\0');
constexpr std::int64_t kLookBack = 30;  // how old the revisions that clients ask for may be
constexpr std::size_t kLeasesMax = 6;

// What a client does about an answer: go on, or stop because the store is gone.
template <typename T>
Result<> carry_on(const Result<T>& result) {
  if (result) return {};
  Code code = result.error().code();
  if (code == Code::kUnavailable || code == Code::kCancelled || code == Code::kDataLoss) return fail(result.error());
  return {};
}

}  // namespace

void Traffic::start(Backend& backend, async::Scope& watchers) {
  backend_ = &backend;
  watchers_ = &watchers;
}

void Traffic::stop() {
  for (LiveWatch& live : live_) {
    if (live.run->auditor || live.over || interrupted_.size() >= 4) continue;
    WatchRequest again = live.run->request;
    if (live.reached > 0) again.start_revision = Revision(live.reached + 1);
    if (again.start_revision.value > 0) interrupted_.push_back(std::move(again));
  }
  live_.clear();
  backend_ = nullptr;
  watchers_ = nullptr;
}

Task<Result<>> Traffic::turns(std::uint64_t count) {
  for (std::uint64_t i = 0; i < count; ++i) co_await async::asio::post(executor_, async::use_task);
  co_return Result<>();
}

std::string Traffic::key() {
  static constexpr std::string_view kPrefixes[] = {"/r/pods/", "/r/nodes/", "x/"};
  return cat(kPrefixes[rng_.below(3)], rng_.below(3));
}

std::pair<std::string, std::string> Traffic::some_range() {
  switch (rng_.below(6)) {
    case 0: return {kAll, kAll};
    case 1: return {"/r/", prefix_end("/r/")};
    case 2: return {"/r/pods/", prefix_end("/r/pods/")};
    case 3: return {"/r/nodes/1", "x/1"};  // no prefix
    default: return {key(), ""};
  }
}

std::int64_t Traffic::some_revision() {
  if (rng_.below(4) == 0) return std::max<std::int64_t>(1, compacted_ + static_cast<std::int64_t>(rng_.below(3)) - 1);  // at the edge
  return std::max<std::int64_t>(1, newest_ + 2 - static_cast<std::int64_t>(rng_.below(kLookBack)));
}

LeaseId Traffic::some_lease() {
  if (leases_.empty() || rng_.below(3) > 0) return LeaseId();
  return leases_[rng_.below(leases_.size())];
}

SharedBytes Traffic::value(int& values) {
  std::string text = cat("c", history_.calls.size(), ".", values++);
  if (rng_.below(30) == 0) {  // more than a page, and does not compress
    text += '.';
    for (int i = 0; i < 600; ++i) text += cat(rng_.next() % 100'000'000);
  }
  return share(std::move(text));
}

void Traffic::learn(const RangeResult& result) {
  newest_ = std::max(newest_, result.revision.value);
  for (const KeyValue& kv : result.kvs) mods_[kv.key] = kv.mod.value;
}

Task<Result<TxnResult>> Traffic::txn(int client, Txn txn) {
  Call& call = history_.begin(client, txn, time_.mono());
  Result<TxnResult> result = co_await backend_->txn(std::move(txn));
  if (!result) {
    history_.finish(call, result.error(), time_.mono());
    co_return fail(result.error());
  }
  newest_ = std::max(newest_, result->revision.value);
  history_.finish(call, *result, time_.mono());
  co_return result;
}

Task<Result<RangeResult>> Traffic::range(int client, RangeRequest request) {
  Call& call = history_.begin(client, request, time_.mono());
  Result<RangeResult> result = co_await backend_->range(std::move(request));
  if (!result) {
    history_.finish(call, result.error(), time_.mono());
    co_return fail(result.error());
  }
  learn(*result);
  history_.finish(call, *result, time_.mono());
  co_return result;
}

Task<Result<>> Traffic::put(int client) {
  int values = 0;
  Txn request;
  PutRequest put{.key = key(), .value = value(values), .lease = some_lease(), .prev_kv = rng_.below(3) == 0};
  if (rng_.below(12) == 0) {
    put.ignore_value = true;
    put.value = nullptr;
  } else if (rng_.below(12) == 0) {
    put.ignore_lease = true;
    put.lease = LeaseId();
  }
  request.success.push_back(std::move(put));
  co_return carry_on(co_await txn(client, std::move(request)));
}

Task<Result<>> Traffic::read(int client) {
  auto [begin, end] = some_range();
  RangeRequest request{.key = begin, .range_end = end};
  if (rng_.below(2) == 0) request.revision = Revision(some_revision());
  if (rng_.below(4) == 0) request.limit = 1 + static_cast<std::int64_t>(rng_.below(4));
  if (rng_.below(6) == 0) request.keys_only = true;
  if (rng_.below(8) == 0) request.count_only = true;
  co_return carry_on(co_await range(client, std::move(request)));
}

Task<Result<>> Traffic::remove(int client) {
  auto [begin, end] = some_range();
  if (begin == kAll && rng_.below(4) > 0) begin = key(), end = "";
  Txn request;
  request.success.push_back(DeleteRequest{.key = begin, .range_end = end, .prev_kv = rng_.below(2) == 0});
  co_return carry_on(co_await txn(client, std::move(request)));
}

// Kubernetes' create, update and delete: one compare of the modification, the write, else a read.
Task<Result<>> Traffic::guarded(int client) {
  int values = 0;
  std::string k = key();
  auto known = mods_.find(k);
  std::int64_t mod = known == mods_.end() || rng_.below(6) == 0 ? 0 : known->second;
  Txn request;
  request.compare.push_back({.key = k, .target = Compare::Target::kMod, .number = mod});
  if (mod > 0 && rng_.below(3) == 0) request.success.push_back(DeleteRequest{.key = k, .prev_kv = true});
  else request.success.push_back(PutRequest{.key = k, .value = value(values), .lease = some_lease()});
  request.failure.push_back(RangeRequest{.key = k});
  Result<TxnResult> result = co_await txn(client, std::move(request));
  if (result) {
    mods_[k] = result->revision.value;
    if (auto* found = std::get_if<RangeResult>(&result->results.at(0))) mods_[k] = found->kvs.empty() ? 0 : found->kvs[0].mod.value;
  }
  co_return carry_on(result);
}

// Every page at the revision of the first one.
Task<Result<>> Traffic::list_in_pages(int client) {
  RangeRequest request{.key = "/r/", .range_end = prefix_end("/r/"), .limit = 2};
  for (int page = 0; page < 4; ++page) {
    Result<RangeResult> result = co_await range(client, request);
    if (!result || !result->more || result->kvs.empty()) co_return carry_on(result);
    if (request.revision.value == 0) request.revision = result->revision;
    request.key = result->kvs.back().key + std::string(1, '\0');
  }
  co_return Result<>();
}

Compare Traffic::make_compare() {
  Compare compare{.key = key(), .target = static_cast<Compare::Target>(rng_.below(5)), .op = static_cast<Compare::Op>(rng_.below(4))};
  if (rng_.below(5) == 0) std::tie(compare.key, compare.range_end) = some_range();
  auto known = mods_.find(compare.key);
  switch (compare.target) {
    case Compare::Target::kVersion: compare.number = static_cast<std::int64_t>(rng_.below(3)); break;
    case Compare::Target::kLease: compare.number = some_lease().value; break;
    case Compare::Target::kValue: compare.value = cat("c", rng_.below(history_.calls.size() + 1), ".0"); break;
    default: compare.number = known == mods_.end() ? 0 : known->second;
  }
  return compare;
}

Txn Traffic::make_txn(int depth, std::map<std::string, bool>& used, int& values) {
  Txn txn;
  for (std::uint64_t i = rng_.below(3); i > 0; --i) txn.compare.push_back(make_compare());
  for (auto* ops : {&txn.success, &txn.failure})
    for (std::uint64_t i = rng_.below(4); i > 0; --i) {
      std::string k = key();
      switch (rng_.below(6)) {
        case 0: {
          auto [begin, end] = some_range();
          ops->push_back(RangeRequest{.key = begin, .range_end = end, .revision = Revision(rng_.below(4) == 0 ? std::min(some_revision(), newest_) : 0)});
          break;
        }
        case 1:
          if (depth < 2) ops->push_back(std::make_shared<const Txn>(make_txn(depth + 1, used, values)));
          break;
        case 2:
          if (std::exchange(used[k], true)) break;  // a key changes once
          ops->push_back(DeleteRequest{.key = k, .prev_kv = rng_.below(2) == 0});
          break;
        default:
          if (std::exchange(used[k], true) && rng_.below(20) > 0) break;  // refused now and then
          ops->push_back(PutRequest{.key = k, .value = value(values), .lease = some_lease(), .prev_kv = rng_.below(3) == 0});
      }
    }
  return txn;
}

Task<Result<>> Traffic::random_txn(int client) {
  int values = 0;
  std::map<std::string, bool> used;
  Txn request = make_txn(0, used, values);
  co_return carry_on(co_await txn(client, std::move(request)));
}

Task<Result<>> Traffic::grant(int client) {
  LeaseId id(next_lease_++);
  std::chrono::seconds ttl(1 + rng_.below(rng_.below(2) == 0 ? 5 : 400));
  Call& call = history_.begin(client, GrantRequest{.ttl = ttl, .id = id}, time_.mono());
  Result<Lease> lease = co_await backend_->lease_grant(ttl, id);
  if (!lease) {
    history_.finish(call, lease.error(), time_.mono());
    co_return carry_on(lease);
  }
  history_.finish(call, *lease, time_.mono());
  if (leases_.size() >= kLeasesMax) leases_.erase(leases_.begin());
  leases_.push_back(id);
  co_return Result<>();
}

Task<Result<>> Traffic::revoke(int client) {
  if (leases_.empty()) co_return Result<>();
  std::size_t at = rng_.below(leases_.size());
  LeaseId id = leases_[at];
  if (rng_.below(4) > 0) leases_.erase(leases_.begin() + static_cast<std::ptrdiff_t>(at));
  Call& call = history_.begin(client, RevokeRequest{.id = id}, time_.mono());
  Result<> revoked = co_await backend_->lease_revoke(id);
  if (revoked) history_.finish(call, std::monostate(), time_.mono());
  else history_.finish(call, revoked.error(), time_.mono());
  co_return carry_on(revoked);
}

Task<Result<>> Traffic::keep_alive(int client) {
  if (leases_.empty()) co_return Result<>();
  LeaseId id = leases_[rng_.below(leases_.size())];
  Call& call = history_.begin(client, KeepAliveRequest{.id = id}, time_.mono());
  Result<Lease> lease = co_await backend_->lease_keep_alive(id);
  if (lease) history_.finish(call, *lease, time_.mono());
  else history_.finish(call, lease.error(), time_.mono());
  co_return carry_on(lease);
}

Task<Result<std::vector<LeaseId>>> Traffic::read_leases(int client) {
  Call& call = history_.begin(client, LeasesRequest(), time_.mono());
  Result<std::vector<LeaseId>> ids = co_await backend_->leases();
  if (ids) history_.finish(call, *ids, time_.mono());
  else history_.finish(call, ids.error(), time_.mono());
  co_return ids;
}

Task<Result<>> Traffic::read_everything(int client) {
  RangeRequest request{.key = kAll, .range_end = kAll};
  co_return carry_on(co_await range(client, std::move(request)));
}

// Mostly up to where the auditor is, since what it has not seen would be gone; often exactly there.
Task<Result<>> Traffic::compact(int client) {
  std::int64_t at = audited_;
  switch (rng_.below(6)) {
    case 0: at = std::min(some_revision(), audited_); break;  // perhaps compacted already
    case 1: at = newest_ + 50; break;
    case 2: at = audited_ - static_cast<std::int64_t>(rng_.below(10)); break;
    default: break;
  }
  if (at <= audited_) compacted_ = std::max(compacted_, at);
  Call& call = history_.begin(client, CompactRequest{.revision = Revision(at)}, time_.mono());
  Result<> done = co_await backend_->compact(Revision(at));
  if (done) history_.finish(call, std::monostate(), time_.mono());
  else history_.finish(call, done.error(), time_.mono());
  co_return carry_on(done);
}

WatchRequest Traffic::random_watch() {
  auto [begin, end] = some_range();
  WatchRequest request{.key = begin, .range_end = end, .prev_kv = rng_.below(2) == 0};
  switch (rng_.below(5)) {
    case 0: break;  // from now
    case 1: request.start_revision = Revision(std::max<std::int64_t>(1, compacted_)); break;
    case 2: request.start_revision = Revision(newest_ + 1 + static_cast<std::int64_t>(rng_.below(6))); break;
    default: request.start_revision = Revision(some_revision());
  }
  return request;
}

Task<Result<>> Traffic::open_watch(WatchRequest request, bool auditor) {
  WatchRun& run = history_.watches.emplace_back();
  run.index = history_.watches.size() - 1;
  run.request = request;
  run.life = history_.life;
  run.auditor = auditor;
  run.invoked = history_.tick();
  Result<std::unique_ptr<Watch>> watch = co_await backend_->watch(std::move(request));
  if (!watch) {
    run.end = watch.error();
    run.ended = history_.tick();
    co_return carry_on(watch);
  }
  run.created = history_.tick();
  LiveWatch& live = live_.emplace_back(LiveWatch{.run = &run, .watch = *std::move(watch)});
  watchers_->spawn(pump(live, auditor));
  co_return Result<>();
}

Task<Result<>> Traffic::pump(LiveWatch& live, bool auditor) {
  WatchRun& run = *live.run;
  const bool slow = !auditor && rng_.below(4) == 0;
  for (;;) {
    Result<WatchBatch> batch = co_await live.watch->next();
    if (!batch) {
      if (batch.error().code() == Code::kCancelled) co_return Result<>();
      run.end = batch.error();
      run.ended = history_.tick();
      live.over = batch.error().code() == Code::kOutOfRange;
      co_return Result<>();
    }
    live.reached = std::max(live.reached, batch->revision.value);
    newest_ = std::max(newest_, batch->revision.value);
    if (auditor) audited_ = std::max(audited_, batch->revision.value);
    run.deliveries.push_back({.at = history_.tick(), .batch = *std::move(batch), .when = time_.mono()});
    if (!auditor && rng_.below(10) == 0) live.watch->request_progress();
    if (slow) CO_TRY(co_await turns(rng_.below(60)));
  }
}

Task<Result<>> Traffic::resume_watches() {
  CO_TRY(co_await open_watch({.key = kAll, .range_end = kAll, .start_revision = Revision(audited_ + 1), .prev_kv = rng_.below(2) == 0}, true));
  std::vector<WatchRequest> again = std::exchange(interrupted_, {});
  for (WatchRequest& request : again) CO_TRY(co_await open_watch(std::move(request), false));
  co_return Result<>();
}

Task<Result<>> Traffic::one_call(int client) {
  switch (rng_.below(24)) {
    case 0:
    case 1:
    case 2:
    case 3: return put(client);
    case 4:
    case 5:
    case 6: return read(client);
    case 7: return remove(client);
    case 8:
    case 9:
    case 10:
    case 11:
    case 12: return guarded(client);
    case 13: return list_in_pages(client);
    case 14:
    case 15:
    case 16: return random_txn(client);
    case 17: return grant(client);
    case 18: return rng_.below(2) == 0 ? revoke(client) : keep_alive(client);
    case 19: return keep_alive(client);
    case 20: return compact(client);
    case 21:
    case 22: return static_cast<int>(live_.size()) < watches_max ? open_watch(random_watch(), false) : put(client);
    default: return read_everything(client);
  }
}

Task<Result<>> Traffic::run_client(int client, int count) {
  for (int i = 0; i < count; ++i) {
    Result<> done = co_await one_call(client);
    if (!done) co_return Result<>();  // the store is gone: a client that lives on, not a failed one
    if (read_status && rng_.below(12) == 0) {
      Call& call = history_.begin(client, StatusRequest(), time_.mono());
      history_.finish(call, backend_->current_revision(), time_.mono());
      if (Result<std::vector<LeaseId>> ids = co_await read_leases(client); !ids) co_return Result<>();
    }
    if (rng_.below(3) == 0) CO_TRY(co_await turns(rng_.below(5)));
  }
  co_return Result<>();
}

}  // namespace monopod::testing
