// 24,000 requests of somebody who knows the schemas (a bounded sample unless MONOPOD_LONG=1): no crash, no failure of the server, answers that are
// what they say, memory that does not grow. SEED=n replays a run; the request that fails is printed.
#include <gtest/gtest.h>
#include <malloc.h>

#include <cstdlib>

#include "api/testing.h"
#include "base/strings.h"
#include "tests/robustness/api/request_fuzzer.h"

namespace monopod::api {
namespace {

std::uint64_t number_from(const char* variable, std::uint64_t otherwise) {
  const char* text = std::getenv(variable);
  return text == nullptr ? otherwise : std::strtoull(text, nullptr, 10);
}

class EchoNode final : public http::Handler {
 public:
  async::Task<Result<>> handle(http::Exchange& exchange) override { co_return co_await exchange.respond(200, {{"content-type", "text/plain"}}, share("node")); }
};
class EveryNode final : public NodeHandlers {
 public:
  http::Handler* find(std::string_view) override { return &node_; }

 private:
  EchoNode node_;
};

std::size_t heap_bytes() {
  malloc_trim(0);
  struct mallinfo2 info = mallinfo2();
  return info.uordblks + info.hblkhd;
}

// Everything that was made goes, and the store forgets.
async::Task<Result<>> wipe(TestCluster& cluster) {
  for (const Resource& r : resources()) {
    if (!r.has(kDelete) || !r.has(kList) || r.plural() == "namespaces" || r.group() == "rbac.authorization.k8s.io" || r.group() == "flowcontrol.apiserver.k8s.io") continue;
    std::string base = r.group().empty() ? std::string("/api/v1") : cat("/apis/", r.group(), '/', r.version());
    CO_CALL(listed, "GET", cat(base, '/', r.plural()));
    json::Value list = listed.tree();
    const json::Array* items = json::get_array(list, {"items"});
    if (items == nullptr) continue;
    for (const json::Value& item : *items) {
      std::string ns(json::get_string(item, {"metadata", "namespace"})), name(json::get_string(item, {"metadata", "name"}));
      std::string path = cat(base, ns.empty() ? "" : cat("/namespaces/", ns), '/', r.plural(), '/', name);
      CO_CALL(freed, "PATCH", path, R"({"metadata":{"finalizers":null}})", {{"content-type", "application/merge-patch+json"}});
      CO_CALL(gone, "DELETE", path + "?gracePeriodSeconds=0");
    }
  }
  CO_TRY(co_await cluster.store->compact(cluster.store->current_revision()));
  CO_TRY(co_await cluster.store->finish_compaction());
  co_return Result<>();
}

async::Task<Result<Reply>> ask(TestCluster& cluster, const FuzzRequest& request) {
  CO_TRY_ASSIGN(http::Response response, co_await cluster.open(request.method, request.target, request.body, request.headers));
  Reply reply{response.status, std::move(response.headers), {}};
  bool endless = request.target.find("watch") != std::string::npos;
  if (endless && response.status == 200) co_return reply;  // dropped, as clients do
  CO_TRY_ASSIGN(reply.body, co_await response.body->read_all(256U << 20));
  co_return reply;
}

// Some requests wait for time to pass, which stands still in tests.
async::Task<Result<>> pass_time(TestCluster& cluster) {
  async::RealTime real;
  for (;;) {  // forever: until cancelled
    CO_TRY(co_await real.sleep_for(std::chrono::milliseconds(2)));
    cluster.time.advance(std::chrono::milliseconds(50));
  }
}

void judge(const FuzzRequest& request, const Reply& reply, std::uint64_t seed, std::uint64_t number) {
  std::string where = cat("SEED=", seed, ", request ", number, ": ", request.describe(), "\n--- ", reply.status, ' ', reply.body.substr(0, 1000), "...", reply.body.substr(reply.body.size() < 500 ? 0 : reply.body.size() - 500));
  // 503 and 504 are of who is behind a proxy.
  bool fine = reply.status >= 200 && (reply.status < 500 || reply.status == 503 || reply.status == 504);
  EXPECT_TRUE(fine) << where;
  if (reply.status >= 400 && request.method != "HEAD") {
    json::Value tree = reply.tree();
    EXPECT_EQ(json::get_string(tree, {"kind"}), "Status") << where;
    EXPECT_EQ(json::get_int(tree, {"code"}), reply.status) << where;
  }
  std::string type(reply.headers.find("content-type").value_or(""));
  bool plain = !reply.headers.find("content-encoding");
  if (plain && type == "application/json" && !reply.body.empty()) {
    auto tree = json::parse(reply.body);
    EXPECT_TRUE(tree) << tree.error().message() << '\n' << where;
  }
  if (plain && type == "application/vnd.kubernetes.protobuf" && !reply.body.empty()) EXPECT_TRUE(reply.body.starts_with(std::string_view("k8s\0", 4))) << where;
}

async::Task<Result<>> send(TestCluster& cluster, RequestFuzzer& fuzzer, std::uint64_t seed, std::uint64_t first, std::uint64_t last, std::map<int, int>& statuses) {
  async::RealTime real;
  for (std::uint64_t i = first; i < last && !::testing::Test::HasFailure(); ++i) {
    FuzzRequest request = fuzzer.next();
    Result<Reply> reply = co_await async::with_timeout<Reply>(real, std::chrono::seconds(20), "the answer", ask(cluster, request));
    if (!reply) co_return fail(Code::kInternal, cat("SEED=", seed, ", request ", i, ": ", request.describe(), "\n", reply.error().message()));
    judge(request, *reply, seed, i);
    ++statuses[reply->status];
    if (!reply->headers.find("content-encoding")) fuzzer.learn(request, reply->status, reply->body);
  }
  co_return Result<>();
}

struct FuzzRun {
  async::Task<Result<>> operator()(TestCluster& cluster, EveryNode& nodes) const {
    cluster.nodes = &nodes;
    CO_TRY(co_await cluster.restart());
    cluster.background.spawn(pass_time(cluster));
    Result<> done = co_await fuzz(cluster);
    cluster.background.cancel();
    (void)co_await cluster.background.join();
    co_return done;
  }
  async::Task<Result<>> fuzz(TestCluster& cluster) const {
    CO_CALL(space, "POST", "/api/v1/namespaces", R"({"metadata":{"name":"other"}})");
    for (std::string_view ns : {"default", "other", "kube-system"}) {
      CO_CALL(account, "POST", cat("/api/v1/namespaces/", ns, "/serviceaccounts"), R"({"metadata":{"name":"default"}})");
    }
    RequestFuzzer fuzzer(seed);
    std::map<int, int> statuses;
    std::uint64_t part = requests / 3;
    CO_TRY(co_await send(cluster, fuzzer, seed, 0, part, statuses));
    CO_TRY(co_await wipe(cluster));
    std::size_t before = heap_bytes();
    CO_TRY(co_await send(cluster, fuzzer, seed, part, requests, statuses));
    CO_TRY(co_await wipe(cluster));
    std::size_t after = heap_bytes();
    // What is bounded fills up slowly: rings of events, remembered tokens, counters by label, pages of the database in memory.
    EXPECT_LT(after, before + (12U << 20)) << "grew from " << before;
    std::string told = cat("seed ", seed, ", heap ", before >> 10, " -> ", after >> 10, " KiB, answers:");
    for (auto [status, count] : statuses) told += cat(' ', status, 'x', count);
    std::fprintf(stderr, "%s\n", told.c_str());
    // It gets somewhere: the fuzzer that is only ever refused proves nothing.
    int good = statuses[200] + statuses[201];
    EXPECT_GT(good, static_cast<int>(requests / 8));
    for (int status : {201, 400, 401, 403, 404, 405, 406, 409, 415, 422}) EXPECT_GT(statuses[status], 0) << status;
    co_return Result<>();
  }
  std::uint64_t seed, requests;
};

TEST(RequestFuzzer, NeitherBreaksTheServerNorFillsIt) {
  bool all = std::getenv("MONOPOD_LONG") != nullptr;
  FuzzRun run{.seed = number_from("SEED", all ? static_cast<std::uint64_t>(std::chrono::steady_clock::now().time_since_epoch().count()) % 1'000'000 : 1), .requests = number_from("RUNS", all ? 24'000 : 5'000)};
  async::run_test(
      [&run](async::Loop& loop) {
        auto on = [](async::Loop& l, const FuzzRun& r) -> async::Task<Result<>> {
          EveryNode nodes;
          TestCluster cluster(l);
          CO_TRY(co_await cluster.start());
          Result<> out = co_await r(cluster, nodes);
          if (!out) ADD_FAILURE() << out.error().message();
          co_return co_await cluster.stop();
        };
        return on(loop, run);
      },
      std::chrono::seconds(all ? 600 : 120));
}

}  // namespace
}  // namespace monopod::api
