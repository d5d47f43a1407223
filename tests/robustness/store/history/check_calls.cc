// Every answer against the order of writes: reads, transactions that changed nothing, errors, compaction, leases.
#include <algorithm>

#include "base/strings.h"
#include "tests/robustness/store/history/check.h"
#include "tests/robustness/store/history/timeline.h"

namespace monopod::testing {
namespace {

using namespace store;

void revisions_asked(const Txn& txn, std::vector<std::int64_t>& revisions) {
  for (const auto* ops : {&txn.success, &txn.failure})
    for (const Op& op : *ops) {
      if (auto* range = std::get_if<RangeRequest>(&op); range && range->revision.value > 0) revisions.push_back(range->revision.value);
      if (auto* nested = std::get_if<std::shared_ptr<const Txn>>(&op)) revisions_asked(**nested, revisions);
    }
}

// Those that were read, by the branches taken.
void revisions_read(const Txn& txn, const TxnResult& result, std::vector<std::int64_t>& revisions) {
  const std::vector<Op>& ops = result.succeeded ? txn.success : txn.failure;
  for (std::size_t i = 0; i < std::min(ops.size(), result.results.size()); ++i) {
    if (auto* range = std::get_if<RangeRequest>(&ops[i]); range && range->revision.value > 0) revisions.push_back(range->revision.value);
    auto* nested = std::get_if<std::shared_ptr<const Txn>>(&ops[i]);
    auto* inner = std::get_if<std::shared_ptr<const TxnResult>>(&result.results[i]);
    if (nested && inner) revisions_read(**nested, **inner, revisions);
  }
}

void leases_used(const std::vector<Op>& ops, std::vector<LeaseId>& leases) {
  for (const Op& op : ops)
    if (auto* put = std::get_if<PutRequest>(&op); put && put->lease.value != 0) leases.push_back(put->lease);
}

std::vector<std::int64_t> revisions_asked(const Call& call) {
  std::vector<std::int64_t> revisions;
  if (auto* range = std::get_if<RangeRequest>(&call.request); range && range->revision.value > 0) revisions.push_back(range->revision.value);
  if (auto* txn = std::get_if<Txn>(&call.request)) revisions_asked(*txn, revisions);
  if (auto* compact = std::get_if<CompactRequest>(&call.request)) revisions.push_back(compact->revision.value);
  return revisions;
}

void leases_anywhere(const Txn& txn, std::vector<LeaseId>& leases) {
  for (const auto* ops : {&txn.success, &txn.failure}) {
    leases_used(*ops, leases);
    for (const Op& op : *ops)
      if (auto* nested = std::get_if<std::shared_ptr<const Txn>>(&op)) leases_anywhere(**nested, leases);
  }
}

class CallCheck {
 public:
  CallCheck(Timeline& t, const Call& call) : t_(t), call_(call) {}

  void run() {
    if (call_.outcome == Call::Outcome::kRefused) refused();
    if (call_.outcome != Call::Outcome::kDone) return;
    if (auto* range = std::get_if<RangeResult>(&call_.answer)) read(*range);
    if (auto* txn = std::get_if<TxnResult>(&call_.answer)) wrote(*txn);
    if (auto* revision = std::get_if<Revision>(&call_.answer)) told(revision->value, "revision fell (etcd #17780)");
    if (auto* ids = std::get_if<std::vector<LeaseId>>(&call_.answer)) leases(*ids);
    if (auto* kept = std::get_if<KeepAliveRequest>(&call_.request); kept && t_.surely_gone(kept->id, call_.invoked)) find("revoked lease lives on");
  }

 private:
  void find(std::string_view what, std::string_view more = "") { t_.find(cat(what, ": ", describe(call_), more.empty() ? "" : ", ", more)); }

  // The answer's revision may not be older than what was known, nor one that never was.
  bool told(std::int64_t revision, std::string_view what) {
    std::int64_t known = t_.known_at(call_.invoked);
    if (revision < known) find(what, cat("answered at revision ", revision, " though ", known, " was known"));
    if (t_.states.contains(revision)) return true;
    find("revision that never was (etcd #14370)", cat("answered at ", revision, ", the newest is ", t_.newest));
    return false;
  }

  void expect_readable(const std::vector<std::int64_t>& read) {
    std::int64_t compacted = t_.compacted_at(call_.invoked);
    for (std::int64_t asked : read)
      if (asked < compacted) find("compacted state was readable (etcd #18667)", cat("at ", asked, ", compacted to ", compacted));
  }

  void read(const RangeResult& got) {
    auto& request = std::get<RangeRequest>(call_.request);
    expect_readable(revisions_asked(call_));
    if (!told(got.revision.value, "stale read")) return;
    std::int64_t at = request.revision.value > 0 ? request.revision.value : got.revision.value;
    auto state = t_.states.find(at);
    if (state == t_.states.end()) return find("future state was readable", cat("at ", at));
    RangeResult want = apply_range(state->second, request);
    if (!same(got.kvs, want.kvs) || got.count != want.count || got.more != want.more) {
      std::string text = cat("at revision ", at, " got");
      for (const KeyValue& kv : got.kvs) text += cat(" ", describe(kv));
      text += cat(" (", got.count, got.more ? ", more" : "", "), should be");
      for (const KeyValue& kv : want.kvs) text += cat(" ", describe(kv));
      find("wrong read (etcd #13766)", text + cat(" (", want.count, want.more ? ", more" : "", ")"));
    }
  }

