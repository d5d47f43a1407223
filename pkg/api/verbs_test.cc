#include <gtest/gtest.h>

#include "api/protobuf/protobuf.h"
#include "api/testing.h"
#include "base/strings.h"

namespace monopod::api {
namespace {

const std::string kMaps = "/api/v1/namespaces/default/configmaps";

std::string config_map(std::string_view name, std::string_view value = "1") {
  return cat(R"({"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":")", name, R"("},"data":{"a":")", value, "\"}}");
}

async::Task<Result<>> metadata_as_protobuf(TestCluster& cluster) {
  for (int i = 0; i < 3; ++i) {
    CO_CALL(made, "POST", kMaps, config_map(cat("m", i), std::string(100'000, 'x')));
    CO_EXPECT_STATUS(made, 201);
  }
  // What client-go's metadata client asks for first.
  http::Headers accept{{"accept", "application/vnd.kubernetes.protobuf;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json"}};
  CO_CALL(listed, "GET", kMaps, "", accept);
  CO_EXPECT_STATUS(listed, 200);
  EXPECT_EQ(listed.headers.find("content-type"), "application/vnd.kubernetes.protobuf");
  EXPECT_EQ(peek_protobuf_type(listed.body)->kind, "PartialObjectMetadataList");
  EXPECT_LT(listed.body.size(), 2000U);
  for (std::string_view name : {"m0", "m1", "m2"}) EXPECT_NE(listed.body.find(name), std::string::npos);
  CO_CALL(all, "GET", kMaps, "", {{"accept", "application/vnd.kubernetes.protobuf"}});
  CO_EXPECT_STATUS(all, 200);
  EXPECT_EQ(peek_protobuf_type(all.body)->kind, "ConfigMapList");
  EXPECT_GT(all.body.size(), 300'000U);
  EXPECT_TRUE(all.body.ends_with(kProtobufEnvelopeEnd));
  CO_CALL(one, "GET", kMaps + "/m0", "", {{"accept", "application/vnd.kubernetes.protobuf;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"}});
  CO_EXPECT_STATUS(one, 200);
  EXPECT_EQ(peek_protobuf_type(one.body)->kind, "PartialObjectMetadata");
  co_return Result<>();
}
TEST(Verbs, MetadataAloneComesAsProtobufToo) { with_cluster(metadata_as_protobuf); }

async::Task<Result<>> create_get_list_delete(TestCluster& cluster) {
  CO_CALL(made, "POST", kMaps, config_map("one"));
  CO_EXPECT_STATUS(made, 201);
  EXPECT_FALSE(made.text({"metadata", "uid"}).empty());
  EXPECT_FALSE(made.text({"metadata", "resourceVersion"}).empty());
  EXPECT_EQ(made.text({"metadata", "creationTimestamp"}), "2026-01-01T00:00:00Z");
  EXPECT_EQ(made.text({"metadata", "namespace"}), "default");
  CO_CALL(got, "GET", kMaps + "/one");
  CO_EXPECT_STATUS(got, 200);
  EXPECT_EQ(got.body, made.body);
  CO_CALL(listed, "GET", kMaps);
  CO_EXPECT_STATUS(listed, 200);
  json::Value list = listed.tree();
  EXPECT_EQ(json::get_string(list, {"kind"}), "ConfigMapList");
  CO_ASSERT_TRUE(json::get_array(list, {"items"}) != nullptr);
  EXPECT_EQ(json::get_array(list, {"items"})->size(), 1U);
  CO_CALL(again, "POST", kMaps, config_map("one"));
  CO_EXPECT_STATUS(again, 409);
  EXPECT_EQ(again.text({"reason"}), "AlreadyExists");
  EXPECT_EQ(again.text({"message"}), "configmaps \"one\" already exists");
  CO_CALL(gone, "DELETE", kMaps + "/one");
  CO_EXPECT_STATUS(gone, 200);
  EXPECT_EQ(gone.text({"status"}), "Success");
  CO_CALL(missing, "GET", kMaps + "/one");
  CO_EXPECT_STATUS(missing, 404);
  EXPECT_EQ(missing.text({"message"}), "configmaps \"one\" not found");
  co_return Result<>();
}
TEST(Verbs, CreateGetListDelete) { with_cluster(create_get_list_delete); }

async::Task<Result<>> conflicts(TestCluster& cluster) {
  CO_CALL(made, "POST", kMaps, config_map("one"));
  json::Value first = made.tree();
  json::at_path(first, {"data", "a"}) = "2";
  CO_CALL(updated, "PUT", kMaps + "/one", json::format(first));
  CO_EXPECT_STATUS(updated, 200);
  CO_CALL(stale, "PUT", kMaps + "/one", json::format(first));
  CO_EXPECT_STATUS(stale, 409);
  EXPECT_EQ(stale.text({"message"}),
            "Operation cannot be fulfilled on configmaps \"one\": the object has been modified; please apply your changes to the latest "
            "version and try again");
  EXPECT_EQ(stale.text({"reason"}), "Conflict");
  CO_CALL(unconditional, "PUT", kMaps + "/one", config_map("one", "3"));
  CO_EXPECT_STATUS(unconditional, 200);
  CO_CALL(same, "PUT", kMaps + "/one", config_map("one", "3"));
  EXPECT_EQ(same.text({"metadata", "resourceVersion"}), unconditional.text({"metadata", "resourceVersion"}));
  CO_CALL(other_name, "PUT", kMaps + "/two", config_map("one"));
  CO_EXPECT_STATUS(other_name, 400);
  co_return Result<>();
}
TEST(Verbs, UpdateOfAStaleObjectIsAConflict) { with_cluster(conflicts); }

async::Task<Result<>> patches(TestCluster& cluster) {
  CO_CALL(made, "POST", kMaps, config_map("one"));
  CO_CALL(merged, "PATCH", kMaps + "/one", R"({"metadata":{"labels":{"x":"y"}}})", {{"content-type", "application/merge-patch+json"}});
  CO_EXPECT_STATUS(merged, 200);
  EXPECT_EQ(merged.text({"metadata", "labels", "x"}), "y");
  CO_CALL(replaced, "PATCH", kMaps + "/one", R"([{"op":"replace","path":"/data/a","value":"9"}])", {{"content-type", "application/json-patch+json"}});
  CO_EXPECT_STATUS(replaced, 200);
  EXPECT_EQ(replaced.text({"data", "a"}), "9");
  CO_CALL(failed, "PATCH", kMaps + "/one", R"([{"op":"test","path":"/data/a","value":"8"}])", {{"content-type", "application/json-patch+json"}});
  CO_EXPECT_STATUS(failed, 422);
  EXPECT_EQ(failed.text({"message"}), "the server rejected our request due to an error in our request");
  CO_CALL(strategic, "PATCH", kMaps + "/one", R"({"data":{"b":"1"}})", {{"content-type", "application/strategic-merge-patch+json"}});
  CO_EXPECT_STATUS(strategic, 200);
  EXPECT_EQ(strategic.text({"data", "b"}), "1");
  CO_CALL(unknown, "PATCH", kMaps + "/one", "{}", {{"content-type", "text/plain"}});
  CO_EXPECT_STATUS(unknown, 415);
  CO_CALL(dry, "PATCH", kMaps + "/one?dryRun=All", R"({"data":{"b":"2"}})", {{"content-type", "application/merge-patch+json"}});
  EXPECT_EQ(dry.text({"data", "b"}), "2");
  CO_CALL(live, "GET", kMaps + "/one");
  EXPECT_EQ(live.text({"data", "b"}), "1");
  co_return Result<>();
}
TEST(Verbs, EveryPatchFormatWorksAndDryRunWritesNothing) { with_cluster(patches); }

async::Task<Result<>> deprecated(TestCluster& cluster) {
  const std::string endpoints = "/api/v1/namespaces/default/endpoints", warning = "299 - \"v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice\"";
  CO_CALL(made, "POST", endpoints, R"({"metadata":{"name":"e"}})");
  CO_CALL(got, "GET", endpoints + "/e");
  CO_CALL(listed, "GET", endpoints);
  CO_CALL(deleted, "DELETE", endpoints + "/e");
  for (const Reply* one : {&made, &got, &listed, &deleted}) EXPECT_EQ(one->headers.find("warning").value_or(""), warning);
  CO_CALL(maps, "GET", kMaps);
  EXPECT_FALSE(maps.headers.find("warning"));
  co_return Result<>();
}
TEST(Verbs, AnswersAboutADeprecatedKindSaySo) { with_cluster(deprecated); }

async::Task<Result<>> scale_table(TestCluster& cluster) {
  const std::string deployments = "/apis/apps/v1/namespaces/default/deployments";
  CO_CALL(made, "POST", deployments,
          R"({"metadata":{"name":"d"},"spec":{"replicas":3,"selector":{"matchLabels":{"a":"b"}},"template":{"metadata":{"labels":{"a":"b"}},"spec":{"containers":[{"name":"c","image":"i"}]}}}})");
  CO_EXPECT_STATUS(made, 201);
  CO_CALL(table, "GET", deployments + "/d/scale", {}, {{"accept", "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"}});
  CO_EXPECT_STATUS(table, 200);
  EXPECT_EQ(table.text({"kind"}), "Table");
  EXPECT_TRUE(table.body.contains(R"("cells":["d",3,0,"0s"])")) << table.body;
  co_return Result<>();
}
TEST(Verbs, AScaleIsATableToo) { with_cluster(scale_table); }

async::Task<Result<>> field_labels(TestCluster& cluster) {
  CO_CALL(plain, "GET", kMaps + "?fieldSelector=x%3Dy");
  CO_EXPECT_STATUS(plain, 400);
  EXPECT_EQ(plain.text({"message"}), "\"x\" is not a known field selector: only \"metadata.name\", \"metadata.namespace\"");
  CO_CALL(own, "GET", "/api/v1/pods?fieldSelector=x%3Dy");
  EXPECT_EQ(own.text({"message"}), "field label not supported: x") << "kinds with fields of their own say it differently";
  co_return Result<>();
}
TEST(Verbs, UnknownFieldSelectorsAreNamed) { with_cluster(field_labels); }

async::Task<Result<>> bad_requests(TestCluster& cluster) {
  CO_CALL(strict, "POST", kMaps + "?fieldValidation=Strict", R"({"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"x"},"foo":1})");
  CO_EXPECT_STATUS(strict, 400);
  EXPECT_NE(strict.text({"message"}).find("strict decoding error: unknown field \"foo\""), std::string::npos) << strict.body;
  CO_CALL(warned, "POST", kMaps, R"({"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"x"},"foo":1})");
  CO_EXPECT_STATUS(warned, 201);
  CO_ASSERT_TRUE(warned.headers.find("warning").has_value());
  EXPECT_EQ(*warned.headers.find("warning"), "299 - \"unknown field \\\"foo\\\"\"");
  CO_CALL(kind, "POST", kMaps, R"({"apiVersion":"v1","kind":"Secret","metadata":{"name":"x"}})");
  CO_EXPECT_STATUS(kind, 400);
  CO_CALL(named, "POST", kMaps, R"({"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"../x"}})");
  CO_EXPECT_STATUS(named, 422);
  CO_CALL(nameless, "POST", kMaps, R"({"apiVersion":"v1","kind":"ConfigMap","metadata":{}})");
  CO_EXPECT_STATUS(nameless, 422);
  CO_CALL(elsewhere, "POST", "/api/v1/namespaces/nowhere/configmaps", config_map("x"));
  CO_EXPECT_STATUS(elsewhere, 404);
  EXPECT_EQ(elsewhere.text({"message"}), "namespaces \"nowhere\" not found");
  CO_CALL(mismatch, "POST", kMaps, R"({"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"x","namespace":"kube-system"}})");
  CO_EXPECT_STATUS(mismatch, 400);
  CO_CALL(garbage, "POST", kMaps, "{");
  CO_EXPECT_STATUS(garbage, 400);
  CO_CALL(unknown, "GET", "/apis/nope.io/v1/things");
  CO_EXPECT_STATUS(unknown, 404);
  CO_CALL(method, "PUT", kMaps, config_map("x"));
  CO_EXPECT_STATUS(method, 405);
  std::string large = config_map("big", std::string((3U << 20) + 1, 'x'));
  CO_CALL(too_big, "POST", kMaps, large);
  CO_EXPECT_STATUS(too_big, 413);
  CO_CALL(accept, "GET", kMaps, "", {{"accept", "image/png"}});
  CO_EXPECT_STATUS(accept, 406);
  co_return Result<>();
}
TEST(Verbs, BadRequestsAreRefusedWithUpstreamsReasons) { with_cluster(bad_requests); }

