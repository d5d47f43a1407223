// Custom kinds through the whole server: definition to objects and back to nothing.
#include <gtest/gtest.h>

#include "api/crd/definition.h"
#include "api/testing.h"
#include "base/strings.h"
#include "codec/yaml.h"

namespace monopod::api {
namespace {

const std::string kDefinitions = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
const std::string kWidgets = "/apis/example.com/v1/namespaces/default/widgets";

constexpr std::string_view kDefinition = R"(
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: widgets.example.com}
spec:
  group: example.com
  scope: Namespaced
  names: {plural: widgets, kind: Widget, shortNames: [wd], categories: [all]}
  versions:
  - name: v1
    served: true
    storage: true
    selectableFields: [{jsonPath: .spec.colour}]
    subresources:
      status: {}
      scale: {specReplicasPath: .spec.size, statusReplicasPath: .status.size, labelSelectorPath: .status.selector}
    additionalPrinterColumns:
    - {name: Size, type: integer, jsonPath: .spec.size}
    - {name: Ready, type: string, jsonPath: '.status.conditions[?(@.type=="Ready")].status'}
    - {name: Colour, type: string, jsonPath: .spec.colour, priority: 1}
    - {name: Age, type: date, jsonPath: .metadata.creationTimestamp}
    schema:
      openAPIV3Schema:
        type: object
        description: A widget.
        properties:
          spec:
            type: object
            description: What is wanted of a widget.
            properties:
              size: {type: integer, minimum: 0, default: 1}
              colour: {type: string}
              parts:
                type: array
                x-kubernetes-list-type: map
                x-kubernetes-list-map-keys: [name]
                items: {type: object, required: [name], properties: {name: {type: string}, count: {type: integer, default: 1}}}
          status:
            type: object
            properties:
              size: {type: integer}
              selector: {type: string}
              conditions: {type: array, items: {type: object, properties: {type: {type: string}, status: {type: string}}}}
)";

std::string as_json(std::string_view text) {
  auto parsed = yaml::parse(text);
  if (!parsed) ADD_FAILURE() << parsed.error().message();
  return parsed ? json::format(*parsed) : "";
}

std::string replaced(std::string text, std::string_view from, std::string_view to) {
  for (std::size_t at = 0; (at = text.find(from, at)) != std::string::npos; at += to.size()) text.replace(at, from.size(), to);
  return text;
}

// Reads a watch until a line satisfies.
async::Task<Result<json::Value>> watch_until(TestCluster& cluster, std::string target, std::function<bool(const json::Value& event)> wanted) {
  CO_TRY_ASSIGN(http::Response response, co_await cluster.open("GET", target));
  std::string text;
  while (true) {
    std::size_t end;
    while ((end = text.find('\n')) == std::string::npos) {
      CO_TRY_ASSIGN(SharedBytes chunk, co_await response.body->read_chunk());
      if (!chunk) co_return fail(Code::kUnavailable, "the watch ended");
      text += *chunk;
    }
    CO_TRY_ASSIGN(json::Value event, json::parse(std::string_view(text).substr(0, end)));
    text.erase(0, end + 1);
    if (wanted(event)) co_return event;
  }
}

// Asks again; every call is a turn of the loop for the server's own work. No watch: a server that restarts must have none.
async::Task<Result<>> wait_condition(TestCluster& cluster, std::string name, std::string type, std::string status) {
  for (int tries = 0; tries < 5000; ++tries) {
    CO_CALL(reply, "GET", cat(kDefinitions, "/", name));
    if (crd::condition_status(reply.tree(), type) == status) co_return Result<>();
  }
  co_return fail(Code::kDeadlineExceeded, cat(name, " never came to ", type, "=", status));
}

async::Task<Result<>> install(TestCluster& cluster, std::string definition = std::string(kDefinition)) {
  std::string body = as_json(definition);
  CO_CALL(made, "POST", kDefinitions, body);
  CO_EXPECT_STATUS(made, 201);
  co_return co_await wait_condition(cluster, made.text({"metadata", "name"}), "Established", "True");
}

std::string widget(std::string_view name, std::string_view spec = "{}", std::string_view meta = "") {
  return as_json(cat("{apiVersion: example.com/v1, kind: Widget, metadata: {name: ", name, meta.empty() ? "" : ", ", meta, "}, spec: ", spec, "}"));
}

