// Clients of a store, etcd's kind and Kubernetes' kind, that record all they do and are told.
#pragma once

#include <deque>
#include <map>

#include "async/scope.h"
#include "async/time.h"
#include "base/rng.h"
#include "tests/robustness/store/history/history.h"

namespace monopod::testing {

// A watch being read. The pump owns the reading, this the watch.
struct LiveWatch {
  WatchRun* run = nullptr;
  std::unique_ptr<store::Watch> watch{};
  std::int64_t reached = 0;  // by events or progress
  bool over = false;
};

class Traffic {
 public:
  // keys: how many; fewer means more conflicts.
  Traffic(History& history, Rng& rng, async::Time& time, async::Executor executor) : history_(history), rng_(rng), time_(time), executor_(executor) {}

  // A life of the store begins and ends. Between them the backend must live.
  void start(store::Backend& backend, async::Scope& watchers);
  void stop();

  // Makes calls until count are made or the store is gone.
  async::Task<Result<>> run_client(int client, int count);
  // Opens the auditing watch where it stopped, and some of those that a crash ended.
  async::Task<Result<>> resume_watches();
  async::Task<Result<>> turns(std::uint64_t count);  // of the loop

  const std::deque<LiveWatch>& watches() const { return live_; }
  std::deque<LiveWatch>& watches() { return live_; }
  async::Task<Result<std::vector<store::LeaseId>>> read_leases(int client);
  async::Task<Result<>> read_everything(int client);
  int watches_max = 12;  // open at a time
  bool read_status = true;

 private:
  async::Task<Result<store::TxnResult>> txn(int client, store::Txn txn);
  async::Task<Result<store::RangeResult>> range(int client, store::RangeRequest request);
  async::Task<Result<>> one_call(int client);
  async::Task<Result<>> put(int client);
  async::Task<Result<>> read(int client);
  async::Task<Result<>> remove(int client);
  async::Task<Result<>> guarded(int client);
  async::Task<Result<>> list_in_pages(int client);
  async::Task<Result<>> random_txn(int client);
  async::Task<Result<>> grant(int client);
  async::Task<Result<>> revoke(int client);
  async::Task<Result<>> keep_alive(int client);
  async::Task<Result<>> compact(int client);
  async::Task<Result<>> open_watch(store::WatchRequest request, bool auditor);
  async::Task<Result<>> pump(LiveWatch& live, bool auditor);

  store::WatchRequest random_watch();
  store::Txn make_txn(int depth, std::map<std::string, bool>& used, int& values);
  store::Compare make_compare();
  std::string key();
  std::pair<std::string, std::string> some_range();
  std::int64_t some_revision();
  store::LeaseId some_lease();
  SharedBytes value(int& values);
  void learn(const store::RangeResult& result);

  History& history_;
  Rng& rng_;
  async::Time& time_;
  async::Executor executor_;
  store::Backend* backend_ = nullptr;
  async::Scope* watchers_ = nullptr;
  std::deque<LiveWatch> live_;
  std::vector<store::WatchRequest> interrupted_;  // to be resumed
  std::int64_t newest_ = 1;                       // seen by anybody
  std::int64_t audited_ = 1;                      // the auditing watch has everything up to here
  std::int64_t compacted_ = 0;                    // asked for
  std::map<std::string, std::int64_t> mods_;      // as last seen
  std::vector<store::LeaseId> leases_;
  std::int64_t next_lease_ = 1000;
};

}  // namespace monopod::testing
