// One pod on this node, from the API's wish to what runs. Level-based: whatever woke it, it looks at the pod, at what is true,
// and does the next thing.
//
//            update, exit, probe, object changed, time
//                          |
//        +-----------------v-----------------+   deleted, evicted, deadline   +-------------+  gone   +---------+
//        |  sync: volumes -> sandbox ->      |------------------------------->| terminating |-------->| cleanup |--> end
//        |  init -> mains, kills, restarts   |                                +-------------+         +---------+
//        +-----------------+-----------------+                                       ^
//                          | nothing will run again                                  | deleted
//                          v                                                         |
//                      finished: sidecars and sandbox go, dead containers stay for their logs
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>

#include "agent/backoff.h"
#include "agent/objects.h"
#include "agent/pod_actions.h"
#include "agent/pod_status.h"
#include "agent/prober.h"
#include "async/scope.h"
#include "async/time.h"

namespace monopod::agent {

// What the worker needs of volumes; VolumeManager in production.
class PodVolumes {
 public:
  virtual ~PodVolumes() = default;
  virtual async::Task<Result<std::map<std::string, std::string>>> set_up(const Pod& pod, PodFacts facts) = 0;
  virtual std::optional<MonoTime> refresh_at(const std::string& pod_uid) const = 0;
  virtual async::Task<Result<>> tear_down(std::string pod_uid) = 0;
  // Mounts go, what is on disk stays: as a reboot would leave it.
  virtual async::Task<Result<>> unmount(std::string pod_uid) = 0;
};

// Shared by all workers; outlives them.
struct WorkerServices {
  async::Executor executor;
  async::Time& time;
  PodRuntime& runtime;
  PodVolumes& volumes;
  ObjectReader& objects;
  Prober& prober;
  // About a pod, or one of its containers where container is not empty.
  std::function<void(const Pod& pod, std::string_view container, std::string type, std::string reason, std::string message)> event;
  std::function<void(const Pod& pod, json::Value status)> publish;
  // Tells the API that nothing is left (DELETE, grace 0, uid precondition). Absent already is no error.
  std::function<async::Task<Result<>>(std::string ns, std::string name, std::string uid)> confirm_deleted;
  std::function<PodFacts(const Pod& pod)> facts;
  std::function<std::vector<ServiceAddress>(const Pod& pod)> services;
  // Fetches an image that is not there; empty: nothing can be fetched.
  std::function<async::Task<Result<>>(std::string reference, const Pod& pod)> pull;
};

class PodWorker {
 public:
  // found: what runs already, oldest first.
  PodWorker(WorkerServices& services, Pod pod, std::optional<Sandbox> sandbox, std::vector<Instance> found);
  ~PodWorker();

  // Until the pod is gone from this node.
  async::Task<Result<>> run();

  // --- news, from anywhere on the loop
  void update(Pod pod);
  void gone(std::int64_t grace_seconds = 1);  // nobody wants it any more (no object, no manifest): end it, tell nobody
  void container_ended(const Instance& instance);
  void objects_changed();
  // Ends the pod by the node's own decision: status Failed with this reason, grace at most as given.
  void fail_pod(std::string reason, std::string message, std::optional<std::int64_t> grace_seconds = std::nullopt);
  // The node goes down: containers end within grace, mounts and namespaces go, the pod stays in the API and on disk, to start again.
  void stop(std::int64_t grace_seconds);

  const Pod& pod() const { return *pod_; }
  std::shared_ptr<const Pod> shared_pod() const { return pod_; }
  const PodState& state() const { return state_; }
  const json::Value& status() const { return status_; }
  bool ended() const { return ended_; }

 private:
  enum class Ending { kNone, kFailed, kDeleted, kGone, kStopped };

  // pod_worker.cc
  void adopt(std::vector<Instance> found);
  void poke() { dirty_.set(); }
  bool must_end() const { return ending_ != Ending::kNone; }
  void begin_ending(Ending why, std::int64_t grace_seconds);
  async::Task<Result<>> work();
  async::Task<Result<>> sync();
  async::Task<Result<bool>> sync_volumes();
  async::Task<Result<bool>> sync_sandbox();
  void check_deadline();
  void refresh_flags();
  void wake_at(std::optional<MonoTime> when);
  void publish();
  void event(std::string_view container, std::string type, std::string reason, std::string message);

  // pod_start.cc
  async::Task<Result<>> start(std::string name);
  async::Task<Result<std::optional<ImageFacts>>> ensure_image(std::shared_ptr<const Pod> pod, const Container& container, ContainerState& state);
  async::Task<Result<ContainerPlan>> make_plan(const Pod& pod, const Container& container, ImageFacts image);
  Result<std::vector<Bind>> make_binds(const Pod& pod, const Container& container, const std::map<std::string, std::string>& variables) const;
  async::Task<Result<>> run_post_start(std::shared_ptr<const Pod> pod, const Container& container, std::string id);
  void hold(ContainerState& state, std::string reason, std::string message, Duration wait);
  async::Task<> forget_older(std::string name);

  // pod_stop.cc
  async::Task<Result<>> kill(std::string name, std::string message, std::optional<std::int64_t> grace_seconds);
  async::Task<Result<>> end_containers();
  async::Task<Result<>> finish();
  async::Task<Result<>> rest();
  async::Task<Result<>> clean_up();
  async::Task<Result<>> kill_at_deadline();

  // pod_probes.cc
  void start_probes(const std::string& name);
  async::Task<Result<>> probe_loop(std::string name, std::string id, ProbeKind kind, Probe probe);
  void on_probe(const std::string& name, ProbeKind kind, bool healthy);

  WorkerServices& services_;
  std::shared_ptr<const Pod> pod_;
  PodState state_;
  json::Value status_;
  async::Event dirty_;
  async::Event stopping_;  // set once it must end: cuts short what may be cut short
  Ending ending_ = Ending::kNone;
  MonoTime kill_deadline_{};   // while ending
  async::Scope probes_;
  async::Scope helpers_;
  Backoff restarts_{{.first_is_free = true}};
  Backoff pulls_;
  std::map<std::string, std::string> volume_paths_;
  bool volumes_current_ = false;
  bool volumes_ever_ = false;
  MonoTime volumes_retry_at_{};
  Duration volumes_wait_{};
  MonoTime sandbox_retry_at_{};
  std::optional<MonoTime> next_wake_;
  std::map<std::string, std::shared_ptr<async::Event>> exits_;  // by container id
  bool finished_ = false;
  bool ended_ = false;
};

// Whether a container's image may, must or must not be fetched, by spec or by its tag.
std::string effective_pull_policy(const Container& container);
// "SIGTERM", "TERM", "15" to a number; SIGTERM where it is none.
int parse_signal(std::string_view name);

}  // namespace monopod::agent