async::Task<Result<>> served(TestCluster& cluster) {
  CO_CALL(before, "GET", kWidgets);
  CO_EXPECT_STATUS(before, 404);
  CO_TRY(co_await install(cluster));
  CO_CALL(definition, "GET", kDefinitions + "/widgets.example.com");
  EXPECT_EQ(definition.text({"status", "acceptedNames", "listKind"}), "WidgetList");
  EXPECT_EQ(json::format(*json::find(definition.tree(), {"status", "storedVersions"})), R"(["v1"])");
  CO_CALL(groups, "GET", "/apis/example.com/v1");
  CO_EXPECT_STATUS(groups, 200);
  EXPECT_TRUE(groups.body.contains(R"("shortNames":["wd"])")) << groups.body;
  EXPECT_TRUE(groups.body.contains(R"("name":"widgets/status")")) << groups.body;

  CO_CALL(made, "POST", kWidgets, widget("one", "{colour: red, parts: [{name: a}]}"));
  CO_EXPECT_STATUS(made, 201);
  EXPECT_EQ(json::format(*json::find(made.tree(), {"spec"})), R"({"colour":"red","parts":[{"count":1,"name":"a"}],"size":1})");
  EXPECT_EQ(json::get_int(made.tree(), {"metadata", "generation"}), 1);
  CO_CALL(got, "GET", kWidgets + "/one");
  EXPECT_EQ(got.body, made.body);
  CO_CALL(listed, "GET", "/apis/example.com/v1/widgets");
  EXPECT_EQ(listed.text({"kind"}), "WidgetList");
  EXPECT_EQ(json::get_array(listed.tree(), {"items"})->size(), 1U);
  CO_CALL(invalid, "POST", kWidgets, widget("two", "{size: -1}"));
  CO_EXPECT_STATUS(invalid, 422);
  EXPECT_EQ(invalid.text({"message"}), "Widget.example.com \"two\" is invalid: [spec.size: Invalid value: -1: spec.size in body should be greater than or equal to 0, spec.size: Invalid value: -1: should be a non-negative integer]");
  CO_CALL(table, "GET", kWidgets, "", {{"accept", "application/json;as=Table;v=v1;g=meta.k8s.io"}});
  EXPECT_TRUE(table.body.contains(R"("cells":["one",1,null,"red","0s"])")) << table.body;
  EXPECT_TRUE(table.body.contains(R"("name":"Colour","type":"string","format":"","description":"","priority":1)")) << table.body;
  CO_CALL(red, "GET", kWidgets + "?fieldSelector=spec.colour%3Dred");
  EXPECT_EQ(json::get_array(red.tree(), {"items"})->size(), 1U);
  CO_CALL(blue, "GET", kWidgets + "?fieldSelector=spec.colour%3Dblue");
  EXPECT_EQ(json::get_array(blue.tree(), {"items"})->size(), 0U);
  CO_CALL(other, "GET", kWidgets + "?fieldSelector=spec.size%3D1");
  CO_EXPECT_STATUS(other, 400);
  CO_CALL(protobuf, "POST", kWidgets, "k8s", {{"content-type", "application/vnd.kubernetes.protobuf"}});
  CO_EXPECT_STATUS(protobuf, 415);
  CO_CALL(gone, "DELETE", kWidgets + "/one");
  CO_EXPECT_STATUS(gone, 200);
  EXPECT_EQ(gone.text({"status"}), "Success");
  co_return Result<>();
}
TEST(CustomKinds, AreServedOnceTheirDefinitionIsEstablished) { with_cluster(served); }

async::Task<Result<>> unknown_fields(TestCluster& cluster) {
  CO_TRY(co_await install(cluster));
  std::string body = widget("one", "{size: 1, sise: 2}");
  CO_CALL(strict, "POST", kWidgets + "?fieldValidation=Strict", body);
  CO_EXPECT_STATUS(strict, 400);
  EXPECT_TRUE(strict.text({"message"}).contains(R"(strict decoding error: unknown field "spec.sise")")) << strict.body;
  CO_CALL(warned, "POST", kWidgets, body);
  CO_EXPECT_STATUS(warned, 201);
  EXPECT_EQ(warned.headers.find("warning").value_or(""), R"(299 - "unknown field \"spec.sise\"")");
  EXPECT_FALSE(warned.body.contains("sise"));
  CO_CALL(silent, "POST", kWidgets + "?fieldValidation=Ignore", widget("two", "{sise: 2}"));
  EXPECT_FALSE(silent.headers.find("warning"));
  co_return Result<>();
}
TEST(CustomKinds, UnknownFieldsArePrunedWithTheAnswerThatWasAskedFor) { with_cluster(unknown_fields); }

