// Every watch against the order of writes (etcd.io/docs/v3.6/learning/api_guarantees: ordered, unique, reliable, atomic, resumable,
// bookmarkable).
#include <algorithm>

#include "base/strings.h"
#include "tests/robustness/store/history/timeline.h"

namespace monopod::testing {
namespace {

using namespace store;

class WatchCheck {
 public:
  WatchCheck(Timeline& t, const WatchRun& watch) : t_(t), watch_(watch), start_(watch.request.start_revision.value) {
    last_ = start_ > 0 ? start_ - 1 : t.known_at(watch.invoked);
    placed_ = start_ > 0;
  }

  void run() {
    for (const auto& delivery : watch_.deliveries) {
      if (delivery.batch.shared) events(delivery);
      else progress(delivery.batch.revision.value);
    }
    if (watch_.end && watch_.end->code() == Code::kOutOfRange) ended();
    if (watch_.must_reach > 0) nothing_between(watch_.must_reach + 1, "event lost to a starved watch (etcd #17529)");
  }

 private:
  void find(std::string_view what, std::string_view more) {
    const WatchRequest& r = watch_.request;
    std::string end = r.range_end == std::string_view("\0", 1) ? "\\0" : r.range_end;
    t_.find(cat(what, ": watch ", watch_.index, watch_.auditor ? " (auditor)" : "", " in life ", watch_.life, " of ", r.key == std::string_view("\0", 1) ? "\\0" : r.key,
                end.empty() ? "" : "..", end, " from ", start_, ": ", more));
  }

  std::vector<WatchEvent> mine(const std::vector<WatchEvent>& all) const {
    std::vector<WatchEvent> some;
    for (const WatchEvent& event : all)
      if (in_range(event.kv.key, watch_.request.key, watch_.request.range_end)) some.push_back(event);
    return some;
  }

  // All of (last_, next) that matters to this watch should have been delivered by now.
  void nothing_between(std::int64_t next, std::string_view what) {
    for (auto at = t_.events.upper_bound(last_); at != t_.events.end() && at->first < next; ++at) {
      std::vector<WatchEvent> missing = mine(at->second);
      if (missing.empty() || (!placed_ && may_precede(at->first))) continue;
      bool all_deletes = std::all_of(missing.begin(), missing.end(), [](const WatchEvent& e) { return e.type == WatchEvent::Type::kDelete; });
      if (all_deletes && compacted_to(at->first)) what = "delete lost at the compaction revision (etcd #19179, #18089)";
      find(what, cat("revision ", at->first, " (", describe(missing), ") is missing before ", next));
    }
  }

  // A watch from now: what was written before it was answered may lie before it.
  bool may_precede(std::int64_t revision) const {
    auto writer = t_.writers.find(revision);
    return writer == t_.writers.end() || writer->second->invoked < watch_.created;
  }

  bool compacted_to(std::int64_t revision) const {
    return std::any_of(t_.history.calls.begin(), t_.history.calls.end(), [revision](const Call& call) {
      auto* compact = std::get_if<CompactRequest>(&call.request);
      return compact && compact->revision.value == revision;
    });
  }

  void events(const WatchRun::Delivery& delivery) {
    std::int64_t r = delivery.batch.revision.value;
    const std::vector<WatchEvent>& got = delivery.batch.events();
    if (start_ > 0 && r < start_) return find("event before the start of its watch (etcd #20221)", cat("revision ", r));
    if (seen_.contains(r)) return find("event delivered twice (etcd #17247)", cat("revision ", r, ", ", describe(got)));
    if (r <= progress_) find("progress ahead of events (etcd #15220)", cat("revision ", r, " came after progress ", progress_));
    else if (r <= last_) find("watch went back in time (etcd #15271)", cat("revision ", r, " came after ", last_));
    nothing_between(r, "event lost (etcd #17529)");
    seen_.insert(r);
    placed_ = true;
    last_ = std::max(last_, r);
    auto truth = t_.events.find(r);
    if (truth == t_.events.end()) return find("event of a revision that never was (etcd #15271)", cat("revision ", r, ", ", describe(got)));
    if (std::any_of(got.begin(), got.end(), [r](const WatchEvent& e) { return e.kv.mod.value != r; })) find("events of other revisions in one batch", cat("revision ", r, ", ", describe(got)));
    std::vector<WatchEvent> want = mine(truth->second);
    if (!same_events(got, want)) return find("wrong events", cat("revision ", r, ", got ", describe(got), ", should be ", describe(want)));
    for (std::size_t i = 0; i < got.size(); ++i) previous(got[i], want[i], delivery.at);
  }

  void previous(const WatchEvent& got, const WatchEvent& want, Tick at) {
    if (!watch_.request.prev_kv) {
      if (got.prev) find("previous value that nobody asked for", describe(got));
      return;
    }
    if (!got.prev && want.prev && want.kv.mod.value > t_.compacting_at(at)) find("previous value missing", cat(describe(got), ", should be ", describe(want)));
    if (got.prev && (!want.prev || !same(*got.prev, *want.prev))) find("wrong previous value", cat(describe(got), ", should be ", describe(want)));
  }

  void progress(std::int64_t p) {
    if (p > t_.newest) find("progress to a revision that never was (etcd #15220)", cat(p));
    if (p < progress_) find("progress went back (etcd #15271)", cat(p, " after ", progress_));
    nothing_between(p + 1, "progress ahead of events (etcd #15220)");
    progress_ = std::max(progress_, p);
    last_ = std::max(last_, p);
    placed_ = true;
  }

  void ended() {
    if (last_ + 1 >= t_.compacting_at(watch_.ended)) find("watch of uncompacted revisions ended as compacted (etcd #19179)", cat("had everything to ", last_));
  }

  Timeline& t_;
  const WatchRun& watch_;
  std::int64_t start_;
  std::int64_t last_;
  std::int64_t progress_ = 0;
  bool placed_;  // its first revision is known
  std::set<std::int64_t> seen_;
};

}  // namespace

void check_watches(Timeline& timeline) {
  for (const WatchRun& watch : timeline.history.watches) WatchCheck(timeline, watch).run();
}

}  // namespace monopod::testing