async::Task<Result<>> generated(TestCluster& cluster) {
  for (int i = 0; i < 3; ++i) {
    CO_CALL(made, "POST", kMaps, R"({"apiVersion":"v1","kind":"ConfigMap","metadata":{"generateName":"g-"}})");
    CO_EXPECT_STATUS(made, 201);
    EXPECT_EQ(made.text({"metadata", "name"}).size(), 7U);
  }
  co_return Result<>();
}
TEST(Verbs, GenerateNameAddsFiveCharacters) { with_cluster(generated); }

async::Task<Result<>> yaml_body(TestCluster& cluster) {
  CO_CALL(made, "POST", kMaps, "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: yam\ndata:\n  a: b\n", {{"content-type", "application/yaml"}});
  CO_EXPECT_STATUS(made, 201);
  CO_CALL(got, "GET", kMaps + "/yam", "", {{"accept", "application/yaml"}});
  EXPECT_NE(got.body.find("kind: ConfigMap"), std::string::npos);
  co_return Result<>();
}
TEST(Verbs, YamlIsReadAndWritten) { with_cluster(yaml_body); }

async::Task<Result<>> finalizers(TestCluster& cluster) {
  CO_CALL(made, "POST", kMaps, R"({"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"f","finalizers":["a.b/c"]}})");
  CO_EXPECT_STATUS(made, 201);
  CO_CALL(marked, "DELETE", kMaps + "/f");
  CO_EXPECT_STATUS(marked, 200);
  EXPECT_EQ(marked.text({"metadata", "deletionTimestamp"}), "2026-01-01T00:00:00Z");
  CO_CALL(still, "GET", kMaps + "/f");
  CO_EXPECT_STATUS(still, 200);
  CO_CALL(released, "PATCH", kMaps + "/f", R"({"metadata":{"finalizers":null}})", {{"content-type", "application/merge-patch+json"}});
  CO_EXPECT_STATUS(released, 200);
  CO_CALL(gone, "GET", kMaps + "/f");
  CO_EXPECT_STATUS(gone, 404);
  CO_CALL(second, "POST", kMaps, config_map("o"));
  CO_CALL(orphaned, "DELETE", kMaps + "/o", R"({"kind":"DeleteOptions","apiVersion":"v1","propagationPolicy":"Orphan"})");
  CO_EXPECT_STATUS(orphaned, 200);
  CO_CALL(waiting, "GET", kMaps + "/o");
  EXPECT_NE(waiting.body.find("\"finalizers\":[\"orphan\"]"), std::string::npos) << waiting.body;
  CO_CALL(wrong, "DELETE", kMaps + "/o", R"({"preconditions":{"uid":"nope"}})");
  CO_EXPECT_STATUS(wrong, 409);
  co_return Result<>();
}
TEST(Verbs, FinalizersHoldAnObjectUntilTheLastIsGone) { with_cluster(finalizers); }

