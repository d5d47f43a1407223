#include "agent/pod_status.h"

#include "agent/backoff.h"
#include "agent/pod_actions.h"
#include "agent/resources.h"
#include "agent/test_pods.h"

namespace monopod::agent {
namespace {

Instance instance(RunState state, int exit_code = 0, int attempt = 0) {
  Instance i;
  i.id = "c1";
  i.state = state;
  i.exit_code = exit_code;
  i.attempt = attempt;
  i.hash = "a|";
  return i;
}

PodState with_sandbox() {
  PodState s;
  s.sandbox = Sandbox{.ready = true, .ips = {"10.1.1.1"}};
  return s;
}

ContainerState running(bool ready = true) {
  ContainerState c;
  c.current = instance(RunState::kRunning);
  c.started = true;
  c.ready = ready;
  return c;
}
ContainerState ended(int code, int attempt = 0) {
  ContainerState c;
  c.current = instance(RunState::kExited, code, attempt);
  return c;
}

TEST(Status, PhaseFollowsTheContainers) {
  struct Row {
    const char* name;
    const char* policy;
    std::vector<ContainerState> mains;
    const char* phase;
  };
  const Row rows[] = {{"nothing yet", "Always", {{}}, "Pending"},
                      {"one of two runs", "Always", {running(), {}}, "Pending"},
                      {"all run", "Always", {running(), running(false)}, "Running"},
                      {"crashed, will restart", "Always", {ended(1)}, "Running"},
                      {"done, policy Never", "Never", {ended(0)}, "Succeeded"},
                      {"failed, policy Never", "Never", {ended(3)}, "Failed"},
                      {"one failed of two", "Never", {ended(3), ended(0)}, "Failed"},
                      {"one still runs", "Never", {ended(3), running()}, "Running"},
                      {"done, OnFailure", "OnFailure", {ended(0)}, "Succeeded"},
                      {"failed, OnFailure", "OnFailure", {ended(2)}, "Running"}};
  for (const Row& row : rows) {
    std::string spec = std::string("{\"restartPolicy\":\"") + row.policy + "\",\"containers\":[{\"name\":\"a\"}" + (row.mains.size() > 1 ? ",{\"name\":\"b\"}" : "") + "]}";
    Pod pod = make_pod(spec);
    PodState s = with_sandbox();
    for (std::size_t i = 0; i < row.mains.size(); ++i) s.containers[i == 0 ? "a" : "b"] = row.mains[i];
    EXPECT_EQ(compute_phase(pod, s), row.phase) << row.name;
  }
}

TEST(Status, ReadyPodHasAllFiveConditionsAndAddresses) {
  Pod pod = make_pod(R"({"containers":[{"name":"a","image":"busybox"}]})", R"("generation":3)");
  PodState s = with_sandbox();
  s.containers["a"] = running();
  json::Value status = compute_status(pod, s, {.host_ip = "192.168.0.5"}, json::Value());
  EXPECT_EQ(json::get_string(status, {"phase"}), "Running");
  EXPECT_EQ(json::get_int(status, {"observedGeneration"}), 3);
  EXPECT_EQ(json::get_string(status, {"podIP"}), "10.1.1.1");
  EXPECT_EQ(json::get_string(status, {"hostIP"}), "192.168.0.5");
  EXPECT_EQ(json::get_string(status, {"qosClass"}), "BestEffort");
  std::map<std::string, std::string> conditions;
  for (const auto& c : *json::get_array(status, {"conditions"})) conditions[std::string(json::get_string(c, {"type"}))] = json::get_string(c, {"status"});
  EXPECT_EQ(conditions, (std::map<std::string, std::string>{{"PodReadyToStartContainers", "True"}, {"Initialized", "True"}, {"Ready", "True"}, {"ContainersReady", "True"}, {"PodScheduled", "True"}}));
}

TEST(Status, TransitionTimesMoveOnlyWithTheStatus) {
  Pod pod = make_pod(R"({"containers":[{"name":"a"}]})");
  PodState s = with_sandbox();
  s.containers["a"] = running(false);
  WallTime t0{std::chrono::seconds(1000)};
  json::Value first = compute_status(pod, s, {.now = t0}, json::Value());
  s.containers["a"].ready = true;
  json::Value second = compute_status(pod, s, {.now = t0 + std::chrono::seconds(60)}, first);
  std::map<std::string, std::string> at;
  for (const auto& c : *json::get_array(second, {"conditions"})) at[std::string(json::get_string(c, {"type"}))] = json::get_string(c, {"lastTransitionTime"});
  EXPECT_EQ(at["PodScheduled"], "1970-01-01T00:16:40Z");
  EXPECT_EQ(at["Ready"], "1970-01-01T00:17:40Z");
}

TEST(Status, CrashLoopShowsWaitingAndTheLastExit) {
  Pod pod = make_pod(R"({"containers":[{"name":"a"}]})");
  PodState s = with_sandbox();
  s.containers["a"] = ended(2, 4);
  s.containers["a"].waiting_reason = "CrashLoopBackOff";
  s.containers["a"].waiting_message = "back-off 40s restarting failed container=a pod=web_default(u1)";
  json::Value status = compute_status(pod, s, {}, json::Value());
  const json::Value& c = json::get_array(status, {"containerStatuses"})->at(0);
  EXPECT_EQ(json::get_string(c, {"state", "waiting", "reason"}), "CrashLoopBackOff");
  EXPECT_EQ(json::get_int(c, {"lastState", "terminated", "exitCode"}), 2);
  EXPECT_EQ(json::get_string(c, {"lastState", "terminated", "reason"}), "Error");
  EXPECT_EQ(json::get_int(c, {"restartCount"}), 4);
  EXPECT_EQ(json::get_string(status, {"phase"}), "Running");
}

TEST(Status, WaitingReasonDependsOnInitContainers) {
  Pod plain = make_pod(R"({"containers":[{"name":"a"}]})");
  Pod with_init = make_pod(R"({"initContainers":[{"name":"i"}],"containers":[{"name":"a"}]})");
  EXPECT_EQ(json::get_string(container_state(plain, plain.containers[0], {}), {"waiting", "reason"}), "ContainerCreating");
  EXPECT_EQ(json::get_string(container_state(with_init, with_init.containers[0], {}), {"waiting", "reason"}), "PodInitializing");
}

TEST(Decide, FollowsTheInitSequence) {
  Pod pod = make_pod(R"({"initContainers":[{"name":"i1"},{"name":"side","restartPolicy":"Always"},{"name":"i2"}],"containers":[{"name":"a"},{"name":"b"}]})");
  for (auto* list : {&pod.init_containers, &pod.containers})
    for (Container& c : *list) c.hash = "a|";
  using Names = std::vector<std::string>;
  PodState s;
  MonoTime now{};
  EXPECT_TRUE(decide(pod, s, now).start_sandbox);
  s = with_sandbox();
  EXPECT_EQ(decide(pod, s, now).start, Names{"i1"});
  s.containers["i1"] = running();
  EXPECT_EQ(decide(pod, s, now).start, Names{});
  s.containers["i1"] = ended(0);
  EXPECT_EQ(decide(pod, s, now).start, Names{"side"});
  s.containers["side"] = running();
  s.containers["side"].started = false;
  EXPECT_EQ(decide(pod, s, now).start, Names{}) << "a sidecar holds the sequence until it has started";
  s.containers["side"].started = true;
  EXPECT_EQ(decide(pod, s, now).start, Names{"i2"});
  s.containers["i2"] = ended(1);
  EXPECT_EQ(decide(pod, s, now).start, Names{"i2"}) << "a failed init container is retried";
  s.containers["i2"] = ended(0);
  EXPECT_EQ(decide(pod, s, now).start, (Names{"a", "b"}));
  s.initialized_once = true;
  s.containers["a"] = running();
  s.containers["b"] = running();
  s.containers["side"] = ended(1);
  EXPECT_EQ(decide(pod, s, now).start, Names{"side"}) << "a sidecar is restarted whatever the policy";
}

TEST(Decide, EndsByPolicyAndWaitsForBackOff) {
  Pod never = make_pod(R"({"restartPolicy":"Never","containers":[{"name":"a"}]})");
  Pod always = make_pod(R"({"containers":[{"name":"a"}]})");
  never.containers[0].hash = always.containers[0].hash = "a|";
  PodState s = with_sandbox();
  s.containers["a"] = ended(1);
  EXPECT_TRUE(decide(never, s, MonoTime{}).finished);
  EXPECT_EQ(decide(always, s, MonoTime{}).start, std::vector<std::string>{"a"});
  s.containers["a"].retry_at = MonoTime{} + std::chrono::seconds(10);
  Actions later = decide(always, s, MonoTime{});
  EXPECT_TRUE(later.start.empty());
  EXPECT_EQ(later.wake_at, MonoTime{} + std::chrono::seconds(10));
  EXPECT_EQ(decide(always, s, MonoTime{} + std::chrono::seconds(10)).start, std::vector<std::string>{"a"});
}

TEST(Decide, KillsWhatFailedItsProbeOrChanged) {
  Pod pod = make_pod(R"({"containers":[{"name":"a"}]})");
  pod.containers[0].hash = "a|";
  PodState s = with_sandbox();
  s.containers["a"] = running();
  EXPECT_TRUE(decide(pod, s, MonoTime{}).kill.empty());
  s.containers["a"].kill_reason = "Container a failed liveness probe, will be restarted";
  ASSERT_EQ(decide(pod, s, MonoTime{}).kill.size(), 1U);
  s.containers["a"].kill_reason.reset();
  pod.containers[0].hash = "a|new";
  ASSERT_EQ(decide(pod, s, MonoTime{}).kill.size(), 1U);
  EXPECT_EQ(decide(pod, s, MonoTime{}).kill[0].message, "Container a definition changed, will be restarted");
}

TEST(Decide, FailedInitEndsThePodUnderNever) {
  Pod pod = make_pod(R"({"restartPolicy":"Never","initContainers":[{"name":"i"}],"containers":[{"name":"a"}]})");
  PodState s = with_sandbox();
  s.containers["i"] = ended(1);
  EXPECT_TRUE(decide(pod, s, MonoTime{}).finished);
  EXPECT_EQ(compute_phase(pod, s), "Failed");
}

TEST(Backoff, DoublesToTheLimitAndIsForgotten) {
  using std::chrono::seconds;
  Backoff b({.first_is_free = true});
  MonoTime t{};
  std::vector<std::int64_t> waits;
  for (int i = 0; i < 8; ++i) {
    b.failed("k", t, t);
    waits.push_back(std::chrono::duration_cast<seconds>(b.remaining("k", t)).count());
  }
  EXPECT_EQ(waits, (std::vector<std::int64_t>{0, 10, 20, 40, 80, 160, 300, 300}));
  b.failed("k", t, t + seconds(601));
  EXPECT_EQ(b.remaining("k", t + seconds(601)), Duration::zero());
}

TEST(Resources, QosClassByTheDocsTable) {
  struct Row {
    const char* resources;
    QosClass qos;
  };
  for (const Row& row : {Row{"{}", QosClass::kBestEffort}, Row{R"({"requests":{"cpu":"1"}})", QosClass::kBurstable},
                         Row{R"({"limits":{"cpu":"1","memory":"1Gi"}})", QosClass::kGuaranteed}, Row{R"({"limits":{"cpu":"1"}})", QosClass::kBurstable},
                         Row{R"({"requests":{"cpu":"500m","memory":"1Gi"},"limits":{"cpu":"1","memory":"1Gi"}})", QosClass::kBurstable}}) {
    Pod pod = make_pod(std::string(R"({"containers":[{"name":"a","resources":)") + row.resources + "}]}");
    EXPECT_EQ(qos_class(pod), row.qos) << row.resources;
  }
}

TEST(Resources, CgroupValuesFollowRequestsAndLimits) {
  Pod pod = make_pod(R"({"initContainers":[{"name":"i","resources":{"requests":{"cpu":"2"}}}],
    "containers":[{"name":"a","resources":{"requests":{"cpu":"500m"},"limits":{"cpu":"1","memory":"64Mi"}}},{"name":"b","resources":{"requests":{"cpu":"250m"},"limits":{"memory":"64Mi"}}}]})");
  CgroupValues a = container_cgroup(pod.containers[0]);
  EXPECT_EQ(a.cpu_shares, 512);
  EXPECT_EQ(a.cpu_quota_us, 100'000);
  EXPECT_EQ(a.memory_limit_bytes, 64 << 20);
  CgroupValues all = pod_cgroup(pod);
  EXPECT_EQ(all.cpu_shares, 2048) << "the init container's 2 cores exceed the sum of the others";
  EXPECT_FALSE(all.cpu_quota_us);
  EXPECT_FALSE(all.memory_limit_bytes) << "the init container has no limit";
}

}  // namespace
}  // namespace monopod::agent
