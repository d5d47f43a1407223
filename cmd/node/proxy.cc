#include "cmd/node/proxy.h"

#include <fcntl.h>
#include <linux/sockios.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/post.hpp>

#include "async/as_result.h"
#include "async/whole.h"
#include "base/log.h"
#include "base/strings.h"
#include "cmd/node/proxy_spec.h"
#include "cmd/proxy/admin.h"
#include "proxy/config/snapshot.h"
#include "sys/namespaces.h"

namespace monopod::cmd {
namespace {

using async::Task;

// Of a listener's "[::]:PORT"; IPv4 alone where the kernel has no IPv6.
Result<sys::Fd> listen_in_pod(const std::string& text, bool transparent) {
  TRY_ASSIGN(proxy::Address address, proxy::Address::parse(text));
  if (address.is_v6() && ::access("/proc/sys/net/ipv6", F_OK) != 0) {
    TRY_ASSIGN(address, proxy::Address::parse(cat("0.0.0.0:", address.port())));
  }
  return proxy::listen_on(address, false, transparent);
}

// Whether kept sockets are these listeners' in this namespace: ports may have been changed in the configuration since, and namespaces made anew. Blocking.
Result<bool> are_listeners(const std::vector<sys::Fd>& sockets, const proxy::Spec& part, const std::string& netns_path) {
  if (sockets.size() != part.listeners.size()) return false;
  struct stat wanted = {};
  if (::stat(netns_path.c_str(), &wanted) < 0) return fail_errno(cat("stat ", netns_path));
  for (std::size_t i = 0; i < sockets.size(); ++i) {
    TRY_ASSIGN(proxy::Address configured, proxy::Address::parse(part.listeners[i].address));
    TRY_ASSIGN(proxy::Address bound, proxy::Address::of(sockets[i].get()));
    sys::Fd netns(::ioctl(sockets[i].get(), SIOCGSKNS));
    struct stat found = {};
    if (!netns || ::fstat(netns.get(), &found) < 0) return fail_errno("find the namespace of a kept socket");
    if (bound.port() != configured.port() || found.st_dev != wanted.st_dev || found.st_ino != wanted.st_ino) return false;
  }
  return true;
}

// Blocking.
Result<std::map<std::string, sys::Fd>> open_listeners(const proxy::Spec& part, const std::string& netns_path) {
  std::map<std::string, sys::Fd> out;
  TRY_ASSIGN(sys::Fd netns, sys::open_namespace(netns_path));
  TRY(sys::run_in_network_namespace(netns.get(), [&]() -> Result<> {
    for (const proxy::ListenerSpec& listener : part.listeners) {
      TRY_ASSIGN(out[listener.name], listen_in_pod(listener.address, listener.transparent));
    }
    return {};
  }));
  return out;
}

std::string kept_name(const std::string& uid) { return cat("proxy/", uid); }

Result<> install_rules(const std::string& netns_path, const network::InterceptSpec& spec) {
  TRY_ASSIGN(sys::Fd netns, sys::open_namespace(netns_path));
  return network::install_intercept(netns.get(), spec);
}

}  // namespace

std::string default_node_proxy_config(const std::string& data_dir, const std::vector<std::string>& local_prefixes) {
  std::string joined = cat("sockmap: true, sockmap_peers: [\"", join(local_prefixes, "\", \""), "\"], ");
  std::string log = cat("access_log: {path: \"", data_dir, "/proxy-access.log\", rotate_mb: 10, old_files: 2, json: {time: \"%START_TIME%\", listener: \"%LISTENER%\", from: \"%DOWNSTREAM_REMOTE_ADDRESS%\", "
                        "to: \"%UPSTREAM_HOST%\", protocol: \"%PROTOCOL%\", method: \"%METHOD%\", path: \"%PATH%\", status: \"%RESPONSE_CODE%\", details: \"%RESPONSE_CODE_DETAILS%\", "
                        "received: \"%BYTES_RECEIVED%\", sent: \"%BYTES_SENT%\", ms: \"%DURATION%\"}}");
  return cat("listeners:\n"
             "- {name: inbound, address: \"[::]:15006\", intercepts: true, protocol: tcp, cluster: pod, ", joined, log, "}\n"
             "- {name: outbound, address: \"[::]:15001\", intercepts: true, protocol: tcp, cluster: passthrough, ", joined, log, "}\n"
             "- {name: inbound-http, address: \"[::]:15007\", intercepts: true, http2: false, edge: false, virtual_hosts: [{routes: [{prefix: /, cluster: pod, timeout: 0}]}], ", log, "}\n"
             "- {name: outbound-http, address: \"[::]:15008\", intercepts: true, http2: false, edge: false, virtual_hosts: [{routes: [{prefix: /, cluster: passthrough, timeout: 0}]}], ", log, "}\n"
             "clusters:\n"
             "- {name: pod, original_destination: true, connect_timeout: 10s}\n"
             "- {name: passthrough, original_destination: true, connect_timeout: 10s}\n"
             "admin: {socket: \"", node_proxy_socket_path(data_dir), "\"}\n");
}

NodeProxy::NodeProxy(async::Executor executor, async::Time& time, async::Pool& pool, supervisor::Supervisor& supervisor, std::string data_dir, std::vector<std::string> local_prefixes)
    : executor_(executor), time_(time), pool_(pool), supervisor_(supervisor), data_dir_(std::move(data_dir)), config_path_(data_dir_ + "/proxy.yaml"), local_prefixes_(std::move(local_prefixes)), started_(executor), tried_(executor) {}

NodeProxy::~NodeProxy() = default;

Result<proxy::Loaded> NodeProxy::read() const {
  if (::access(config_path_.c_str(), F_OK) == 0) return config_->read(nullptr);
  Result<proxy::Loaded> own = proxy::load_sources({.yaml = default_node_proxy_config(data_dir_, local_prefixes_)}, "the node's own configuration", nullptr);
  if (own) own->files.push_back(config_path_);  // it may come yet
  return own;
}

Result<> NodeProxy::take(proxy::Loaded& loaded) {
  TRY(check_templates(loaded.spec));
  proxy::Spec before = std::exchange(base_, std::move(loaded.spec));
  Result<> published = publish();
  if (!published) base_ = std::move(before);
  if (::access(config_path_.c_str(), F_OK) != 0) loaded.sources = {};  // nothing to be kept of what is always there
  return published;
}

// With the first pod; who comes meanwhile waits for what becomes of it. A failure is the pod's, and the next one tries again.
Task<Result<>> NodeProxy::start() {
  if (started_.is_set()) co_return Result<>();
  if (starting_) {
    CO_TRY(co_await tried_.wait());  // forever: the attempt ends
    if (!started_.is_set()) co_return fail(Code::kUnavailable, "the proxy of pods did not start");
    co_return Result<>();
  }
  starting_ = true;
  tried_.reset();
  Result<> begun = co_await async::whole(begin());  // also where the pod goes meanwhile: others wait for it
  starting_ = false;
  if (begun) {
    started_.set();
  } else {
    admin_.reset();
    config_.reset();
    proxy_.reset();
  }
  tried_.set();
  co_return begun;
}

Task<Result<>> NodeProxy::begin() {
  proxy::ProxyOptions options{.workers = 0, .open = [this](const proxy::ListenerConfig& config) { return take_socket(config); }};
  CO_TRY_ASSIGN(proxy_, proxy::Proxy::start(std::move(options)));
  CO_TRY_ASSIGN(proxy::FileWatch watch, proxy::FileWatch::make());
  config_ = std::make_unique<ProxyConfig>(config_path_, config_path_ + ".last-good", std::move(watch), [this](proxy::Loaded& loaded) { return take(loaded); });
  admin_ = std::make_unique<ProxyAdmin>(executor_, *proxy_, *config_, 1, [this] { return reload(); });
  Result<proxy::Loaded> loaded = co_await pool_.run([this] { return read(); });
  Result<proxy::Loaded> before = co_await pool_.run([this] { return config_->read_last_good(); });
  co_return config_->start(std::move(loaded), std::move(before));
}

// The worker's turns, between others' on this loop.
Task<Result<>> NodeProxy::drive() {
  proxy::Worker& worker = proxy_->own_worker();
  sys::Fd own(::fcntl(worker.poll_fd(), F_DUPFD_CLOEXEC, 0));
  if (!own) co_return fail_errno("watch the proxy's sockets");
  async::asio::posix::stream_descriptor events(executor_, own.release());
  for (;;) {  // forever: until cancelled
    while (worker.turn()) co_await async::asio::post(executor_, async::use_task);
    auto [ec] = co_await events.async_wait(async::asio::posix::stream_descriptor::wait_read, async::as_tuple);
    if (ec) co_return fail(Code::kInternal, cat("wait for the proxy's sockets: ", ec.message()));
  }
}

Task<Result<>> NodeProxy::reload() {
  Result<proxy::Loaded> loaded = co_await pool_.run([this] { return read(); });
  co_return config_->take(std::move(loaded));
}

Task<Result<>> NodeProxy::watch() {
  for (;;) {  // forever: until cancelled
    CO_TRY(co_await config_->wait_for_change(time_));
    Result<> loaded = co_await reload();
    if (loaded) log::info("the configuration of pods' proxy is read anew", {{"version", proxy_->snapshot()->version}});
    else log::error("the configuration of pods' proxy is refused: the old one stays", {{"error", loaded.error()}});
  }
}

Task<Result<>> NodeProxy::run() {
  CO_TRY(co_await started_.wait());  // forever: there may never be such a pod
  async::Scope scope(executor_);
  scope.spawn(drive());
  scope.spawn(watch());
  http::Server server(executor_, time_, *admin_, {});
  const std::string& admin = proxy_->snapshot()->admin_socket;
  if (!admin.empty()) {
    Result<sys::Fd> socket = http::listen_unix(admin);
    if (socket) scope.spawn(server.serve(std::move(*socket)));
    else log::error("no admin socket for pods' proxy", {{"path", admin}, {"error", socket.error()}});
  }
  co_return co_await scope.join();
}

Result<sys::Fd> NodeProxy::take_socket(const proxy::ListenerConfig& config) {
  for (auto& [uid, attached] : pods_) {
    auto found = attached.sockets.find(config.spec.name);
    if (found != attached.sockets.end() && attached.pod.netns_path == config.spec.netns && found->second) return std::move(found->second);
  }
  if (!config.spec.netns.empty()) return fail(Code::kUnavailable, cat("listener ", config.spec.name, " is no pod's that is being started: it is opened with its pod"));
  return proxy::listen_on(config.address, false, config.spec.transparent);
}

Result<> NodeProxy::publish() {
  proxy::Spec spec = shared_part(base_);
  for (const auto& [uid, attached] : pods_) {
    // What somebody took away by hand must not keep every other pod from starting.
    if (::access(attached.pod.netns_path.c_str(), F_OK) == 0) TRY(add_pod(base_, attached.pod, spec));
    else log::warn("a pod's network namespace is gone", {{"pod", cat(attached.pod.namespace_name, "/", attached.pod.name)}, {"path", attached.pod.netns_path}});
  }
  proxy::ConfigError error;
  std::shared_ptr<const proxy::Snapshot> snapshot = proxy::compile(spec, proxy_->snapshot().get(), error);
  if (!snapshot) return fail(Code::kInvalidArgument, cat("proxy of pods: ", error.path, ": ", error.why));
  return proxy_->apply(std::move(snapshot));
}

Task<Result<>> NodeProxy::attach(agent::SidecarPod pod) {
  CO_TRY(co_await start());
  remove(pod.uid);
  proxy::Spec part;
  CO_TRY(add_pod(base_, pod, part));
  CO_TRY_ASSIGN(network::InterceptSpec rules, intercept_spec(base_, pod));
  std::string uid = pod.uid, netns = pod.netns_path;
  auto opened = co_await open_sockets(pod, part);
  if (!opened) co_return fail(std::move(opened).error().with("proxy of the pod"));
  pods_.insert_or_assign(uid, Attached{.pod = std::move(pod), .sockets = std::move(*opened)});
  Result<> ready = publish();
  if (ready) ready = co_await pool_.run([&netns, &rules] { return install_rules(netns, rules); });
  if (!ready) {
    CO_TRY(co_await detach(uid));
    co_return fail(std::move(ready).error().with("proxy of the pod"));
  }
  co_return Result<>();
}

Task<Result<NodeProxy::Sockets>> NodeProxy::open_sockets(const agent::SidecarPod& pod, const proxy::Spec& part) {
  Sockets out;
  Result<std::vector<sys::Fd>> kept = co_await supervisor_.kept(kept_name(pod.uid));
  if (kept && !kept->empty()) {
    CO_TRY_ASSIGN(bool fit, co_await pool_.run([&] { return are_listeners(*kept, part, pod.netns_path); }));
    if (fit) {
      for (std::size_t i = 0; i < kept->size(); ++i) out[part.listeners[i].name] = std::move((*kept)[i]);
      co_return out;
    }
    kept->clear();  // before the same ports are opened
    CO_TRY(co_await supervisor_.drop(kept_name(pod.uid)));
  }
  CO_TRY_ASSIGN(out, co_await pool_.run([&] { return open_listeners(part, pod.netns_path); }));
  std::vector<sys::Fd> copies;
  for (const proxy::ListenerSpec& listener : part.listeners) {
    CO_TRY_ASSIGN(sys::Fd copy, out[listener.name].duplicate());
    copies.push_back(std::move(copy));
  }
  if (copies.empty()) co_return out;  // neither way is taken
  Result<> keeps = co_await supervisor_.keep(kept_name(pod.uid), std::move(copies));
  if (!keeps) log::warn("a pod's new connections will be refused while the node process starts again", {{"pod", cat(pod.namespace_name, "/", pod.name)}, {"error", keeps.error()}});
  co_return out;
}

Task<Result<>> NodeProxy::detach(std::string uid) {
  remove(uid);
  Result<> dropped = co_await supervisor_.drop(kept_name(uid));
  if (!dropped && dropped.error().code() != Code::kUnimplemented) co_return dropped;  // an older supervisor keeps nothing
  co_return Result<>();
}

void NodeProxy::remove(const std::string& uid) {
  if (pods_.erase(uid) == 0) return;
  if (Result<> published = publish(); !published) log::error("the proxy keeps the listeners of a pod that is gone", {{"uid", uid}, {"error", published.error()}});
  proxy_->on_workers([](proxy::Worker& worker) { worker.cut_orphans(); }, [] {});
}

std::string NodeProxy::metrics() {
  std::string out;
  if (proxy_ && !pods_.empty()) proxy_->own_worker().append_metrics(out);
  return out;
}

}  // namespace monopod::cmd