std::string pod(std::string_view name, std::string_view extra = "") {
  return cat(R"({"apiVersion":"v1","kind":"Pod","metadata":{"name":")", name, R"("},"spec":{)", extra,
             R"("containers":[{"name":"c","image":"x:1"}]}})");
}

async::Task<Result<>> make_account(TestCluster& cluster) {
  CO_CALL(made, "POST", "/api/v1/namespaces/default/serviceaccounts", R"({"apiVersion":"v1","kind":"ServiceAccount","metadata":{"name":"default"}})");
  CO_EXPECT_STATUS(made, 201);
  co_return Result<>();
}

async::Task<Result<>> graceful(TestCluster& cluster) {
  const std::string pods = "/api/v1/namespaces/default/pods";
  CO_CALL(early, "POST", pods, pod("p"));
  CO_EXPECT_STATUS(early, 403);
  EXPECT_EQ(early.text({"message"}), "pods \"p\" is forbidden: error looking up service account default/default: serviceaccount \"default\" not found");
  CO_TRY(co_await make_account(cluster));
  CO_CALL(made, "POST", pods, pod("p"));
  CO_EXPECT_STATUS(made, 201);
  EXPECT_NE(made.body.find("kube-api-access-"), std::string::npos);
  EXPECT_NE(made.body.find("node.kubernetes.io/unreachable"), std::string::npos);
  CO_CALL(at_once, "DELETE", pods + "/p");
  CO_EXPECT_STATUS(at_once, 200);
  CO_CALL(gone, "GET", pods + "/p");
  CO_EXPECT_STATUS(gone, 404);

  CO_CALL(bound, "POST", pods, pod("q"));
  CO_CALL(binding, "POST", pods + "/q/binding", R"({"apiVersion":"v1","kind":"Binding","metadata":{"name":"q"},"target":{"kind":"Node","name":"n1"}})");
  CO_EXPECT_STATUS(binding, 201);
  CO_CALL(twice, "POST", pods + "/q/binding", R"({"apiVersion":"v1","kind":"Binding","metadata":{"name":"q"},"target":{"kind":"Node","name":"n2"}})");
  CO_EXPECT_STATUS(twice, 409);
  CO_CALL(marked, "DELETE", pods + "/q");
  EXPECT_EQ(marked.text({"metadata", "deletionTimestamp"}), "2026-01-01T00:00:30Z");
  CO_CALL(still, "GET", pods + "/q");
  CO_EXPECT_STATUS(still, 200);
  EXPECT_EQ(still.text({"spec", "nodeName"}), "n1");
  CO_CALL(confirmed, "DELETE", pods + "/q?gracePeriodSeconds=0");
  CO_EXPECT_STATUS(confirmed, 200);
  CO_CALL(now_gone, "GET", pods + "/q");
  CO_EXPECT_STATUS(now_gone, 404);
  co_return Result<>();
}
TEST(Pods, DeletionIsGracefulOnceTheyAreOnANode) { with_cluster(graceful); }

