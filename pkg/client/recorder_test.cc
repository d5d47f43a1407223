#include "client/recorder.h"

#include <gtest/gtest.h>

#include "api/testing.h"
#include "base/strings.h"
#include "client/local_api.h"

namespace monopod::client {
namespace {

using api::Reply;
using api::TestCluster;

const std::string kEventsPath = "/api/v1/namespaces/default/events";

struct Rig {
  explicit Rig(TestCluster& on) : api(on.server->local(api::system_user("r"))), recorder(on.executor, api, on.time, on.rng, "tester", "host"), scope(on.executor) { scope.spawn(recorder.run()); }
  void say(std::string name, std::string message) { recorder.record({.api_version = "v1", .kind = "Pod", .ns = "default", .name = std::move(name), .uid = "u", .resource_version = "", .field_path = ""}, "Warning", "BackOff", std::move(message)); }
  LocalApi api;
  EventRecorder recorder;
  async::Scope scope;
};

// "count message" of all events, sorted.
std::vector<std::string> told(const Reply& reply) {
  std::vector<std::string> out;
  json::Value tree = reply.tree();
  if (const json::Array* items = json::get_array(tree, {"items"}))
    for (const json::Value& item : *items) out.push_back(cat(json::get_int(item, {"count"}), ' ', json::get_string(item, {"message"})));
  std::ranges::sort(out);
  return out;
}

async::Task<Result<>> similar(TestCluster& cluster) {
  Rig rig(cluster);
  for (int i = 0; i < 3; ++i) rig.say("a", "the same");
  for (int i = 1; i <= 14; ++i) rig.say("b", cat("attempt ", i));
  std::vector<std::string> wanted = {"3 the same", "5 (combined from similar events): attempt 14"};
  for (int i = 1; i <= 9; ++i) wanted.push_back(cat("1 attempt ", i));
  wanted[1] = "5 (combined from similar events): attempt 14";
  std::ranges::sort(wanted);
  CO_TRY_ASSIGN(Reply seen, co_await cluster.eventually(kEventsPath, [&](const Reply& reply) { return told(reply) == wanted; }));
  EXPECT_EQ(told(seen), wanted);
  json::Value first = json::get_array(seen.tree(), {"items"})->front();
  EXPECT_EQ(json::get_string(first, {"reportingComponent"}), "tester");
  EXPECT_EQ(json::get_string(first, {"reportingInstance"}), "host");
  CO_CALL(modern, "GET", "/apis/events.k8s.io/v1/namespaces/default/events");
  EXPECT_EQ(json::get_string(json::get_array(modern.tree(), {"items"})->front(), {"reportingController"}), "tester");
  // Ten minutes later it is news again.
  cluster.time.advance(std::chrono::minutes(11));
  rig.say("b", "attempt 15");
  CO_TRY_ASSIGN(seen, co_await cluster.eventually(kEventsPath, [](const Reply& reply) { return reply.body.find("\"attempt 15\"") != std::string::npos; }));
  EXPECT_NE(seen.body.find("\"attempt 15\""), std::string::npos) << seen.body;
  rig.scope.cancel();
  (void)co_await rig.scope.join();
  co_return Result<>();
}
TEST(EventRecorder, CountsWhatRepeatsAndCombinesWhatIsSimilar) { api::with_cluster(similar); }

async::Task<Result<>> flood(TestCluster& cluster) {
  Rig rig(cluster);
  for (int i = 0; i < 500; ++i) rig.say("a", "again");
  rig.say("b", "once");
  auto last = [](const Reply& reply) { return reply.body.find("\"once\"") != std::string::npos; };
  CO_TRY_ASSIGN(Reply seen, co_await cluster.eventually(kEventsPath, last));
  EXPECT_EQ(told(seen), (std::vector<std::string>{"1 once", "25 again"})) << "of one object's flood 25 count, and others are heard";
  rig.scope.cancel();
  (void)co_await rig.scope.join();
  co_return Result<>();
}
TEST(EventRecorder, OneObjectsFloodIsCut) { api::with_cluster(flood); }

}  // namespace
}  // namespace monopod::client
