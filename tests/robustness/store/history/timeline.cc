#include "tests/robustness/store/history/timeline.h"

#include <algorithm>

namespace monopod::testing {

using namespace store;

Timeline::Timeline(const History& h) : history(h) {
  learn_revisions();
  learn_compactions();
  learn_leases();
}

std::int64_t Timeline::newest_before(const Steps& steps, Tick at) {
  auto after = steps.lower_bound(at);
  return after == steps.begin() ? 0 : std::prev(after)->second;
}

void Timeline::raise(std::vector<std::pair<Tick, std::int64_t>>& points, Steps& into) {
  std::sort(points.begin(), points.end());
  std::int64_t largest = 0;
  for (auto [tick, value] : points) {
    largest = std::max(largest, value);
    into[tick] = largest;
  }
}

void Timeline::learn_revisions() {
  std::vector<std::pair<Tick, std::int64_t>> points;
  for (const Call& call : history.calls) {
    if (call.outcome != Call::Outcome::kDone) continue;
    if (auto* range = std::get_if<RangeResult>(&call.answer)) points.emplace_back(call.returned, range->revision.value);
    if (auto* txn = std::get_if<TxnResult>(&call.answer)) points.emplace_back(call.returned, txn->revision.value);
    if (auto* revision = std::get_if<Revision>(&call.answer)) points.emplace_back(call.returned, revision->value);
  }
  for (const WatchRun& watch : history.watches)
    for (const auto& delivery : watch.deliveries) points.emplace_back(delivery.at, delivery.batch.revision.value);
  for (const Start& start : history.starts) points.emplace_back(start.at, start.revision);
  raise(points, known_);
}

void Timeline::learn_compactions() {
  std::vector<std::pair<Tick, std::int64_t>> begun, done;
  for (const Call& call : history.calls) {
    auto* compact = std::get_if<CompactRequest>(&call.request);
    if (!compact || call.outcome == Call::Outcome::kRefused) continue;
    begun.emplace_back(call.invoked, compact->revision.value);
    if (call.outcome == Call::Outcome::kDone) done.emplace_back(call.returned, compact->revision.value);
  }
  raise(begun, compacting_);
  raise(done, compacted_);
}

void Timeline::learn_leases() {
  for (const Call& call : history.calls) {
    if (auto* grant = std::get_if<GrantRequest>(&call.request)) leases_[grant->id.value].grant = &call;
    if (auto* kept = std::get_if<KeepAliveRequest>(&call.request); kept && call.outcome == Call::Outcome::kDone) leases_[kept->id.value].kept.push_back(&call);
    if (auto* revoke = std::get_if<RevokeRequest>(&call.request)) leases_[revoke->id.value].revokes.push_back(&call);
  }
}

std::optional<MonoTime> Timeline::earliest_end(LeaseId lease, Tick at) const {
  auto found = leases_.find(lease.value);
  if (found == leases_.end() || !found->second.grant || found->second.grant->invoked >= at) return std::nullopt;
  const Call& grant = *found->second.grant;
  auto ttl = std::get<GrantRequest>(grant.request).ttl;
  MonoTime end = grant.invoked_at + ttl;
  for (const Call* kept : found->second.kept)
    if (kept->returned < at) end = std::max(end, kept->invoked_at + ttl);
  return end;
}

bool Timeline::maybe_revoked(LeaseId lease, Tick before) const {
  auto found = leases_.find(lease.value);
  return found != leases_.end() && std::any_of(found->second.revokes.begin(), found->second.revokes.end(), [before](const Call* call) {
           return call->invoked < before && call->outcome != Call::Outcome::kRefused;
         });
}

bool Timeline::surely_alive(LeaseId lease, Tick from, Tick to, MonoTime to_time) const {
  auto found = leases_.find(lease.value);
  if (found == leases_.end() || !found->second.grant) return false;
  const Call& grant = *found->second.grant;
  if (grant.outcome != Call::Outcome::kDone || grant.returned > from || maybe_revoked(lease, to)) return false;
  return to_time < *earliest_end(lease, from);
}

bool Timeline::surely_gone(LeaseId lease, Tick from) const {
  auto found = leases_.find(lease.value);
  return found != leases_.end() && std::any_of(found->second.revokes.begin(), found->second.revokes.end(), [from](const Call* call) {
           return call->outcome == Call::Outcome::kDone && call->returned < from;
         });
}

bool changed(const TxnResult& result) {
  return std::any_of(result.results.begin(), result.results.end(), [](const OpResult& op) {
    if (std::holds_alternative<PutResult>(op)) return true;
    if (auto* del = std::get_if<DeleteResult>(&op)) return del->deleted > 0;
    auto* nested = std::get_if<std::shared_ptr<const TxnResult>>(&op);
    return nested && changed(**nested);
  });
}

bool same(const KeyValue& a, const KeyValue& b) {
  if (a.key != b.key || a.create != b.create || a.mod != b.mod || a.version != b.version || a.lease != b.lease) return false;
  return (!a.value || a.value->empty()) ? (!b.value || b.value->empty()) : b.value && *a.value == *b.value;  // the wire knows no null
}

bool same(const std::vector<KeyValue>& a, const std::vector<KeyValue>& b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](const KeyValue& x, const KeyValue& y) { return same(x, y); });
}

bool same_events(const std::vector<WatchEvent>& a, const std::vector<WatchEvent>& b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](const WatchEvent& x, const WatchEvent& y) { return x.type == y.type && same(x.kv, y.kv); });
}

namespace {

bool same(const std::optional<KeyValue>& a, const std::optional<KeyValue>& b) {
  return a.has_value() == b.has_value() && (!a || testing::same(*a, *b));
}

bool same(const OpResult& a, const OpResult& b) {
  if (a.index() != b.index()) return false;
  if (auto* range = std::get_if<RangeResult>(&a)) {
    auto& other = std::get<RangeResult>(b);
    return testing::same(range->kvs, other.kvs) && range->count == other.count && range->more == other.more;
  }
  if (auto* put = std::get_if<PutResult>(&a)) return same(put->prev, std::get<PutResult>(b).prev);
  if (auto* del = std::get_if<DeleteResult>(&a)) {
    auto& other = std::get<DeleteResult>(b);
    return del->deleted == other.deleted && testing::same(del->prev, other.prev);
  }
  return testing::same(*std::get<std::shared_ptr<const TxnResult>>(a), *std::get<std::shared_ptr<const TxnResult>>(b));
}

}  // namespace

bool same(const TxnResult& a, const TxnResult& b) {
  return a.succeeded == b.succeeded &&
         std::equal(a.results.begin(), a.results.end(), b.results.begin(), b.results.end(), [](const OpResult& x, const OpResult& y) { return same(x, y); });
}

}  // namespace monopod::testing
