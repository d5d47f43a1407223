#include "api/table/table.h"

#include <gtest/gtest.h>

#include "api/schema/decode.h"
#include "api/schema/sample.h"

namespace monopod::api {
namespace {

const WallTime kNow = *parse_rfc3339("2026-01-02T03:05:00Z");

std::string cells(std::string_view group, std::string_view plural, std::string_view text) {
  return json::format(make_cells(*find_resource(group, plural), *json::parse(text), kNow));
}

TEST(Table, PodRowsAreKubectls) {
  constexpr const char* kMeta = R"("metadata":{"name":"a","creationTimestamp":"2026-01-02T03:04:00Z"},"spec":{"containers":[{"name":"c"},{"name":"d"}],"nodeName":"n"})";
  auto row = [&](std::string_view status, std::string_view head = {}) { return cells("", "pods", "{" + std::string(head.empty() ? kMeta : head) + ",\"status\":" + std::string(status) + "}"); };
  EXPECT_EQ(row(R"({"phase":"Pending"})"), R"(["a","0/2","Pending","0","60s","<none>","n","<none>","<none>"])");
  EXPECT_EQ(row(R"({"phase":"Running","podIP":"10.0.0.1","containerStatuses":[{"ready":true,"restartCount":1,"state":{"running":{}},"lastState":{"terminated":{"finishedAt":"2026-01-02T03:04:30Z"}}},{"ready":true,"state":{"running":{}}}]})"),
            R"x(["a","2/2","Running","1 (30s ago)","60s","10.0.0.1","n","<none>","<none>"])x");
  EXPECT_EQ(row(R"({"phase":"Running","containerStatuses":[{"state":{"waiting":{"reason":"CrashLoopBackOff"}},"restartCount":4},{"ready":true,"state":{"running":{}}}]})"),
            R"(["a","1/2","CrashLoopBackOff","4","60s","<none>","n","<none>","<none>"])");
  EXPECT_EQ(row(R"({"phase":"Succeeded","containerStatuses":[{"state":{"terminated":{"reason":"Completed","exitCode":0}}}]})"), R"(["a","0/2","Completed","0","60s","<none>","n","<none>","<none>"])");
  EXPECT_EQ(row(R"({"phase":"Failed","containerStatuses":[{"state":{"terminated":{"exitCode":3}}}]})"), R"(["a","0/2","ExitCode:3","0","60s","<none>","n","<none>","<none>"])");
  constexpr const char* kInit = R"("metadata":{"name":"a","creationTimestamp":"2026-01-02T03:04:00Z"},"spec":{"initContainers":[{"name":"i"},{"name":"s","restartPolicy":"Always"}],"containers":[{"name":"c"}]})";
  EXPECT_EQ(row(R"({"phase":"Pending","initContainerStatuses":[{"name":"i","state":{"running":{}}}]})", kInit), R"(["a","0/2","Init:0/2","0","60s","<none>","<none>","<none>","<none>"])");
  EXPECT_EQ(row(R"({"phase":"Pending","initContainerStatuses":[{"name":"i","state":{"terminated":{"exitCode":1,"reason":"Error"}},"restartCount":2}]})", kInit),
            R"(["a","0/2","Init:Error","2","60s","<none>","<none>","<none>","<none>"])");
  EXPECT_EQ(row(R"({"phase":"Running","initContainerStatuses":[{"name":"i","state":{"terminated":{"exitCode":0}}},{"name":"s","started":true,"ready":true,"state":{"running":{}}}],"containerStatuses":[{"ready":true,"state":{"running":{}}}]})", kInit),
            R"(["a","2/2","Running","0","60s","<none>","<none>","<none>","<none>"])");
  constexpr const char* kGone = R"("metadata":{"name":"a","creationTimestamp":"2026-01-02T03:04:00Z","deletionTimestamp":"2026-01-02T03:04:00Z"},"spec":{"containers":[{"name":"c"}]})";
  EXPECT_EQ(row(R"({"phase":"Running"})", kGone), R"(["a","0/1","Terminating","0","60s","<none>","<none>","<none>","<none>"])");
}

TEST(Table, OtherRowsAreKubectls) {
  EXPECT_EQ(cells("storage.k8s.io", "storageclasses", R"({"metadata":{"name":"s","annotations":{"storageclass.kubernetes.io/is-default-class":"true"}},"provisioner":"p","reclaimPolicy":"Delete","volumeBindingMode":"Immediate"})"),
            R"x(["s (default)","p","Delete","Immediate","false","<unknown>"])x");
  EXPECT_EQ(cells("apps", "deployments", R"({"metadata":{"name":"d","creationTimestamp":"2026-01-01T03:05:00Z"},"spec":{"replicas":3,"selector":{"matchLabels":{"a":"b"}},"template":{"spec":{"containers":[{"name":"c","image":"i"},{"name":"e","image":"j"}]}}},"status":{"readyReplicas":2,"updatedReplicas":3,"availableReplicas":2}})"),
            R"(["d","2/3",3,2,"24h","c,e","i,j","a=b"])");
  EXPECT_EQ(cells("", "services", R"({"metadata":{"name":"s"},"spec":{"type":"NodePort","clusterIP":"10.0.0.1","ports":[{"port":80,"nodePort":30080,"protocol":"TCP"},{"port":53,"protocol":"UDP"}],"selector":{"a":"b"}}})"),
            R"(["s","NodePort","10.0.0.1","<none>","80:30080/TCP,53/UDP","<unknown>","a=b"])");
  EXPECT_EQ(cells("", "nodes", R"({"metadata":{"name":"n","labels":{"node-role.kubernetes.io/control-plane":""}},"spec":{"unschedulable":true},"status":{"conditions":[{"type":"Ready","status":"True"}],"addresses":[{"type":"InternalIP","address":"1.2.3.4"}],"nodeInfo":{"kubeletVersion":"v1"}}})"),
            R"(["n","Ready,SchedulingDisabled","control-plane","<unknown>","v1","1.2.3.4","<none>","<unknown>","<unknown>","<unknown>"])");
  EXPECT_EQ(cells("", "events", R"({"metadata":{"name":"e"},"type":"Normal","reason":"R","message":"m\n","involvedObject":{"kind":"Pod","name":"p"},"source":{"component":"kubelet","host":"n"},"firstTimestamp":"2026-01-02T03:04:00Z","lastTimestamp":"2026-01-02T03:04:50Z","count":2})"),
            R"(["10s","Normal","R","pod/p","","kubelet, n","m","60s","2","e"])");
  EXPECT_EQ(cells("", "endpoints", R"({"metadata":{"name":"e"},"subsets":[{"addresses":[{"ip":"1.1.1.1"},{"ip":"1.1.1.2"}],"ports":[{"port":1},{"port":2}]}]})"), R"(["e","1.1.1.1:1,1.1.1.1:2,1.1.1.2:1 + 1 more...","<unknown>"])");
  EXPECT_EQ(cells("", "resourcequotas", R"({"metadata":{"name":"q"},"status":{"hard":{"pods":"5","limits.cpu":"2","cpu":"1"},"used":{"pods":"1","cpu":"500m","limits.cpu":"1"}}})"),
            R"(["q","cpu: 500m/1, pods: 1/5","limits.cpu: 1/2","<unknown>"])");
  EXPECT_EQ(cells("flowcontrol.apiserver.k8s.io", "flowschemas",
                  R"({"metadata":{"name":"f"},"spec":{"matchingPrecedence":9900,"priorityLevelConfiguration":{"name":"p"},"distinguisherMethod":{"type":"ByUser"}},"status":{"conditions":[{"type":"Dangling","status":"False"}]}})"),
            R"(["f","p","9900","ByUser","<unknown>","False"])");
  EXPECT_EQ(cells("flowcontrol.apiserver.k8s.io", "prioritylevelconfigurations",
                  R"({"metadata":{"name":"p"},"spec":{"type":"Limited","limited":{"nominalConcurrencyShares":30,"limitResponse":{"type":"Queue","queuing":{"queues":64,"handSize":6,"queueLengthLimit":50}}}}})"),
            R"(["p","Limited","30","64","6","50","<unknown>"])");
  EXPECT_EQ(cells("storage.k8s.io", "csidrivers", R"({"metadata":{"name":"d"},"spec":{"volumeLifecycleModes":["Persistent","Ephemeral"],"tokenRequests":[{"audience":"a"}]}})"),
            R"(["d",true,false,false,"a",false,"Persistent,Ephemeral","<unknown>"])");
  EXPECT_EQ(cells("rbac.authorization.k8s.io", "roles", R"({"metadata":{"name":"r","creationTimestamp":"2026-01-02T03:04:00Z"}})"), R"(["r","2026-01-02T03:04:00Z"])");
}

TEST(Table, EveryKindFillsItsColumns) {
  SeededRng rng(2);
  for (const Resource& r : resources()) {
    std::size_t columns = r.columns().empty() ? 2 : r.columns().size();
    for (const json::Value& object : {make_sample(r.type(), rng, 3), json::Value(json::Object())}) {
      json::Array row = make_cells(r, object, kNow);
      EXPECT_EQ(row.size(), columns) << r.kind();
    }
  }
}

TEST(Table, DocumentHasRowsAndHeaders) {
  const Resource& r = *find_resource("", "configmaps");
  json::Value object = *json::parse(R"({"metadata":{"name":"a","creationTimestamp":"2026-01-02T03:04:00Z"},"data":{"k":"v"}})");
  std::string text;
  TableWriter writer(text, r, {}, {{"resourceVersion", "5"}}, kNow);
  writer.add(object);
  writer.finish();
  json::Value table = *json::parse(text);
  EXPECT_EQ(json::format(table.at("rows").at(0).at("cells")), R"(["a",1,"60s"])");
  EXPECT_EQ(json::get_string(table, {"metadata", "resourceVersion"}), "5");
  EXPECT_EQ(table.at("columnDefinitions").get_array().size(), 3U);
  EXPECT_EQ(table.at("rows").at(0).at("object").at("kind"), json::Value("PartialObjectMetadata"));
  text.clear();
  TableWriter later(text, r, {.include = IncludeObject::kNone, .headers = false}, {}, kNow);
  later.add(object);
  later.finish();
  table = *json::parse(text);
  EXPECT_TRUE(table.at("columnDefinitions").is_null());
  EXPECT_TRUE(table.at("rows").at(0).at("object").is_null());
  EXPECT_FALSE(parse_include_object("X"));
}

// The row of a stored object is kept with it; whatever the moment, it reads as one made anew.
TEST(Table, KeptRowsAgeAsOthers) {
  SeededRng rng(5);
  for (const Resource& r : resources()) {
    json::Value tree = make_sample(r.type(), rng, 3);
    if (!tree.is_object()) continue;
    json::at_path(tree, {"metadata", "name"}) = "a";
    json::at_path(tree, {"metadata", "creationTimestamp"}) = "2026-01-02T03:04:00Z";
    json::at_path(tree, {"metadata", "managedFields"}) = json::Array{json::Object{{"manager", "m]}\""}}};
    auto object = Object::parse(share(json::format(tree)), 7);
    ASSERT_TRUE(object) << r.kind();
    for (std::int64_t seconds : {0, 1, 59, 60, 61, 599, 601, 7'200, 700'000}) {
      for (IncludeObject include : {IncludeObject::kNone, IncludeObject::kMetadata, IncludeObject::kObject}) {
        WallTime now = kNow + std::chrono::seconds(seconds);
        std::string kept, anew;
        TableWriter a(kept, r, {.include = include}, {}, now), b(anew, r, {.include = include}, {}, now);
        a.add(**object);
        b.add((*object)->tree());
        a.finish();
        b.finish();
        EXPECT_EQ(kept, anew) << r.kind() << " after " << seconds << " s";
      }
    }
  }
}

}  // namespace
}  // namespace monopod::api
