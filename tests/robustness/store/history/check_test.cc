// The judge itself: a sound history, changed by hand in the way of each bug that etcd had, must be found out, and by the right name. Then
// the same end to end: a disk, a file or a store that behaves as those bugs did.
#include <gtest/gtest.h>

#include <algorithm>

#include "base/log.h"
#include "base/strings.h"
#include "store/statement.h"
#include "tests/robustness/store/history/check.h"
#include "tests/robustness/store/history/simulation.h"
#include "tests/robustness/store/history/timeline.h"

namespace monopod::testing {
namespace {

using namespace store;
using async::Task;

const std::string kAll(1, '\0');

// --- a small history made by hand: what a correct store would have said

class Story {
 public:
  Story() {
    history.starts.push_back({.life = 0, .at = history.tick(), .revision = 1});
    auditor = &open_watch(kAll, kAll, 2);
    auditor->auditor = true;
  }

  Call& put(const std::string& key, std::int64_t lease = 0) {
    Txn txn;
    txn.success = {PutRequest{.key = key, .value = share(cat("c", history.calls.size(), ".0")), .lease = LeaseId(lease)}};
    return write(std::move(txn));
  }
  Call& remove(const std::string& key) {
    Txn txn;
    txn.success = {DeleteRequest{.key = key}};
    return write(std::move(txn));
  }
  Call& write(Txn txn) {
    Call& call = history.begin(0, txn, now);
    Applied applied = apply_txn(states, revision, txn);
    states[++revision] = applied.state;
    applied.result.revision = Revision(revision);
    history.finish(call, applied.result, now);
    deliver(*auditor, applied.events);
    return call;
  }
  // Happened, and nobody was told.
  Call& write_unanswered(const std::string& key) {
    Call& call = put(key);
    call.outcome = Call::Outcome::kUnknown;
    call.answer = std::monostate();
    return call;
  }
  Call& read(std::int64_t at = 0) {
    RangeRequest request{.key = kAll, .range_end = kAll, .revision = Revision(at)};
    Call& call = history.begin(1, request, now);
    RangeResult result = apply_range(states.at(at ? at : revision), request);
    result.revision = Revision(revision);
    history.finish(call, result, now);
    return call;
  }
  void compact(std::int64_t at) { history.finish(history.begin(0, CompactRequest{Revision(at)}, now), std::monostate(), now); }
  void grant(std::int64_t id, int ttl) {
    history.finish(history.begin(0, GrantRequest{std::chrono::seconds(ttl), LeaseId(id)}, now), Lease{.id = LeaseId(id)}, now);
  }
  void end_lease(std::int64_t id) {
    Applied applied = apply_lease_end(states.at(revision), revision, LeaseId(id));
    states[++revision] = applied.state;
    deliver(*auditor, applied.events);
  }
  void restart() {
    ++history.life;
    history.starts.push_back({.life = history.life, .at = history.tick(), .revision = revision});
  }
  WatchRun& open_watch(const std::string& key, const std::string& end, std::int64_t from) {
    WatchRun& run = history.watches.emplace_back();
    run.index = history.watches.size() - 1;
    run.request = {.key = key, .range_end = end, .start_revision = Revision(from)};
    run.invoked = history.tick();
    run.created = history.tick();
    return run;
  }
  void deliver(WatchRun& run, std::vector<WatchEvent> events) {
    std::erase_if(events, [&](const WatchEvent& e) { return !in_range(e.kv.key, run.request.key, run.request.range_end); });
    if (events.empty()) return;
    Revision at = events.front().kv.mod;
    for (WatchEvent& event : events) event.prev.reset();
    auto shared = std::make_shared<WatchEvents>(WatchEvents{.revision = at, .events = std::move(events)});
    run.deliveries.push_back({.at = history.tick(), .batch = {.revision = at, .shared = std::move(shared)}, .when = now});
  }
  void progress(WatchRun& run, std::int64_t at) { run.deliveries.push_back({.at = history.tick(), .batch = {.revision = Revision(at)}, .when = now}); }
  // What the auditor was told of that revision.
  std::vector<WatchEvent> events_of(std::int64_t at) const {
    for (const auto& d : auditor->deliveries)
      if (d.batch.revision.value == at) return d.batch.events();
    return {};
  }

