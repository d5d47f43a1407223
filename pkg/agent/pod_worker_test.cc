#include "agent/pod_worker.h"

#include <boost/asio/post.hpp>

#include "agent/fake_runtime.h"
#include "async/test_support.h"

namespace monopod::agent {
namespace {

using std::chrono::seconds;

// A worker on fake time over the fake machine; what it says is collected.
struct Bench {
  explicit Bench(async::Loop& loop)
      : executor(loop.executor()), time(executor), runtime(time), scope(executor) {
    services = std::unique_ptr<WorkerServices>(new WorkerServices{
        .executor = executor,
        .time = time,
        .runtime = runtime,
        .volumes = volumes,
        .objects = objects,
        .prober = prober,
        .event = [this](const Pod&, std::string_view, std::string, std::string reason, std::string message) { events.push_back(reason + ": " + message); },
        .publish = [this](const Pod&, json::Value s) { statuses.push_back(std::move(s)); },
        .confirm_deleted = [this](std::string, std::string, std::string uid) { return confirm(uid); },
        .facts = [](const Pod&) { return PodFacts{.host_ip = "192.168.0.5"}; },
        .services = [](const Pod&) { return std::vector<ServiceAddress>(); },
        .pull = nullptr,
    });
    runtime.on_exit = [this](const std::string&, const Instance& i) {
      if (worker) worker->container_ended(i);
    };
  }
  async::Task<Result<>> confirm(std::string uid) {
    runtime.calls.push_back("confirm " + uid);
    co_return Result<>();
  }
  void start(Pod pod) {
    worker = std::make_unique<PodWorker>(*services, std::move(pod), std::nullopt, std::vector<Instance>());
    scope.spawn(worker->run());
  }
  async::Task<> settle() {
    for (int i = 0; i < 400; ++i) co_await boost::asio::post(executor, async::use_task);
  }
  async::Task<> advance(Duration d) {
    time.advance(d);
    co_await settle();
  }
  async::Task<> finish() {
    scope.cancel();
    (void)co_await scope.join();
  }
  bool said(std::string_view event) const {
    return std::ranges::any_of(events, [&](const std::string& e) { return e.find(event) != std::string::npos; });
  }
  bool called(std::string_view call) const { return std::ranges::find(runtime.calls, call) != runtime.calls.end(); }
  int count(std::string_view call) const { return static_cast<int>(std::ranges::count(runtime.calls, call)); }
  std::string phase() const { return statuses.empty() ? "" : std::string(json::get_string(statuses.back(), {"phase"})); }
  std::string waiting(std::size_t i = 0) const {
    return std::string(json::get_string(json::get_array(statuses.back(), {"containerStatuses"})->at(i), {"state", "waiting", "reason"}));
  }
  bool ready() const {
    for (const auto& c : *json::get_array(statuses.back(), {"conditions"}))
      if (json::get_string(c, {"type"}) == "Ready") return json::get_string(c, {"status"}) == "True";
    return false;
  }

