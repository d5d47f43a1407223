// metrics.k8s.io/v1beta1: what nodes and pods use, from the nodes' own /stats/summary (kubelet's stats v1alpha1). What a metrics
// server does, without its polling: nothing is read until somebody asks.
//
//   asked ──> answer younger than 5 s?  ──yes──> the same once more
//                 │no
//                 ├─ a look at the nodes 5 to 60 s ago ──> one more now, rates between the two
//                 └─ none ──> one, a second's wait, one more
#pragma once

#include <map>
#include <string>
#include <vector>

#include "api/cache/cache_set.h"
#include "api/node_handlers.h"
#include "api/registry/computed.h"
#include "async/event.h"
#include "async/time.h"

namespace monopod::api {

class UsageMetrics final : public ComputedObjects {
 public:
  // All outlive it.
  UsageMetrics(async::Executor executor, CacheSet& caches, NodeHandlers& nodes, async::Time& time);
  std::string_view group() const override { return "metrics.k8s.io"; }
  async::Task<Outcome<std::vector<ObjectPtr>>> list(Selection selection) override;

 private:
  struct Reading {
    WallTime at{};
    std::uint64_t cpu_ns = 0;         // since the container's start
    std::uint64_t memory_bytes = 0;   // working set
    std::string started;
  };
  using Readings = std::map<std::string, Reading, std::less<>>;  // by "node", or "namespace/pod/container"
  struct Sample {
    MonoTime taken{};
    Readings nodes;
    Readings containers;
  };
  struct Usage {
    std::uint64_t nanocores = 0;
    std::uint64_t memory_bytes = 0;
    WallTime at{};
    Duration window{};
  };
  using Usages = std::map<std::string, Usage, std::less<>>;

  async::Task<Result<>> refresh();
  async::Task<Result<>> read_all();
  async::Task<Result<Sample>> take_sample();
  async::Task<Result<>> read_node(std::string name, Sample& into);
  std::vector<ObjectPtr> node_objects(const Selection& selection) const;
  std::vector<ObjectPtr> pod_objects(const Selection& selection) const;

  async::Executor executor_;
  CacheSet& caches_;
  NodeHandlers& nodes_;
  async::Time& time_;
  Sample last_;
  Usages node_usage_, container_usage_;  // between last_ and the one before
  bool known_ = false;
  bool busy_ = false;       // one reader at a time: see free_
  async::Notify free_;
};

}  // namespace monopod::api