async::Task<Result<>> patches(TestCluster& cluster) {
  CO_TRY(co_await install(cluster));
  CO_CALL(made, "POST", kWidgets, widget("one"));
  CO_CALL(strategic, "PATCH", kWidgets + "/one", "{}", {{"content-type", "application/strategic-merge-patch+json"}});
  CO_EXPECT_STATUS(strategic, 415);
  CO_CALL(merged, "PATCH", kWidgets + "/one", R"({"spec":{"colour":"red","size":null}})", {{"content-type", "application/merge-patch+json"}});
  CO_EXPECT_STATUS(merged, 200);
  EXPECT_EQ(json::get_int(merged.tree(), {"spec", "size"}), 1);  // the default again
  EXPECT_EQ(json::get_int(merged.tree(), {"metadata", "generation"}), 2);
  CO_CALL(listed, "PATCH", kWidgets + "/one", R"([{"op":"test","path":"/spec/colour","value":"red"},{"op":"remove","path":"/spec/colour"}])", {{"content-type", "application/json-patch+json"}});
  CO_EXPECT_STATUS(listed, 200);
  EXPECT_FALSE(listed.body.contains("\"colour\":\"red\""));
  CO_CALL(dry, "PATCH", kWidgets + "/one?dryRun=All", R"({"spec":{"size":9}})", {{"content-type", "application/merge-patch+json"}});
  EXPECT_EQ(json::get_int(dry.tree(), {"spec", "size"}), 9);
  CO_CALL(kept, "GET", kWidgets + "/one");
  EXPECT_EQ(json::get_int(kept.tree(), {"spec", "size"}), 1);
  CO_CALL(unconditional, "PUT", kWidgets + "/one", widget("one"));
  CO_EXPECT_STATUS(unconditional, 422);
  EXPECT_TRUE(unconditional.text({"message"}).contains("metadata.resourceVersion: Invalid value")) << unconditional.body;
  co_return Result<>();
}
TEST(CustomKinds, TakeJsonAndMergePatchesOnly) { with_cluster(patches); }

async::Task<Result<>> applied(TestCluster& cluster) {
  CO_TRY(co_await install(cluster));
  http::Headers apply{{"content-type", "application/apply-patch+yaml"}};
  CO_CALL(a, "PATCH", kWidgets + "/one?fieldManager=a", widget("one", "{parts: [{name: x, count: 2}], colour: red}"), apply);
  CO_EXPECT_STATUS(a, 201);
  CO_CALL(b, "PATCH", kWidgets + "/one?fieldManager=b", widget("one", "{parts: [{name: z}]}"), apply);
  CO_EXPECT_STATUS(b, 200);
  EXPECT_EQ(json::format(*json::find(b.tree(), {"spec", "parts"})), R"([{"count":2,"name":"x"},{"count":1,"name":"z"}])");
  CO_CALL(conflict, "PATCH", kWidgets + "/one?fieldManager=b", widget("one", "{colour: blue, parts: [{name: z}]}"), apply);
  CO_EXPECT_STATUS(conflict, 409);
  EXPECT_EQ(conflict.text({"message"}), "Apply failed with 1 conflict: conflict with \"a\": .spec.colour");
  CO_CALL(without, "PATCH", kWidgets + "/one?fieldManager=a", widget("one", "{colour: red}"), apply);
  EXPECT_EQ(json::format(*json::find(without.tree(), {"spec", "parts"})), R"([{"count":1,"name":"z"}])");
  CO_CALL(unknown, "PATCH", kWidgets + "/one?fieldManager=a", widget("one", "{sise: 1}"), apply);
  CO_EXPECT_STATUS(unknown, 400);
  EXPECT_TRUE(unknown.text({"message"}).contains(".spec.sise: field not declared in schema")) << unknown.body;
  CO_CALL(twice, "PATCH", kWidgets + "/one?fieldManager=c", widget("one", "{parts: [{name: q}, {name: q}]}"), apply);
  CO_EXPECT_STATUS(twice, 400);
  co_return Result<>();
}
TEST(CustomKinds, AreAppliedByTheirListTypes) { with_cluster(applied); }

