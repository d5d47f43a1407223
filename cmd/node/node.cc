#include "cmd/node/node.h"

#include <sys/utsname.h>
#include <unistd.h>

#include <cstdlib>

#include "agent/agent.h"
#include "api/schema/schema.h"
#include "api/server.h"
#include "async/broken_pipe.h"
#include "async/loop.h"
#include "async/pool.h"
#include "base/log.h"
#include "base/strings.h"
#include "client/informer.h"
#include "client/local_api.h"
#include "cmd/host.h"
#include "cmd/node/admin.h"
#include "cmd/node/audit.h"
#include "cmd/node/credentials.h"
#include "cmd/node/datastore.h"
#include "cmd/node/local_volumes.h"
#include "cmd/node/proxy.h"
#include "cmd/node/vital.h"
#include "cmd/resolver.h"
#include "container/runtime.h"
#include "controllers/controllers.h"
#include "etcd/serve.h"
#include "etcd/service.h"
#include "http/server.h"
#include "image/store.h"
#include "network/dns/server.h"
#include "network/network.h"
#include "network/service_table.h"
#include "pki/random.h"
#include "scheduler/scheduler.h"
#include "store/sqlite_backend.h"
#include "supervisor/supervisor.h"
#include "sys/cgroup.h"
#include "sys/root.h"
#include "sys/text_pages.h"

namespace monopod::cmd {
namespace {

using async::Task;

constexpr std::size_t kPoolThreads = 2;
constexpr Duration kClusterWait = std::chrono::seconds(20);  // for an external datastore; then the supervisor starts the node again
constexpr Duration kWatchdogIntervalMax = std::chrono::seconds(10);

// Which handler serves a node's own API: here, the one agent of this process.
class LocalNode final : public api::NodeHandlers {
 public:
  void set(std::string name, http::Handler* handler) {
    name_ = std::move(name);
    handler_ = handler;
  }
  http::Handler* find(std::string_view node_name) override { return node_name == name_ ? handler_ : nullptr; }

 private:
  std::string name_;
  http::Handler* handler_ = nullptr;
};

client::Resource resource_of(const api::CustomKindName& kind) { return {kind.group, kind.version, kind.plural, kind.kind, kind.namespaced}; }

std::vector<client::Resource> deletable_resources(const api::ApiServer& server) {
  std::vector<client::Resource> out;
  for (const api::Resource& r : api::resources())
    if (r.has(api::kList) && r.has(api::kDelete) && r.has(api::kWatch)) out.push_back({r.group(), r.version(), r.plural(), r.kind(), r.namespaced});
  for (const api::CustomKindName& kind : server.custom_kinds()) out.push_back(resource_of(kind));
  return out;
}

// Of the host's own files; a host without them has UTC alone.
Result<std::string> read_time_zone(std::string_view name) {
  constexpr std::size_t kFileMax = 256U << 10;
  TRY_ASSIGN(sys::Root zones, sys::Root::open("/usr/share/zoneinfo"));
  return zones.read_file(name, kFileMax);
}

// The parts of a node, built in order; each start_* leaves its part running in the scope.
class Node {
 public:
  Node(async::Loop& loop, const ServerOptions& options, NodeSockets sockets)
      : executor_(loop.executor()), options_(options), sockets_(std::move(sockets)), pool_(kPoolThreads), background_(executor_), stopping_(executor_) {}

  Task<Result<>> run();

 private:
  Task<Result<>> start();
  Task<Result<>> start_store();
  Task<Result<>> start_store_socket();
  Task<Result<>> start_images();
  Task<Result<>> start_network();
  Task<Result<>> start_api();
  Task<Result<>> start_loops();
  Task<Result<>> start_agent();
  Task<Result<>> stop();
  Task<Result<>> feed_watchdog(Duration interval);
  Result<> listen();
  store::Backend& objects() { return cluster_ ? static_cast<store::Backend&>(*cluster_) : *store_; }

  async::Executor executor_;
  ServerOptions options_;
  NodeSockets sockets_;
  async::RealTime time_;
  SystemRng rng_;
  async::Pool pool_;
  async::Scope background_;
  async::Event stopping_;
  bool leave_pods_ = false;  // another node process follows at once
  HostIdentity host_;
  HostResolver resolver_{time_, rng_};