  async::Executor executor;
  async::FakeTime time;
  FakeRuntime runtime;
  FakeVolumes volumes;
  FakeObjects objects;
  FakeProber prober;
  std::unique_ptr<WorkerServices> services;
  std::unique_ptr<PodWorker> worker;
  async::Scope scope;
  std::vector<std::string> events;
  std::vector<json::Value> statuses;
};

// Runs a script against a bench and ends what is left.
void script(std::function<async::Task<Result<>>(Bench&)> body) {
  async::run_test([&](async::Loop& loop) -> async::Task<Result<>> {
    struct Frame {
      static async::Task<Result<>> run(async::Loop& l, std::function<async::Task<Result<>>(Bench&)> script_body) {
        Bench bench(l);
        auto result = co_await script_body(bench);
        co_await bench.finish();
        co_return result;
      }
    };
    return Frame::run(loop, body);
  });
}

constexpr std::string_view kOne = R"({"containers":[{"name":"a","image":"busybox","imagePullPolicy":"IfNotPresent"}]})";

Pod deleted(Pod pod, std::int64_t grace) {
  pod.deletion_time = WallTime{};
  pod.deletion_grace_seconds = grace;
  return pod;
}

async::Task<Result<>> runs_and_is_deleted(Bench& b) {
  Pod pod = make_pod(kOne);
  b.start(pod);
  co_await b.settle();
  EXPECT_EQ(b.phase(), "Running");
  EXPECT_TRUE(b.ready());
  for (const char* e : {"Pulled: Container image \"busybox\" already present on machine and can be accessed by the pod", "Created: Container created", "Started: Container started"})
    EXPECT_TRUE(b.said(e)) << e;
  b.worker->update(deleted(pod, 30));
  co_await b.settle();
  EXPECT_TRUE(b.said("Killing: Stopping container a"));
  std::vector<std::string> want{"sandbox", "create a", "start a", "signal a 15", "stop_sandbox", "remove_pod", "confirm u1"};
  EXPECT_EQ(b.runtime.calls, want);
  EXPECT_TRUE(b.worker->ended());
  EXPECT_EQ(b.volumes.torn_down, 1);
  co_return Result<>();
}
TEST(PodWorker, RunsAPodAndTakesItDownInOrder) { script(runs_and_is_deleted); }

async::Task<Result<>> stubborn_is_killed(Bench& b) {
  b.runtime.stubborn = true;
  Pod pod = make_pod(kOne);
  b.start(pod);
  co_await b.settle();
  b.worker->update(deleted(pod, 30));
  co_await b.settle();
  EXPECT_TRUE(b.called("signal a 15"));
  co_await b.advance(seconds(29));
  EXPECT_FALSE(b.called("signal a 9"));
  co_await b.advance(seconds(1));
  EXPECT_TRUE(b.called("signal a 9"));
  EXPECT_TRUE(b.called("remove_pod"));
  co_return Result<>();
}
TEST(PodWorker, StubbornContainerIsKilledWhenItsGraceIsOver) { script(stubborn_is_killed); }

async::Task<Result<>> shortened(Bench& b) {
  b.runtime.stubborn = true;
  Pod pod = make_pod(kOne);
  b.start(pod);
  co_await b.settle();
  b.worker->update(deleted(pod, 30));
  co_await b.advance(seconds(5));
  b.worker->update(deleted(pod, 0));
  co_await b.settle();
  EXPECT_TRUE(b.called("signal a 9"));
  EXPECT_TRUE(b.worker->ended());
  co_return Result<>();
}
TEST(PodWorker, ASecondDeletionCutsTheGraceShort) { script(shortened); }

async::Task<Result<>> crash_loop(Bench& b) {
  b.start(make_pod(kOne));
  co_await b.settle();
  b.runtime.end("a", 1);
  co_await b.settle();
  EXPECT_EQ(b.count("start a"), 2) << "the first restart comes at once";
  b.runtime.end("a", 1);
  co_await b.settle();
  EXPECT_EQ(b.waiting(), "CrashLoopBackOff");
  EXPECT_EQ(b.phase(), "Running");
  EXPECT_TRUE(b.said("BackOff: Back-off restarting failed container a in pod web_default(u1)"));
  co_await b.advance(seconds(9));
  EXPECT_EQ(b.count("start a"), 2);
  co_await b.advance(seconds(1));
  EXPECT_EQ(b.count("start a"), 3);
  b.runtime.end("a", 1);
  co_await b.advance(seconds(19));
  EXPECT_EQ(b.count("start a"), 3);
  co_await b.advance(seconds(1));
  EXPECT_EQ(b.count("start a"), 4);
  const json::Value& c = json::get_array(b.statuses.back(), {"containerStatuses"})->at(0);
  EXPECT_EQ(json::get_int(c, {"restartCount"}), 3);
  EXPECT_EQ(json::get_int(c, {"lastState", "terminated", "exitCode"}), 1);
  EXPECT_EQ(b.runtime.instances.size(), 2U) << "the running one and the last dead one";
  co_return Result<>();
}
TEST(PodWorker, CrashingContainerIsRestartedWithBackOff) { script(crash_loop); }

async::Task<Result<>> job_pod(Bench& b) {
  b.start(make_pod(R"({"restartPolicy":"Never","containers":[{"name":"a","image":"busybox"}]})"));
  co_await b.settle();
  b.runtime.end("a", 0);
  co_await b.settle();
  EXPECT_EQ(b.phase(), "Succeeded");
  EXPECT_EQ(b.count("start a"), 1);
  EXPECT_TRUE(b.called("stop_sandbox"));
  EXPECT_FALSE(b.called("remove_pod")) << "its logs stay until it is deleted";
  EXPECT_FALSE(b.worker->ended());
  b.worker->gone();
  co_await b.settle();
  EXPECT_TRUE(b.called("remove_pod"));
  EXPECT_FALSE(b.called("confirm u1"));
  co_return Result<>();
}
TEST(PodWorker, FinishedPodKeepsItsContainersUntilItIsDeleted) { script(job_pod); }

async::Task<Result<>> missing_image(Bench& b) {
  b.start(make_pod(R"({"containers":[{"name":"a","image":"nope:1","imagePullPolicy":"Never"},{"name":"b","image":"nope:2"}]})"));
  co_await b.settle();
  EXPECT_EQ(b.waiting(0), "ErrImageNeverPull");
  EXPECT_EQ(b.waiting(1), "ImagePullBackOff");
  EXPECT_TRUE(b.said("Failed: Error: ErrImagePull"));
  EXPECT_TRUE(b.said("Pulling: Pulling image \"nope:2\""));
  EXPECT_TRUE(std::ranges::any_of(b.statuses, [](const json::Value& s) {
    return json::get_string(json::get_array(s, {"containerStatuses"})->at(1), {"state", "waiting", "reason"}) == "ErrImagePull";
  }));
  b.runtime.images.insert("nope:1");
  b.runtime.images.insert("nope:2");
  co_await b.advance(seconds(10));
  EXPECT_EQ(b.phase(), "Running");
  co_return Result<>();
}
TEST(PodWorker, MissingImageWaitsWithReasonAndIsTriedAgain) { script(missing_image); }

async::Task<Result<>> missing_config(Bench& b) {
  b.start(make_pod(R"({"containers":[{"name":"a","image":"busybox","env":[{"name":"X","valueFrom":{"configMapKeyRef":{"name":"cm","key":"k"}}}]}]})"));
  co_await b.settle();
  EXPECT_EQ(b.waiting(), "CreateContainerConfigError");
  EXPECT_TRUE(b.said("Failed: Error: configmap \"cm\" not found"));
  b.objects.data["cm"].values["k"] = "v";
  b.worker->objects_changed();
  co_await b.settle();
  EXPECT_EQ(b.phase(), "Running") << "no waiting for the next try once the object is there";
  EXPECT_NE(std::ranges::find(b.runtime.last_env, "X=v"), b.runtime.last_env.end());
  co_return Result<>();
}
TEST(PodWorker, MissingConfigMapHoldsTheContainerUntilItAppears) { script(missing_config); }

async::Task<Result<>> start_error(Bench& b) {
  b.runtime.start_error = Error(Code::kNotFound, "exec /nope: no such file or directory");
  b.start(make_pod(kOne));
  co_await b.settle();
  EXPECT_TRUE(b.said("Error: failed to start container \"a\": exec /nope: no such file or directory"));
  EXPECT_FALSE(b.waiting().empty());
  b.runtime.start_error.reset();
  co_await b.advance(seconds(30));
  EXPECT_EQ(b.phase(), "Running");
  co_return Result<>();
}
TEST(PodWorker, ContainerThatCannotStartIsRetried) { script(start_error); }

async::Task<Result<>> probes(Bench& b) {
  b.prober.unhealthy = {"a"};
  b.start(make_pod(R"({"containers":[{"name":"a","image":"busybox","readinessProbe":{"httpGet":{"port":80},"periodSeconds":5,"failureThreshold":1}}]})"));
  co_await b.settle();
  EXPECT_FALSE(b.ready());
  EXPECT_TRUE(b.said("Unhealthy: Readiness probe failed: HTTP probe failed with statuscode: 500"));
  b.prober.unhealthy.clear();
  co_await b.advance(seconds(5));
  EXPECT_TRUE(b.ready());
  b.prober.unhealthy = {"a"};
  co_await b.advance(seconds(5));
  EXPECT_FALSE(b.ready());
  EXPECT_EQ(b.count("start a"), 1);
  co_return Result<>();
}
TEST(PodWorker, ReadinessFollowsTheProbe) { script(probes); }

async::Task<Result<>> liveness(Bench& b) {
  b.prober.unhealthy = {"a"};
  b.start(make_pod(R"({"containers":[{"name":"a","image":"busybox","livenessProbe":{"exec":{"command":["x"]},"periodSeconds":10,"failureThreshold":3}}]})"));
  co_await b.settle();
  co_await b.advance(seconds(10));
  EXPECT_EQ(b.count("signal a 15"), 0);
  co_await b.advance(seconds(10));
  EXPECT_EQ(b.count("signal a 15"), 1);
  EXPECT_TRUE(b.said("Killing: Container a failed liveness probe, will be restarted"));
  EXPECT_EQ(b.count("start a"), 2);
  co_return Result<>();
}
TEST(PodWorker, FailedLivenessRestartsTheContainer) { script(liveness); }

async::Task<Result<>> startup(Bench& b) {
  b.prober.unhealthy = {"a"};
  b.start(make_pod(R"({"containers":[{"name":"a","image":"busybox","startupProbe":{"exec":{"command":["x"]},"periodSeconds":1,"failureThreshold":30},
    "livenessProbe":{"exec":{"command":["x"]},"periodSeconds":1,"failureThreshold":1}}]})"));
  co_await b.settle();
  for (int i = 0; i < 5; ++i) co_await b.advance(seconds(1));
  EXPECT_EQ(b.count("signal a 15"), 0) << "liveness waits for startup";
  EXPECT_FALSE(b.ready());
  b.prober.unhealthy.clear();
  co_await b.advance(seconds(1));
  EXPECT_TRUE(b.ready());
  co_return Result<>();
}
TEST(PodWorker, StartupProbeHoldsTheOthers) { script(startup); }

