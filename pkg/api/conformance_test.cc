// What the public conformance specs ask of every server where kubectl does not look: test/e2e/apimachinery and test/e2e/instrumentation of kubernetes/kubernetes.
#include <gtest/gtest.h>

#include "api/testing.h"
#include "base/strings.h"

namespace monopod::api {
namespace {

const std::string kMaps = "/api/v1/namespaces/default/configmaps";
const std::string kServices = "/api/v1/namespaces/default/services";
const std::string kPods = "/api/v1/namespaces/default/pods";

// Table conversion: 406 of a backend that has no metadata.
async::Task<Result<>> tables(TestCluster& cluster) {
  const std::string table = "application/json;as=Table;v=v1;g=meta.k8s.io";
  const std::string reviews = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
  const std::string review = R"({"spec":{"nonResourceAttributes":{"path":"/","verb":"get"}}})";
  CO_CALL(refused, "POST", reviews, review, {{"accept", table}});
  CO_EXPECT_STATUS(refused, 406);
  EXPECT_EQ(refused.text({"reason"}), "NotAcceptable");
  CO_CALL(taken, "POST", reviews, review, {{"accept", table + ",application/json"}});
  CO_EXPECT_STATUS(taken, 201);
  EXPECT_EQ(taken.text({"kind"}), "SelfSubjectAccessReview");
  co_return Result<>();
}
TEST(Conformance, ReviewsHaveNoTable) { with_cluster(tables); }

async::Task<Result<>> parameters(TestCluster& cluster) {
  struct Row {
    std::string method, path, body, type;
    int status;
    std::string message;
  };
  const std::string map = R"({"metadata":{"name":"m"}})";
  const Row rows[] = {
      {"GET", kMaps + "?timeout=invalid", "", "", 400, "invalid timeout specified in the request URL - time: invalid duration \"invalid\""},
      {"GET", kMaps + "?timeout=60s", "", "", 200, ""},
      {"GET", kMaps + "?timeoutSeconds=abc", "", "", 400, "strconv.ParseInt: parsing \"abc\": invalid syntax"},
      {"GET", kMaps + "?limit=abc", "", "", 400, "strconv.ParseInt: parsing \"abc\": invalid syntax"},
      {"GET", kMaps + "?labelSelector=a%3D%3D%3Db", "", "", 400, "unable to parse requirement: found '=', expected: identifier"},
      {"POST", kMaps + "?dryRun=Foo", map, "", 422, "CreateOptions.meta.k8s.io \"\" is invalid: dryRun: Unsupported value: [\"Foo\"]: supported values: \"All\""},
      {"POST", kMaps + "?fieldValidation=Foo", map, "", 422, "CreateOptions.meta.k8s.io \"\" is invalid: fieldValidation: Unsupported value: \"Foo\": supported values: \"\", \"Ignore\", \"Strict\", \"Warn\""},
      {"POST", kMaps + "?fieldManager=" + std::string(129, 'x'), map, "", 422, "CreateOptions.meta.k8s.io \"\" is invalid: fieldManager: Too long: may not be more than 128 bytes"},
      {"POST", kMaps + "?fieldManager=" + std::string(128, 'x'), map, "", 201, ""},
      {"PATCH", kMaps + "/m?force=true", "{}", "application/merge-patch+json", 422, "PatchOptions.meta.k8s.io \"\" is invalid: force: Forbidden: may not be specified for non-apply patch"},
      {"PATCH", kMaps + "/m", R"({"apiVersion":"v1","kind":"ConfigMap"})", "application/apply-patch+yaml", 422, "PatchOptions.meta.k8s.io \"\" is invalid: fieldManager: Required value: is required for apply patch"},
      {"PATCH", kMaps + "/m?fieldManager=a", R"({"apiVersion":"v2","kind":"ConfigMap"})", "application/apply-patch+yaml", 400,
       "Incorrect version specified in apply patch. Specified patch version: v2, expected: v1"},
      {"POST", kMaps + "/m", map, "", 405, "the server does not allow this method on the requested resource"},
      {"DELETE", "/api/v1/namespaces", "", "", 405, "the server does not allow this method on the requested resource"},
      {"GET", "/livez/etcd", "", "", 200, ""},
      {"GET", "/openapi/v3/apis/apps/v1?hash=older", "", "", 301, ""},
      {"GET", "/readyz/informer-sync", "", "", 200, ""},
      {"GET", "/healthz/nothing", "", "", 404, "the server could not find the requested resource"},
      {"GET", "/healthzz", "", "", 404, "the server could not find the requested resource"},
  };
  for (const Row& row : rows) {
    http::Headers headers;
    if (!row.type.empty()) headers.set("content-type", row.type);
    CO_TRY_ASSIGN(Reply reply, co_await cluster.call(row.method, row.path, row.body, std::move(headers)));
    EXPECT_EQ(reply.status, row.status) << row.method << row.path << reply.body;
    if (!row.message.empty()) EXPECT_EQ(reply.text({"message"}), row.message) << row.path;
  }
  co_return Result<>();
}
TEST(Conformance, ParametersThatAreWrongAreRefusedInUpstreamsWords) { with_cluster(parameters); }

// FieldValidation: what stands twice in the text of an apply. Gates of a pod that wait are said at once.
async::Task<Result<>> texts(TestCluster& cluster) {
  const std::string yaml = "\napiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: twice\ndata:\n  foo: foo1\n  foo: foo2\n";
  const http::Headers apply{{"content-type", "application/apply-patch+yaml"}};
  CO_CALL(strict, "PATCH", kMaps + "/twice?fieldManager=a&fieldValidation=Strict", yaml, apply);
  CO_EXPECT_STATUS(strict, 400);
  EXPECT_TRUE(strict.text({"message"}).contains("line 8: key \"foo\" already set in map")) << strict.body;
  CO_CALL(warned, "PATCH", kMaps + "/twice?fieldManager=a", yaml, apply);
  CO_EXPECT_STATUS(warned, 201);
  EXPECT_EQ(warned.text({"data", "foo"}), "foo2");
  EXPECT_EQ(warned.headers.find("warning").value_or(""), R"(299 - "line 8: key \"foo\" already set in map")");
  CO_CALL(posted, "POST", kMaps + "?fieldValidation=Strict", yaml, {{"content-type", "application/yaml"}});
  CO_EXPECT_STATUS(posted, 400);
  EXPECT_TRUE(posted.text({"message"}).contains("strict decoding error: yaml: unmarshal errors:\n  line 8: key \"foo\" already set in map")) << posted.body;
  CO_CALL(account, "POST", "/api/v1/namespaces/default/serviceaccounts", R"({"metadata":{"name":"default"}})");
  CO_CALL(gated, "POST", kPods, R"({"metadata":{"name":"gated"},"spec":{"schedulingGates":[{"name":"example.com/wait"}],"containers":[{"name":"c","image":"i"}]}})");
  CO_EXPECT_STATUS(gated, 201);
  EXPECT_TRUE(gated.body.contains(R"("reason":"SchedulingGated","status":"False","type":"PodScheduled")")) << gated.body;
  co_return Result<>();
}
TEST(Conformance, KeysThatStandTwiceAndPodsThatWait) { with_cluster(texts); }

// A patch is read as strictly as an object. Upstream answers 422 about the field "patch", which it prints.
async::Task<Result<>> patches(TestCluster& cluster) {
  CO_CALL(made, "POST", kMaps, R"({"metadata":{"name":"p"},"data":{"a":"1"}})");
  CO_EXPECT_STATUS(made, 201);
  struct Row {
    std::string type, body, ends, warning;
  };
  const Row rows[] = {
      {"application/merge-patch+json", R"({"data":{"a":"2","a":"3"}})", R"(strict decoding error: duplicate field "data.a")", R"(299 - "duplicate field \"data.a\"")"},
      {"application/merge-patch+json", R"({"dat":{"a":"2"}})", R"(strict decoding error: unknown field "dat")", R"(299 - "unknown field \"dat\"")"},
      {"application/strategic-merge-patch+json", R"({"dat":{"a":"2"},"data":{"b":null}})",
       R"( "" is invalid: patch: Invalid value: "map[dat:map[a:2] data:map[b:<nil>]]": strict decoding error: unknown field "dat")", R"(299 - "unknown field \"dat\"")"},
      {"application/json-patch+json", R"([{"op":"add","op":"add","path":"/data/c","value":"3","more":1}])",
       R"(strict decoding error: json patch duplicate field "[0].op", json patch unknown field "[0].more")", R"(299 - "json patch duplicate field \"[0].op\"")"},
  };
  for (const Row& row : rows) {
    const http::Headers type{{"content-type", row.type}};
    CO_CALL(strict, "PATCH", kMaps + "/p?fieldValidation=Strict", row.body, type);
    CO_EXPECT_STATUS(strict, 422);
    EXPECT_TRUE(strict.text({"message"}).ends_with(row.ends)) << strict.body;
    CO_CALL(warned, "PATCH", kMaps + "/p", row.body, type);
    CO_EXPECT_STATUS(warned, 200);
    EXPECT_EQ(warned.headers.find("warning").value_or(""), row.warning);
    CO_CALL(ignored, "PATCH", kMaps + "/p?fieldValidation=Ignore", row.body, type);
    CO_EXPECT_STATUS(ignored, 200);
    EXPECT_EQ(ignored.headers.find("warning").value_or(""), "");
  }
  CO_CALL(wrong, "PATCH", kMaps + "/p", R"({"data":["x"]})", {{"content-type", "application/merge-patch+json"}});
  CO_EXPECT_STATUS(wrong, 422);
  EXPECT_TRUE(wrong.body.contains(R"("field":"patch")")) << wrong.body;
  co_return Result<>();
}
TEST(Conformance, APatchIsReadAsStrictlyAsAnObject) { with_cluster(patches); }

// Events API: listed by who reports, in both of its groups.
async::Task<Result<>> events(TestCluster& cluster) {
  const std::string events = "/apis/events.k8s.io/v1/namespaces/default/events";
  CO_CALL(made, "POST", events, R"({"metadata":{"name":"e"},"regarding":{"namespace":"default","kind":"Pod","name":"x"},"note":"n","action":"Do","reason":"Test","type":"Normal",
    "eventTime":"2024-01-01T00:00:00.000000Z","reportingController":"test-controller","reportingInstance":"i"})");
  CO_EXPECT_STATUS(made, 201);
  struct Row {
    std::string path;
    std::size_t found;
  };
  const std::string core = "/api/v1/events";
  const std::string modern = "/apis/events.k8s.io/v1/events";
  const Row rows[] = {{modern + "?fieldSelector=reportingController%3Dtest-controller", 1}, {modern + "?fieldSelector=reportingController%3Dother", 0}, {modern + "?fieldSelector=regarding.kind%3DPod,regarding.name%3Dx", 1},
                      {core + "?fieldSelector=source%3Dtest-controller", 1}, {core + "?fieldSelector=involvedObject.kind%3DPod,reportingComponent%3Dtest-controller", 1}, {core + "?fieldSelector=involvedObject.kind%3DNode", 0}};
  for (const Row& row : rows) {
    CO_CALL(list, "GET", row.path);
    CO_EXPECT_STATUS(list, 200);
    json::Value tree = list.tree();
    const json::Array* found = json::get_array(tree, {"items"});
    EXPECT_EQ(found == nullptr ? 99 : found->size(), row.found) << row.path;
  }
  CO_CALL(foreign, "GET", modern + "?fieldSelector=involvedObject.kind%3DPod");
  CO_EXPECT_STATUS(foreign, 400);
  co_return Result<>();
}
TEST(Conformance, EventsAreListedByWhoReports) { with_cluster(events); }

async::Task<Result<>> limit_ranges(TestCluster& cluster) {
  CO_CALL(account, "POST", "/api/v1/namespaces/default/serviceaccounts", R"({"metadata":{"name":"default"}})");
  CO_CALL(range, "POST", "/api/v1/namespaces/default/limitranges", R"({"metadata":{"name":"r"},"spec":{"limits":[{"type":"Container","max":{"cpu":"500m","memory":"500Mi"},"defaultRequest":{"cpu":"100m"}}]}})");
  CO_EXPECT_STATUS(range, 201);
  json::Value stored = range.tree();
  const json::Value& limit = json::get_array(stored, {"spec", "limits"})->at(0);
  EXPECT_EQ(json::format(*json::find(limit, {"default"})), R"({"cpu":"500m","memory":"500Mi"})") << "the default follows from the maximum";
  EXPECT_EQ(json::format(*json::find(limit, {"defaultRequest"})), R"({"cpu":"100m","memory":"500Mi"})");
  CO_CALL(pod, "POST", kPods, R"({"metadata":{"name":"p"},"spec":{"containers":[{"name":"web","image":"x"}]}})");
  CO_EXPECT_STATUS(pod, 201);
  EXPECT_EQ(pod.text({"metadata", "annotations", "kubernetes.io/limit-ranger"}), "LimitRanger plugin set: cpu, memory request for container web; cpu, memory limit for container web");
  co_return Result<>();
}
TEST(Conformance, ALimitRangeSaysWhatItFilled) { with_cluster(limit_ranges); }

async::Task<Result<>> service_types(TestCluster& cluster) {
  CO_CALL(made, "POST", kServices, R"({"metadata":{"name":"s"},"spec":{"type":"NodePort","sessionAffinity":"ClientIP","ports":[{"name":"a","port":53,"protocol":"TCP"},{"name":"b","port":53,"protocol":"UDP"}]}})");
  CO_EXPECT_STATUS(made, 201);
  json::Value tree = made.tree();
  const json::Array& ports = *json::get_array(tree, {"spec", "ports"});
  EXPECT_EQ(json::get_int(ports[0], {"nodePort"}), json::get_int(ports[1], {"nodePort"})) << "one port of two protocols is one node port";
  const http::Headers merge{{"content-type", "application/merge-patch+json"}};
  CO_CALL(plain, "PATCH", kServices + "/s", R"({"spec":{"sessionAffinity":"None"}})", merge);
  EXPECT_EQ(json::find(plain.tree(), {"spec", "sessionAffinityConfig"}), nullptr);
  CO_CALL(moved, "PATCH", kServices + "/s", R"({"spec":{"clusterIP":"10.43.0.99"}})", merge);
  CO_EXPECT_STATUS(moved, 422);
  EXPECT_EQ(moved.text({"message"}), "Service \"s\" is invalid: spec.clusterIPs[0]: Invalid value: [\"10.43.0.99\"]: may not change once set");
  // The type changes, and all that was there for the old one stays in the body: a client that read it and changed one field.
  CO_CALL(external, "PATCH", kServices + "/s", R"({"spec":{"type":"ExternalName","externalName":"foo.example.com"}})", merge);
  CO_EXPECT_STATUS(external, 200);
  json::Value now = external.tree();
  for (std::string_view gone : {"clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy", "externalTrafficPolicy"}) EXPECT_EQ(json::find(now, {"spec", gone}), nullptr) << gone;
  EXPECT_FALSE(external.body.contains("nodePort")) << external.body;
  CO_CALL(back, "PATCH", kServices + "/s", R"({"spec":{"type":"ClusterIP","externalName":null}})", merge);
  CO_EXPECT_STATUS(back, 200);
  EXPECT_FALSE(back.text({"spec", "clusterIP"}).empty());
  co_return Result<>();
}
TEST(Conformance, AServiceThatChangesItsTypeLosesWhatTheOldOneHad) { with_cluster(service_types); }

}  // namespace
}  // namespace monopod::api
