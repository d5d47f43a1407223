#include "etcd/guarded_backend.h"

#include <algorithm>

#include "base/log.h"

namespace monopod::etcd {
namespace {

using async::Task;

// etcd's estimates of what a request adds to the file, in bytes.
constexpr std::int64_t kPutOverhead = 256;
constexpr std::int64_t kLeaseCost = 64;

std::int64_t cost_of(const Txn& txn);

std::int64_t cost_of(const std::vector<Op>& ops) {
  std::int64_t bytes = 0;
  for (const Op& op : ops) {
    if (auto* put = std::get_if<PutRequest>(&op)) bytes += kPutOverhead + static_cast<std::int64_t>(put->key.size() + (put->value ? put->value->size() : 0));
    if (auto* nested = std::get_if<std::shared_ptr<const Txn>>(&op); nested && *nested) bytes += cost_of(**nested);
  }
  return bytes;
}

// Of the dearer branch; 0: it cannot put.
std::int64_t cost_of(const Txn& txn) { return std::max(cost_of(txn.success), cost_of(txn.failure)); }

Error no_space() { return Error(Code::kResourceExhausted, "etcdserver: mvcc: database space exceeded"); }

}  // namespace

std::int64_t quota_of_flag(std::int64_t flag) { return flag == 0 ? kQuotaBytesDefault : std::max<std::int64_t>(flag, 0); }

Result<> GuardedBackend::not_corrupt() const {
  if (alarms_.active(AlarmType::kCorrupt)) return fail(Code::kDataLoss, "etcdserver: corrupt cluster");
  return {};
}

bool GuardedBackend::has_room(std::int64_t bytes) const {
  return !alarms_.active(AlarmType::kNoSpace) && (!sqlite_ || quota_bytes_ <= 0 || sqlite_->file_bytes() + bytes < quota_bytes_);
}

Task<Result<>> GuardedBackend::refuse(std::int64_t bytes) {
  if (alarms_.active(AlarmType::kNoSpace)) co_return fail(no_space());
  log::warn("quota reached, NOSPACE raised: compact, defragment, then disarm", {{"quota_bytes", quota_bytes_}, {"file_bytes", sqlite_->file_bytes()}, {"wanted_bytes", bytes}});
  CO_TRY(co_await alarms_.raise({.type = AlarmType::kNoSpace}));
  co_return fail(no_space());
}

Task<Error> GuardedBackend::judge(Error error) {
  if (error.code() != Code::kResourceExhausted || !error.message().contains("no space left")) co_return error;
  log::error("disk full, NOSPACE raised: free space, then disarm", {{"error", error}});
  Result<> raised = co_await alarms_.raise({.type = AlarmType::kNoSpace});
  if (!raised) log::warn("the alarm is in force but not stored", {{"error", raised.error()}});
  co_return no_space();
}

Task<Result<RangeResult>> GuardedBackend::range(RangeRequest request) {
  CO_TRY(not_corrupt());
  co_return co_await backend_.range(std::move(request));
}

Task<Result<TxnResult>> GuardedBackend::txn(Txn txn) {
  CO_TRY(not_corrupt());
  if (std::int64_t bytes = cost_of(txn); bytes > 0 && !has_room(bytes)) CO_TRY(co_await refuse(bytes));
  Result<TxnResult> result = co_await backend_.txn(std::move(txn));
  if (!result) {
    Error error = co_await judge(std::move(result).error());
    co_return fail(std::move(error));
  }
  co_return result;
}

Task<Result<>> GuardedBackend::compact(Revision revision) {
  CO_TRY(not_corrupt());
  co_return co_await backend_.compact(revision);
}

Task<Result<Lease>> GuardedBackend::lease_grant(std::chrono::seconds ttl, LeaseId id) {
  CO_TRY(not_corrupt());
  if (!has_room(kLeaseCost)) CO_TRY(co_await refuse(kLeaseCost));
  Result<Lease> lease = co_await backend_.lease_grant(ttl, id);
  if (!lease) {
    Error error = co_await judge(std::move(lease).error());
    co_return fail(std::move(error));
  }
  co_return lease;
}

Task<Result<>> GuardedBackend::lease_revoke(LeaseId id) {
  CO_TRY(not_corrupt());
  co_return co_await backend_.lease_revoke(id);
}

}  // namespace monopod::etcd