async::Task<Result<>> namespace_end(TestCluster& cluster) {
  CO_CALL(made, "POST", "/api/v1/namespaces", R"({"apiVersion":"v1","kind":"Namespace","metadata":{"name":"n"}})");
  CO_EXPECT_STATUS(made, 201);
  EXPECT_EQ(made.text({"status", "phase"}), "Active");
  CO_CALL(marked, "DELETE", "/api/v1/namespaces/n");
  CO_EXPECT_STATUS(marked, 200);
  EXPECT_EQ(marked.text({"status", "phase"}), "Terminating");
  CO_CALL(refused, "POST", "/api/v1/namespaces/n/configmaps", config_map("x"));
  CO_EXPECT_STATUS(refused, 403);
  EXPECT_EQ(refused.text({"message"}),
            "configmaps \"x\" is forbidden: unable to create new content in namespace n because it is being terminated");
  json::Value live = marked.tree();
  json::at_path(live, {"spec", "finalizers"}) = json::Array();
  CO_CALL(finalized, "PUT", "/api/v1/namespaces/n/finalize", json::format(live));
  CO_EXPECT_STATUS(finalized, 200);
  CO_CALL(gone, "GET", "/api/v1/namespaces/n");
  CO_EXPECT_STATUS(gone, 404);
  CO_CALL(immortal, "DELETE", "/api/v1/namespaces/default");
  CO_EXPECT_STATUS(immortal, 403);
  co_return Result<>();
}
TEST(Namespaces, TerminatingOnesTakeNothingNewAndGoWhenFinalized) { with_cluster(namespace_end); }