  History history;
  States states{{1, {}}};
  std::int64_t revision = 1;
  WatchRun* auditor = nullptr;
  MonoTime now{};
};

void expect_finding(const Story& story, std::string_view words) {
  std::vector<std::string> findings = check_history(story.history);
  EXPECT_TRUE(std::any_of(findings.begin(), findings.end(), [&](const std::string& f) { return f.contains(words); }))
      << "not found: " << words << "; found " << findings.size() << (findings.empty() ? "" : ": " + findings.front());
}
void expect_sound(const Story& story) {
  std::vector<std::string> findings = check_history(story.history);
  EXPECT_TRUE(findings.empty()) << findings.front();
}

TEST(Judge, AcceptsASoundHistory) {
  Story s;
  s.grant(1000, 10);
  s.put("a");
  s.put("b", 1000);
  s.write_unanswered("c");
  s.read();
  s.read(2);
  s.restart();
  s.remove("a");
  s.compact(s.revision);
  WatchRun& watch = s.open_watch("a", "", s.revision);
  s.deliver(watch, s.events_of(s.revision));
  s.progress(watch, s.revision);
  s.now += std::chrono::seconds(11);
  s.end_lease(1000);
  s.history.healed = true;
  expect_sound(s);
}

TEST(Judge, FindsALostWrite) {  // #14370, #13766: acknowledged, then gone over a crash
  Story s;
  s.put("a");
  s.put("b");
  s.auditor->deliveries.pop_back();
  s.restart();
  s.history.starts.back().revision = 2;
  expect_finding(s, "acknowledged write lost (etcd #14370)");
  expect_finding(s, "revision fell (etcd #17780)");
}

TEST(Judge, FindsARevisionUsedTwice) {  // #14370 again, once new writes came
  Story s;
  s.put("a");
  Call& lost = s.put("b");
  Call& other = s.put("c");
  std::get<TxnResult>(other.answer).revision = std::get<TxnResult>(lost.answer).revision;
  expect_finding(s, "revision used twice");
}

TEST(Judge, FindsAWriteAppliedTwice) {  // #13766, #14685: applied again after a crash
  Story s;
  s.write_unanswered("a");
  std::vector<WatchEvent> again = s.events_of(2);
  again[0].kv.mod = Revision(3);
  again[0].kv.version = 2;
  s.deliver(*s.auditor, again);
  expect_finding(s, "write applied twice (etcd #13766, #14685)");
}

TEST(Judge, FindsATornTransaction) {
  Story s;
  Txn txn;
  txn.success = {PutRequest{.key = "a", .value = share("c0.0")}, PutRequest{.key = "b", .value = share("c0.1")}};
  s.write(txn).outcome = Call::Outcome::kUnknown;
  std::vector<WatchEvent> half = s.events_of(2);
  half.pop_back();
  s.auditor->deliveries.clear();
  s.deliver(*s.auditor, half);
  expect_finding(s, "torn transaction");
}

TEST(Judge, FindsARefusedWriteThatTookEffect) {
  Story s;
  Call& call = s.put("a");
  call.outcome = Call::Outcome::kRefused;
  call.error = Error(Code::kResourceExhausted, "no space");
  expect_finding(s, "refused write took effect");
}

TEST(Judge, FindsARevisionThatFell) {  // #17780
  Story s;
  s.put("a");
  s.put("b");
  s.read();
  s.restart();
  s.history.starts.back().revision = 2;
  expect_finding(s, "revision fell (etcd #17780)");
}

TEST(Judge, FindsAForgottenCompaction) {
  Story s;
  s.put("a");
  s.put("b");
  s.compact(3);
  s.restart();
  expect_finding(s, "compaction forgotten (etcd #17780)");
}

TEST(Judge, FindsAStaleRead) {
  Story s;
  s.put("a");
  Call& read = s.read();
  RangeResult old = std::get<RangeResult>(read.answer);
  s.put("a");
  s.read().answer = old;
  expect_finding(s, "stale read");
}

TEST(Judge, FindsAWrongReadOfThePast) {
  Story s;
  s.put("a");
  s.put("a");
  Call& read = s.read(2);
  std::get<RangeResult>(read.answer).kvs[0].mod = Revision(3);
  expect_finding(s, "wrong read");
}

TEST(Judge, FindsAReadBelowTheCompactedRevision) {  // #18667: within a transaction too
  Story s;
  s.put("a");
  s.put("a");
  s.compact(3);
  Txn txn;
  txn.success = {RangeRequest{.key = "a", .revision = Revision(2)}};
  Call& call = s.history.begin(0, txn, s.now);
  TxnResult result{.revision = Revision(3), .succeeded = true};
  result.results = {RangeResult{.revision = Revision(3)}};
  s.history.finish(call, result, s.now);
  expect_finding(s, "compacted state was readable (etcd #18667)");
}

TEST(Judge, FindsACompactedErrorWithoutReason) {
  Story s;
  s.put("a");
  Call& call = s.history.begin(0, RangeRequest{.key = "a", .revision = Revision(2)}, s.now);
  s.history.finish(call, Error(Code::kOutOfRange, "etcdserver: mvcc: required revision has been compacted"), s.now);
  expect_finding(s, "uncompacted state called compacted");
}

TEST(Judge, FindsALostEvent) {  // #17529
  Story s;
  WatchRun& watch = s.open_watch("a", "", 2);
  for (int i = 0; i < 3; ++i) s.put("a");
  s.deliver(watch, s.events_of(2));
  s.deliver(watch, s.events_of(4));
  expect_finding(s, "event lost (etcd #17529)");
}

TEST(Judge, FindsAStarvedWatch) {  // #17529: nothing more comes
  Story s;
  WatchRun& watch = s.open_watch("a", "", 2);
  s.put("a");
  s.put("a");
  s.deliver(watch, s.events_of(2));
  watch.must_reach = 3;
  expect_finding(s, "event lost to a starved watch (etcd #17529)");
}

TEST(Judge, FindsADuplicateEvent) {  // #17247
  Story s;
  WatchRun& watch = s.open_watch("a", "", 2);
  s.put("a");
  s.deliver(watch, s.events_of(2));
  s.deliver(watch, s.events_of(2));
  expect_finding(s, "event delivered twice (etcd #17247)");
}

TEST(Judge, FindsAWatchThatWentBackInTime) {  // #15271
  Story s;
  WatchRun& watch = s.open_watch("a", "", 2);
  for (int i = 0; i < 3; ++i) s.put("a");
  s.deliver(watch, s.events_of(2));
  s.deliver(watch, s.events_of(4));
  s.deliver(watch, s.events_of(3));
  expect_finding(s, "watch went back in time (etcd #15271)");
}

TEST(Judge, FindsProgressAheadOfEvents) {  // #15220
  Story s;
  WatchRun& watch = s.open_watch("a", "", 2);
  s.put("a");
  s.progress(watch, 2);
  s.deliver(watch, s.events_of(2));
  expect_finding(s, "progress ahead of events (etcd #15220)");
}

TEST(Judge, FindsADeleteLostAtTheCompactionRevision) {  // #19179, #18089
  Story s;
  s.put("a");
  s.remove("a");
  s.compact(3);
  WatchRun& watch = s.open_watch("a", "", 3);
  s.put("a");
  s.deliver(watch, s.events_of(4));
  expect_finding(s, "delete lost at the compaction revision (etcd #19179, #18089)");
}

TEST(Judge, FindsAnOldEventOnAFutureWatch) {  // #20221
  Story s;
  WatchRun& watch = s.open_watch("a", "", 10);
  s.put("a");
  s.deliver(watch, s.events_of(2));
  expect_finding(s, "event before the start of its watch (etcd #20221)");
}

TEST(Judge, FindsAWrongPreviousValue) {
  Story s;
  s.put("a");
  s.put("a");
  WatchRun& watch = s.open_watch("a", "", 3);
  watch.request.prev_kv = true;
  std::vector<WatchEvent> events = s.events_of(3);
  s.deliver(watch, events);
  expect_finding(s, "previous value missing");
}

TEST(Judge, FindsLeasesThatEndTooEarlyInPiecesOrNever) {
  Story early;
  early.grant(1000, 10);
  early.put("a", 1000);
  early.now += std::chrono::seconds(9);
  early.end_lease(1000);
  expect_finding(early, "lease ended before its time");

  Story pieces;
  pieces.grant(1000, 10);
  pieces.put("a", 1000);
  pieces.put("b", 1000);
  pieces.now += std::chrono::seconds(11);
  Applied half = apply_lease_end(pieces.states.at(3), 3, LeaseId(1000));
  half.events.pop_back();
  pieces.deliver(*pieces.auditor, half.events);
  expect_finding(pieces, "lease's keys did not go in one revision");

  Story never;
  never.grant(1000, 10);
  never.put("a", 1000);
  never.history.healed = true;
  expect_finding(never, "lease never ended");
}

// --- end to end: something below or above the store misbehaves; the judge must notice within a few seeds

// One of the seeds must give a finding with these words.
void expect_caught(SimulationOptions options, std::string_view words, std::uint64_t seeds = 60) {
  log::configure({.level = log::Level::kError, .fd = -1});
  std::string others;
  for (std::uint64_t seed = 1; seed <= seeds; ++seed) {
    options.seed = seed;
    Simulated simulated = simulate(options);
    for (const std::string& finding : check_history(simulated.history)) {
      if (finding.contains(words)) return log::configure({});
      others = finding;
    }
  }
  log::configure({});
  ADD_FAILURE() << "never noticed: " << words << "; last: " << others;
}

TEST(Mutant, ADiskThatLiesAboutSyncs) { expect_caught({.syncs_lie = true}, "acknowledged write"); }

// Runs SQL on the closed file.
std::function<void(const std::string&, Rng&)> tamper(const char* sql) {
  return [sql](const std::string& file, Rng&) {
    auto connection = Connection::open(file, SQLITE_OPEN_READWRITE, nullptr);
    if (connection) (void)(*connection)->execute(sql, "tamper");
  };
}

TEST(Mutant, ACompactionThatTakesTheRevisionBack) {  // #17780
  expect_caught({.between_lives = tamper("DELETE FROM log WHERE id>>20 = (SELECT max(id)>>20 FROM log)")}, "revision fell (etcd #17780)");
}
TEST(Mutant, ACompactionThatIsForgotten) { expect_caught({.between_lives = tamper("DELETE FROM meta")}, "compaction forgotten"); }
TEST(Mutant, ACompactionThatTakesTheDeleteOfItsOwnRevision) {  // #19179, #18089
  expect_caught({.between_lives = tamper("DELETE FROM log WHERE version=0 AND id>>20 = (SELECT number FROM meta WHERE name='compact_revision')")},
                "delete lost at the compaction revision", 250);
}

// Stands before the store and changes what passes. One thing a time, chosen by whoever derives.
class Wrap : public Backend {
 public:
  explicit Wrap(Backend& inner) : inner_(inner) {}
  Task<Result<RangeResult>> range(RangeRequest request) override { return inner_.range(std::move(request)); }
  Task<Result<TxnResult>> txn(Txn txn) override { return inner_.txn(std::move(txn)); }
  Task<Result<std::unique_ptr<Watch>>> watch(WatchRequest request) override { return inner_.watch(std::move(request)); }
  Task<Result<>> compact(Revision revision) override { return inner_.compact(revision); }
  Task<Result<Lease>> lease_grant(std::chrono::seconds ttl, LeaseId id) override { return inner_.lease_grant(ttl, id); }
  Task<Result<>> lease_revoke(LeaseId id) override { return inner_.lease_revoke(id); }
  Task<Result<Lease>> lease_keep_alive(LeaseId id) override { return inner_.lease_keep_alive(id); }
  Task<Result<Lease>> lease_time_to_live(LeaseId id) override { return inner_.lease_time_to_live(id); }
  Task<Result<std::vector<LeaseId>>> leases() override { return inner_.leases(); }
  Revision current_revision() const override { return inner_.current_revision(); }
  Revision compact_revision() const override { return inner_.compact_revision(); }

