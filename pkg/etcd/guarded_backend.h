// The backend as clients may use it: alarms and the quota stand before it. Every service goes through here, so none can forget.
//
//   quota  as etcd's --quota-backend-bytes: measured is the database file, free pages too; a put or a new lease that would pass it fails
//          with "etcdserver: mvcc: database space exceeded" (kResourceExhausted) and raises NOSPACE. A full disk does the same.
//   alarms NOSPACE refuses puts and new leases; CORRUPT refuses every use of keys with "etcdserver: corrupt cluster" (kDataLoss).
#pragma once

#include "etcd/alarms.h"
#include "store/sqlite_backend.h"

namespace monopod::etcd {

inline constexpr std::int64_t kQuotaBytesDefault = std::int64_t{2} * 1024 * 1024 * 1024;  // etcd's

// As the flag means it: 0 is the default, negative is none.
std::int64_t quota_of_flag(std::int64_t flag);

class GuardedBackend final : public Backend {
 public:
  // quota_bytes: 0 or less is none; without sqlite there is none. References outlive this; sqlite may be null.
  GuardedBackend(Backend& backend, SqliteBackend* sqlite, Alarms& alarms, std::int64_t quota_bytes)
      : backend_(backend), sqlite_(sqlite), alarms_(alarms), quota_bytes_(quota_bytes) {}

  std::int64_t quota_bytes() const { return quota_bytes_; }

  async::Task<Result<RangeResult>> range(RangeRequest request) override;
  async::Task<Result<TxnResult>> txn(Txn txn) override;
  async::Task<Result<std::unique_ptr<Watch>>> watch(WatchRequest request) override { return backend_.watch(std::move(request)); }
  async::Task<Result<>> compact(Revision revision) override;
  async::Task<Result<Lease>> lease_grant(std::chrono::seconds ttl, LeaseId id) override;
  async::Task<Result<>> lease_revoke(LeaseId id) override;
  async::Task<Result<Lease>> lease_keep_alive(LeaseId id) override { return backend_.lease_keep_alive(id); }
  async::Task<Result<Lease>> lease_time_to_live(LeaseId id) override { return backend_.lease_time_to_live(id); }
  async::Task<Result<std::vector<LeaseId>>> leases() override { return backend_.leases(); }
  Revision current_revision() const override { return backend_.current_revision(); }
  Revision compact_revision() const override { return backend_.compact_revision(); }

 private:
  Result<> not_corrupt() const;
  bool has_room(std::int64_t bytes) const;
  // Raises NOSPACE; its error.
  async::Task<Result<>> refuse(std::int64_t bytes);
  // What a failed write means for the alarms.
  async::Task<Error> judge(Error error);

  Backend& backend_;
  SqliteBackend* sqlite_;
  Alarms& alarms_;
  std::int64_t quota_bytes_;
};

}  // namespace monopod::etcd
