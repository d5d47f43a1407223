// The API server's own cost: requests go through Exchange, authentication, RBAC, admission and the store, without a socket.
//   api_bench [STORE-FILE [PART]]    PART: that alone (watch, custom, get, create, apply, apply-new, apply-one), for a profiler
//   valgrind --tool=callgrind api_bench :memory: apply
#include <malloc.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <ctime>

#include "api/server.h"
#include "async/loop.h"
#include "async/scope.h"
#include "base/strings.h"
#include "http/in_process.h"
#include "store/sqlite_backend.h"

namespace monopod {
namespace {

double wall() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }
double cpu() {
  timespec t{};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
  return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_nsec) / 1e9;
}
double resident_bytes() {
  malloc_trim(0);
  long pages = 0, resident = 0;
  if (std::FILE* file = std::fopen("/proc/self/statm", "re")) {
    if (std::fscanf(file, "%ld %ld", &pages, &resident) != 2) resident = 0;
    std::fclose(file);
  }
  return static_cast<double>(resident) * static_cast<double>(sysconf(_SC_PAGESIZE));
}
void print(const std::string& name, double value, const char* unit) { std::printf("%-36s %12.3f %s\n", name.c_str(), value, unit); }

struct Bench {
  async::Scope& background;
  api::ApiServer& server;

  async::Task<Result<std::size_t>> call(std::string method, std::string target, std::string body, std::string accept = "application/json") {
    http::Request request;
    std::string type = method == "PATCH" ? "application/apply-patch+yaml" : "application/json";
    request.method = std::move(method);
    request.target = std::move(target);
    request.headers = {{"authorization", "Bearer t"}, {"content-type", type}, {"accept", accept}};
    CO_TRY_ASSIGN(http::Response response, co_await http::call_in_process(background, server, std::move(request), body.empty() ? nullptr : share(std::move(body))));
    std::size_t bytes = 0;
    while (true) {
      CO_TRY_ASSIGN(SharedBytes chunk, co_await response.body->read_chunk());
      if (!chunk) break;
      bytes += chunk->size();
    }
    if (response.status >= 300) co_return fail(Code::kInternal, cat("status ", response.status));
    co_return bytes;
  }
};

std::string config_map(int i) {
  return cat(R"({"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"m)", i, R"("},"data":{"a":")", std::string(150, 'x'), "\"}}");
}

std::string deployment(int tag) {
  return cat(R"({"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"web","labels":{"app":"web"}},"spec":{"replicas":0,"selector":{"matchLabels":{"app":"web"}},"template":{"metadata":{"labels":{"app":"web"}},"spec":{"containers":[{"name":"c","image":"registry.example.com/team/web:)",
             tag, R"(","ports":[{"containerPort":80}],"env":[{"name":"A","value":"1"},{"name":"B","value":"2"}],"resources":{"requests":{"cpu":"100m","memory":"64Mi"}}}]}}}})");
}

// About 4 KB of JSON once stored, as a small Deployment's pod.
std::string pod(int i) {
  std::string env;
  for (int e = 0; e < 9; ++e) env += cat(e == 0 ? "" : ",", R"({"name":"SOME_SETTING_)", e, R"(","value":"a value of some length )", e, "\"}");
  return cat(R"({"apiVersion":"v1","kind":"Pod","metadata":{"name":"web-5d4f8c7b9-)", i, R"(","labels":{"app":"web","pod-template-hash":"5d4f8c7b9"}},"spec":{"containers":[{"name":"c","image":"registry.example.com/team/web:1.2.3","env":[)",
             env, R"(],"ports":[{"containerPort":80,"protocol":"TCP"}],"resources":{"requests":{"cpu":"100m","memory":"64Mi"},"limits":{"memory":"128Mi"}}}],"nodeName":"node1"}})");
}