  std::unique_ptr<store::SqliteBackend> store_;    // what this node itself remembers, and the API objects unless there is
  std::unique_ptr<etcd::ClusterBackend> cluster_;  // an external datastore
  std::unique_ptr<backup::Schedule> backups_;      // of store_; null: none are scheduled
  std::unique_ptr<etcd::Operations> operations_;
  std::unique_ptr<etcd::Service> store_service_;
  std::unique_ptr<http::Server> store_http_;
  std::unique_ptr<supervisor::Supervisor> supervisor_;
  std::unique_ptr<sys::Cgroups> cgroups_;
  std::unique_ptr<http::TlsClient> registry_tls_;  // null: this host has no bundle of authorities, https registries are out of reach
  std::unique_ptr<image::ImageStore> images_;
  std::unique_ptr<network::Network> network_;
  std::unique_ptr<network::ServiceProgrammer> services_;
  std::unique_ptr<network::dns::Server> dns_;
  std::unique_ptr<container::Runtime> containers_;
  std::unique_ptr<Credentials> credentials_;
  LocalNode local_node_;
  std::unique_ptr<AuditLog> audit_;
  std::unique_ptr<api::ApiServer> api_;
  std::unique_ptr<http::Server> http_;
  std::unique_ptr<AdminHandler> admin_;
  std::unique_ptr<http::Server> admin_http_;
  std::unique_ptr<client::LocalApi> controller_api_, scheduler_api_, agent_api_;
  std::unique_ptr<client::InformerFactory> informers_;
  std::unique_ptr<scheduler::Scheduler> scheduler_;
  std::unique_ptr<LocalVolumes> volumes_;  // null: nothing runs here
  std::unique_ptr<NodeProxy> proxy_;
  std::unique_ptr<agent::Agent> agent_;
};

Task<Result<>> Node::start_store() {
  CO_TRY_ASSIGN(store::Durability durability, store::parse_durability(options_.store_sync));
  store::SqliteOptions options{.path = options_.data_dir + "/state.db", .durability = durability, .volatile_prefixes = {"/registry/coordination.k8s.io/leases/kube-node-lease/"},
                               .value_cache_bytes = 1U << 20};  // the API server has every object in memory already
  CO_TRY_ASSIGN(store_, co_await store::SqliteBackend::open(std::move(options), pool_, time_, rng_));
  co_await pool_.run([this] { backup::remove_copies(options_.data_dir); });
  CO_TRY_ASSIGN(std::optional<backup::ScheduleOptions> backups, parse_backup_options(options_.backup));
  if (backups) {
    backups_ = std::make_unique<backup::Schedule>(backup::Source{.store = *store_, .folder = options_.data_dir, .clock = time_}, time_, std::move(*backups));
    background_.spawn(backups_->run());
  }
  CO_TRY(co_await start_store_socket());
  if (options_.datastore.endpoints.empty()) co_return Result<>();
  CO_TRY_ASSIGN(etcd::ClientOptions client, read_datastore_options(options_.datastore, &resolver_));
  CO_TRY_ASSIGN(cluster_, co_await etcd::ClusterBackend::open({.client = std::move(client), .open_timeout = kClusterWait}, time_));
  log::info("API objects are in etcd", {{"endpoints", join(options_.datastore.endpoints, ",")}, {"revision", cluster_->current_revision().value}});
  co_return Result<>();
}

// etcd's API for reading alone, for commands of root on this host: what the API server wrote is not changed behind its back.
Task<Result<>> Node::start_store_socket() {
  std::string path = etcd::local_socket_path(options_.data_dir);
  operations_ = std::make_unique<etcd::Operations>(etcd::Operations{.store = *store_, .data_dir = options_.data_dir, .pool = pool_, .clock = time_, .schedule = backups_.get()});
  store_service_ = std::make_unique<etcd::Service>(*store_, time_, etcd::ServiceOptions{.client_url = "unix:" + path, .sqlite = store_.get(), .quota_bytes = 0, .snapshot_dir = options_.data_dir, .operations = operations_.get(), .read_only = true});
  CO_TRY(co_await store_service_->start());
  store_http_ = std::make_unique<http::Server>(executor_, time_, *store_service_, http::ServerOptions{});
  CO_TRY_ASSIGN(sys::Fd socket, http::listen_unix(path));
  background_.spawn(store_http_->serve(std::move(socket)));
  co_return Result<>();
}

Task<Result<>> import_drop_ins(image::ImageStore& images) {
  Result<std::size_t> imported = co_await images.import_drop_ins();
  if (!imported) log::warn("images directory could not be imported", {{"why", imported.error()}});
  else if (*imported > 0) log::info("images imported", {{"files", *imported}});
  co_return Result<>();
}

Task<Result<>> Node::start_images() {
  Result<std::unique_ptr<http::TlsClient>> tls = http::TlsClient::make({});
  if (tls) registry_tls_ = std::move(*tls);
  image::ImageStore::Options options{.data_dir = options_.data_dir, .import_drop_ins = false};
  CO_TRY_ASSIGN(options.form, image::parse_layer_form(options_.layers));
  options.tls = registry_tls_.get();
  options.resolver = &resolver_;
  CO_TRY_ASSIGN(images_, co_await image::ImageStore::open(std::move(options), pool_, time_, store_->state()));
  background_.spawn(import_drop_ins(*images_));  // a large file must not delay the node
  co_return Result<>();
}

Task<Result<>> Node::start_network() {
  CO_TRY_ASSIGN(network::IpAddress dns_ip, network::parse_ip(options_.cluster_dns));
  network::NetworkConfig config{.bridge = options_.bridge, .bridge_addresses = {dns_ip}};
  CO_TRY_ASSIGN(config.pod_cidr, network::parse_cidr(options_.pod_cidr));
  CO_TRY_ASSIGN(config.service_cidr, network::parse_cidr(options_.service_cidr));
  CO_TRY_ASSIGN(network_, co_await network::Network::open(std::move(config), store_->state(), pool_));
  network::ServiceProgrammer::Options programmer{.service_cidr = network_->config().service_cidr, .pod_cidr = network_->config().pod_cidr, .bridge = options_.bridge, .node_port_addresses = {}};
  CO_TRY_ASSIGN(services_, co_await pool_.run([&programmer] { return network::ServiceProgrammer::open(programmer); }));
  dns_ = std::make_unique<network::dns::Server>(executor_, time_, rng_,
                                                network::dns::ServerOptions{.addresses = {dns_ip}, .zone = options_.cluster_domain, .upstreams = read_upstreams("/etc/resolv.conf")});
  CO_TRY(dns_->listen());
  background_.spawn(dns_->serve());
  co_return Result<>();
}

Result<> Node::listen() {
  TRY_ASSIGN(ListenAddress address, parse_listen_address(options_.listen));
  for (sys::Fd& socket : sockets_.inherited) background_.spawn(http_->serve(std::move(socket)));
  TRY_ASSIGN(sys::Fd own, http::listen_tcp(address.host, address.port));
  background_.spawn(http_->serve(std::move(own)));
  return {};
}

Task<Result<>> Node::start_api() {
  CO_TRY_ASSIGN(ListenAddress address, parse_listen_address(options_.listen));
  std::string node_ip = "127.0.0.1";
  if (network_) {
    CO_TRY_ASSIGN(network::IpAddress ip, network_->node_ip());
    node_ip = network::format_ip(ip);
  }
  CredentialOptions credentials{.dns_names = {"localhost", host_.node_name, "kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc." + options_.cluster_domain},
                                .ip_addresses = {"127.0.0.1", "::1", first_address(options_.service_cidr)},
                                .server_url = cat("https://127.0.0.1:", address.port),
                                .kubeconfig_path = options_.data_dir + "/admin.kubeconfig"};
  for (const std::string& ip : local_addresses()) credentials.ip_addresses.push_back(ip);
  for (const std::string& san : options_.tls_sans) (network::parse_ip(san) ? credentials.ip_addresses : credentials.dns_names).push_back(san);
  CO_TRY_ASSIGN(credentials_, co_await Credentials::open(store_->state(), time_, std::move(credentials)));
  background_.spawn(credentials_->keep_fresh());

  api::ServerOptions options{.service_account_key_pem = credentials_->service_account_key_pem(), .service_cidr = options_.service_cidr, .advertise_address = node_ip, .advertise_port = address.port};
  if (!options_.token_file.empty()) {
    CO_TRY_ASSIGN(options.token_file, read_file(options_.token_file));
  }
  CO_TRY_ASSIGN(options.audit_policy, read_audit_policy(options_.audit));
  if (options.audit_policy) {
    CO_TRY_ASSIGN(audit_, AuditLog::open(executor_, pool_, time_, options_.audit));
    background_.spawn(audit_->run());
    options.audit_sink = audit_.get();
  }
  if (!options_.disable_agent) options.default_provisioner = controllers::kLocalProvisioner;
  api_ = std::make_unique<api::ApiServer>(api::ServerParts{.executor = executor_, .store = objects(), .time = time_, .rng = rng_, .pool = pool_, .nodes = local_node_}, std::move(options));
  api_->add_check("datastore", [this] {
    std::optional<Error> failure = store_->failure();
    if (!failure && cluster_) failure = cluster_->failure();
    return failure ? failure->message() : std::string();
  });
  CO_TRY(co_await api_->start());
  background_.spawn(api_->run());
  http_ = std::make_unique<http::Server>(executor_, time_, *api_, http::ServerOptions{.tls = &credentials_->server_tls()});
  CO_TRY(listen());
  admin_ = std::make_unique<AdminHandler>(*operations_, images_.get());
  admin_http_ = std::make_unique<http::Server>(executor_, time_, *admin_, http::ServerOptions{});
  CO_TRY_ASSIGN(sys::Fd admin_socket, http::listen_unix(admin_socket_path(options_.data_dir)));
  background_.spawn(admin_http_->serve(std::move(admin_socket)));
  co_return Result<>();
}

Task<Result<>> Node::start_loops() {
  controller_api_ = std::make_unique<client::LocalApi>(api_->local(api::system_user("system:kube-controller-manager")));
  scheduler_api_ = std::make_unique<client::LocalApi>(api_->local(api::system_user("system:kube-scheduler")));
  informers_ = std::make_unique<client::InformerFactory>(executor_, *controller_api_, time_, rng_);
  scheduler_ = std::make_unique<scheduler::Scheduler>(scheduler::SchedulerParts{.executor = executor_, .api = *scheduler_api_, .informers = *informers_, .time = time_, .rng = rng_}, scheduler::SchedulerOptions{});
  if (!options_.disable_agent) {
    volumes_ = std::make_unique<LocalVolumes>(executor_, pool_, options_.data_dir + "/volumes", host_.node_name);
    background_.spawn(volumes_->run());
  }
  controllers::ControllerParts parts{.executor = executor_, .api = *controller_api_, .informers = *informers_, .time = time_, .rng = rng_,
                                     .deletable_resources = [this] { return deletable_resources(*api_); },
                                     .on_custom_kind = [this](std::function<void(const client::Resource&, bool)> listener) {
                                       return api_->on_custom_kind([tell = std::move(listener)](const api::CustomKindName& kind, bool served) { tell(resource_of(kind), served); });
                                     },
                                     .root_ca_pem = credentials_->authority_pem(),
                                     .authority = &credentials_->authority(),
                                     .read_time_zone = read_time_zone,
                                     .quotas = &api_->quotas(),
                                     .volumes = volumes_.get()};
  background_.spawn(controllers::run_controllers(std::move(parts)));
  background_.spawn(scheduler_->run());
  background_.spawn(informers_->run());
  co_return Result<>();
}

Task<Result<>> Node::start_agent() {
  containers_ = std::make_unique<container::Runtime>(executor_, time_, pool_, store_->state(), *supervisor_, *cgroups_, container::Runtime::Options{.run_dir = options_.run_dir + "/containers"});
  CO_TRY(co_await containers_->open());
  agent_api_ = std::make_unique<client::LocalApi>(api_->local(api::system_user("system:node:" + host_.node_name)));
  proxy_ = std::make_unique<NodeProxy>(executor_, time_, pool_, *supervisor_, options_.data_dir, std::vector<std::string>{options_.pod_cidr, options_.service_cidr});
  background_.spawn(proxy_->run());
  agent::AgentDependencies parts{.executor = executor_, .api = *agent_api_, .containers = *containers_, .images = *images_, .network = *network_, .services = services_.get(), .dns = dns_.get(), .sidecars = proxy_.get(),
                                 .cgroups = *cgroups_, .time = time_, .pool = pool_, .rng = rng_};
  agent::AgentOptions options{.node_name = host_.node_name, .data_dir = options_.data_dir, .run_dir = options_.run_dir, .pod_cidr = options_.pod_cidr, .cluster_dns = options_.cluster_dns,
                              .cluster_domain = options_.cluster_domain, .pod_manifests_dir = options_.pod_manifests_dir, .pods_max = options_.pods_max};
  agent_ = std::make_unique<agent::Agent>(std::move(parts), std::move(options));
  local_node_.set(host_.node_name, &agent_->handler());
  background_.spawn(agent_->run());
  co_return Result<>();
}

Task<Result<>> Node::start() {
  CO_TRY_ASSIGN(host_, identify_host(options_.node_name));
  CO_TRY(co_await start_store());
  background_.spawn(vital("node", store_->until_failure()));
  bool agent = !options_.disable_agent;
  std::optional<sys::Fd> socket = supervisor::inherited_socket();
  if (agent && !socket) co_return fail(Code::kFailedPrecondition, "the node process is started by monopod server, not by hand");
  if (socket) {
    supervisor_ = std::make_unique<supervisor::Supervisor>(executor_, std::move(*socket));
    supervisor_->on_terminate([this] { stopping_.set(); });
    supervisor_->on_detach([this] {
      leave_pods_ = true;
      stopping_.set();
    });
    background_.spawn(vital("node", supervisor_->run()));
  }
  if (agent) {
    CO_TRY_ASSIGN(cgroups_, co_await pool_.run([] { return sys::open_cgroups(); }));
    CO_TRY(co_await start_images());
    CO_TRY(co_await start_network());
  }
  CO_TRY(co_await start_api());
  CO_TRY(co_await start_loops());
  if (agent) CO_TRY(co_await start_agent());
  if (supervisor_) {
    CO_TRY(co_await supervisor_->notify_ready("serving the Kubernetes API on " + options_.listen));
    const char* watchdog = std::getenv("WATCHDOG_USEC");
    if (auto limit_us = parse_int<std::int64_t>(watchdog != nullptr ? watchdog : ""); limit_us && *limit_us > 0)
      background_.spawn(feed_watchdog(std::min<Duration>(std::chrono::microseconds(*limit_us / 3), kWatchdogIntervalMax)));
  }
  sys::forget_program_pages();
  log::info("node is up", {{"node", host_.node_name}, {"api", options_.listen}});
  co_return Result<>();
}

Task<Result<>> Node::feed_watchdog(Duration interval) {
  for (;;) {  // forever: until cancelled; a loop that hangs stops feeding
    CO_TRY(co_await supervisor_->notify_alive());
    CO_TRY(co_await time_.sleep_for(interval));
  }
}

Task<Result<>> Node::stop() {
  log::info("stopping");
  if (agent_ && !leave_pods_) {
    Result<> stopped = co_await agent_->stop_pods(std::chrono::seconds(options_.stop_timeout_s));
    if (!stopped) log::warn("pods did not stop cleanly", {{"why", stopped.error()}});
  }
  co_return Result<>();
}

Task<Result<>> Node::run() {
  struct Until {
    Node& node;
    Task<Result<>> operator()(async::Scope& scope) {
      CO_TRY(co_await node.start());
      scope.spawn(node.background_.join());
      CO_TRY(co_await node.stopping_.wait());  // forever: the supervisor decides
      co_return co_await node.stop();
    }
  } until{*this};
  // Ends when told to stop, or with the first error of any part.
  Result<> ended = co_await async::run_scoped([&until](async::Scope& scope) { return until(scope); });
  background_.cancel();
  Result<> joined = co_await background_.join();
  if (cluster_) (void)co_await cluster_->close();
  if (store_) {
    Result<> closed = co_await store_->close();
    if (!closed) log::warn("store did not close cleanly", {{"why", closed.error()}});
  }
  if (!ended) co_return ended;
  co_return joined;
}

Task<Result<>> run(Node& node) { co_return co_await node.run(); }

}  // namespace

Result<> run_node(const ServerOptions& options, NodeSockets sockets) {
  pki::initialise();
  async::ignore_broken_pipes();
  async::Loop loop;
  Node node(loop, options, std::move(sockets));
  return loop.run(run(node));
}

}  // namespace monopod::cmd
