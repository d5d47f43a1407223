// The table of an API server's numbers over real sockets: the server in a process of its own (HTTP/2 over TLS, a store on disk, every
// write synced), the clients in this one, "name value unit (must, stretch)" a line, beside the machine's own calibration.
//   api_wire_bench [DIRECTORY [PART]]    where the store goes; /tmp by default. PART: that alone (create, get, apply, apply-one, watch, objects).
// MONOPOD_BENCH_PODS: pods in the large lists (10,000).
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/ssl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <filesystem>

#include "api/server.h"
#include "async/loop.h"
#include "async/scope.h"
#include "base/strings.h"
#include "http/client.h"
#include "http/server.h"
#include "pki/pki.h"
#include "store/sqlite_backend.h"

namespace monopod {
namespace {

using async::Task;

double seconds_of(clockid_t clock) {
  timespec t{};
  clock_gettime(clock, &t);
  return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_nsec) / 1e9;
}
double wall() { return seconds_of(CLOCK_MONOTONIC); }
void print(const std::string& name, double value, const char* unit, const char* wanted = "") {
  std::printf("%-52s %10.3f %-4s %s\n", name.c_str(), value, unit, wanted);
}
double percentile(std::vector<double>& values, double share) {
  if (values.empty()) return 0;
  std::ranges::sort(values);
  return values[std::min(values.size() - 1, static_cast<std::size_t>(static_cast<double>(values.size()) * share))];
}
[[noreturn]] void die(const char* what) {
  std::perror(what);
  std::_Exit(1);
}

// --- the machine

void calibrate_disk(const std::string& directory) {
  std::string path = directory + "/calibration";
  int fd = ::open(path.c_str(), O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
  if (fd < 0) die("open");
  std::string block(4096, 'x');
  std::vector<double> times;
  for (int i = 0; i < 200; ++i) {
    double begin = wall();
    if (::pwrite(fd, block.data(), block.size(), i * 4096L) != 4096 || ::fdatasync(fd) != 0) die("fdatasync");
    times.push_back(wall() - begin);
  }
  ::close(fd);
  ::unlink(path.c_str());
  print("calibration: fdatasync p50", percentile(times, 0.5) * 1e3, "ms");
}

// One kilobyte there and back between two processes, blocking, OpenSSL alone.
void calibrate_tls(const pki::KeyPair& pair) {
  int ends[2];
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0) die("socketpair");
  auto settings = http::TlsServer::make({.certificate_pem = pair.certificate_pem, .key_pem = pair.key_pem, .http2 = false});
  if (!settings) die("tls");
  char buffer[1024] = {};
  pid_t echo = ::fork();
  if (echo == 0) {
    ::close(ends[0]);
    SSL* ssl = SSL_new((*settings)->context().get());
    SSL_set_fd(ssl, ends[1]);
    if (SSL_accept(ssl) != 1) std::_Exit(1);
    for (int n = 0; (n = SSL_read(ssl, buffer, sizeof buffer)) > 0;) SSL_write(ssl, buffer, n);
    std::_Exit(0);
  }
  ::close(ends[1]);
  SSL_CTX* tls = SSL_CTX_new(TLS_client_method());
  SSL* ssl = SSL_new(tls);
  SSL_set_fd(ssl, ends[0]);
  if (SSL_connect(ssl) != 1) die("tls");
  std::vector<double> times;
  for (int i = 0; i < 2000; ++i) {
    double begin = wall();
    if (SSL_write(ssl, buffer, sizeof buffer) != sizeof buffer) die("write");
    for (int left = sizeof buffer; left > 0;) {
      int n = SSL_read(ssl, buffer, left);
      if (n <= 0) die("read");
      left -= n;
    }
    times.push_back(wall() - begin);
  }
  SSL_free(ssl);
  SSL_CTX_free(tls);
  ::close(ends[0]);
  ::waitpid(echo, nullptr, 0);
  print("calibration: TLS loopback round trip p50", percentile(times, 0.5) * 1e6, "us");
}

// --- the server's process

Task<Result<>> serve(async::Executor executor, std::string path, sys::Fd socket, pki::KeyPair pair, int ready) {
  async::RealTime time;
  SystemRng rng;
  async::Pool pool(2);
  CO_TRY_ASSIGN(auto tls, http::TlsServer::make({.certificate_pem = pair.certificate_pem, .key_pem = pair.key_pem}));
  CO_TRY_ASSIGN(auto store, co_await store::SqliteBackend::open({.path = path}, pool, time, rng));
  api::NoNodeHandlers nodes;
  api::ApiServer server({executor, *store, time, rng, pool, nodes}, {.token_file = "t,admin,1,\"system:masters\"", .advertise_address = "192.0.2.1"});
  CO_TRY(co_await server.start());
  http::Server door(executor, time, server, {.tls = tls.get()});
  async::Scope scope(executor);
  scope.spawn(server.run());
  scope.spawn(door.serve(std::move(socket)));
  if (::write(ready, "1", 1) != 1) co_return fail(Code::kInternal, "nobody waits");
  co_return co_await scope.join();  // forever: the bench ends the process
}

struct ServerProcess {
  pid_t pid = 0;
  clockid_t clock{};
  double cpu() const { return seconds_of(clock); }
  double resident() const {
    long pages = 0, mine = 0;
    if (std::FILE* file = std::fopen(cat("/proc/", pid, "/statm").c_str(), "re")) {
      if (std::fscanf(file, "%ld %ld", &pages, &mine) != 2) mine = 0;
      std::fclose(file);
    }
    return static_cast<double>(mine) * static_cast<double>(sysconf(_SC_PAGESIZE));
  }
};

ServerProcess start_server(const std::string& path, const pki::KeyPair& pair, std::uint16_t& port) {
  auto socket = http::listen_tcp("127.0.0.1", 0);
  if (!socket) die("listen");
  port = *http::local_port(*socket);
  int ready[2];
  if (::pipe2(ready, O_CLOEXEC) != 0) die("pipe");
  ServerProcess out;
  out.pid = ::fork();
  if (out.pid == 0) {
    async::Loop loop;
    auto served = loop.run(serve(loop.executor(), path, std::move(*socket), pair, ready[1]));
    std::fprintf(stderr, "server: %s\n", served ? "ended" : served.error().message().c_str());
    std::_Exit(1);
  }
  ::close(ready[1]);
  char one = 0;
  if (::read(ready[0], &one, 1) != 1) die("server");
  ::close(ready[0]);
  if (::clock_getcpuclockid(out.pid, &out.clock) != 0) die("clock");
  return out;
}

// --- the clients

struct Clients {
  async::Executor executor;
  async::Scope background;
  async::RealTime time;
  std::unique_ptr<http::TlsClient> tls;
  std::vector<std::unique_ptr<http::Client>> all;