async::Task<Result<>> sidecars(Bench& b) {
  Pod pod = make_pod(R"({"initContainers":[{"name":"s","image":"busybox","restartPolicy":"Always"},{"name":"i","image":"busybox"}],"containers":[{"name":"a","image":"busybox"}]})");
  b.start(pod);
  co_await b.settle();
  EXPECT_TRUE(b.called("start s"));
  EXPECT_TRUE(b.called("start i"));
  EXPECT_FALSE(b.called("start a"));
  EXPECT_EQ(b.phase(), "Pending");
  b.runtime.end("i", 0);
  co_await b.settle();
  EXPECT_TRUE(b.called("start a"));
  EXPECT_TRUE(b.ready());
  b.runtime.calls.clear();
  b.worker->update(deleted(pod, 30));
  co_await b.settle();
  EXPECT_EQ(b.runtime.calls[0], "signal a 15");
  EXPECT_EQ(b.runtime.calls[1], "signal s 15") << "sidecars end after the main containers";
  co_return Result<>();
}
TEST(PodWorker, SidecarsStartBeforeAndEndAfterTheMainContainers) { script(sidecars); }

// News of the pod arrives at every step of its end (its own status, written and seen again, does that).
async::Task<Result<>> news_while_sidecars_end(Bench& b) {
  std::string text = R"({"initContainers":[{"name":"s1","image":"busybox","restartPolicy":"Always"},{"name":"s2","image":"busybox","restartPolicy":"Always"},)"
                     R"({"name":"s3","image":"busybox","restartPolicy":"Always"}],"containers":[{"name":"a","image":"busybox"}]})";
  b.start(make_pod(text));
  co_await b.settle();
  b.runtime.calls.clear();
  b.runtime.stubborn = true;
  b.worker->update(deleted(make_pod(text), 30));
  for (const char* name : {"a", "s3", "s2", "s1"}) {
    co_await b.settle();
    EXPECT_TRUE(b.called(cat("signal ", name, " 15")));
    for (int i = 0; i < 4; ++i) b.worker->update(deleted(make_pod(text), 30));
    b.runtime.end(name, 0);
  }
  co_await b.settle();
  EXPECT_TRUE(b.worker->ended());
  EXPECT_FALSE(b.called("signal s1 9"));
  co_return Result<>();
}
TEST(PodWorker, NewsWhileSidecarsEndChangesNothing) { script(news_while_sidecars_end); }

