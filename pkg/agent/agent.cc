#include "agent/agent.h"

#include <algorithm>

#include "agent/housekeeping.h"
#include "agent/image_puller.h"
#include "agent/machine.h"
#include "agent/node_handler.h"
#include "agent/node_status.h"
#include "agent/pod_worker.h"
#include "agent/race.h"
#include "agent/services.h"
#include "agent/static_pods.h"
#include "agent/status_manager.h"
#include "agent/volumes/volumes.h"
#include "base/log.h"
#include "base/strings.h"
#include "client/recorder.h"

namespace monopod::agent {

namespace {

constexpr Duration kMirrorRetry = std::chrono::seconds(2);
constexpr auto kPodsKnownMax = std::chrono::seconds(10);

client::InformerOptions pods_of(const std::string& node) {
  client::InformerOptions options;
  options.field_selector = "spec.nodeName=" + node;
  return options;
}

std::string choose_node_ip(const AgentDependencies& d, const AgentOptions& o) {
  if (!o.node_ip.empty()) return o.node_ip;
  auto ip = d.network.node_ip();
  return ip ? network::format_ip(*ip) : std::string();
}

}  // namespace

struct Agent::Impl final : PodDirectory {
  Impl(AgentDependencies d, AgentOptions o)
      : deps(d),
        options(std::move(o)),
        scope(d.executor),
        informers(d.executor, d.api, d.time, d.rng),
        pod_informer(informers.informer(client::resources::kPods, pods_of(options.node_name))),
        recorder(d.executor, d.api, d.time, d.rng, "kubelet", options.node_name),
        objects(d.executor, d.api, d.time, d.rng),
        statuses(d.executor, d.api, d.time),
        node(d, options, read_node_info(options.data_dir), choose_node_ip(d, options)),
        machine(scope, d, options, node.info().memory_bytes),
        volumes(d.api, objects, d.time, d.pool, machine.paths()),
        puller(d.executor, d.images, objects),
        prober(make_prober(d.executor, d.time, machine)),
        publisher(d, options, informers),
        housekeeper(d.images, volumes, d.time),
        handler(d, options, *this, machine),
        mirrors_changed(d.executor),
        manifests_read(d.executor),
        pods_known(d.executor),
        worker_ended(d.executor),
        services(WorkerServices{
            .executor = d.executor,
            .time = d.time,
            .runtime = machine,
            .volumes = volumes,
            .objects = objects,
            .prober = *prober,
            .event = [this](const Pod& pod, std::string_view container, std::string type, std::string reason,
                            std::string message) { record(pod, container, std::move(type), std::move(reason), std::move(message)); },
            .publish = [this](const Pod& pod, json::Value status) { publish(pod, std::move(status)); },
            .confirm_deleted = [this](std::string ns, std::string name, std::string uid) { return confirm_deleted(std::move(ns), std::move(name), std::move(uid)); },
            .facts = [this](const Pod&) { return facts(); },
            .services = [this](const Pod& pod) { return publisher.addresses(pod); },
            .pull = nullptr,
        }) {
    if (options.pull_images) services.pull = [this](std::string reference, const Pod& pod) { return puller.pull(std::move(reference), pod); };
    machine.on_exit = [this](const std::string& uid, const Instance& i) {
      if (auto found = workers.find(uid); found != workers.end()) found->second->container_ended(i);
    };
    objects.on_change = [this](const std::string& uid) {
      if (auto found = workers.find(uid); found != workers.end()) found->second->objects_changed();
    };
    node.on_event = [this](std::string reason, std::string message) { record_node(std::move(reason), std::move(message)); };
    node.on_registered = [this] { mirrors_changed.set(); };
    node.on_check = [this](const NodeConditions&, const NodePressure& pressure) { keep_house(pressure); };
  }

  // --- PodDirectory
  async::Task<Result<>> wait_complete() override {
    CO_TRY_ASSIGN(bool known, co_await wait_until(deps.time, pods_known, deps.time.mono() + std::chrono::duration_cast<MonoTime::duration>(kPodsKnownMax)));
    if (!known) co_return fail(Code::kUnavailable, "the node has just started, and the API has not told its pods yet: try again");
    co_return Result<>();
  }
  const PodWorker* find(std::string_view ns, std::string_view name) const override {
    auto found = by_name.find(cat(ns, "/", name));
    if (found == by_name.end()) return nullptr;
    auto worker = workers.find(found->second);
    return worker == workers.end() ? nullptr : worker->second.get();
  }
  std::vector<const PodWorker*> all() const override {
    std::vector<const PodWorker*> out;
    for (const auto& [uid, worker] : workers) out.push_back(worker.get());
    return out;
  }

