// Compaction of a cluster whose clients are API servers: one of them compacts in each interval, the revision that was newest an
// interval before. They agree through a key, the one kube-apiserver uses, whose version counts the intervals.
#include "base/log.h"
#include "base/strings.h"
#include "etcd/cluster/cluster_store.h"

namespace monopod::etcd {

using namespace store;

namespace {

constexpr std::string_view kKey = "compact_rev_key";

}  // namespace

async::Task<Result<>> ClusterStore::run_compactor() {
  std::int64_t version = 0;   // of the key when we last looked
  std::int64_t revision = 0;  // the newest then
  for (;;) {                  // forever: until cancelled
    CO_TRY(co_await time_.sleep_for(options_.compaction_interval));
    Txn turn;
    turn.compare.push_back({.key = std::string(kKey), .target = Compare::Target::kVersion, .number = version});
    turn.success.push_back(PutRequest{.key = std::string(kKey), .value = share(cat(revision))});
    turn.failure.push_back(RangeRequest{.key = std::string(kKey)});
    Result<TxnResult> result = co_await txn(std::move(turn));
    if (!result) {
      log::warn("compaction of the etcd cluster failed, will be tried again", {{"why", result.error()}});
      continue;
    }
    if (!result->succeeded) {  // another server's turn it was
      const auto& kvs = std::get<RangeResult>(result->results.at(0)).kvs;
      version = kvs.empty() ? 0 : kvs[0].version;
      revision = result->revision.value;
      continue;
    }
    ++version;
    std::int64_t old = std::exchange(revision, result->revision.value);
    if (old == 0) continue;
    Result<> compacted = co_await compact(Revision(old));
    if (!compacted && compacted.error().code() != Code::kOutOfRange) log::warn("compaction of the etcd cluster failed, will be tried again", {{"why", compacted.error()}});
    else log::debug("etcd cluster compacted", {{"revision", old}});
  }
}

}  // namespace monopod::etcd