  Clients(async::Executor on, std::unique_ptr<http::TlsClient> settings, std::uint16_t port, std::size_t count) : executor(on), background(on), tls(std::move(settings)) {
    for (std::size_t i = 0; i < count; ++i)
      all.push_back(std::make_unique<http::Client>(background, executor, time, http::ClientOptions{.endpoint = {.tls = true, .host = "127.0.0.1", .port = port}, .tls = tls.get(), .bearer_token = "t"}));
  }
};

Task<Result<http::Response>> ask(http::Client& client, std::string method, std::string target, std::string body = {}, std::string accept = "application/json",
                                 std::string type = "application/json") {
  http::ClientRequest request{.method = std::move(method), .target = std::move(target), .headers = {{"accept", accept}, {"content-type", type}}};
  if (!body.empty()) request.body = share(std::move(body));
  CO_TRY_ASSIGN(http::Response response, co_await client.request(std::move(request)));
  if (response.status >= 300) {
    auto why = co_await response.body->read_all(1 << 16);
    co_return fail(Code::kInternal, cat("status ", response.status, ": ", why ? *why : std::string()));
  }
  co_return response;
}
// The answer's bytes, counted.
Task<Result<std::size_t>> call(http::Client& client, std::string method, std::string target, std::string body = {}, std::string accept = "application/json",
                               std::string type = "application/json") {
  CO_TRY_ASSIGN(http::Response response, co_await ask(client, std::move(method), std::move(target), std::move(body), std::move(accept), std::move(type)));
  std::size_t bytes = 0;
  while (true) {
    CO_TRY_ASSIGN(SharedBytes chunk, co_await response.body->read_chunk());
    if (!chunk) co_return bytes;
    bytes += chunk->size();
  }
}

const std::string kMaps = "/api/v1/namespaces/default/configmaps";
const std::string kPods = "/api/v1/namespaces/default/pods";

std::string config_map(int i) {
  return cat(R"({"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"m)", i, R"("},"data":{"a":")", std::string(150, 'x'), "\"}}");
}
std::string kilobyte_map(int i) {
  return cat(R"({"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"k)", i, R"("},"data":{"a":")", std::string(600, 'x'), "\"}}");
}
// 2.5 KB of JSON once stored, defaults and managedFields included.
std::string pod(int i) {
  return cat(R"({"apiVersion":"v1","kind":"Pod","metadata":{"name":"web-5d4f8c7b9-)", i, R"(","labels":{"app":"web","pod-template-hash":"5d4f8c7b9"}},"spec":{"containers":[{"name":"c","image":"registry.example.com/team/web:1.2.3","env":[{"name":"MODE","value":"production"}],"ports":[{"containerPort":80,"protocol":"TCP"}],"resources":{"requests":{"cpu":"100m","memory":"64Mi"},"limits":{"memory":"128Mi"}}}],"nodeName":"node1"}})");
}
std::string deployment(int tag, std::string_view name = "web") {
  return cat(R"({"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":")", name, R"(","labels":{"app":"web"}},"spec":{"replicas":0,"selector":{"matchLabels":{"app":"web"}},"template":{"metadata":{"labels":{"app":"web"}},"spec":{"containers":[{"name":"c","image":"registry.example.com/team/web:)",
             tag, R"(","ports":[{"containerPort":80}],"env":[{"name":"A","value":"1"},{"name":"B","value":"2"}],"resources":{"requests":{"cpu":"100m","memory":"64Mi"}}}]}}}})");
}

