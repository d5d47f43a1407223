// The agent as it is deployed: a supervisor process, below it a node process with API server, store, image store, network and
// container engine, in a network namespace made for the test.
#include <sched.h>
#include <unistd.h>

#include <filesystem>

#include "agent/agent.h"
#include "api/server.h"
#include "api/node_handlers.h"
#include "async/test_support.h"
#include "base/strings.h"
#include "client/local_api.h"
#include "container/node_support.h"
#include "http/in_process.h"
#include "image/archive_builder.h"
#include "image/store.h"
#include "network/netlink/route.h"
#include "network/network.h"
#include "store/sqlite_backend.h"
#include "sys/root.h"

namespace monopod::agent {
namespace {

namespace fs = std::filesystem;
using container::testing_support::NodeCase;

// State of the engines in memory is enough where the node is not restarted; the store's own file where it is.
struct Node {
  NodeCase& base;
  SystemRng rng;
  async::Pool pool{2};  // its threads are born in the test's network namespace
  std::unique_ptr<store::SqliteBackend> store;
  std::unique_ptr<image::ImageStore> images;
  std::unique_ptr<network::Network> net;
  std::unique_ptr<api::ApiServer> server;
  std::unique_ptr<client::LocalApi> api;
  api::NoNodeHandlers no_nodes;
  std::unique_ptr<Agent> agent;
  async::Scope servers;
  async::Scope agents;

  explicit Node(NodeCase& n) : base(n), servers(n.loop.executor()), agents(n.loop.executor()) {}

  async::Task<Result<>> start() {
    CO_TRY_ASSIGN(store, co_await store::SqliteBackend::open({.path = base.dir + "/data/state.db", .durability = store::Durability::kOs}, pool, base.time, rng));
    CO_TRY_ASSIGN(images, co_await image::ImageStore::open({.data_dir = base.dir + "/data"}, pool, base.time, store->state()));
    if (!images->find("busybox:test")) {
      image::BuildOptions build;
      build.reference = "busybox:test";
      build.files.push_back({.path = "/", .source = base.dir + "/rootfs"});
      build.config.cmd = {"/bin/sh"};
      build.config.env = {"PATH=/bin"};
      std::string archive = base.dir + "/busybox.tar";
      CO_TRY(co_await pool.run([&] { return image::build_archive(build, archive); }));
      CO_TRY(co_await images->import_file(archive, {}));
    }
    network::NetworkConfig config;
    CO_TRY_ASSIGN(net, co_await network::Network::open(config, store->state(), pool));
    server = std::make_unique<api::ApiServer>(api::ServerParts{base.loop.executor(), *store, base.time, rng, pool, no_nodes}, api::ServerOptions{.advertise_address = "192.0.2.1"});
    CO_TRY(co_await server->start());
    servers.spawn(server->run());
    api = std::make_unique<client::LocalApi>(server->local(api::system_user("system:node:n1")));
    // What a controller would make.
    auto account = json::parse(R"({"apiVersion":"v1","kind":"ServiceAccount","metadata":{"name":"default","namespace":"default"}})");
    auto made = co_await api->create(client::resources::kServiceAccounts, "default", std::move(*account), {});
    if (!made && made.error().code() != Code::kAlreadyExists) co_return fail(std::move(made).error());
    AgentOptions options;
    options.node_name = "n1";
    options.data_dir = base.dir + "/data";
    options.run_dir = base.dir + "/run-dir";
    options.node_ip = "10.42.0.1";
    options.cgroup_root = base.group;
    options.pull_images = false;
    agent = std::make_unique<Agent>(AgentDependencies{.executor = base.loop.executor(),
                                                      .api = *api,
                                                      .containers = base.runtime,
                                                      .images = *images,
                                                      .network = *net,
                                                      .cgroups = base.cgroups,
                                                      .time = base.time,
                                                      .pool = pool,
                                                      .rng = rng},
                                    options);
    agents.spawn(agent->run());
    co_return Result<>();
  }

  async::Task<> stop() {
    agents.cancel();
    if (auto r = co_await agents.join(); !r) ADD_FAILURE() << r.error().message();
    agent.reset();
    servers.cancel();
    (void)co_await servers.join();
    server.reset();
    if (net) (void)co_await net->teardown();
    net.reset();
    images.reset();
    if (store) (void)co_await store->close();
  }

  async::Task<Result<>> create_pod(std::string name, std::string spec) {
    auto tree = json::parse(cat("{\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"metadata\":{\"name\":\"", name, "\",\"namespace\":\"default\"},\"spec\":", spec, "}"));
    if (!tree) co_return fail(std::move(tree).error());
    json::at_path(*tree, {"spec", "nodeName"}) = "n1";
    json::at_path(*tree, {"spec", "automountServiceAccountToken"}) = false;
    CO_TRY(co_await api->create(client::resources::kPods, "default", std::move(*tree), {}));
    co_return Result<>();
  }