// kAgain: what is there already, as it was sent before. kNew: the same in other bytes each time. kChange: with another image.
enum class Applied { kAgain, kNew, kChange };
async::Task<Result<>> apply(Bench& bench, const std::string& name, Applied applied) {
  constexpr int kTimes = 2000;
  const std::string target = "/apis/apps/v1/namespaces/default/deployments/web?fieldManager=bench&force=true";
  CO_TRY(co_await bench.call("PATCH", target, deployment(kTimes)));
  double c = cpu();
  for (int i = 0; i < kTimes; ++i) {
    std::string body = deployment(applied == Applied::kChange ? i : kTimes);
    if (applied == Applied::kNew) body += std::string(static_cast<std::size_t>(i % 100) + 1, i % 200 < 100 ? ' ' : '\n');
    CO_TRY(co_await bench.call("PATCH", target, std::move(body)));
  }
  print(cat("apply Deployment, ", name, ", CPU"), (cpu() - c) / kTimes * 1e6, "us");
  co_return Result<>();
}

using Body = std::string (*)(int);
async::Task<Result<>> creator(Bench& bench, std::string target, Body body, int& next, int end) {
  while (next < end) {
    int i = next++;
    CO_TRY(co_await bench.call("POST", target, body(i)));
  }
  co_return Result<>();
}
async::Task<Result<>> getter(Bench& bench, int& next, int end) {
  while (next < end) {
    int i = next++;
    CO_TRY(co_await bench.call("GET", cat("/api/v1/namespaces/default/configmaps/m", i % 1000), ""));
  }
  co_return Result<>();
}

async::Task<Result<>> create_many(Bench& bench, async::Executor executor, std::string name, std::string target, Body body, int begin, int end, int clients) {
  int next = begin;
  double w = wall(), c = cpu();
  async::Scope scope(executor);
  for (int i = 0; i < clients; ++i) scope.spawn(creator(bench, target, body, next, end));
  CO_TRY(co_await scope.join());
  double n = end - begin;
  print(name + " rate", n / (wall() - w), "1/s");
  print(name + " CPU", (cpu() - c) / n * 1e6, "us");
  co_return Result<>();
}

async::Task<Result<>> list(Bench& bench, std::string name, std::string target, std::string accept) {
  double best = 1e9;
  std::size_t bytes = 0;
  for (int i = 0; i < 3; ++i) {
    double w = wall();
    CO_TRY_ASSIGN(bytes, co_await bench.call("GET", target, "", accept));
    best = std::min(best, wall() - w);
  }
  print(name, best * 1e3, "ms");
  print(name + " size", static_cast<double>(bytes) / 1e6, "MB");
  co_return Result<>();
}

// Counts the answers begun and the events delivered.
struct Delivered {
  std::size_t open = 0;
  std::size_t events = 0;
  std::optional<Error> failed{};
};

async::Task<Result<>> follow(Bench& bench, Delivered& delivered) {
  http::Request request;
  request.method = "GET";
  request.target = "/api/v1/namespaces/default/configmaps?watch=true&fieldSelector=metadata.name%3Dm0";
  request.headers = {{"authorization", "Bearer t"}};
  CO_TRY_ASSIGN(http::Response response, co_await http::call_in_process(bench.background, bench.server, std::move(request)));
  if (response.status != 200) {
    Result<std::string> why = co_await response.body->read_all(1 << 16);
    co_return fail(Code::kInternal, cat("watch: status ", response.status, ": ", why ? *why : ""));
  }
  ++delivered.open;
  while (true) {
    CO_TRY_ASSIGN(SharedBytes chunk, co_await response.body->read_chunk());
    if (!chunk) co_return fail(Code::kInternal, "watch: ended");
    delivered.events += static_cast<std::size_t>(std::count(chunk->begin(), chunk->end(), '\n'));
  }
}

async::Task<Result<>> watcher(Bench& bench, Delivered& delivered) {
  Result<> ended = co_await follow(bench, delivered);
  if (!ended && !delivered.failed) delivered.failed = ended.error();
  co_return ended;
}