async::Task<Result<>> subresources(TestCluster& cluster) {
  CO_TRY(co_await install(cluster));
  CO_CALL(made, "POST", kWidgets, as_json("{apiVersion: example.com/v1, kind: Widget, metadata: {name: one}, spec: {size: 2}, status: {size: 9}}"));
  EXPECT_EQ(json::find(made.tree(), {"status"}), nullptr);
  CO_CALL(status, "PATCH", kWidgets + "/one/status", R"({"metadata":{"labels":{"a":"b"}},"spec":{"size":5},"status":{"size":1,"selector":"app=w","conditions":[{"type":"Ready","status":"True"}]}})",
          {{"content-type", "application/merge-patch+json"}});
  CO_EXPECT_STATUS(status, 200);
  EXPECT_EQ(json::get_int(status.tree(), {"spec", "size"}), 2);
  EXPECT_EQ(json::get_int(status.tree(), {"status", "size"}), 1);
  EXPECT_EQ(json::get_int(status.tree(), {"metadata", "generation"}), 1);
  EXPECT_EQ(json::find(status.tree(), {"metadata", "labels"}), nullptr);
  CO_CALL(scale, "GET", kWidgets + "/one/scale");
  EXPECT_EQ(json::get_int(scale.tree(), {"spec", "replicas"}), 2);
  EXPECT_EQ(json::get_int(scale.tree(), {"status", "replicas"}), 1);
  EXPECT_EQ(scale.text({"status", "selector"}), "app=w");
  CO_CALL(scaled, "PATCH", kWidgets + "/one/scale", R"({"spec":{"replicas":7}})", {{"content-type", "application/merge-patch+json"}});
  CO_EXPECT_STATUS(scaled, 200);
  CO_CALL(got, "GET", kWidgets + "/one");
  EXPECT_EQ(json::get_int(got.tree(), {"spec", "size"}), 7);
  EXPECT_EQ(json::get_int(got.tree(), {"metadata", "generation"}), 2);
  CO_CALL(table, "GET", kWidgets + "/one", "", {{"accept", "application/json;as=Table;v=v1;g=meta.k8s.io"}});
  EXPECT_TRUE(table.body.contains(R"("cells":["one",7,"True",null,)")) << table.body;
  CO_CALL(none, "GET", kWidgets + "/one/log");
  CO_EXPECT_STATUS(none, 404);
  co_return Result<>();
}
TEST(CustomKinds, HaveStatusAndScale) { with_cluster(subresources); }

async::Task<Result<>> deleted(TestCluster& cluster) {
  CO_TRY(co_await install(cluster));
  CO_CALL(one, "POST", kWidgets, widget("one"));
  CO_CALL(two, "POST", kWidgets, widget("two", "{}", "finalizers: [example.com/hold]"));
  CO_TRY_ASSIGN(http::Response watch, co_await cluster.open("GET", cat(kWidgets, "?watch=1&resourceVersion=", two.text({"metadata", "resourceVersion"}))));
  CO_CALL(gone, "DELETE", kDefinitions + "/widgets.example.com");
  CO_EXPECT_STATUS(gone, 200);
  EXPECT_TRUE(gone.body.contains("customresourcecleanup.apiextensions.k8s.io")) << gone.body;
  CO_TRY(co_await wait_condition(cluster, "widgets.example.com", "Terminating", "True"));
  // The one without finalizer goes, the other waits, nothing new comes.
  auto is_gone = [](const json::Value& event) { return json::get_string(event, {"type"}) == "DELETED"; };
  CO_TRY(co_await watch_until(cluster, cat(kWidgets, "?watch=1&resourceVersion=", two.text({"metadata", "resourceVersion"})), is_gone));
  CO_CALL(refused, "POST", kWidgets, widget("three"));
  CO_EXPECT_STATUS(refused, 405);
  EXPECT_EQ(refused.text({"message"}), "create not allowed while custom resource definition is terminating");
  CO_CALL(still, "GET", kWidgets + "/two");
  CO_EXPECT_STATUS(still, 200);
  CO_CALL(freed, "PATCH", kWidgets + "/two", R"({"metadata":{"finalizers":null}})", {{"content-type", "application/merge-patch+json"}});
  CO_EXPECT_STATUS(freed, 200);
  // Every watcher sees the end, and its watch ends in order.
  CO_TRY_ASSIGN(std::string seen, co_await watch.body->read_all(1U << 20));
  EXPECT_EQ(seen.find("\"type\":\"ERROR\""), std::string::npos) << seen;
  EXPECT_NE(seen.find("\"type\":\"DELETED\""), std::string::npos) << seen;
  for (int tries = 0; tries < 1000; ++tries) {
    CO_CALL(definition, "GET", kDefinitions + "/widgets.example.com");
    if (definition.status == 404) break;
  }
  CO_CALL(definition, "GET", kDefinitions + "/widgets.example.com");
  CO_EXPECT_STATUS(definition, 404);
  CO_CALL(kind, "GET", kWidgets);
  CO_EXPECT_STATUS(kind, 404);
  CO_CALL(group, "GET", "/apis/example.com");
  CO_EXPECT_STATUS(group, 404);
  CO_TRY(co_await install(cluster));
  CO_CALL(again, "GET", kWidgets);
  CO_EXPECT_STATUS(again, 200);
  EXPECT_EQ(json::get_array(again.tree(), {"items"})->size(), 0U);
  co_return Result<>();
}
TEST(CustomKinds, GoWithTheirDefinition) { with_cluster(deleted); }