  // --- what workers call
  PodFacts facts() const {
    PodFacts f;
    f.host_ip = node.node_ip();
    f.node_name = options.node_name;
    f.node_cpu_milli = node.info().cpus * 1000;
    f.node_memory_bytes = node.info().memory_bytes;
    return f;
  }

  void record(const Pod& pod, std::string_view container, std::string type, std::string reason, std::string message) {
    client::ObjectReference about;
    about.api_version = "v1";
    about.kind = "Pod";
    about.ns = pod.namespace_name;
    about.name = pod.name;
    about.uid = pod.uid;
    about.resource_version = pod.resource_version;
    if (!container.empty()) {
      auto among = [&](const std::vector<Container>& list) { return std::ranges::find(list, container, &Container::name) != list.end(); };
      std::string_view list = among(pod.init_containers) ? "initContainers" : among(pod.ephemeral_containers) ? "ephemeralContainers" : "containers";
      about.field_path = cat("spec.", list, "{", container, "}");
    }
    recorder.record(std::move(about), std::move(type), std::move(reason), std::move(message));
  }

  // About the node; its events carry its name as uid, by which kubectl describe looks for them too.
  void record_node(std::string reason, std::string message) {
    recorder.record({.api_version = "v1", .kind = "Node", .ns = "", .name = options.node_name, .uid = options.node_name, .resource_version = "", .field_path = ""}, "Normal", std::move(reason),
                    std::move(message));
  }

  // A static pod's status goes to its mirror, whose uid is its own.
  void publish(const Pod& pod, json::Value status) {
    statuses.set(pod.namespace_name, pod.name, pod.static_source.empty() ? pod.uid : std::string(), std::move(status));
  }

  async::Task<Result<>> confirm_deleted(std::string ns, std::string name, std::string uid) {
    co_await statuses.flush(ns, name);
    client::DeleteOptions how;
    how.grace_period_seconds = 0;
    how.precondition_uid = uid;
    auto removed = co_await deps.api.remove(client::resources::kPods, ns, name, std::move(how));
    // Gone, or replaced by another of the same name: either way this one is not there any more.
    if (!removed && removed.error().code() != Code::kNotFound && removed.error().code() != Code::kAborted) co_return removed;
    co_return Result<>();
  }

  // --- pods of the API
  void on_pod(const client::ObjectPtr& old, const client::ObjectPtr& now) {
    if (old && (!now || now->uid != old->uid))
      if (auto found = workers.find(old->uid); found != workers.end()) found->second->gone();
    if (!now) {
      mirrors_changed.set();
      return;
    }
    auto pod = parse_pod(std::make_shared<const json::Value>(now->tree()));
    if (!pod) {
      log::warn("pod cannot be understood", {{"pod", now->key()}, {"error", pod.error()}});
      return;
    }
    if (pod->mirror) {
      mirrors_changed.set();
      return;
    }
    objects.retain(pod->uid, referenced_objects(*pod));
    if (auto found = workers.find(pod->uid); found != workers.end()) {
      found->second->update(std::move(*pod));
      return;
    }
    add_worker(std::move(*pod));
  }

  void add_worker(Pod pod) {
    if (stopping || !opened) return;
    std::optional<Sandbox> sandbox;
    std::vector<Instance> instances;
    bool known = false;
    for (PodRecord& r : machine.list())
      if (r.uid == pod.uid) {
        known = true;
        if (r.sandbox.ready) sandbox = r.sandbox;
        instances = std::move(r.instances);
      }
    bool over = pod.phase == "Succeeded" || pod.phase == "Failed";
    if (over && !known && !pod.deletion_time) return;  // nothing of it is here
    std::string uid = pod.uid;
    by_name[cat(pod.namespace_name, "/", pod.name)] = uid;
    auto worker = std::make_shared<PodWorker>(services, std::move(pod), std::move(sandbox), std::move(instances));
    workers[uid] = worker;
    scope.spawn(run_worker(worker, uid));
  }

  async::Task<Result<>> run_worker(std::shared_ptr<PodWorker> worker, std::string uid) {
    auto ended = co_await worker->run();
    if (!ended && ended.error().code() == Code::kCancelled) co_return ended;
    if (!ended) log::error("pod worker failed", {{"pod", worker->pod().full_name()}, {"error", ended.error()}});
    std::string key = cat(worker->pod().namespace_name, "/", worker->pod().name);
    if (!stopping) {
      if (auto named = by_name.find(key); named != by_name.end() && named->second == uid) {
        by_name.erase(named);
        statuses.forget(worker->pod().namespace_name, worker->pod().name);
      }
      objects.retain(uid, {});
      workers.erase(uid);
      start_static_pods();
    }
    worker_ended.set();
    co_return Result<>();
  }

