// The scheduling framework: what a plugin can take part in, in the order of one pod's way to a node (KEP-624).
//
//   PreEnqueue ─► queue (QueueSort) ─► PreFilter ─► Filter ─┬─► PreScore ─► Score+Normalize ─► Reserve ─► Permit ─► PreBind ─► Bind ─► PostBind
//                                                           └─ none fits: PostFilter (preemption)
#pragma once

#include <any>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "async/time.h"
#include "base/clock.h"
#include "scheduler/types.h"

namespace monopod::scheduler {

enum class Verdict {
  kSuccess,
  kUnschedulable,                // may fit after something changes
  kUnschedulableAndUnresolvable,  // preemption will not help either
  kWait,                         // Permit only: allowed later
  kSkip,                         // the plugin has nothing to say about this pod; its Filter or Score is not called
  kError,
};

struct Status {
  Verdict verdict = Verdict::kSuccess;
  std::string reason;  // as people read it in FailedScheduling: "Insufficient cpu"

  bool ok() const { return verdict == Verdict::kSuccess; }
};

// What plugins hand to themselves from one point to the next within one cycle.
class CycleState {
 public:
  void put(std::string key, std::any value) { values_[std::move(key)] = std::move(value); }
  template <typename T>
  const T* find(std::string_view key) const {
    auto it = values_.find(key);
    return it == values_.end() ? nullptr : std::any_cast<T>(&it->second);
  }

 private:
  std::map<std::string, std::any, std::less<>> values_;
};

using Snapshot = std::vector<std::shared_ptr<const NodeInfo>>;
inline constexpr std::int64_t kScoreMax = 100;

// A plugin overrides what it takes part in; points() says which, so that nothing is called in vain. Plugins run between two
// awaits of the loop except where they return a Task; they keep no state about pods outside CycleState.
class Plugin {
 public:
  enum Point : unsigned {
    kQueueSort = 1, kPreEnqueue = 2, kPreFilter = 4, kFilter = 8, kPostFilter = 16, kPreScore = 32,
    kScore = 64, kReserve = 128, kPermit = 256, kPreBind = 512, kBind = 1024, kPostBind = 2048,
  };
  virtual ~Plugin() = default;
  virtual std::string_view name() const = 0;
  virtual unsigned points() const = 0;

  virtual bool goes_before(const PodInfo&, const PodInfo&) const { return false; }
  virtual Status pre_enqueue(const PodInfo&) const { return {}; }
  virtual Status pre_filter(CycleState&, const PodInfo&, const Snapshot&) const { return {}; }
  virtual Status filter(const CycleState&, const PodInfo&, const NodeInfo&) const { return {}; }
  // Makes room; on success nominated is the node to try next time.
  virtual async::Task<Status> post_filter(CycleState&, const PodInfo&, const Snapshot&, std::string& nominated);
  virtual Status pre_score(CycleState&, const PodInfo&, const Snapshot&) const { return {}; }
  virtual std::int64_t score(const CycleState&, const PodInfo&, const NodeInfo&) const { return 0; }
  // Brings raw scores, one a node, into 0..kScoreMax.
  virtual void normalize(const CycleState&, const PodInfo&, std::vector<std::int64_t>&) const {}
  virtual std::int64_t weight() const { return 1; }
  virtual Status reserve(CycleState&, const PodInfo&, std::string_view) { return {}; }
  virtual void unreserve(CycleState&, const PodInfo&, std::string_view) {}  // idempotent
  virtual async::Task<Status> permit(CycleState&, const PodInfo&, std::string_view node);
  virtual async::Task<Status> pre_bind(CycleState&, const PodInfo&, std::string_view node);
  // kSkip: another binder's business.
  virtual async::Task<Status> bind(CycleState&, const PodInfo&, std::string_view node);
  virtual void post_bind(CycleState&, const PodInfo&, std::string_view) {}
  // How long one of its tasks may take. The default: they wait for the API, which waits for the disk: an SD card that stalls for seconds is no
  // reason to give a pod back, since its binding may be written all the same.
  virtual Duration wait_max() const { return std::chrono::seconds(30); }
};

// What plugins are made of; everything outlives them.
struct PluginParts {
  async::Executor executor;
  client::Api& api;
  client::InformerFactory& informers;
};
// The plugins in execution order; see plugins.cc.
std::vector<std::unique_ptr<Plugin>> make_plugins(const PluginParts& parts);

// Why a pod fits nowhere, as FailedScheduling says it.
struct Diagnosis {
  std::size_t nodes = 0;
  std::map<std::string, std::size_t> reasons;  // text -> nodes
  bool resolvable = false;                     // some node failed only with kUnschedulable
  std::string before;                          // said by PreFilter, of no node in particular

  // "0/3 nodes are available: 1 Insufficient cpu, 2 node(s) were unschedulable."
  std::string message() const;
};

struct Placement {
  std::string node;  // empty: fits nowhere
  Diagnosis diagnosis;
};

// Runs the plugins. The time each takes is measured; one over its limit is named in the log.
class Framework {
 public:
  Framework(std::vector<std::unique_ptr<Plugin>> plugins, async::Time& time, Duration plugin_limit);

  bool goes_before(const PodInfo& a, const PodInfo& b) const;
  Status pre_enqueue(const PodInfo& pod) const;
  // PreFilter to Score: the node to take, or why none.
  Result<Placement> place(CycleState& state, const PodInfo& pod, const Snapshot& nodes) const;
  async::Task<Status> post_filter(CycleState& state, const PodInfo& pod, const Snapshot& nodes, std::string& nominated);
  Status reserve(CycleState& state, const PodInfo& pod, std::string_view node);
  void unreserve(CycleState& state, const PodInfo& pod, std::string_view node);
  // Permit, PreBind, Bind, PostBind.
  async::Task<Status> bind(CycleState& state, const PodInfo& pod, std::string node);

 private:
  void filter_node(const CycleState& state, const PodInfo& pod, const NodeInfo& node, const std::vector<bool>& skipped, Diagnosis& diagnosis, bool& fits) const;
  std::size_t best(CycleState& state, const PodInfo& pod, const Snapshot& feasible) const;
  async::Task<Status> limited(const Plugin& plugin, std::string_view point, async::Task<Status> call);

  std::vector<std::unique_ptr<Plugin>> plugins_;
  async::Time& time_;
  Duration plugin_limit_;
};

}  // namespace monopod::scheduler
