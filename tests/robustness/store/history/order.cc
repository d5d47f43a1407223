// The order of writes: revision by revision, who made it. An acknowledged write says its revision itself. A revision that nobody was
// told of must be a write whose answer was lost, or the end of a lease; the auditing watch tells what it did.
#include <algorithm>

#include "base/strings.h"
#include "tests/robustness/store/history/timeline.h"

namespace monopod::testing {
namespace {

using namespace store;

struct Sight {
  std::vector<WatchEvent> events{};
  Tick at = 0;
  MonoTime when{};
};

class Orderer {
 public:
  explicit Orderer(Timeline& timeline) : t_(timeline) {}

  void run() {
    gather_sights();
    gather_writes();
    std::int64_t last = audited_;
    if (!acknowledged_.empty()) last = std::max(last, acknowledged_.rbegin()->first);
    for (std::int64_t r = 2; r <= last; ++r) step(r);
    t_.newest = std::max<std::int64_t>(last, 1);
  }

 private:
  void gather_sights() {
    for (const WatchRun& watch : t_.history.watches) {
      if (!watch.auditor) continue;
      for (const auto& delivery : watch.deliveries) {
        std::int64_t r = delivery.batch.revision.value;
        audited_ = std::max(audited_, r);
        if (!delivery.batch.shared) continue;
        auto [at, fresh] = sights_.try_emplace(r, Sight{delivery.batch.events(), delivery.at, delivery.when});
        if (!fresh && !same_events(at->second.events, delivery.batch.events()))
          t_.find(cat("revision used twice (etcd #13766): ", r, " was ", describe(at->second.events), " and then ", describe(delivery.batch.events())));
      }
    }
  }

  void gather_writes() {
    for (const Call& call : t_.history.calls) {
      if (!std::holds_alternative<Txn>(call.request)) continue;
      if (call.outcome == Call::Outcome::kUnknown) open_.push_back(&call);
      if (call.outcome != Call::Outcome::kDone) continue;
      auto& result = std::get<TxnResult>(call.answer);
      if (!changed(result)) continue;
      auto [at, fresh] = acknowledged_.try_emplace(result.revision.value, &call);
      if (!fresh) t_.find(cat("revision used twice, one of two acknowledged writes is lost (etcd #14370): ", at->first, " by ", describe(*at->second), " and ", describe(call)));
    }
  }

  void step(std::int64_t r) {
    const State& before = t_.states.at(r - 1);
    auto seen = sights_.find(r);
    const Sight* sight = seen == sights_.end() ? nullptr : &seen->second;
    Applied applied{.state = before};
    if (auto at = acknowledged_.find(r); at != acknowledged_.end()) {
      applied = acknowledged(r, *at->second, sight);
    } else if (!sight) {
      t_.find(cat("event lost (etcd #17529): nothing is known of revision ", r, " though later ones are"));
    } else if (std::optional<Applied> explained = explain(r, *sight)) {
      applied = *std::move(explained);
    } else {
      blame(r, *sight);
      applied = taken_as_seen(before, sight->events);
    }
    t_.events[r] = std::move(applied.events);
    t_.states[r] = std::move(applied.state);
  }

  Applied acknowledged(std::int64_t r, const Call& call, const Sight* sight) {
    Applied applied = apply_txn(t_.states, r - 1, std::get<Txn>(call.request));
    auto& result = std::get<TxnResult>(call.answer);
    if (applied.refused) {
      t_.find(cat("write that could not be: revision ", r, ", ", describe(call), ": ", applied.refused->message()));
      return taken_as_seen(t_.states.at(r - 1), sight ? sight->events : std::vector<WatchEvent>());
    }
    if (!same(result, applied.result)) t_.find(cat("wrong answer to a write: revision ", r, ", ", describe(call), ", events should be ", describe(applied.events)));
    t_.writers[r] = &call;
    if (!sight) {
      t_.find(r > audited_ ? cat("acknowledged write lost (etcd #14370): revision ", r, ", ", describe(call))
                           : cat("event lost (etcd #17529): the watch over everything never saw revision ", r, ", ", describe(call)));
    } else if (!same_events(applied.events, sight->events)) {
      t_.find(cat("acknowledged write lost or altered (etcd #13766): revision ", r, ", ", describe(call), ", a watch saw ", describe(sight->events)));
      return taken_as_seen(t_.states.at(r - 1), sight->events);
    }
    return applied;
  }

