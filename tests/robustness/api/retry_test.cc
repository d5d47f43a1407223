// A server that dies in the middle of a write, and a client that sends the same request again: as far as its kind can say it, the second answer tells
// what became of the first, and nothing is done twice. Every kind of write, before and after its commit.
#include <gtest/gtest.h>

#include <algorithm>

#include "api/testing.h"
#include "base/failpoint.h"
#include "base/strings.h"
#include "store/test_support.h"

namespace monopod::api {
namespace {

const std::string kMaps = "/api/v1/namespaces/default/configmaps", kPods = "/api/v1/namespaces/default/pods", kSets = "/apis/apps/v1/namespaces/default/replicasets";
constexpr const char *kMerge = "application/merge-patch+json", *kStrategic = "application/strategic-merge-patch+json", *kJsonPatch = "application/json-patch+json",
                     *kApply = "application/apply-patch+yaml";

struct Write {
  std::string name, method, path, body, type;
  int lost_status, kept_status;        // of the second request: where the first was lost, where it was kept
  std::string shown;                   // then this path ...
  std::string shows;                   // ... has this in its answer; "": 404
  bool at_seen_version = false;        // the body has %V: the version of what the path holds
};

std::vector<Write> writes() {
  return {
      {"create", "POST", kMaps, R"({"metadata":{"name":"made"}})", "", 201, 409, kMaps + "/made", "\"made\""},
      {"replace at a version", "PUT", kMaps + "/m", R"({"metadata":{"name":"m","resourceVersion":"%V"},"data":{"x":"1"}})", "", 200, 409, kMaps + "/m", R"("x":"1")", true},
      {"replace", "PUT", kMaps + "/m", R"({"metadata":{"name":"m"},"data":{"x":"1"}})", "", 200, 200, kMaps + "/m", R"("x":"1")"},
      {"merge patch", "PATCH", kMaps + "/m", R"({"data":{"x":"1"}})", kMerge, 200, 200, kMaps + "/m", R"("x":"1")"},
      {"strategic patch", "PATCH", kMaps + "/m", R"({"data":{"x":"1"}})", kStrategic, 200, 200, kMaps + "/m", R"("x":"1")"},
      {"JSON patch", "PATCH", kMaps + "/m", R"([{"op":"test","path":"/data/x","value":"0"},{"op":"replace","path":"/data/x","value":"1"}])", kJsonPatch, 200, 422, kMaps + "/m", R"("x":"1")"},
      {"apply of something new", "PATCH", kMaps + "/applied?fieldManager=me", "{apiVersion: v1, kind: ConfigMap, metadata: {name: applied}, data: {x: '1'}}", kApply, 201, 200, kMaps + "/applied", R"("x":"1")"},
      {"apply", "PATCH", kMaps + "/m?fieldManager=me&force=true", "{apiVersion: v1, kind: ConfigMap, metadata: {name: m}, data: {x: '1'}}", kApply, 200, 200, kMaps + "/m", R"("x":"1")"},
      {"delete", "DELETE", kMaps + "/m", "", "", 200, 404, kMaps + "/m", ""},
      {"delete with a finalizer", "DELETE", kMaps + "/held", "", "", 200, 200, kMaps + "/held", "deletionTimestamp"},
      {"delete of all", "DELETE", kMaps, "", "", 200, 200, kMaps + "/m", ""},
      {"status", "PATCH", kPods + "/p/status", R"({"status":{"phase":"Running"}})", kMerge, 200, 200, kPods + "/p", R"("phase":"Running")"},
      {"scale at a version", "PUT", kSets + "/s/scale", R"({"metadata":{"name":"s","namespace":"default","resourceVersion":"%V"},"spec":{"replicas":3}})", "", 200, 409, kSets + "/s", R"("replicas":3)", true},
      {"binding", "POST", kPods + "/p/binding", R"({"metadata":{"name":"p"},"target":{"kind":"Node","name":"n"}})", "", 201, 409, kPods + "/p", R"("nodeName":"n")"},
      {"eviction", "POST", kPods + "/p/eviction", R"({"apiVersion":"policy/v1","kind":"Eviction","metadata":{"name":"p"}})", "", 201, 201, kPods + "/p", ""},  // marked first, then removed
  };
}

// Everything again over the same file, as a new process would.
async::Task<Result<>> reopen(TestCluster& cluster, std::string path) {
  cluster.run_scope->cancel();
  (void)co_await cluster.run_scope->join();
  cluster.server.reset();
  (void)co_await cluster.store->close();
  CO_TRY_ASSIGN(cluster.store, co_await store::SqliteBackend::open({.path = path, .compaction = {.interval = std::chrono::seconds(0)}}, cluster.pool, cluster.time, cluster.rng));
  co_return co_await cluster.boot();
}

async::Task<Result<>> furnish(TestCluster& cluster) {
  struct {
    std::string path, body;
  } things[] = {
      {"/api/v1/namespaces/default/serviceaccounts", R"({"metadata":{"name":"default"}})"},
      {kMaps, R"({"metadata":{"name":"m"},"data":{"x":"0"}})"},
      {kMaps, R"({"metadata":{"name":"held","finalizers":["example.com/hold"]}})"},
      {kPods, R"({"metadata":{"name":"p"},"spec":{"containers":[{"name":"c","image":"i"}]}})"},
      {kSets, R"({"metadata":{"name":"s"},"spec":{"replicas":1,"selector":{"matchLabels":{"a":"b"}},"template":{"metadata":{"labels":{"a":"b"}},"spec":{"containers":[{"name":"c","image":"i"}]}}}})"},
  };
  for (const auto& thing : things) {
    CO_CALL(made, "POST", thing.path, thing.body);
    CO_EXPECT_STATUS(made, 201);
  }
  co_return Result<>();
}

async::Task<Result<Reply>> send(TestCluster& cluster, const Write& write, std::string body) {
  http::Headers headers;
  if (!write.type.empty()) headers.set("content-type", write.type);
  co_return co_await cluster.call(write.method, write.path, std::move(body), std::move(headers));
}

// A server that has just begun writes the conditions of its flow schemas: the failpoint is for the client's write.
bool has_its_own_writes_behind(const Reply& schemas) {
  json::Value tree = schemas.tree();
  const json::Array* items = json::get_array(tree, {"items"});
  return items != nullptr && std::ranges::all_of(*items, [](const json::Value& schema) { return json::find(schema, {"status", "conditions"}) != nullptr; });
}

async::Task<Result<>> twice(TestCluster& cluster, const Write& write, bool kept) {
  store::TempDir directory;
  std::string path = directory.file();
  CO_TRY(co_await reopen(cluster, path));
  CO_TRY(co_await furnish(cluster));
  CO_TRY(co_await cluster.eventually("/apis/flowcontrol.apiserver.k8s.io/v1/flowschemas", has_its_own_writes_behind));
  std::string body = write.body;
  if (write.at_seen_version) {
    CO_TRY_ASSIGN(Reply seen, co_await cluster.call("GET", write.path));
    body.replace(body.find("%V"), 2, seen.text({"metadata", "resourceVersion"}));
  }
  CO_TRY(arm_failpoints(kept ? "store.after_commit=1*error" : "store.before_commit=1*error"));
  CO_TRY_ASSIGN(Reply first, co_await send(cluster, write, body));
  disarm_failpoints();
  EXPECT_GE(first.status, 500) << write.name << ": not acknowledged" << first.body;
  CO_TRY(co_await reopen(cluster, path));
  CO_TRY_ASSIGN(Reply second, co_await send(cluster, write, body));
  EXPECT_EQ(second.status, kept ? write.kept_status : write.lost_status) << write.name << (kept ? ", kept: " : ", lost: ") << second.body;
  CO_TRY_ASSIGN(Reply shown, co_await cluster.call("GET", write.shown));
  EXPECT_EQ(shown.status, write.shows.empty() ? 404 : 200) << write.name << shown.body;
  EXPECT_TRUE(shown.body.contains(write.shows)) << write.name << shown.body;
  co_return Result<>();
}

async::Task<Result<>> every_write(TestCluster& cluster) {
  for (const Write& write : writes())
    for (bool kept : {false, true}) CO_TRY(co_await twice(cluster, write, kept));
  co_return Result<>();
}
TEST(Retry, AWriteThatWasCutOffIsSentAgainAndDoneOnce) { with_cluster(every_write, std::chrono::seconds(100)); }

}  // namespace
}  // namespace monopod::api