// Until so many events were delivered in all; a watch that failed, or 20 seconds without, ends the wait.
async::Task<Result<>> wait_for_events(Bench& bench, const Delivered& delivered, std::size_t events) {
  double begin = wall();
  while (delivered.events < events) {
    if (delivered.failed) co_return fail(*delivered.failed);
    if (wall() - begin > 20) co_return fail(Code::kDeadlineExceeded, cat("watch: ", delivered.events, " events of ", events, ", ", delivered.open, " watches"));
    CO_TRY(co_await bench.call("GET", "/version", ""));  // a turn of the loop
  }
  co_return Result<>();
}

async::Task<Result<>> deliver(Bench& bench, std::size_t watchers, Delivered& delivered) {
  constexpr std::size_t kEvents = 20;
  double before = resident_bytes();
  CO_TRY(co_await wait_for_events(bench, delivered, watchers));
  print(cat("memory per watcher (", watchers, ")"), (resident_bytes() - before) / static_cast<double>(watchers) / 1e3, "KB");
  double c = cpu();
  for (std::size_t i = 1; i <= kEvents; ++i) {
    CO_TRY(co_await bench.call("PUT", "/api/v1/namespaces/default/configmaps/m0",
                               cat(R"({"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"m0"},"data":{"i":")", watchers, '-', i, "\"}}")));
    CO_TRY(co_await wait_for_events(bench, delivered, watchers * (i + 1)));
  }
  print(cat("watch delivery CPU (", watchers, ")"), (cpu() - c) / static_cast<double>(watchers * kEvents) * 1e6, "us");
  co_return Result<>();
}

async::Task<Result<>> watches(Bench& bench, async::Executor executor, std::size_t watchers) {
  Delivered delivered;
  async::Scope scope(executor);
  for (std::size_t i = 0; i < watchers; ++i) scope.spawn(watcher(bench, delivered));
  Result<> done = co_await deliver(bench, watchers, delivered);
  scope.cancel();
  Result<> joined = co_await scope.join();
  co_return joined ? done : joined;
}

async::Task<Result<>> watch_part(Bench& bench, async::Executor executor) {
  CO_TRY(co_await bench.call("POST", "/api/v1/namespaces/default/configmaps", config_map(0)));
  co_return co_await watches(bench, executor, 1000);
}

// A definition in the shape of an operator's: a spec of 12 structs with 8 described fields each, columns and a status.
std::string definition(int i, int parts = 12) {
  std::string structs;
  for (int s = 0; s < parts; ++s) {
    std::string fields;
    for (int f = 0; f < 8; ++f)
      fields += cat(f == 0 ? "" : ",", "\"field", f, "\":{\"type\":\"", f % 2 == 0 ? "string" : "integer", "\",\"description\":\"What this field of the kind is for, in a sentence or two.\"}");
    structs += cat(s == 0 ? "" : ",", "\"part", s, "\":{\"type\":\"object\",\"description\":\"A part.\",\"properties\":{", fields, "}}");
  }
  return cat(R"({"apiVersion":"apiextensions.k8s.io/v1","kind":"CustomResourceDefinition","metadata":{"name":"things)", i, R"(.bench.example.com"},"spec":{"group":"bench.example.com","scope":"Namespaced","names":{"plural":"things)", i,
             R"(","kind":"Thing)", i, R"("},"versions":[{"name":"v1","served":true,"storage":true,"subresources":{"status":{}},"additionalPrinterColumns":[{"name":"A","type":"string","jsonPath":".spec.part0.field0"}],)",
             R"("schema":{"openAPIV3Schema":{"type":"object","properties":{"spec":{"type":"object","properties":{)", structs, R"(}},"status":{"type":"object","x-kubernetes-preserve-unknown-fields":true}}}}}]}})");
}
std::string thing(int i) {
  return cat(R"({"apiVersion":"bench.example.com/v1","kind":"Thing0","metadata":{"name":"t)", i, R"("},"spec":{"part0":{"field0":"a","field1":1},"part1":{"field0":"b","field1":2},"part2":{"field0":"c"}}})");
}