using Body = std::string (*)(int);
struct Job {
  std::string method;
  std::string target;
  Body body = nullptr;  // null: GET of a map by number
  int next = 0;
  int end = 0;
  std::vector<double> took{};
};
Task<Result<>> worker(http::Client& client, Job& job) {
  while (job.next < job.end) {
    int i = job.next++;
    double begin = wall();
    std::string target = job.body != nullptr ? job.target : cat(job.target, "/m", i % 1000);
    CO_TRY(co_await call(client, job.method, target, job.body != nullptr ? job.body(i) : std::string()));
    job.took.push_back(wall() - begin);
  }
  co_return Result<>();
}

struct Cost {
  double rate = 0, all_cpu = 0, server_cpu = 0, p50 = 0;
};
Task<Result<Cost>> run_job(Clients& clients, const ServerProcess& server, Job job, std::size_t count) {
  double n = job.end - job.next, begin = wall(), mine = seconds_of(CLOCK_PROCESS_CPUTIME_ID), theirs = server.cpu();
  async::Scope scope(clients.executor);
  for (std::size_t i = 0; i < count; ++i) scope.spawn(worker(*clients.all[i], job));
  CO_TRY(co_await scope.join());
  double server_cpu = server.cpu() - theirs;
  co_return Cost{n / (wall() - begin), (seconds_of(CLOCK_PROCESS_CPUTIME_ID) - mine + server_cpu) / n, server_cpu / n, percentile(job.took, 0.5)};
}

Task<Result<>> list(Clients& clients, const std::string& name, std::string accept, const char* wanted) {
  double best = 1e9;
  for (int i = 0; i < 5; ++i) {
    double begin = wall();
    CO_TRY(co_await call(*clients.all[0], "GET", kPods, "", accept));
    best = std::min(best, wall() - begin);
  }
  print(name, best * 1e3, "ms", wanted);
  co_return Result<>();
}

Task<Result<>> watch_list(Clients& clients, const std::string& name, const char* wanted) {
  double best = 1e9;
  for (int i = 0; i < 3; ++i) {
    double begin = wall();
    CO_TRY_ASSIGN(http::Response response, co_await ask(*clients.all[0], "GET", kPods + "?watch=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true"));
    std::string tail;
    while (tail.find("initial-events-end") == std::string::npos) {
      CO_TRY_ASSIGN(SharedBytes chunk, co_await response.body->read_chunk());
      if (!chunk) co_return fail(Code::kInternal, "watch ended");
      tail = tail.substr(tail.size() - std::min<std::size_t>(tail.size(), 32)) + chunk->substr(chunk->size() - std::min<std::size_t>(chunk->size(), 512));
    }
    best = std::min(best, wall() - begin);
  }
  print(name, best * 1e3, "ms", wanted);
  co_return Result<>();
}

// --- watchers