async::Task<Result<>> services(TestCluster& cluster) {
  const std::string path = "/api/v1/namespaces/default/services";
  CO_CALL(kubernetes, "GET", path + "/kubernetes");
  EXPECT_EQ(kubernetes.text({"spec", "clusterIP"}), "10.43.0.1");
  std::string body = R"({"apiVersion":"v1","kind":"Service","metadata":{"name":"web"},"spec":{"type":"NodePort","ports":[{"port":80}]}})";
  CO_CALL(made, "POST", path, body);
  CO_EXPECT_STATUS(made, 201);
  EXPECT_TRUE(made.text({"spec", "clusterIP"}).starts_with("10.43."));
  json::Value tree = made.tree();
  std::int64_t port = json::get_int(json::get_array(tree, {"spec", "ports"})->front(), {"nodePort"});
  EXPECT_GE(port, 30000);
  CO_CALL(replaced, "PUT", path + "/web", body);
  CO_EXPECT_STATUS(replaced, 200);
  EXPECT_EQ(replaced.text({"spec", "clusterIP"}), made.text({"spec", "clusterIP"}));
  CO_CALL(taken, "POST", path, R"({"apiVersion":"v1","kind":"Service","metadata":{"name":"x"},"spec":{"clusterIP":"10.43.0.1","ports":[{"port":80}]}})");
  CO_EXPECT_STATUS(taken, 422);
  EXPECT_NE(taken.body.find("provided IP is already allocated"), std::string::npos);
  co_return Result<>();
}
TEST(Services, AddressesAndPortsAreAllocatedOnceAndKept) { with_cluster(services); }