 protected:
  Backend& inner_;
};
template <typename T>
std::unique_ptr<Backend> wrap_in(Backend& inner) {
  return std::make_unique<T>(inner);
}

enum class WatchBug { kDuplicates, kDrops, kEarlyProgress, kBack };

class BadWatch final : public Watch {
 public:
  BadWatch(std::unique_ptr<Watch> inner, WatchBug bug) : inner_(std::move(inner)), bug_(bug) {}
  void request_progress() override { inner_->request_progress(); }
  Task<Result<std::optional<WatchBatch>>> try_next() override { co_return fail(Code::kUnimplemented, "the checker waits"); }
  void set_listener(std::function<void()>) override {}
  Task<Result<WatchBatch>> next() override {
    if (held_) {
      WatchBatch batch = *std::exchange(held_, std::nullopt);
      co_return batch;
    }
    CO_TRY_ASSIGN(WatchBatch batch, co_await inner_->next());
    if (!batch.shared || ++count_ % 5 != 0) co_return batch;
    if (bug_ == WatchBug::kDrops) {
      CO_TRY_ASSIGN(batch, co_await inner_->next());
      co_return batch;
    }
    held_ = batch;
    if (bug_ == WatchBug::kEarlyProgress) co_return WatchBatch{.revision = batch.revision};
    if (bug_ == WatchBug::kBack) {
      CO_TRY_ASSIGN(batch, co_await inner_->next());
    }
    co_return batch;
  }