async::Task<Result<>> conflicting(TestCluster& cluster) {
  CO_TRY(co_await install(cluster));
  std::string other = replaced(replaced(std::string(kDefinition), "widgets", "gadgets"), "shortNames: [wd]", "shortNames: [gd, wd]");
  CO_CALL(made, "POST", kDefinitions, as_json(other));
  CO_EXPECT_STATUS(made, 201);
  CO_TRY(co_await wait_condition(cluster, "gadgets.example.com", "NamesAccepted", "False"));
  CO_CALL(definition, "GET", kDefinitions + "/gadgets.example.com");
  EXPECT_EQ(crd::condition_status(definition.tree(), "Established"), "False");
  EXPECT_TRUE(definition.body.contains(R"("message":"\"WidgetList\" is already in use","reason":"ListKindConflict")")) << definition.body;
  CO_CALL(absent, "GET", "/apis/example.com/v1/gadgets");
  CO_EXPECT_STATUS(absent, 404);
  CO_CALL(gone, "DELETE", kDefinitions + "/widgets.example.com");
  CO_TRY(co_await wait_condition(cluster, "gadgets.example.com", "Established", "True"));
  CO_CALL(present, "GET", "/apis/example.com/v1/gadgets");
  CO_EXPECT_STATUS(present, 200);
  co_return Result<>();
}
TEST(CustomKinds, WithNamesThatAreTakenWaitUntilTheyAreFree) { with_cluster(conflicting); }

async::Task<Result<>> restarted(TestCluster& cluster) {
  CO_TRY(co_await install(cluster));
  CO_CALL(made, "POST", kWidgets, widget("one", "{colour: red}"));
  CO_TRY(co_await cluster.restart());
  CO_CALL(got, "GET", kWidgets + "/one");
  CO_EXPECT_STATUS(got, 200);
  EXPECT_EQ(got.body, made.body);
  // A field that the definition gets a default for has it when read, without a write; one that it loses is gone.
  CO_CALL(definition, "GET", kDefinitions + "/widgets.example.com");
  std::string changed = replaced(replaced(definition.body, R"("colour":{"type":"string"},)", R"("weight":{"type":"integer","default":5},)"), R"("selectableFields":[{"jsonPath":".spec.colour"}],)", "");
  CO_CALL(put, "PUT", kDefinitions + "/widgets.example.com", changed);
  CO_EXPECT_STATUS(put, 200);
  json::Value spec;
  for (int tries = 0; tries < 1000 && json::find(spec, {"weight"}) == nullptr; ++tries) {
    CO_CALL(read, "GET", kWidgets + "/one");
    const json::Value tree = read.tree();
    if (const json::Value* now = json::find(tree, {"spec"})) spec = *now;
  }
  EXPECT_EQ(json::format(spec), R"({"size":1,"weight":5})");
  CO_TRY(co_await cluster.restart());
  CO_CALL(again, "GET", kWidgets + "/one");
  EXPECT_EQ(json::format(*json::find(again.tree(), {"spec"})), R"({"size":1,"weight":5})");
  EXPECT_EQ(again.text({"metadata", "resourceVersion"}), made.text({"metadata", "resourceVersion"}));
  co_return Result<>();
}
TEST(CustomKinds, SurviveARestartAndFollowTheirSchema) { with_cluster(restarted); }

constexpr std::string_view kVersions = R"(
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: pumps.example.com}
spec:
  group: example.com
  scope: Cluster
  names: {plural: pumps, kind: Pump}
  versions:
  - {name: v1alpha1, served: false, storage: false, schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}}
  - name: v1
    served: true
    storage: true
    schema: {openAPIV3Schema: {type: object, properties: {spec: {type: object, properties: {flow: {type: integer}, mode: {type: string, default: eco}}}}}}
  - name: v1beta1
    served: true
    storage: false
    deprecated: true
    schema: {openAPIV3Schema: {type: object, properties: {spec: {type: object, properties: {flow: {type: integer}, speed: {type: integer}}}}}}
)";