async::Task<Result<>> job_with_sidecar(Bench& b) {
  b.start(make_pod(R"({"restartPolicy":"Never","initContainers":[{"name":"s","image":"busybox","restartPolicy":"Always"}],"containers":[{"name":"a","image":"busybox"}]})"));
  co_await b.settle();
  b.runtime.end("a", 0);
  co_await b.settle();
  EXPECT_TRUE(b.called("signal s 15"));
  EXPECT_EQ(b.phase(), "Succeeded");
  co_return Result<>();
}
TEST(PodWorker, SidecarsEndWithAFinishedPod) { script(job_with_sidecar); }

async::Task<Result<>> deadline(Bench& b) {
  b.start(make_pod(R"({"activeDeadlineSeconds":60,"containers":[{"name":"a","image":"busybox"}]})"));
  co_await b.settle();
  co_await b.advance(seconds(59));
  EXPECT_EQ(b.phase(), "Running");
  co_await b.advance(seconds(1));
  EXPECT_EQ(b.phase(), "Failed");
  EXPECT_EQ(json::get_string(b.statuses.back(), {"reason"}), "DeadlineExceeded");
  EXPECT_TRUE(b.called("signal a 15"));
  co_return Result<>();
}
TEST(PodWorker, ActiveDeadlineEndsThePod) { script(deadline); }

