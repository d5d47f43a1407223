// What a history says about the order of things; the parts of the judge share it.
#pragma once

#include <map>
#include <set>

#include "tests/robustness/store/history/history.h"
#include "tests/robustness/store/history/model.h"

namespace monopod::testing {

class Timeline {
 public:
  explicit Timeline(const History& history);

  const History& history;
  States states{{1, {}}};
  std::map<std::int64_t, std::vector<store::WatchEvent>> events{};  // of each revision, with previous values
  std::map<std::int64_t, const Call*> writers{};                    // where the revision is somebody's
  std::int64_t newest = 1;
  std::vector<std::string> findings{};

  // The newest revision that somebody had been told of before then.
  std::int64_t known_at(Tick at) const { return newest_before(known_, at); }
  // Compactions begun, and acknowledged, before then.
  std::int64_t compacting_at(Tick at) const { return newest_before(compacting_, at); }
  std::int64_t compacted_at(Tick at) const { return newest_before(compacted_, at); }

  // Was the lease there all through this time, whatever the store does?
  bool surely_alive(store::LeaseId lease, Tick from, Tick to, MonoTime to_time) const;
  bool surely_gone(store::LeaseId lease, Tick from) const;
  // The time before which it may not expire, as known at a tick.
  std::optional<MonoTime> earliest_end(store::LeaseId lease, Tick at) const;
  bool maybe_revoked(store::LeaseId lease, Tick before) const;

  void find(std::string text) { findings.push_back(std::move(text)); }

 private:
  using Steps = std::map<Tick, std::int64_t>;  // at each tick the largest so far
  static std::int64_t newest_before(const Steps& steps, Tick at);
  static void raise(std::vector<std::pair<Tick, std::int64_t>>& points, Steps& into);
  void learn_revisions();
  void learn_compactions();
  void learn_leases();

  struct LeaseLife {
    const Call* grant = nullptr;
    std::vector<const Call*> kept{};
    std::vector<const Call*> revokes{};
  };
  Steps known_, compacting_, compacted_;
  std::map<std::int64_t, LeaseLife> leases_;
};

// Did the transaction change something, as its answer tells?
bool changed(const store::TxnResult& result);
bool same(const store::KeyValue& a, const store::KeyValue& b);
bool same(const std::vector<store::KeyValue>& a, const std::vector<store::KeyValue>& b);
bool same_events(const std::vector<store::WatchEvent>& a, const std::vector<store::WatchEvent>& b);  // previous values aside
bool same(const store::TxnResult& a, const store::TxnResult& b);                                     // revisions aside

void order_writes(Timeline& timeline);    // fills states, events, writers, newest
void check_calls(Timeline& timeline);
void check_leases(Timeline& timeline);
void check_watches(Timeline& timeline);

}  // namespace monopod::testing