struct Delivered {
  explicit Delivered(async::Executor executor) : changed(executor) {}
  std::size_t open = 0;
  std::size_t events = 0;
  double written = 0;  // when the write was begun
  std::vector<double> took{};
  std::optional<Error> failed{};
  async::Notify changed;
};
Task<Result<>> follow(http::Client& client, Delivered& delivered) {
  CO_TRY_ASSIGN(http::Response response, co_await ask(client, "GET", kMaps + "?watch=true&fieldSelector=metadata.name%3Dm0"));
  ++delivered.open;
  while (true) {
    CO_TRY_ASSIGN(SharedBytes chunk, co_await response.body->read_chunk());
    if (!chunk) co_return fail(Code::kInternal, "watch: ended");
    auto n = static_cast<std::size_t>(std::count(chunk->begin(), chunk->end(), '\n'));
    delivered.events += n;
    if (delivered.written > 0) delivered.took.insert(delivered.took.end(), n, wall() - delivered.written);
    delivered.changed.wake_all();
  }
}
Task<Result<>> watcher(http::Client& client, Delivered& delivered) {
  Result<> ended = co_await follow(client, delivered);
  if (!ended && !delivered.failed) delivered.failed = ended.error();
  delivered.changed.wake_all();
  co_return Result<>();
}
Task<Result<>> until(Delivered& delivered, std::size_t events) {
  while (delivered.events < events) {
    if (delivered.failed) co_return fail(*delivered.failed);
    CO_TRY(co_await delivered.changed.wait());  // forever: alarm() ends a bench that hangs
  }
  co_return Result<>();
}

std::string touched(std::size_t watchers, std::size_t i) {
  return cat(R"({"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"m0"},"data":{"i":")", watchers, '-', i, "\"}}");
}
constexpr std::size_t kEvents = 100;

// What the writes cost that nobody watches.
Task<Result<double>> write_alone(Clients& clients, const ServerProcess& server) {
  double cpu = server.cpu();
  for (std::size_t i = 0; i < kEvents; ++i) CO_TRY(co_await call(*clients.all[0], "PUT", kMaps + "/m0", touched(0, i)));
  co_return server.cpu() - cpu;
}

Task<Result<>> deliver(Clients& clients, const ServerProcess& server, Delivered& delivered, std::size_t watchers, double alone, const char* p99_wanted) {
  CO_TRY(co_await until(delivered, watchers));
  double cpu = server.cpu();
  for (std::size_t i = 1; i <= kEvents; ++i) {
    delivered.written = wall();
    CO_TRY(co_await call(*clients.all[0], "PUT", kMaps + "/m0", touched(watchers, i)));
    CO_TRY(co_await until(delivered, watchers * (i + 1)));
  }
  cpu = server.cpu() - cpu;
  const double deliveries = static_cast<double>(watchers * kEvents);
  print(cat(watchers, " watchers: delivery p99"), percentile(delivered.took, 0.99) * 1e3, "ms", p99_wanted);
  print(cat(watchers, " watchers: server CPU a delivery"), cpu / deliveries * 1e6, "us", "(3, 1.5)");
  print(cat(watchers, " watchers: the same without the writes' own"), (cpu - alone) / deliveries * 1e6, "us");
  co_return Result<>();
}

Task<Result<>> watches(Clients& clients, const ServerProcess& server, std::size_t watchers, const char* p99_wanted) {
  Delivered delivered(clients.executor);
  CO_TRY_ASSIGN(double alone, co_await write_alone(clients, server));
  double before = server.resident();
  async::Scope scope(clients.executor);
  // A hundred a connection, on connections of their own.
  for (std::size_t i = 0; i < watchers; ++i) scope.spawn(watcher(*clients.all[16 + i / 100], delivered));
  Result<> ready = co_await until(delivered, watchers);
  print(cat(watchers, " watchers: server memory each"), (server.resident() - before) / static_cast<double>(watchers) / 1e3, "KB", "(8, 4)");
  Result<> done = ready ? co_await deliver(clients, server, delivered, watchers, alone, p99_wanted) : ready;
  scope.cancel();
  Result<> joined = co_await scope.join();
  co_return joined ? done : joined;
}

// --- the table

// kAgain: what is there already, as it was sent before. kNew: the same in other bytes each time. kChange: with another image.
enum class Applied { kAgain, kNew, kChange };
Task<Result<>> apply(Clients& clients, const ServerProcess& server, const std::string& name, Applied applied, const char* wanted) {
  constexpr int kTimes = 1000;
  const std::string target = "/apis/apps/v1/namespaces/default/deployments/web?fieldManager=bench&force=true";
  CO_TRY(co_await call(*clients.all[0], "PATCH", target, deployment(1000), "application/json", "application/apply-patch+yaml"));
  double cpu = server.cpu(), begin = wall();
  for (int i = 0; i < kTimes; ++i) {
    std::string body = deployment(applied == Applied::kChange ? i : 1000);
    if (applied == Applied::kNew) body += std::string(static_cast<std::size_t>(i) + 1, ' ');
    CO_TRY(co_await call(*clients.all[0], "PATCH", target, std::move(body), "application/json", "application/apply-patch+yaml"));
  }
  print(cat("apply Deployment, ", name, ": server CPU"), (server.cpu() - cpu) / kTimes * 1e6, "us", wanted);
  print(cat("apply Deployment, ", name, ": time"), (wall() - begin) / kTimes * 1e6, "us");
  co_return Result<>();
}

