// Charges writes to the ResourceQuotas of their namespace, and counts those anew.
//
//   create ─> [turn of the namespace: check all quotas ─> status.used += demand (compare and swap)] ─> store ─> in the cache
//                                                            └── pending: held here until the object is in the cache, or never will be
//   recount ─> [turn: objects in the caches + pending ─> status.used]
//
// Within a turn status.used = objects in the caches + pending + what recounts have yet to give back: so it is never too low.
// Nothing is subtracted: a charge whose object was not stored is given back by the recount that on_stale() asks for.
#pragma once

#include <list>
#include <set>

#include "api/admission/admission.h"
#include "api/quota/check.h"
#include "api/quota/counter.h"
#include "store/backend.h"

namespace monopod::api {

class Registry;

// A place in the line of a namespace; the first one has the turn. Leaves the line when destroyed.
class QuotaTurn {
 public:
  using Lines = std::map<std::string, std::list<QuotaTurn*>, std::less<>>;

  QuotaTurn(async::Executor executor, Lines& lines, const std::string& ns);
  ~QuotaTurn();
  QuotaTurn(const QuotaTurn&) = delete;
  QuotaTurn& operator=(const QuotaTurn&) = delete;

  // kDeadlineExceeded after kQuotaTurnMax.
  async::Task<Result<>> wait(async::Time& time);

 private:
  Lines& lines_;
  Lines::iterator line_;
  async::Event reached_;
};

class QuotaLedger final : public QuotaCounter {
 public:
  // The registry is used from the first charge on: it may be built after this.
  QuotaLedger(async::Executor executor, store::Backend& store, CacheSet& caches, Registry& registry, async::Time& time);

  // One look-up in the cache.
  bool has_quota(std::string_view ns) const;
  // Refuses, or charges (but for a dry run) what the write takes.
  async::Task<Outcome<>> charge(AdmissionRequest& request);

  async::Task<Result<>> recount(std::string ns, std::string name) override;
  void on_stale(std::function<void(std::string_view key)> callback) override { on_stale_ = std::move(callback); }

 private:
  // A charge whose object is not in the cache yet.
  struct Pending {
    const Resource* resource;
    std::shared_ptr<const void> keep;  // what holds the row of a custom kind
    std::string ns;
    std::string key;
    json::Value object;
    json::Value old;            // null for a create
    std::int64_t revision = 0;  // of old
    std::vector<std::string> quotas;
  };
  using PendingPtr = std::shared_ptr<const Pending>;
  struct Share {
    std::string quota;
    Amounts amounts;
  };
  struct Count;

  std::vector<ObjectPtr> quotas_of(std::string_view ns) const;
  bool is_limited(const AdmissionRequest& request) const;
  Outcome<std::vector<Share>> weigh(const AdmissionRequest& request) const;
  void hold(AdmissionRequest& request, const std::vector<Share>& shares);
  void let_go(const PendingPtr& pending, bool committed);
  async::Task<Outcome<>> write(AdmissionRequest& request, const Share& share);
  async::Task<Outcome<>> recount_in_turn(std::string ns, std::string name);
  async::Task<Result<>> settle();
  async::Task<Outcome<json::Value>> counted(const json::Value& quota);
  void snapshot(Count& count, const std::string& ns) const;
  void count_pending(Count& count) const;

  async::Executor executor_;
  store::Backend& store_;
  CacheSet& caches_;
  Registry& registry_;
  async::Time& time_;
  QuotaTurn::Lines lines_;
  std::set<PendingPtr> pending_;
  std::set<std::string, std::less<>> stale_;  // quotas that hold a charge of nothing
  std::function<void(std::string_view key)> on_stale_;
};

}  // namespace monopod::api