async::Task<Result<>> scale(TestCluster& cluster) {
  const std::string path = "/apis/apps/v1/namespaces/default/deployments";
  CO_CALL(made, "POST", path,
          R"({"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"d"},"spec":{"replicas":2,"selector":{"matchLabels":{"app":"d"}},)"
          R"("template":{"metadata":{"labels":{"app":"d"}},"spec":{"containers":[{"name":"c","image":"x:1"}]}}}})");
  CO_EXPECT_STATUS(made, 201);
  CO_CALL(got, "GET", path + "/d/scale");
  CO_EXPECT_STATUS(got, 200);
  EXPECT_EQ(json::get_int(got.tree(), {"spec", "replicas"}), 2);
  EXPECT_EQ(got.text({"status", "selector"}), "app=d");
  CO_CALL(patched, "PATCH", path + "/d/scale", R"({"spec":{"replicas":5}})", {{"content-type", "application/merge-patch+json"}});
  CO_EXPECT_STATUS(patched, 200);
  CO_CALL(live, "GET", path + "/d");
  EXPECT_EQ(json::get_int(live.tree(), {"spec", "replicas"}), 5);
  EXPECT_EQ(json::get_int(live.tree(), {"metadata", "generation"}), 2);
  CO_CALL(status, "PATCH", path + "/d/status", R"({"spec":{"replicas":9},"status":{"observedGeneration":2}})", {{"content-type", "application/merge-patch+json"}});
  CO_EXPECT_STATUS(status, 200);
  EXPECT_EQ(json::get_int(status.tree(), {"spec", "replicas"}), 5);
  EXPECT_EQ(json::get_int(status.tree(), {"status", "observedGeneration"}), 2);
  EXPECT_EQ(json::get_int(status.tree(), {"metadata", "generation"}), 2);
  co_return Result<>();
}
TEST(Subresources, ScaleAndStatusTouchOnlyTheirPart) { with_cluster(scale); }

async::Task<Result<>> collection(TestCluster& cluster) {
  for (int i = 0; i < 5; ++i) {
    CO_CALL(made, "POST", kMaps, cat(R"({"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"m)", i, R"(","labels":{"k":")", i % 2, "\"}}}"));
    CO_EXPECT_STATUS(made, 201);
  }
  CO_CALL(removed, "DELETE", kMaps + "?labelSelector=k%3D1");
  CO_EXPECT_STATUS(removed, 200);
  CO_CALL(left, "GET", kMaps);
  json::Value list = left.tree();
  EXPECT_EQ(json::get_array(list, {"items"})->size(), 3U);
  co_return Result<>();
}
TEST(Verbs, DeleteCollectionFollowsTheSelector) { with_cluster(collection); }

async::Task<Result<>> discovery(TestCluster& cluster) {
  CO_CALL(health, "GET", "/readyz?verbose");
  CO_EXPECT_STATUS(health, 200);
  EXPECT_NE(health.body.find("readyz check passed"), std::string::npos);
  CO_CALL(groups, "GET", "/apis", "", {{"accept", "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json"}});
  EXPECT_EQ(groups.text({"kind"}), "APIGroupDiscoveryList");
  CO_ASSERT_TRUE(groups.headers.find("etag").has_value());
  std::string etag(*groups.headers.find("etag"));
  CO_CALL(cached, "GET", "/apis", "", {{"accept", "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"}, {"if-none-match", etag}});
  CO_EXPECT_STATUS(cached, 304);
  CO_CALL(core, "GET", "/api/v1");
  EXPECT_EQ(core.text({"kind"}), "APIResourceList");
  EXPECT_NE(core.body.find("pods/eviction"), std::string::npos);
  CO_CALL(version, "GET", "/version", "", {{"authorization", "Bearer alice-token"}});
  EXPECT_EQ(version.text({"minor"}), "35");
  CO_CALL(metrics, "GET", "/metrics");
  EXPECT_NE(metrics.body.find("apiserver_request_total{"), std::string::npos);
  CO_CALL(hidden, "GET", "/metrics", "", {{"authorization", "Bearer alice-token"}});
  CO_EXPECT_STATUS(hidden, 403);
  co_return Result<>();
}
TEST(Discovery, DocumentsHaveEtagsAndHealthIsOpen) { with_cluster(discovery); }

}  // namespace
}  // namespace monopod::api
