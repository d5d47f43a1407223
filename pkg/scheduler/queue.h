// Pods that wait for a node: active (by QueueSort), backing off after a failed attempt (1 s doubling to 10 s), or unschedulable
// until something changes (at the latest after five minutes).
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>

#include "async/time.h"
#include "scheduler/types.h"

namespace monopod::scheduler {

class SchedulingQueue {
 public:
  using Before = std::function<bool(const PodInfo&, const PodInfo&)>;
  SchedulingQueue(async::Executor executor, async::Time& time, Before before);

  // A pod to be placed, new or changed. A change to its spec or labels may make an unschedulable one fit.
  void add(PodInfoPtr pod);
  void remove(const std::string& key);
  // After an attempt found no place; woken by on_cluster_change().
  void park(PodInfoPtr pod);
  // After an attempt failed by an error: comes back after its back-off.
  void retry(PodInfoPtr pod);
  // A node or a placed pod changed: everything parked is tried again (respecting back-off).
  void on_cluster_change();

  // The next pod; waits. kCancelled only. The caller adds, parks or retries it afterwards.
  async::Task<Result<PodInfoPtr>> pop();

  std::size_t active() const { return active_.size(); }
  std::size_t parked() const { return parked_.size(); }

 private:
  void move_due();
  MonoTime backoff_end(const PodInfo& pod) const;

  struct Order {
    Before before;
    bool operator()(const PodInfoPtr& a, const PodInfoPtr& b) const {
      if (before(*a, *b)) return true;
      if (before(*b, *a)) return false;
      return a->key() < b->key();
    }
  };
  async::Time& time_;
  std::set<PodInfoPtr, Order> active_;
  std::map<std::string, PodInfoPtr> by_key_;              // active and backing off
  std::multimap<MonoTime, std::string> backing_off_;
  struct Parked {
    PodInfoPtr pod;
    MonoTime tried;
  };
  std::map<std::string, Parked> parked_;
  async::Notify changed_;
};

}  // namespace monopod::scheduler