// One client for each Deployment, which changes its image: the commits are shared, as those of the creates are.
Task<Result<>> applier(http::Client& client, std::string name, int times) {
  const std::string target = cat("/apis/apps/v1/namespaces/default/deployments/", name, "?fieldManager=bench&force=true");
  for (int i = 0; i < times; ++i) CO_TRY(co_await call(client, "PATCH", target, deployment(i, name), "application/json", "application/apply-patch+yaml"));
  co_return Result<>();
}
Task<Result<>> apply_many(Clients& clients, const ServerProcess& server) {
  constexpr int kClients = 16, kTimes = 300;
  double cpu = 0, begin = 0;
  for (int times : {1, kTimes}) {  // made first
    cpu = server.cpu(), begin = wall();
    async::Scope scope(clients.executor);
    for (std::size_t i = 0; i < kClients; ++i) scope.spawn(applier(*clients.all[i], cat("web-", i), times));
    CO_TRY(co_await scope.join());
  }
  print("apply Deployment, one field, 16 clients: server CPU", (server.cpu() - cpu) / (kClients * kTimes) * 1e6, "us", "(200, 120)");
  print("apply Deployment, one field, 16 clients: rate", kClients * kTimes / (wall() - begin), "1/s");
  co_return Result<>();
}

Task<Result<>> applies(Clients& clients, const ServerProcess& server, bool all) {
  if (all) CO_TRY(co_await apply(clients, server, "no change", Applied::kAgain, "(80, 40)"));
  if (all) CO_TRY(co_await apply(clients, server, "no change, new bytes", Applied::kNew, "(80, 40)"));
  CO_TRY(co_await apply(clients, server, "one field", Applied::kChange, "(200, 120)"));
  co_return co_await apply_many(clients, server);
}

Task<Result<>> creates(Clients& clients, const ServerProcess& server) {
  CO_TRY_ASSIGN(Cost one, co_await run_job(clients, server, {"POST", kMaps, config_map, 0, 1000}, 1));
  print("create ConfigMap, 1 client: p50", one.p50 * 1e3, "ms", "(1.0, 0.6)");
  print("create ConfigMap, 1 client: CPU, server", one.server_cpu * 1e3, "ms");
  CO_TRY_ASSIGN(Cost many, co_await run_job(clients, server, {"POST", kMaps, config_map, 1000, 11000}, 16));
  print("create ConfigMap, 16 clients: rate", many.rate, "1/s", "(5000, 10000)");
  print("create ConfigMap, 16 clients: CPU, all", many.all_cpu * 1e3, "ms", "(0.15, 0.08)");
  print("create ConfigMap, 16 clients: CPU, server", many.server_cpu * 1e3, "ms");
  co_return Result<>();
}

Task<Result<>> read_many(Clients& clients, const ServerProcess& server) {
  CO_TRY_ASSIGN(Cost reads, co_await run_job(clients, server, {"GET", kMaps, nullptr, 0, 40000}, 16));
  print("get, 16 clients: rate", reads.rate, "1/s", "(15000, 30000)");
  print("get, 16 clients: CPU, all", reads.all_cpu * 1e6, "us", "(40, 20)");
  print("get, 16 clients: CPU, server", reads.server_cpu * 1e6, "us");
  CO_TRY_ASSIGN(Cost alone, co_await run_job(clients, server, {"GET", kMaps, nullptr, 0, 4000}, 1));
  print("get, 1 client: CPU, server", alone.server_cpu * 1e6, "us");
  co_return Result<>();
}