  void wrote(const TxnResult& got) {
    auto& txn = std::get<Txn>(call_.request);
    std::vector<std::int64_t> read;
    revisions_read(txn, got, read);
    expect_readable(read);
    std::vector<LeaseId> used;
    if (changed(got)) {
      std::int64_t known = t_.known_at(call_.invoked);
      if (got.revision.value <= known) find("revision not increasing (etcd #17780)", cat("wrote revision ", got.revision.value, " though ", known, " was known"));
      leases_used(got.succeeded ? txn.success : txn.failure, used);
      for (LeaseId lease : used)
        if (t_.surely_gone(lease, call_.invoked)) find("write under a revoked lease");
      return;
    }
    if (!told(got.revision.value, "stale read in a transaction")) return;
    Applied want = apply_txn(t_.states, got.revision.value, txn);
    if (want.refused || !want.events.empty() || !same(got, want.result))
      find("wrong answer to a transaction", cat("at revision ", got.revision.value, ", should have ", want.refused ? want.refused->message() : describe(want.events)));
  }

  void refused() {
    const std::string& text = call_.error->message();
    std::vector<std::int64_t> asked = revisions_asked(call_);
    if (text.contains("future revision")) {
      std::int64_t known = t_.known_at(call_.invoked);
      if (std::none_of(asked.begin(), asked.end(), [known](std::int64_t r) { return r > known; })) find("known revision called a future one (etcd #17780)", cat("known: ", known));
    } else if (text.contains("has been compacted")) {
      bool is_compaction = std::holds_alternative<CompactRequest>(call_.request);
      std::int64_t begun = is_compaction ? others_begun() : t_.compacting_at(call_.returned);
      if (std::none_of(asked.begin(), asked.end(), [&](std::int64_t r) { return is_compaction ? r <= begun : r < begun; }))
        find("uncompacted state called compacted", cat("compacted at most to ", begun));
    } else if (text.contains("lease not found")) {
      std::vector<LeaseId> used;
      if (auto* txn = std::get_if<Txn>(&call_.request)) leases_anywhere(*txn, used);
      if (auto* kept = std::get_if<KeepAliveRequest>(&call_.request)) used.push_back(kept->id);
      if (auto* revoke = std::get_if<RevokeRequest>(&call_.request)) used.push_back(revoke->id);
      bool excused = std::any_of(used.begin(), used.end(), [&](LeaseId id) { return !alive(id); });
      if (!excused) find("acknowledged lease lost");
    }
  }

  // A refused revoke does not count as one.
  bool alive(LeaseId id) const { return t_.surely_alive(id, call_.invoked, call_.returned, call_.returned_at); }

  std::int64_t others_begun() const {
    std::int64_t begun = 0;
    for (const Call& other : t_.history.calls)
      if (auto* compact = std::get_if<CompactRequest>(&other.request); compact && &other != &call_ && other.invoked < call_.returned && other.outcome != Call::Outcome::kRefused)
        begun = std::max(begun, compact->revision.value);
    return begun;
  }

  void leases(const std::vector<LeaseId>& ids) {
    for (LeaseId id : ids)
      if (t_.surely_gone(id, call_.invoked)) find("revoked lease lives on", cat("lease ", id.value));
    for (const Call& other : t_.history.calls) {
      auto* grant = std::get_if<GrantRequest>(&other.request);
      if (grant && alive(grant->id) && std::find(ids.begin(), ids.end(), grant->id) == ids.end()) find("acknowledged lease lost", cat("lease ", grant->id.value));
    }
  }

  Timeline& t_;
  const Call& call_;
};

void check_starts(Timeline& t) {
  for (const Start& start : t.history.starts) {
    std::int64_t known = t.known_at(start.at), compacted = t.compacted_at(start.at);
    if (start.revision < known) t.find(cat("revision fell (etcd #17780): start ", start.life, " is at ", start.revision, " though ", known, " was known"));
    if (start.compacted < compacted) t.find(cat("compaction forgotten (etcd #17780): start ", start.life, " is compacted to ", start.compacted, ", not ", compacted));
    if (start.compacted > t.compacting_at(start.at)) t.find(cat("compaction nobody asked for: start ", start.life, ", ", start.compacted));
  }
}

}  // namespace

void check_calls(Timeline& timeline) {
  check_starts(timeline);
  for (const Call& call : timeline.history.calls) CallCheck(timeline, call).run();
}

void check_leases(Timeline& timeline) {
  for (const Call& call : timeline.history.calls) {
    auto* range = std::get_if<RangeResult>(&call.answer);
    if (!range || call.outcome != Call::Outcome::kDone || std::get<RangeRequest>(call.request).revision.value > 0) continue;
    for (const KeyValue& kv : range->kvs)
      if (kv.lease.value != 0 && timeline.surely_gone(kv.lease, call.invoked)) timeline.find(cat("key outlived its lease: ", describe(kv), ", ", describe(call)));
  }
  if (!timeline.history.healed) return;
  for (const auto& [key, kv] : timeline.states.at(timeline.newest))
    if (kv.lease.value != 0) timeline.find(cat("lease never ended: ", describe(kv)));
}

std::vector<std::string> check_history(const History& history) {
  Timeline timeline(history);
  order_writes(timeline);
  check_calls(timeline);
  check_leases(timeline);
  check_watches(timeline);
  return std::move(timeline.findings);
}

}  // namespace monopod::testing