  // --- static pods
  void on_static_pods(std::map<std::string, Pod> found) {
    manifests_read.set();
    for (auto it = static_pods.begin(); it != static_pods.end();) {
      if (found.contains(it->first)) {
        ++it;
        continue;
      }
      if (auto worker = workers.find(it->first); worker != workers.end()) worker->second->gone(worker->second->pod().grace_seconds);
      it = static_pods.erase(it);
    }
    for (auto& [uid, pod] : found) static_pods.emplace(uid, std::move(pod));
    start_static_pods();
    mirrors_changed.set();
  }

  // A changed manifest is another pod of the same name: it waits until the one before is gone, with its ports and its directory.
  void start_static_pods() {
    for (const auto& [uid, pod] : static_pods) {
      auto named = by_name.find(cat(pod.namespace_name, "/", pod.name));
      bool busy = workers.contains(uid) || (named != by_name.end() && workers.contains(named->second));
      if (!busy) add_worker(pod);
    }
  }

  // One API copy for each static pod, none without.
  async::Task<Result<>> keep_mirrors() {
    // Before both sides are known every mirror would look unwanted.
    if (!options.pod_manifests_dir.empty()) CO_TRY(co_await manifests_read.wait());  // forever: the first reading always comes
    CO_TRY(co_await pod_informer.wait_synced());
    for (;;) {  // forever: until cancelled
      CO_TRY(co_await mirrors_changed.wait());
      mirrors_changed.reset();
      std::map<std::string, std::string> want;  // key -> static uid
      for (const auto& [uid, pod] : static_pods) want[cat(pod.namespace_name, "/", pod.name)] = uid;
      bool again = false;
      for (const client::ObjectPtr& object : pod_informer.indexer().list()) {
        json::Value tree = object->tree();
        std::string_view of = json::get_string(tree, {"metadata", "annotations", "kubernetes.io/config.mirror"});
        if (of.empty()) continue;
        auto wanted = want.find(object->key());
        if (wanted != want.end() && wanted->second == of && !json::find(tree, {"metadata", "deletionTimestamp"})) {
          want.erase(wanted);
          continue;
        }
        client::DeleteOptions how;
        how.grace_period_seconds = 0;
        how.precondition_uid = object->uid;
        auto removed = co_await deps.api.remove(client::resources::kPods, object->ns, object->name, std::move(how));
        again = again || (!removed && removed.error().code() != Code::kNotFound);
      }
      if (options.register_node && node.node_uid().empty()) want.clear();  // mirrors belong to the Node: they wait for it
      for (const auto& [key, uid] : want) {
        auto pod = static_pods.find(uid);
        if (pod == static_pods.end()) continue;
        std::string ns = pod->second.namespace_name;
        auto made = co_await deps.api.create(client::resources::kPods, ns, make_mirror_pod(pod->second, options.node_name, node.node_uid()), {.field_manager = "kubelet"});
        if (made) {
          if (auto worker = workers.find(uid); worker != workers.end()) publish(worker->second->pod(), worker->second->status());
        } else {
          again = true;
        }
      }
      if (!again) continue;
      CO_TRY(co_await deps.time.sleep_for(kMirrorRetry));
      mirrors_changed.set();
    }
  }

  // --- housekeeping
  void keep_house(const NodePressure& pressure) {
    if (cleaning || stopping) return;
    cleaning = true;
    scope.spawn(clean(pressure));
  }
  async::Task<> clean(NodePressure pressure) {
    std::vector<std::shared_ptr<PodWorker>> held;  // so that they live until the look is over
    std::vector<PodWorker*> list;
    std::set<std::string> used;
    for (const auto& [uid, worker] : workers) {
      held.push_back(worker);
      list.push_back(worker.get());
      for (const Container& c : worker->pod().containers) used.insert(c.image);
      for (const Container& c : worker->pod().init_containers) used.insert(c.image);
      for (const Container& c : worker->pod().ephemeral_containers) used.insert(c.image);
    }
    co_await housekeeper.look(pressure, std::move(list), std::move(used),
                              [this](const Pod& pod, std::string reason, std::string message) { record(pod, "", "Warning", std::move(reason), std::move(message)); });
    cleaning = false;
  }

