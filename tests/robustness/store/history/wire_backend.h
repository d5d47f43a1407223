// A store at the other end of a gRPC connection, as Backend: so that the same clients make histories over the wire.
#pragma once

#include "http/client.h"
#include "store/backend.h"

namespace monopod::testing {

class WireBackend final : public store::Backend {
 public:
  // caller and scope outlive it and its watches; scope runs what asks for progress.
  WireBackend(http::Caller& caller, async::Scope& scope) : caller_(caller), scope_(scope) {}

  async::Task<Result<store::RangeResult>> range(store::RangeRequest request) override;
  async::Task<Result<store::TxnResult>> txn(store::Txn txn) override;
  async::Task<Result<std::unique_ptr<store::Watch>>> watch(store::WatchRequest request) override;
  async::Task<Result<>> compact(store::Revision revision) override;
  async::Task<Result<store::Lease>> lease_grant(std::chrono::seconds ttl, store::LeaseId id) override;
  async::Task<Result<>> lease_revoke(store::LeaseId id) override;
  async::Task<Result<store::Lease>> lease_keep_alive(store::LeaseId id) override;
  async::Task<Result<store::Lease>> lease_time_to_live(store::LeaseId id) override;
  async::Task<Result<std::vector<store::LeaseId>>> leases() override;
  // Of the last hash().
  store::Revision current_revision() const override { return revision_; }
  store::Revision compact_revision() const override { return compacted_; }

  // Asks for both revisions.
  async::Task<Result<>> hash();
  // Clears NOSPACE.
  async::Task<Result<>> disarm();

 private:
  http::Caller& caller_;
  async::Scope& scope_;
  store::Revision revision_{}, compacted_{};
};

}  // namespace monopod::testing