async::Task<Result<>> volumes_wait(Bench& b) {
  b.volumes.error = Error(Code::kNotFound, "MountVolume.SetUp failed for volume \"v\" : configmap \"cm\" not found");
  b.start(make_pod(kOne));
  co_await b.settle();
  EXPECT_TRUE(b.runtime.calls.empty());
  EXPECT_EQ(b.waiting(), "ContainerCreating");
  EXPECT_TRUE(b.said("FailedMount: MountVolume.SetUp failed for volume \"v\" : configmap \"cm\" not found"));
  b.volumes.error.reset();
  co_await b.advance(std::chrono::milliseconds(500));
  EXPECT_EQ(b.phase(), "Running");
  co_return Result<>();
}
TEST(PodWorker, NothingStartsBeforeTheVolumes) { script(volumes_wait); }

async::Task<Result<>> sandbox_retry(Bench& b) {
  b.runtime.sandbox_failures = 1;
  b.start(make_pod(kOne));
  co_await b.settle();
  EXPECT_TRUE(b.said("FailedCreatePodSandBox: Failed to create pod sandbox: no namespaces today"));
  co_await b.advance(seconds(10));
  EXPECT_EQ(b.phase(), "Running");
  co_return Result<>();
}
TEST(PodWorker, SandboxIsTriedAgain) { script(sandbox_retry); }

async::Task<Result<>> adopted(Bench& b) {
  Pod pod = make_pod(kOne);
  Instance i;
  i.id = "old";
  i.container = "a";
  i.attempt = 2;
  i.hash = pod.containers[0].hash;
  i.state = RunState::kRunning;
  b.runtime.instances["old"] = i;
  b.worker = std::make_unique<PodWorker>(*b.services, pod, Sandbox{.ready = true, .ips = {"10.1.1.1"}, .created_at = {}}, std::vector<Instance>{i});
  b.scope.spawn(b.worker->run());
  co_await b.settle();
  EXPECT_TRUE(b.runtime.calls.empty()) << b.runtime.calls[0];
  EXPECT_TRUE(b.ready());
  b.runtime.end("old", 1);
  b.runtime.end("a", 1);
  co_await b.settle();
  EXPECT_TRUE(b.called("start a"));
  EXPECT_EQ(json::get_int(json::get_array(b.statuses.back(), {"containerStatuses"})->at(0), {"restartCount"}), 3);
  co_return Result<>();
}
TEST(PodWorker, RunningContainersAreAdoptedNotDoubled) { script(adopted); }

