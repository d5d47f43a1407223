// One of several replicas leads: client-go's leader election over a Lease. The leader renews; the others watch the record by their own clock (the time
// in it is another's and proves nothing) and take over when it has not changed for lease_duration.
//
//   LeaderElector elector(api, time, rng, {.ns = "kube-system", .name = "my-controller", .identity = host + "_" + uuid});
//   co_await elector.run(lead)      // lead() runs while we lead and is cancelled when that ends
#pragma once

#include <functional>

#include "async/time.h"
#include "base/rng.h"
#include "client/api.h"

namespace monopod::client {

struct LeaderElectionOptions {
  std::string ns, name;   // of the Lease
  std::string identity;   // ours; no two replicas have the same
  // client-go's own defaults. lease_duration > renew_deadline > 1.2 * retry_period, else kInvalidArgument.
  Duration lease_duration = std::chrono::seconds(15);  // how long the others wait before they take over
  Duration renew_deadline = std::chrono::seconds(10);  // how long the leader tries before it gives up
  Duration retry_period = std::chrono::seconds(2);
  bool release_on_cancel = true;                       // who stops says so, and the next need not wait
  std::function<void(const std::string& identity)> on_new_leader = {};
};

class LeaderElector {
 public:
  // All outlive it.
  LeaderElector(Api& api, async::Time& time, Rng& rng, LeaderElectionOptions options) : api_(api), time_(time), rng_(rng), options_(std::move(options)) {}

  // Waits until we lead, runs lead, and returns when it has ended, with its result; or with kUnavailable when the lease was lost, after lead was cancelled
  // and has unwound. When cancelled, lead ends first, then the lease is released.
  async::Task<Result<>> run(std::function<async::Task<Result<>>()> lead);

  bool leading() const { return leading_; }
  const std::string& leader() const { return observed_.holder; }  // as last seen; empty: none

 private:
  struct Record {
    std::string holder;
    std::int64_t transitions = 0;
    std::string acquired, renewed, version;
    bool operator==(const Record&) const = default;
  };
  Result<> check() const;
  async::Task<Result<>> acquire();
  async::Task<Result<>> renew();  // until it is lost
  async::Task<Result<>> lead_and_renew(std::function<async::Task<Result<>>()> lead);
  // Creates, renews or takes over. False: another leads, or the API did not answer.
  async::Task<Result<bool>> try_acquire_or_renew();
  async::Task<> release();
  async::Task<Result<>> give_back();
  Duration jittered() const { return options_.retry_period + Duration(static_cast<Duration::rep>(rng_.below(static_cast<std::uint64_t>((options_.retry_period * 12 / 10).count())))); }
  void observe(Record record, MonoTime now);

  Api& api_;
  async::Time& time_;
  Rng& rng_;
  LeaderElectionOptions options_;
  Record observed_;
  MonoTime observed_at_{};
  bool leading_ = false;
  std::string told_;
};

}  // namespace monopod::client