  // A write whose answer was lost, or the end of a lease.
  std::optional<Applied> explain(std::int64_t r, const Sight& sight) {
    for (auto at = open_.begin(); at != open_.end(); ++at) {
      const Call& call = **at;
      if (call.invoked >= sight.at || r > last_of_life(call.life)) continue;
      Applied applied = apply_txn(t_.states, r - 1, std::get<Txn>(call.request));
      if (applied.refused || !same_events(applied.events, sight.events)) continue;
      t_.writers[r] = &call;
      open_.erase(at);
      return applied;
    }
    const State& before = t_.states.at(r - 1);
    auto first = sight.events.empty() ? before.end() : before.find(sight.events.front().kv.key);
    if (first == before.end() || first->second.lease.value == 0) return std::nullopt;
    LeaseId lease = first->second.lease;
    Applied applied = apply_lease_end(before, r - 1, lease);
    if (!same_events(applied.events, sight.events)) return std::nullopt;
    auto end = t_.earliest_end(lease, sight.at);
    if (!t_.maybe_revoked(lease, sight.at) && (!end || sight.when < *end)) t_.find(cat("lease ended before its time (etcd #15247): lease ", lease.value, " at revision ", r));
    return applied;
  }

  // Writes without an answer are in the store when it starts anew, or never.
  std::int64_t last_of_life(int life) const {
    for (const Start& start : t_.history.starts)
      if (start.life > life) return start.revision;
    return INT64_MAX;
  }

  void blame(std::int64_t r, const Sight& sight) {
    std::string what = cat(": revision ", r, " was ", describe(sight.events));
    const State& before = t_.states.at(r - 1);
    for (const WatchEvent& event : sight.events) {
      if (event.type == WatchEvent::Type::kDelete) {
        auto at = before.find(event.kv.key);
        if (at != before.end() && at->second.lease.value != 0)
          return t_.find(cat("lease's keys did not go in one revision", what, "; lease ", at->second.lease.value));
        continue;
      }
      const Call* call = writer_of(*event.kv.value);
      if (!call) continue;
      if (call->outcome == Call::Outcome::kRefused) return t_.find(cat("refused write took effect", what, ", ", describe(*call)));
      auto earlier = std::find_if(t_.writers.begin(), t_.writers.end(), [call](const auto& w) { return w.second == call; });
      if (earlier != t_.writers.end()) return t_.find(cat("write applied twice (etcd #13766, #14685): at ", earlier->first, " and again", what, ", ", describe(*call)));
      return t_.find(cat("torn transaction", what, ", ", describe(*call)));
    }
    t_.find(cat("event from nowhere (etcd #15271)", what));
  }

  const Call* writer_of(std::string_view value) const {
    if (!value.starts_with('c')) return nullptr;
    auto index = parse_int<std::size_t>(split_once(value.substr(1), '.').first);
    return index && *index < t_.history.calls.size() ? &t_.history.calls[*index] : nullptr;
  }

  static Applied taken_as_seen(const State& before, const std::vector<WatchEvent>& events) {
    Applied applied{.state = before, .events = events};
    for (WatchEvent& event : applied.events) {
      auto at = before.find(event.kv.key);
      event.prev = at == before.end() ? std::nullopt : std::optional(at->second);
      if (event.type == WatchEvent::Type::kPut) applied.state[event.kv.key] = event.kv;
      else applied.state.erase(event.kv.key);
    }
    return applied;
  }

  Timeline& t_;
  std::map<std::int64_t, Sight> sights_;
  std::int64_t audited_ = 1;
  std::map<std::int64_t, const Call*> acknowledged_;
  std::vector<const Call*> open_;
};

}  // namespace

void order_writes(Timeline& timeline) { Orderer(timeline).run(); }

}  // namespace monopod::testing