async::Task<Result<>> versions(TestCluster& cluster) {
  CO_TRY(co_await install(cluster, std::string(kVersions)));
  CO_CALL(group, "GET", "/apis/example.com");
  EXPECT_TRUE(group.body.contains(R"("preferredVersion":{"groupVersion":"example.com/v1","version":"v1"})")) << group.body;
  EXPECT_FALSE(group.body.contains("v1alpha1"));
  CO_CALL(made, "POST", "/apis/example.com/v1beta1/pumps", as_json("{apiVersion: example.com/v1beta1, kind: Pump, metadata: {name: p}, spec: {flow: 1, speed: 2, mode: x}}"));
  CO_EXPECT_STATUS(made, 201);
  EXPECT_EQ(json::format(*json::find(made.tree(), {"spec"})), R"({"flow":1,"speed":2})");
  std::vector<std::string_view> warnings = made.headers.find_all("warning");
  EXPECT_EQ(warnings.size(), 2U);
  EXPECT_EQ(warnings.empty() ? "" : warnings[0], R"(299 - "example.com/v1beta1 Pump is deprecated")");
  CO_CALL(newer, "GET", "/apis/example.com/v1/pumps/p");
  EXPECT_EQ(newer.text({"apiVersion"}), "example.com/v1");
  EXPECT_EQ(json::format(*json::find(newer.tree(), {"spec"})), R"({"flow":1,"mode":"eco"})");
  CO_CALL(older, "GET", "/apis/example.com/v1beta1/pumps");
  EXPECT_TRUE(older.body.contains(R"("spec":{"flow":1,"speed":2})")) << older.body;  // what the other version does not know is kept
  EXPECT_TRUE(older.body.contains(R"("apiVersion":"example.com/v1beta1")")) << older.body;
  CO_CALL(unserved, "GET", "/apis/example.com/v1alpha1/pumps");
  CO_EXPECT_STATUS(unserved, 404);
  // A version in which objects may be stored cannot go.
  CO_CALL(definition, "GET", kDefinitions + "/pumps.example.com");
  json::Value tree = definition.tree();
  json::Array& list = tree.at("spec").at("versions").get_array();
  list.erase(std::ranges::find_if(list, [](const json::Value& v) { return json::get_string(v, {"name"}) == "v1"; }));
  for (json::Value& v : list) v.get_object()["storage"] = json::get_string(v, {"name"}) == "v1beta1";
  CO_CALL(refused, "PUT", kDefinitions + "/pumps.example.com", json::format(tree));
  CO_EXPECT_STATUS(refused, 422);
  EXPECT_TRUE(refused.text({"message"}).contains("status.storedVersions[0]: Invalid value: \"v1\"")) << refused.body;
  co_return Result<>();
}
TEST(CustomKinds, AreShownInEachOfTheirVersions) { with_cluster(versions); }

async::Task<Result<>> described(TestCluster& cluster) {
  CO_CALL(before, "GET", "/openapi/v3");
  CO_CALL(discovery, "GET", "/apis", "", {{"accept", "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"}});
  CO_TRY(co_await install(cluster));
  CO_CALL(after, "GET", "/openapi/v3");
  EXPECT_FALSE(before.body.contains("apis/example.com/v1"));
  EXPECT_TRUE(after.body.contains("/openapi/v3/apis/example.com/v1?hash=")) << after.body.substr(0, 500);
  CO_CALL(document, "GET", "/openapi/v3/apis/example.com/v1");
  CO_EXPECT_STATUS(document, 200);
  const json::Value tree = document.tree();
  const json::Value* schema = json::find(tree, {"components", "schemas", "com.example.v1.Widget"});
  CO_ASSERT_TRUE(schema != nullptr);
  EXPECT_EQ(json::get_string(*schema, {"properties", "spec", "description"}), "What is wanted of a widget.");
  EXPECT_EQ(json::format(*json::find(*schema, {"x-kubernetes-group-version-kind"})), R"([{"group":"example.com","version":"v1","kind":"Widget"}])");
  EXPECT_NE(json::find(tree, {"components", "schemas", "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"}), nullptr);
  EXPECT_NE(json::find(tree, {"paths", "/apis/example.com/v1/namespaces/{namespace}/widgets/{name}/scale"}), nullptr);
  CO_CALL(v2, "GET", "/openapi/v2", "", {{"accept", "application/json"}});
  EXPECT_TRUE(v2.body.contains("com.example.v1.Widget"));
  CO_CALL(later, "GET", "/apis", "", {{"accept", "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"}});
  EXPECT_NE(discovery.headers.find("etag"), later.headers.find("etag"));
  EXPECT_TRUE(later.body.contains(R"("resource":"widgets")"));
  CO_CALL(gone, "DELETE", kDefinitions + "/widgets.example.com");
  for (int tries = 0; tries < 1000; ++tries) {
    CO_CALL(document_gone, "GET", "/openapi/v3/apis/example.com/v1");
    if (document_gone.status == 404) break;
  }
  CO_CALL(last, "GET", "/openapi/v3");
  EXPECT_EQ(last.body, before.body);
  co_return Result<>();
}
TEST(CustomKinds, AreInDiscoveryAndOpenApi) { with_cluster(described); }