  // --- life
  async::Task<Result<>> work() {
    CO_TRY(co_await machine.open());
    opened = true;
    scope.spawn(informers.run());
    scope.spawn(recorder.run());
    if (options.register_node) record_node("Starting", "Starting kubelet.");
    scope.spawn(objects.run());
    scope.spawn(statuses.run());
    scope.spawn(node.run());
    scope.spawn(publisher.run());
    scope.spawn(keep_mirrors());
    pod_informer.add_handler([this](const client::ObjectPtr& old, const client::ObjectPtr& now) { on_pod(old, now); });
    if (!options.pod_manifests_dir.empty())
      scope.spawn(watch_static_pods(deps.time, deps.pool, options.pod_manifests_dir, options.node_name, [this](std::map<std::string, Pod> pods) { on_static_pods(std::move(pods)); }));
    CO_TRY(co_await pod_informer.wait_synced());
    if (!options.pod_manifests_dir.empty()) CO_TRY(co_await manifests_read.wait());  // forever: the first reading always comes
    pods_known.set();
    co_await remove_orphans();
    async::Event never(deps.executor);
    co_return co_await never.wait();  // forever: until cancelled
  }

  // Pods that the machine still has and the API does not know any more.
  async::Task<> remove_orphans() {
    for (const PodRecord& r : machine.list()) {
      if (workers.contains(r.uid) || pod_informer.indexer().find(cat(r.namespace_name, "/", r.name)) != nullptr) continue;
      if (static_pods.contains(r.uid)) continue;
      log::info("removing a pod that the API does not know", {{"pod", cat(r.namespace_name, "/", r.name)}, {"uid", r.uid}});
      auto removed = co_await machine.remove_pod(r.uid);
      if (!removed) log::warn("cannot remove an orphaned pod", {{"uid", r.uid}, {"error", removed.error()}});
    }
  }

  async::Task<Result<>> stop_pods(Duration grace_max) {
    stopping = true;
    std::int64_t seconds = std::chrono::duration_cast<std::chrono::seconds>(grace_max).count();
    for (const auto& [uid, worker] : workers) worker->stop(seconds);
    MonoTime deadline = deps.time.mono() + std::chrono::duration_cast<MonoTime::duration>(grace_max + std::chrono::seconds(10));
    while (std::ranges::any_of(workers, [](const auto& e) { return !e.second->ended(); })) {
      worker_ended.reset();
      CO_TRY_ASSIGN(bool news, co_await wait_until(deps.time, worker_ended, deadline));
      if (!news) co_return fail(Code::kDeadlineExceeded, "stop pods: timed out");
    }
    for (const auto& [uid, worker] : workers) co_await statuses.flush(worker->pod().namespace_name, worker->pod().name);
    co_return Result<>();
  }

  AgentDependencies deps;
  AgentOptions options;
  async::Scope scope;
  client::InformerFactory informers;
  client::Informer& pod_informer;
  client::EventRecorder recorder;
  ObjectCache objects;
  StatusManager statuses;
  NodeStatus node;
  Machine machine;
  VolumeManager volumes;
  ImagePuller puller;
  std::unique_ptr<Prober> prober;
  ServicePublisher publisher;
  Housekeeper housekeeper;
  NodeHandler handler;
  async::Event mirrors_changed;
  async::Event manifests_read;
  async::Event pods_known;
  async::Event worker_ended;
  WorkerServices services;
  std::map<std::string, std::shared_ptr<PodWorker>> workers;  // by uid
  std::map<std::string, std::string> by_name;                 // "ns/name" -> uid of the newest
  std::map<std::string, Pod> static_pods;                     // by uid
  bool opened = false;
  bool stopping = false;
  bool cleaning = false;
};

Agent::Agent(AgentDependencies dependencies, AgentOptions options) : impl_(std::make_unique<Impl>(dependencies, std::move(options))) {}
Agent::~Agent() = default;

async::Task<Result<>> Agent::run() {
  Impl& impl = *impl_;
  Result<> result;
  std::exception_ptr thrown;  // cancellation may unwind; everything spawned is waited for all the same
  try {
    result = co_await impl.work();
  } catch (...) {
    thrown = std::current_exception();
  }
  impl.scope.cancel();
  co_await async::asio::this_coro::throw_if_cancelled(false);  // a cancelled caller still waits for the children
  Result<> joined = co_await impl.scope.join();
  co_await async::asio::this_coro::throw_if_cancelled(true);
  if (thrown) std::rethrow_exception(thrown);
  if (!joined && joined.error().code() != Code::kCancelled) co_return joined;
  co_return result;
}

async::Task<Result<>> Agent::stop_pods(Duration grace_max) { co_return co_await impl_->stop_pods(grace_max); }

http::Handler& Agent::handler() { return impl_->handler; }

}  // namespace monopod::agent
