// The scheduler: gives every pod without a node one. One cycle at a time decides; binding goes on in the background while
// the next cycle counts the pod as placed already (assumed).
#pragma once

#include <map>
#include <memory>
#include <set>
#include <string>

#include "client/recorder.h"
#include "scheduler/framework.h"
#include "scheduler/queue.h"

namespace monopod::scheduler {

// Everything outlives the scheduler.
struct SchedulerParts {
  async::Executor executor;
  client::Api& api;
  client::InformerFactory& informers;
  async::Time& time;
  Rng& rng;
};

struct SchedulerOptions {
  std::string name = "default-scheduler";              // pods with this spec.schedulerName are ours
  Duration plugin_limit = std::chrono::milliseconds(5);  // a slower plugin is named in the log
};

class Scheduler {
 public:
  Scheduler(SchedulerParts parts, SchedulerOptions options);
  // Until cancelled.
  async::Task<Result<>> run();

 private:
  void on_pod(const client::ObjectPtr& old, const client::ObjectPtr& now);
  void on_node(const client::ObjectPtr& old, const client::ObjectPtr& now);
  void place(PodInfoPtr pod);       // counts it on its node
  void unplace(const std::string& key);
  Snapshot snapshot() const;

  async::Task<Result<>> schedule_forever(async::Scope& bindings);
  async::Task<Result<>> schedule_one(PodInfoPtr pod, async::Scope& bindings);
  async::Task<Result<>> bind(PodInfoPtr pod, std::shared_ptr<CycleState> state, std::string node);
  async::Task<Result<>> report_failure(PodInfoPtr pod, std::string message, std::string nominated);

  SchedulerParts parts_;
  SchedulerOptions options_;
  client::Informer& pods_;
  client::Informer& nodes_;
  Framework framework_;
  SchedulingQueue queue_;
  client::EventRecorder recorder_;
  std::map<std::string, std::shared_ptr<NodeInfo>> node_infos_;
  std::map<std::string, PodInfoPtr> placed_;  // by key, assumed ones included
  std::set<std::string> assumed_;             // placed by us, not yet seen from the informer
};

}  // namespace monopod::scheduler