 private:
  std::unique_ptr<Watch> inner_;
  WatchBug bug_;
  int count_ = 0;
  std::optional<WatchBatch> held_;
};

template <WatchBug bug>
class BadWatches final : public Wrap {
 public:
  using Wrap::Wrap;
  Task<Result<std::unique_ptr<Watch>>> watch(WatchRequest request) override {
    if (request.key == kAll) co_return co_await inner_.watch(std::move(request));  // the auditor sees well
    CO_TRY_ASSIGN(std::unique_ptr<Watch> watch, co_await inner_.watch(std::move(request)));
    co_return std::make_unique<BadWatch>(std::move(watch), bug);
  }
};
TEST(Mutant, AWatchThatRepeats) { expect_caught({.wrap = wrap_in<BadWatches<WatchBug::kDuplicates>>}, "event delivered twice (etcd #17247)"); }
TEST(Mutant, AWatchThatDrops) { expect_caught({.wrap = wrap_in<BadWatches<WatchBug::kDrops>>}, "event lost (etcd #17529)"); }
TEST(Mutant, AWatchWhoseProgressIsEarly) { expect_caught({.wrap = wrap_in<BadWatches<WatchBug::kEarlyProgress>>}, "progress ahead of events (etcd #15220)"); }
TEST(Mutant, AWatchThatGoesBack) { expect_caught({.wrap = wrap_in<BadWatches<WatchBug::kBack>>}, "watch went back in time (etcd #15271)"); }

// A future watch begins at once.
class EagerWatches final : public Wrap {
 public:
  using Wrap::Wrap;
  Task<Result<std::unique_ptr<Watch>>> watch(WatchRequest request) override {
    if (request.start_revision > inner_.current_revision()) request.start_revision = Revision();
    return inner_.watch(std::move(request));
  }
};
TEST(Mutant, AFutureWatchThatBeginsAtOnce) { expect_caught({.wrap = wrap_in<EagerWatches>}, "event before the start of its watch (etcd #20221)"); }

// Tries again what had no answer.
class Retries final : public Wrap {
 public:
  using Wrap::Wrap;
  Task<Result<TxnResult>> txn(Txn txn) override {
    if (++count_ % 7 == 0) CO_TRY(co_await inner_.txn(txn));
    co_return co_await inner_.txn(std::move(txn));
  }

 private:
  int count_ = 0;
};
TEST(Mutant, AWriteThatIsAppliedTwice) { expect_caught({.wrap = wrap_in<Retries>}, "write applied twice (etcd #13766, #14685)"); }

// Answers reads of the past with the present.
class NoPast final : public Wrap {
 public:
  using Wrap::Wrap;
  Task<Result<RangeResult>> range(RangeRequest request) override {
    request.revision = Revision();
    return inner_.range(std::move(request));
  }
};
TEST(Mutant, AStoreWithoutAPast) {
  expect_caught({.wrap = wrap_in<NoPast>}, "wrong read");
  expect_caught({.wrap = wrap_in<NoPast>}, "compacted state was readable (etcd #18667)");
}

}  // namespace
}  // namespace monopod::testing