async::Task<Result<>> authorised(TestCluster& cluster) {
  CO_TRY(co_await install(cluster));
  http::Headers alice{{"authorization", "Bearer alice-token"}};
  CO_CALL(denied, "GET", kWidgets, "", alice);
  CO_EXPECT_STATUS(denied, 403);
  EXPECT_EQ(denied.text({"message"}), "widgets.example.com is forbidden: User \"alice\" cannot list resource \"widgets\" in API group \"example.com\" in the namespace \"default\"");
  const std::string rbac = "/apis/rbac.authorization.k8s.io/v1/namespaces/default/";
  CO_CALL(role, "POST", rbac + "roles", as_json("{apiVersion: rbac.authorization.k8s.io/v1, kind: Role, metadata: {name: r}, rules: [{apiGroups: [example.com], resources: [widgets], verbs: [get, list, create]}]}"));
  CO_CALL(binding, "POST", rbac + "rolebindings",
          as_json("{apiVersion: rbac.authorization.k8s.io/v1, kind: RoleBinding, metadata: {name: r}, roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: r}, subjects: [{kind: User, name: alice}]}"));
  CO_EXPECT_STATUS(binding, 201);
  CO_CALL(allowed, "GET", kWidgets, "", alice);
  CO_EXPECT_STATUS(allowed, 200);
  CO_CALL(status, "PATCH", kWidgets + "/one/status", "{}", {{"authorization", "Bearer alice-token"}, {"content-type", "application/merge-patch+json"}});
  CO_EXPECT_STATUS(status, 403);
  // Quotas count them as they count every kind.
  CO_CALL(quota, "POST", "/api/v1/namespaces/default/resourcequotas", as_json("{apiVersion: v1, kind: ResourceQuota, metadata: {name: q}, spec: {hard: {count/widgets.example.com: 1}}}"));
  CO_EXPECT_STATUS(quota, 201);
  CO_TRY(co_await cluster.server->quotas().recount("default", "q"));
  CO_CALL(first, "POST", kWidgets, widget("one"), alice);
  CO_EXPECT_STATUS(first, 201);
  CO_CALL(second, "POST", kWidgets, widget("two"), alice);
  CO_EXPECT_STATUS(second, 403);
  EXPECT_TRUE(second.text({"message"}).contains("exceeded quota: q, requested: count/widgets.example.com=1, used: count/widgets.example.com=1, limited: count/widgets.example.com=1")) << second.body;
  co_return Result<>();
}
TEST(CustomKinds, AreHeldToRolesAndQuotas) { with_cluster(authorised); }

// A kind may be called as one of the server's own; it is not treated as that.
async::Task<Result<>> namesakes(TestCluster& cluster) {
  constexpr std::string_view kNamesake = R"(
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: PLURAL.example.com}
spec:
  group: example.com
  scope: Namespaced
  names: {plural: PLURAL, kind: KIND}
  versions: [{name: v1, served: true, storage: true, schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}}]
)";
  for (auto [plural, kind] : std::initializer_list<std::pair<std::string_view, std::string_view>>{{"bindings", "Binding"}, {"pods", "Pod"}, {"namespaces", "Namespace"}, {"events", "Event"}, {"secrets", "Secret"}}) {
    CO_TRY(co_await install(cluster, replaced(replaced(std::string(kNamesake), "PLURAL", plural), "KIND", kind)));
    std::string path = cat("/apis/example.com/v1/namespaces/default/", plural);
    CO_CALL(made, "POST", path, cat(R"({"apiVersion":"example.com/v1","kind":")", kind, R"(","metadata":{"name":"one"},"target":{"kind":"Node","name":"n1"},"spec":{"finalizers":["a/b"]}})"));
    CO_EXPECT_STATUS(made, 201);
    EXPECT_EQ(made.text({"kind"}), kind);
    EXPECT_EQ(made.text({"target", "name"}), "n1");
    CO_CALL(listed, "GET", path + "?fieldSelector=metadata.name%3Done");
    EXPECT_EQ(json::get_array(listed.tree(), {"items"})->size(), 1U) << listed.body;
    CO_CALL(table, "GET", path, "", {{"accept", "application/json;as=Table;v=v1;g=meta.k8s.io"}});
    EXPECT_TRUE(table.body.contains(R"("cells":["one","0s"])")) << table.body;
    CO_CALL(gone, "DELETE", path + "/one");
    CO_EXPECT_STATUS(gone, 200);
    CO_CALL(absent, "GET", path + "/one");
    CO_EXPECT_STATUS(absent, 404);
  }
  co_return Result<>();
}
TEST(CustomKinds, MayHaveTheNamesOfBuiltInOnes) { with_cluster(namesakes); }

struct Load {
  bool over = false;
  int answers = 0;
};

