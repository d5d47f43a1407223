// Private: ClusterBackend's implementation.
#pragma once

#include "etcd/cluster/answers.h"
#include "etcd/cluster/cluster_backend.h"
#include "etcd/cluster/cluster_watch.h"

namespace monopod::etcd {

class ClusterStore final : public ClusterBackend {
 public:
  ClusterStore(async::Executor executor, async::Time& time, ClusterOptions options);
  Result<> start();
  async::Task<Result<>> wait_for_cluster();

  async::Task<Result<store::RangeResult>> range(store::RangeRequest request) override;
  async::Task<Result<store::TxnResult>> txn(store::Txn txn) override;
  async::Task<Result<std::unique_ptr<store::Watch>>> watch(store::WatchRequest request) override;
  async::Task<Result<>> compact(store::Revision revision) override;
  async::Task<Result<store::Lease>> lease_grant(std::chrono::seconds ttl, store::LeaseId id) override;
  async::Task<Result<>> lease_revoke(store::LeaseId id) override;
  async::Task<Result<store::Lease>> lease_keep_alive(store::LeaseId id) override;
  async::Task<Result<store::Lease>> lease_time_to_live(store::LeaseId id) override;
  async::Task<Result<std::vector<store::LeaseId>>> leases() override;
  store::Revision current_revision() const override { return current_; }
  store::Revision compact_revision() const override { return compacted_; }
  async::Task<Result<store::Revision>> newest_revision() override;

  async::Task<Result<>> close() override;
  std::optional<Error> failure() const override;
  Client& client() override { return *client_; }

 private:
  // One read of the newest revision, for all who asked before it began.
  struct Reading {
    explicit Reading(async::Executor executor) : done(executor) {}
    async::Event done;
    Result<store::Revision> revision{};
  };

  async::Task<Result<std::string>> call(std::string path, std::string message, Repeat repeat, CallOptions options = {});
  async::Task<Result<store::RangeResult>> read_page(store::RangeRequest& request, std::int64_t& page);
  async::Task<Result<store::RangeResult>> read_pages(store::RangeRequest request);
  async::Task<Result<>> run_readings();
  async::Task<Result<>> run_compactor();
  void note(store::Revision seen, store::Revision compacted);

  async::Executor executor_;
  async::Time& time_;
  ClusterOptions options_;
  async::Scope background_;
  std::unique_ptr<Client> client_;
  std::unique_ptr<ClusterWatches> watches_;
  store::Revision current_{};
  store::Revision compacted_{};
  std::shared_ptr<Reading> reading_;  // asked for, not begun
  async::Notify reading_asked_;
  bool closed_ = false;
};

}  // namespace monopod::etcd