  // Until the pod satisfies the condition; its status in the failure.
  async::Task<Result<json::Value>> wait_pod(std::string name, std::string what, std::function<bool(const json::Value&)> condition) {
    json::Value last;
    for (int i = 0; i < 400; ++i) {
      auto object = co_await api->get(client::resources::kPods, "default", name);
      if (object) {
        last = object->tree();
        if (condition(last)) co_return last;
      }
      CO_TRY(co_await base.time.sleep_for(std::chrono::milliseconds(50)));
    }
    const json::Value* status = json::find(last, {"status"});
    co_return fail(Code::kDeadlineExceeded, cat(name, " does not become ", what, ": ", status ? json::format(*status) : std::string("no status")));
  }
  async::Task<Result<>> wait_gone(std::string name) {
    for (int i = 0; i < 400; ++i) {
      auto object = co_await api->get(client::resources::kPods, "default", name);
      // With grace 0 the API forgets at once and the machine follows.
      bool clean = base.runtime.list().empty() && fs::is_empty(base.dir + "/data/pods");
      if (!object && object.error().code() == Code::kNotFound && clean) co_return Result<>();
      CO_TRY(co_await base.time.sleep_for(std::chrono::milliseconds(50)));
    }
    co_return fail(Code::kDeadlineExceeded, name + " does not go");
  }
  async::Task<Result<>> delete_pod(std::string name, std::int64_t grace) {
    client::DeleteOptions how;
    how.grace_period_seconds = grace;
    co_return co_await api->remove(client::resources::kPods, "default", name, std::move(how));
  }

  async::Task<Result<std::string>> get_text(std::string target, std::string method = "GET") {
    async::Scope scope(base.loop.executor());
    http::Request request;
    request.method = method;
    request.target = target;
    auto response = co_await http::call_in_process(scope, agent->handler(), std::move(request));
    Result<std::string> text = fail(Code::kInternal, "");
    if (response) {
      text = co_await response->body->read_all(1U << 20);
      response->body.reset();
    } else {
      text = fail(std::move(response).error());
    }
    scope.cancel();
    (void)co_await scope.join();
    co_return text;
  }

  async::Task<> print_events() {
    auto events = co_await api->list(client::resources::kEvents, {.ns = "default"});
    if (!events) co_return;
    for (const client::Object& e : events->items) {
      json::Value tree = e.tree();
      std::fprintf(stderr, "  event %s: %s\n", std::string(json::get_string(tree, {"reason"})).c_str(), std::string(json::get_string(tree, {"message"})).c_str());
    }
  }
};

bool is_ready(const json::Value& pod) {
  if (const json::Array* conditions = json::get_array(pod, {"status", "conditions"}))
    for (const json::Value& c : *conditions)
      if (json::get_string(c, {"type"}) == "Ready") return json::get_string(c, {"status"}) == "True";
  return false;
}
std::int64_t restarts(const json::Value& pod) {
  const json::Array* list = json::get_array(pod, {"status", "containerStatuses"});
  return list && !list->empty() ? json::get_int(list->front(), {"restartCount"}) : -1;
}

// What only one thread may do before others are born.
Result<> enter_network_namespace() {
  if (::unshare(CLONE_NEWNET) != 0) return fail_errno("unshare");
  TRY_ASSIGN(auto route, network::netlink::RouteSocket::open());
  return route.set_up(1);
}

// Runs the body against a started node, and stops that whatever happened.
async::Task<Result<>> with_node(NodeCase& base, async::Task<Result<>> (*body)(Node&)) {
  CO_TRY(enter_network_namespace());
  Node node(base);
  Result<> result = co_await node.start();
  if (result) result = co_await body(node);
  if (!result) co_await node.print_events();
  co_await node.stop();
  co_return result;
}

async::Task<Result<>> life_of_a_pod(Node& n) {
  auto begun = n.base.time.mono();
  CO_TRY(co_await n.create_pod("web", R"json({"terminationGracePeriodSeconds":2,"containers":[{"name":"main","image":"busybox:test","command":["/bin/sh","-c",
      "echo started $WHO; cat /etc/hostname; trap 'echo bye; exit 0' TERM; while true; do sleep 0.1; done"],
      "env":[{"name":"WHO","value":"as $(NAME)"},{"name":"NAME","valueFrom":{"fieldRef":{"fieldPath":"metadata.name"}}}],
      "volumeMounts":[{"name":"scratch","mountPath":"/scratch"}]}],"volumes":[{"name":"scratch","emptyDir":{}}]})json"));
  CO_TRY_ASSIGN(json::Value pod, co_await n.wait_pod("web", "ready", is_ready));
  auto ms = std::chrono::duration_cast<std::chrono::milliseconds>(n.base.time.mono() - begun).count();
  std::fprintf(stderr, "create to Ready: %lld ms\n", static_cast<long long>(ms));
  EXPECT_EQ(json::get_string(pod, {"status", "phase"}), "Running");
  EXPECT_FALSE(json::get_string(pod, {"status", "podIP"}).empty());
  CO_TRY_ASSIGN(std::string ran, co_await n.get_text("/run/default/web/main?cmd=hostname", "POST"));
  EXPECT_EQ(ran, "web\n");
  CO_TRY_ASSIGN(std::string log, co_await n.get_text("/containerLogs/default/web/main?tailLines=2"));
  EXPECT_NE(log.find("web\n"), std::string::npos) << log;
  CO_TRY_ASSIGN(std::string stats, co_await n.get_text("/stats/summary"));
  EXPECT_NE(stats.find("\"name\":\"web\""), std::string::npos) << stats;
  CO_TRY(co_await n.delete_pod("web", 2));
  CO_TRY(co_await n.wait_gone("web"));
  EXPECT_TRUE(n.net->pods().empty());
  EXPECT_TRUE(fs::is_empty(n.base.dir + "/run-dir/pods"));
  EXPECT_TRUE(fs::is_empty(n.base.dir + "/data/pods"));
  co_return Result<>();
}
MONOPOD_NODE_TEST(AgentNode, PodRunsAnswersAndLeavesNothing) { co_return co_await with_node(node, life_of_a_pod); }