// Asks all the time while definitions come, change and go. What it gets is an answer that fits one of these moments.
async::Task<Result<>> ask(TestCluster& cluster, int number, Load& load) {
  for (int i = 0; !load.over; ++i) {
    std::string name = cat("w", number, "-", i);
    CO_CALL(made, "POST", kWidgets, widget(name, i % 7 == 0 ? "{size: -1}" : "{size: 1}", i % 5 == 0 ? "finalizers: [example.com/hold]" : ""));
    EXPECT_TRUE(made.status == 201 || made.status == 404 || made.status == 405 || made.status == 422) << made.status << made.body;
    CO_CALL(listed, "GET", kWidgets + (i % 2 == 0 ? "" : "?labelSelector=a%3Db&limit=3"), "", {{"accept", i % 3 == 0 ? "application/json;as=Table;v=v1;g=meta.k8s.io" : "application/json"}});
    EXPECT_TRUE(listed.status == 200 || listed.status == 404) << listed.status << listed.body;
    CO_CALL(watched, "GET", kWidgets + "?watch=1&timeoutSeconds=1");  // time stands still: it ends with its kind, or not at all
    EXPECT_TRUE(watched.status == 200 || watched.status == 404) << watched.status << watched.body;
    ++load.answers;
  }
  co_return Result<>();
}
async::Task<Result<>> write(TestCluster& cluster, int number, Load& load) {
  for (int i = 0; !load.over; ++i) {
    std::string path = cat(kWidgets, "/x", number);
    CO_CALL(applied, "PATCH", path + "?fieldManager=m", widget(cat("x", number), cat("{size: ", i, "}")), {{"content-type", "application/apply-patch+yaml"}});
    EXPECT_TRUE(applied.status == 200 || applied.status == 201 || applied.status == 404 || applied.status == 405 || applied.status == 409) << applied.status << applied.body;
    CO_CALL(read, "GET", path);
    EXPECT_TRUE(read.status == 200 || read.status == 404) << read.status << read.body;
    CO_CALL(removed, "DELETE", path);
    EXPECT_TRUE(removed.status == 200 || removed.status == 404 || removed.status == 409) << removed.status << removed.body;
    CO_CALL(discovered, "GET", "/apis/example.com/v1");
    CO_CALL(described, "GET", "/openapi/v3/apis/example.com/v1");
    EXPECT_TRUE(described.status == 200 || described.status == 404) << described.status;
    ++load.answers;
  }
  co_return Result<>();
}

async::Task<Result<>> free_held(TestCluster& cluster) {
  CO_CALL(listed, "GET", kWidgets);
  const json::Value tree = listed.tree();
  const json::Array* items = json::get_array(tree, {"items"});
  if (items == nullptr) co_return Result<>();
  for (const json::Value& item : *items) {
    CO_CALL(freed, "PATCH", cat(kWidgets, "/", json::get_string(item, {"metadata", "name"})), R"({"metadata":{"finalizers":null}})", {{"content-type", "application/merge-patch+json"}});
  }
  co_return Result<>();
}

async::Task<Result<>> come_and_go(TestCluster& cluster) {
  for (int round = 0; round < 5; ++round) {
    CO_TRY(co_await install(cluster));
    CO_CALL(got, "GET", kDefinitions + "/widgets.example.com");
    CO_CALL(changed, "PUT", kDefinitions + "/widgets.example.com", replaced(got.body, R"("colour":{"type":"string"})", R"("colour":{"type":"string","default":"red"})"));
    CO_EXPECT_STATUS(changed, 200);
    for (int turn = 0; turn < 20; ++turn) {
      CO_CALL(read, "GET", kWidgets);
    }
    CO_CALL(gone, "DELETE", kDefinitions + "/widgets.example.com");
    CO_EXPECT_STATUS(gone, 200);
    bool absent = false;
    for (int tries = 0; tries < 1000 && !absent; ++tries) {
      CO_TRY(co_await free_held(cluster));
      CO_CALL(definition, "GET", kDefinitions + "/widgets.example.com");
      absent = definition.status == 404;
    }
    EXPECT_TRUE(absent);
  }
  co_return Result<>();
}

async::Task<Result<>> under_load(TestCluster& cluster) {
  Load load;
  async::Scope clients(cluster.executor);
  for (int i = 0; i < 4; ++i) clients.spawn(ask(cluster, i, load));
  for (int i = 0; i < 4; ++i) clients.spawn(write(cluster, i, load));
  Result<> done = co_await come_and_go(cluster);
  load.over = true;
  clients.cancel();  // a watch may wait for ever
  (void)co_await clients.join();
  EXPECT_GT(load.answers, 50);
  co_return done;
}
TEST(CustomKinds, ComeChangeAndGoUnderLoad) { with_cluster(under_load); }

}  // namespace
}  // namespace monopod::api