// 100 definitions at once, then objects of one of them.
async::Task<Result<>> custom_kinds(Bench& bench, async::Executor executor) {
  constexpr int kCount = 100;
  double before = resident_bytes(), w = wall(), c = cpu();
  for (int i = 0; i < kCount; ++i) CO_TRY(co_await bench.call("POST", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", definition(i)));
  for (int i = 0; i < kCount; ++i)
    while (true) {
      Result<std::size_t> served = co_await bench.call("GET", cat("/apis/bench.example.com/v1/namespaces/default/things", i), "");
      if (served) break;
      if (wall() - w > 60) co_return fail(Code::kDeadlineExceeded, "a definition is not served");
    }
  print("100 definitions served after", (wall() - w) * 1e3, "ms");  // one client, one after the other
  print("CPU per definition", (cpu() - c) / kCount * 1e6, "us");
  print("memory per definition", (resident_bytes() - before) / kCount / 1e3, "KB");
  w = wall();
  std::string large = definition(kCount, 700);
  double bytes = static_cast<double>(large.size());
  CO_TRY(co_await bench.call("POST", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", std::move(large)));
  print("create a large definition", (wall() - w) * 1e3, "ms");
  print("create a large definition size", bytes / 1e6, "MB");
  w = wall();
  CO_TRY(co_await bench.call("GET", "/openapi/v3", ""));
  print("OpenAPI v3 index after 100 definitions", (wall() - w) * 1e3, "ms");
  const std::string things = "/apis/bench.example.com/v1/namespaces/default/things0";
  CO_TRY(co_await create_many(bench, executor, "create custom object c16", things, thing, 0, 2000, 16));
  CO_TRY(co_await list(bench, "list 2000 custom objects JSON", things, "application/json"));
  CO_TRY(co_await list(bench, "list 2000 custom objects Table", things, "application/json;as=Table;v=v1;g=meta.k8s.io"));
  co_return Result<>();
}

async::Task<Result<>> read_many(Bench& bench, async::Executor executor) {
  constexpr int kTimes = 20000;
  int next = 0;
  double c = cpu(), w = wall();
  async::Scope getters(executor);
  for (int i = 0; i < 16; ++i) getters.spawn(getter(bench, next, kTimes));
  CO_TRY(co_await getters.join());
  print("get rate", kTimes / (wall() - w), "1/s");
  print("get CPU", (cpu() - c) / kTimes * 1e6, "us");
  co_return Result<>();
}

// One kind of request alone: what a profiler is pointed at.
async::Task<Result<>> one_part(Bench& bench, async::Executor executor, std::string part) {
  CO_TRY(co_await bench.call("POST", "/api/v1/namespaces/default/serviceaccounts", R"({"apiVersion":"v1","kind":"ServiceAccount","metadata":{"name":"default"}})"));
  if (part == "apply") co_return co_await apply(bench, "no change", Applied::kAgain);
  if (part == "apply-new") co_return co_await apply(bench, "no change, new bytes", Applied::kNew);
  if (part == "apply-one") co_return co_await apply(bench, "one field", Applied::kChange);
  CO_TRY(co_await create_many(bench, executor, "create ConfigMap c16", "/api/v1/namespaces/default/configmaps", config_map, 0, part == "get" ? 1000 : 5000, 16));
  if (part == "get") co_return co_await read_many(bench, executor);
  if (part == "create") co_return Result<>();
  co_return fail(Code::kInvalidArgument, cat("no such part: ", part));
}

async::Task<Result<>> measure(Bench& bench, async::Executor executor) {
  CO_TRY(co_await bench.call("POST", "/api/v1/namespaces/default/serviceaccounts", R"({"apiVersion":"v1","kind":"ServiceAccount","metadata":{"name":"default"}})"));
  const std::string maps = "/api/v1/namespaces/default/configmaps", pods = "/api/v1/namespaces/default/pods";
  print("memory at start", resident_bytes() / 1e6, "MB");
  CO_TRY(co_await create_many(bench, executor, "create ConfigMap c1", maps, config_map, 0, 500, 1));
  CO_TRY(co_await create_many(bench, executor, "create ConfigMap c16", maps, config_map, 500, 5500, 16));
  CO_TRY(co_await apply(bench, "no change", Applied::kAgain));
  CO_TRY(co_await apply(bench, "no change, new bytes", Applied::kNew));
  CO_TRY(co_await apply(bench, "one field", Applied::kChange));
  CO_TRY(co_await read_many(bench, executor));
  double before = resident_bytes();
  CO_TRY(co_await create_many(bench, executor, "create Pod c16 (1000)", pods, pod, 0, 1000, 16));
  CO_TRY(co_await list(bench, "list 1000 pods JSON", pods, "application/json"));
  CO_TRY(co_await list(bench, "list 1000 pods Table", pods, "application/json;as=Table;v=v1;g=meta.k8s.io"));
  CO_TRY(co_await create_many(bench, executor, "create Pod c16 (10000)", pods, pod, 1000, 10000, 16));
  print("memory per pod object", (resident_bytes() - before) / 10000 / 1e3, "KB");
  print("memory in all", resident_bytes() / 1e6, "MB");
  CO_TRY(co_await list(bench, "list 10000 pods JSON", pods, "application/json"));
  CO_TRY(co_await list(bench, "list 10000 pods Table", pods, "application/json;as=Table;v=v1;g=meta.k8s.io"));
  CO_TRY(co_await list(bench, "list 10000 pods protobuf", pods, "application/vnd.kubernetes.protobuf"));
  for (std::size_t watchers : {1U, 100U, 1000U}) CO_TRY(co_await watches(bench, executor, watchers));
  CO_TRY(co_await custom_kinds(bench, executor));
  co_return Result<>();
}

async::Task<Result<>> run(async::Executor executor, std::string path, std::string part) {
  async::RealTime time;
  SystemRng rng;
  async::Pool pool(2);
  double w = wall();
  CO_TRY_ASSIGN(auto store, co_await store::SqliteBackend::open({.path = path}, pool, time, rng));
  api::NoNodeHandlers nodes;
  api::ApiServer server({executor, *store, time, rng, pool, nodes}, {.token_file = "t,admin,1,\"system:masters\"", .advertise_address = "192.0.2.1"});
  CO_TRY(co_await server.start());
  print("first start", (wall() - w) * 1e3, "ms");
  async::Scope scope(executor), background(executor);
  scope.spawn(server.run());
  Bench bench{background, server};
  Result<> measured;
  if (part == "watch") measured = co_await watch_part(bench, executor);
  else if (part == "custom") measured = co_await custom_kinds(bench, executor);
  else if (!part.empty()) measured = co_await one_part(bench, executor, part);
  else measured = co_await measure(bench, executor);
  background.cancel();
  (void)co_await background.join();
  scope.cancel();
  (void)co_await scope.join();
  if (measured) {
    w = wall();
    api::ApiServer again({executor, *store, time, rng, pool, nodes}, {.token_file = "t,admin,1,\"system:masters\"", .advertise_address = "192.0.2.1"});
    measured = co_await again.start();
    print("start with all of that", (wall() - w) * 1e3, "ms");
  }
  Result<> closed = co_await store->close();
  co_return measured ? closed : measured;
}

}  // namespace
}  // namespace monopod

int main(int argc, char** argv) {
  std::setvbuf(stdout, nullptr, _IOLBF, 0);
  monopod::async::Loop loop;
  auto result = loop.run(monopod::run(loop.executor(), argc > 1 ? argv[1] : ":memory:", argc > 2 ? argv[2] : ""));
  if (result) return 0;
  std::fprintf(stderr, "%s\n", result.error().message().c_str());
  return 1;
}