async::Task<Result<>> liveness_restart(Node& n) {
  CO_TRY(co_await n.create_pod("sick", R"json({"terminationGracePeriodSeconds":0,"containers":[{"name":"main","image":"busybox:test","command":["/bin/sh","-c","while true; do sleep 0.1; done"],
      "livenessProbe":{"exec":{"command":["/bin/cat","/nothing"]},"periodSeconds":1,"failureThreshold":1}}]})json"));
  CO_TRY_ASSIGN(json::Value pod, co_await n.wait_pod("sick", "restarted", [](const json::Value& p) { return restarts(p) >= 1; }));
  CO_TRY(co_await n.delete_pod("sick", 0));
  co_return co_await n.wait_gone("sick");
}
MONOPOD_NODE_TEST(AgentNode, FailedLivenessProbeRestartsTheContainer) { co_return co_await with_node(node, liveness_restart); }

async::Task<Result<>> exit_codes(Node& n) {
  CO_TRY(co_await n.create_pod("job", R"json({"restartPolicy":"Never","initContainers":[{"name":"init","image":"busybox:test","command":["/bin/true"]}],
      "containers":[{"name":"main","image":"busybox:test","command":["/bin/sh","-c","echo last words > /dev/termination-log; exit 3"]}]})json"));
  CO_TRY_ASSIGN(json::Value pod, co_await n.wait_pod("job", "Failed", [](const json::Value& p) { return json::get_string(p, {"status", "phase"}) == "Failed"; }));
  const json::Value& c = json::get_array(pod, {"status", "containerStatuses"})->at(0);
  EXPECT_EQ(json::get_int(c, {"state", "terminated", "exitCode"}), 3);
  EXPECT_EQ(json::get_string(c, {"state", "terminated", "message"}), "last words\n");
  CO_TRY(co_await n.delete_pod("job", 0));
  co_return co_await n.wait_gone("job");
}
MONOPOD_NODE_TEST(AgentNode, ExitCodeAndLastWordsAreReported) { co_return co_await with_node(node, exit_codes); }

// The first node process dies by SIGKILL while the pod runs; the second finds the same container and ends it.
async::Task<Result<>> dies_and_comes_back(Node& n) {
  if (n.base.run == 0) {
    CO_TRY(co_await n.create_pod("kept", R"json({"terminationGracePeriodSeconds":1,"containers":[{"name":"main","image":"busybox:test","command":["/bin/sh","-c","while true; do sleep 0.1; done"]}]})json"));
    CO_TRY_ASSIGN(json::Value pod, co_await n.wait_pod("kept", "ready", is_ready));
    CO_TRY(sys::Root::open(n.base.dir)->write_file("run", "1", 0644));
    container::testing_support::die_by_kill();
  }
  CO_TRY(co_await n.base.time.sleep_for(std::chrono::milliseconds(300)));  // time to do something wrong
  CO_TRY_ASSIGN(json::Value pod, co_await n.wait_pod("kept", "ready", is_ready));
  EXPECT_EQ(restarts(pod), 0);
  EXPECT_EQ(n.base.runtime.list().size(), 1U) << "the container is adopted, not doubled";
  CO_TRY(co_await n.delete_pod("kept", 1));
  co_return co_await n.wait_gone("kept");
}
MONOPOD_NODE_TEST(AgentNode, PodsOutliveTheNodeProcess) { co_return co_await with_node(node, dies_and_comes_back); }

}  // namespace
}  // namespace monopod::agent