async::Task<Result<>> node_stop(Bench& b) {
  b.start(make_pod(kOne));
  co_await b.settle();
  b.worker->stop(10);
  co_await b.settle();
  EXPECT_TRUE(b.called("signal a 15"));
  EXPECT_TRUE(b.worker->ended());
  EXPECT_TRUE(b.called("stop_sandbox"));
  EXPECT_EQ(b.volumes.unmounted, 1);
  EXPECT_EQ(b.volumes.torn_down, 0) << "what is on disk stays";
  EXPECT_FALSE(b.called("remove_pod"));
  EXPECT_EQ(json::get_string(b.statuses.back(), {"phase"}), "Running") << "it starts again with the node";
  co_return Result<>();
}
TEST(PodWorker, NodeStopEndsContainersAndLeavesThePod) { script(node_stop); }

constexpr std::string_view kWithDebugger = R"({"initContainers":[{"name":"i","image":"absent","imagePullPolicy":"Never"}],"containers":[{"name":"a","image":"busybox"}],
  "ephemeralContainers":[{"name":"dbg","image":"busybox","imagePullPolicy":"Never","targetContainerName":"a"}]})";

async::Task<Result<>> debugs_while_init_hangs(Bench& b) {
  b.start(make_pod(kWithDebugger));
  co_await b.settle();
  EXPECT_TRUE(b.called("start dbg")) << "whatever the pod does";
  EXPECT_FALSE(b.called("start a"));
  EXPECT_EQ(b.phase(), "Pending");
  const json::Array* shown = json::get_array(b.statuses.back(), {"ephemeralContainerStatuses"});
  EXPECT_TRUE(shown != nullptr && shown->size() == 1);
  if (shown == nullptr) co_return Result<>();
  EXPECT_FALSE(json::get_bool(shown->at(0), {"ready"}, true));
  EXPECT_EQ(json::find(shown->at(0), {"started"}), nullptr);
  EXPECT_NE(json::find(shown->at(0), {"state", "running"}), nullptr);
  b.runtime.end("dbg", 1);
  co_await b.advance(seconds(3600));
  EXPECT_EQ(b.count("create dbg"), 1) << "it runs once";
  EXPECT_NE(json::find(json::get_array(b.statuses.back(), {"ephemeralContainerStatuses"})->at(0), {"state", "terminated"}), nullptr);
  co_return Result<>();
}
TEST(PodWorker, EphemeralContainersRunOnceBesideWhateverThePodDoes) { script(debugs_while_init_hangs); }

async::Task<Result<>> pod_ends_over_debugger(Bench& b) {
  Pod pod = make_pod(R"({"restartPolicy":"Never","containers":[{"name":"a","image":"busybox","imagePullPolicy":"Never"}],
    "ephemeralContainers":[{"name":"dbg","image":"busybox","imagePullPolicy":"Never"}]})");
  b.start(pod);
  co_await b.settle();
  EXPECT_EQ(b.phase(), "Running");
  b.runtime.end("a", 0);
  co_await b.settle();
  EXPECT_EQ(b.phase(), "Succeeded");
  EXPECT_TRUE(b.called("signal dbg 15")) << "nothing of a finished pod runs on";
  co_return Result<>();
}
TEST(PodWorker, APodIsOverWhateverItsEphemeralContainersDo) { script(pod_ends_over_debugger); }

TEST(PodWorker, PullPolicyFollowsTheTag) {
  struct Row {
    const char *image, *policy;
  };
  for (const Row& row : {Row{"busybox", "Always"}, Row{"busybox:latest", "Always"}, Row{"busybox:1", "IfNotPresent"}, Row{"host:5000/busybox", "Always"},
                         Row{"busybox@sha256:abc", "IfNotPresent"}}) {
    Container c;
    c.image = row.image;
    EXPECT_EQ(effective_pull_policy(c), row.policy) << row.image;
  }
}

TEST(PodWorker, SignalNamesAreReadInEveryForm) {
  EXPECT_EQ(parse_signal(""), SIGTERM);
  EXPECT_EQ(parse_signal("SIGQUIT"), SIGQUIT);
  EXPECT_EQ(parse_signal("quit"), SIGQUIT);
  EXPECT_EQ(parse_signal("9"), 9);
  EXPECT_EQ(parse_signal("SIGRTMIN+3"), 37);
  EXPECT_EQ(parse_signal("nonsense"), SIGTERM);
}

}  // namespace
}  // namespace monopod::agent