Task<Result<>> objects(Clients& clients, const ServerProcess& server, int pods) {
  double before = server.resident();
  CO_TRY(co_await run_job(clients, server, {"POST", kMaps, kilobyte_map, 0, 10000}, 16));
  print("memory of a 1 KiB ConfigMap", (server.resident() - before) / 10000 / 1e3, "KB", "(2.5, 1.6)");
  before = server.resident();
  CO_TRY(co_await run_job(clients, server, {"POST", kPods, pod, 0, 1000}, 16));
  CO_TRY(co_await list(clients, "list of 1,000 pods: JSON", "application/json", "(10, 3)"));
  CO_TRY(co_await run_job(clients, server, {"POST", kPods, pod, 1000, pods}, 16));
  CO_TRY_ASSIGN(std::size_t bytes, co_await call(*clients.all[0], "GET", cat(kPods, "/web-5d4f8c7b9-1")));
  print("size of such a pod", static_cast<double>(bytes) / 1e3, "KB");
  print("memory of such a pod", (server.resident() - before) / pods / 1e3, "KB", "(5, 3.5)");
  std::string name = cat("list of ", pods, " pods: ");
  CO_TRY(co_await list(clients, name + "JSON", "application/json", "(90, 30)"));
  CO_TRY(co_await list(clients, name + "Table", "application/json;as=Table;v=v1;g=meta.k8s.io", "(50, 20)"));
  CO_TRY(co_await list(clients, name + "protobuf", "application/vnd.kubernetes.protobuf", ""));
  CO_TRY(co_await watch_list(clients, cat("WatchList of ", pods, " pods"), "(100, 40)"));
  print("memory of the server in all", server.resident() / 1e6, "MB", "(100)");
  co_return Result<>();
}

Task<Result<>> parts(Clients& clients, const ServerProcess& server, std::string part) {
  CO_TRY(co_await call(*clients.all[0], "POST", "/api/v1/namespaces/default/serviceaccounts", R"({"apiVersion":"v1","kind":"ServiceAccount","metadata":{"name":"default"}})"));
  bool all = part.empty();
  if (all || part == "create") CO_TRY(co_await creates(clients, server));
  else if (part == "get" || part == "watch") CO_TRY(co_await run_job(clients, server, {"POST", kMaps, config_map, 0, 1000}, 16));
  if (all || part == "get") CO_TRY(co_await read_many(clients, server));
  if (all || part.starts_with("apply")) CO_TRY(co_await applies(clients, server, part != "apply-one"));
  if (all || part == "watch") {
    CO_TRY(co_await watches(clients, server, 100, "(3, 1.5)"));
    CO_TRY(co_await watches(clients, server, 1000, "(15, 8)"));
  }
  const char* pods = std::getenv("MONOPOD_BENCH_PODS");
  if (all || part == "objects") CO_TRY(co_await objects(clients, server, pods != nullptr ? std::atoi(pods) : 10000));
  co_return Result<>();
}

Task<Result<>> measure(async::Executor executor, const ServerProcess& server, pki::CertificateAuthority& ca, std::uint16_t port, std::string part) {
  CO_TRY_ASSIGN(auto tls, http::TlsClient::make({.ca_pem = ca.certificate_pem()}));
  Clients clients(executor, std::move(tls), port, 27);
  Result<> done = co_await parts(clients, server, std::move(part));
  clients.background.cancel();
  (void)co_await clients.background.join();
  co_return done;
}

Result<> run(const std::string& parent, const std::string& part) {
  RealClock clock;
  TRY_ASSIGN(auto ca, pki::CertificateAuthority::make(clock));
  TRY_ASSIGN(pki::KeyPair pair, ca.issue(clock, {.common_name = "server", .ip_addresses = {"127.0.0.1"}, .server = true}));
  std::string directory = parent + "/api_wire_bench.XXXXXX";
  if (::mkdtemp(directory.data()) == nullptr) die("mkdtemp");
  calibrate_disk(directory);
  calibrate_tls(pair);
  std::uint16_t port = 0;
  ServerProcess server = start_server(directory + "/state.db", pair, port);
  async::Loop loop;
  Result<> done = loop.run(measure(loop.executor(), server, ca, port, part));
  ::kill(server.pid, SIGTERM);  // a profiler writes its file then
  ::waitpid(server.pid, nullptr, 0);
  std::error_code ignored;
  std::filesystem::remove_all(directory, ignored);
  return done;
}

}  // namespace
}  // namespace monopod

int main(int argc, char** argv) {
  std::setvbuf(stdout, nullptr, _IOLBF, 0);
  std::signal(SIGPIPE, SIG_IGN);
  ::alarm(300);
  auto result = monopod::run(argc > 1 ? argv[1] : "/tmp", argc > 2 ? argv[2] : "");
  if (result) return 0;
  std::fprintf(stderr, "%s\n", result.error().message().c_str());
  return 1;
}
