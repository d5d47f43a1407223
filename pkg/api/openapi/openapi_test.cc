#include "api/openapi/openapi.h"

#include <gtest/gtest.h>

#include "base/strings.h"
#include "codec/json.h"

namespace monopod::api {
namespace {

// "#/components/<kind>/<name>"
void check_references(const json::Value& at, const json::Object& components, std::string_view where) {
  if (const json::Object* o = at.if_object()) {
    for (auto& m : *o) {
      constexpr std::string_view kPrefix = "#/components/";
      if (m.key() == "$ref" && m.value().is_string() && std::string_view(m.value().get_string()).starts_with(kPrefix)) {
        std::string_view rest = std::string_view(m.value().get_string()).substr(kPrefix.size());
        std::size_t slash = rest.find('/');
        EXPECT_TRUE(components.at(rest.substr(0, slash)).get_object().contains(rest.substr(slash + 1))) << where << " " << m.value().get_string();
      }
      check_references(m.value(), components, where);
    }
  } else if (const json::Array* a = at.if_array()) {
    for (auto& item : *a) check_references(item, components, where);
  }
}

TEST(OpenApi, EveryDocumentParsesAndItsReferencesResolve) {
  OpenApi api;
  json::Value index = *json::parse(*api.index());
  std::size_t bytes = 0;
  EXPECT_GT(index.at("paths").get_object().size(), 15U);
  for (auto& m : index.at("paths").get_object()) {
    auto text = api.document(m.key());
    ASSERT_TRUE(text) << m.key();
    bytes += (*text)->size();
    json::Value document = *json::parse(**text);
    check_references(document, document.at("components").get_object(), m.key());
    EXPECT_EQ(json::get_string(m.value(), {"serverRelativeURL"}), cat("/openapi/v3/", std::string_view(m.key()), "?hash=", *api.hash(m.key())));
  }
  EXPECT_LT(bytes, 2U << 20);
  EXPECT_FALSE(api.document("apis/nosuch/v1"));
}

TEST(OpenApi, SaysWhatKubectlLooksFor) {
  OpenApi api;
  json::Value apps = *json::parse(**api.document("apis/apps/v1"));
  const json::Value& deployment = apps.at("components").at("schemas").at("io.k8s.api.apps.v1.Deployment");
  EXPECT_EQ(json::format(deployment.at("x-kubernetes-group-version-kind")), R"([{"group":"apps","version":"v1","kind":"Deployment"}])");
  const json::Value& containers = apps.at("components").at("schemas").at("io.k8s.api.core.v1.PodSpec").at("properties").at("containers");
  EXPECT_EQ(json::get_string(containers, {"x-kubernetes-patch-merge-key"}), "name");
  EXPECT_EQ(json::get_string(containers, {"x-kubernetes-patch-strategy"}), "merge");
  const json::Value& patch = apps.at("paths").at("/apis/apps/v1/namespaces/{namespace}/deployments/{name}").at("patch");
  std::string names;
  for (const json::Value& p : patch.at("parameters").get_array()) names += cat(json::get_string(p, {p.as_object().contains("name") ? "name" : "$ref"}), " ");
  EXPECT_EQ(names, "#/components/parameters/dryRun #/components/parameters/fieldManager fieldValidation #/components/parameters/force ");
  EXPECT_EQ(json::get_string(patch, {"x-kubernetes-group-version-kind", "kind"}), "Deployment");
}

void check_definitions(const json::Value& at, const json::Object& definitions) {
  if (const json::Object* o = at.if_object()) {
    for (auto& m : *o) {
      constexpr std::string_view kPrefix = "#/definitions/";
      if (m.key() == "$ref" && m.value().is_string()) {
        std::string_view name = m.value().get_string();
        ASSERT_TRUE(name.starts_with(kPrefix)) << name;
        EXPECT_TRUE(definitions.contains(name.substr(kPrefix.size()))) << name;
      }
      EXPECT_FALSE(m.value().is_array() && (m.key() == "allOf" || m.key() == "oneOf")) << json::format(at);
      check_definitions(m.value(), definitions);
    }
  } else if (const json::Array* a = at.if_array()) {
    for (auto& item : *a) check_definitions(item, definitions);
  }
}

TEST(OpenApi, VersionTwoIsOneDocumentWhoseReferencesResolve) {
  OpenApi api;
  json::Value document = *json::parse(*api.v2(false).bytes);
  EXPECT_EQ(json::get_string(document, {"swagger"}), "2.0");
  const json::Object& definitions = document.at("definitions").get_object();
  check_definitions(document, definitions);
  EXPECT_EQ(json::get_string(document, {"definitions", "io.k8s.api.core.v1.PodSpec", "properties", "containers", "items", "$ref"}), "#/definitions/io.k8s.api.core.v1.Container");
  EXPECT_EQ(json::format(definitions.at("io.k8s.apimachinery.pkg.util.intstr.IntOrString")), R"({"format":"int-or-string","type":"string"})");
  const json::Value& patch = document.at("paths").at("/apis/apps/v1/namespaces/{namespace}/deployments/{name}").at("patch");
  EXPECT_EQ(json::get_string(patch, {"x-kubernetes-group-version-kind", "kind"}), "Deployment");
  std::string names;
  for (const json::Value& p : patch.at("parameters").get_array()) names += cat(json::get_string(p, {"name"}), ":", json::get_string(p, {"in"}), " ");
  EXPECT_EQ(names, "body:body dryRun:query fieldManager:query fieldValidation:query force:query ");
  EXPECT_EQ(patch.at("consumes").get_array().size(), 4U);
  EXPECT_TRUE(api.v2(true).bytes->starts_with("\x0a\x03" "2.0\x12"));
  EXPECT_NE(api.v2(true).hash, api.v2(false).hash);
}

TEST(OpenApi, SaysInWordsWhatFieldsAreFor) {
  OpenApi api;
  json::Value core = *json::parse(**api.document("api/v1"));
  const json::Value& schemas = core.at("components").at("schemas");
  EXPECT_EQ(json::get_string(schemas, {"io.k8s.api.core.v1.ConfigMap", "description"}), "Settings for pods: keys and values.");
  EXPECT_EQ(json::get_string(schemas, {"io.k8s.api.core.v1.ConfigMap", "properties", "kind", "description"}), "What this object is.") << "what all kinds have is said once";
  const json::Value& policy = schemas.at("io.k8s.api.core.v1.Container").at("properties").at("imagePullPolicy");
  EXPECT_EQ(json::format(policy.at("enum")), R"(["Always","IfNotPresent","Never"])");
  EXPECT_TRUE(json::get_string(policy, {"description"}).starts_with("When the image is fetched."));
  // An ephemeral container says what a container says, and one thing more.
  EXPECT_EQ(json::format(schemas.at("io.k8s.api.core.v1.EphemeralContainer").at("properties").at("imagePullPolicy")), json::format(policy));
  EXPECT_FALSE(json::get_string(schemas, {"io.k8s.api.core.v1.EphemeralContainer", "properties", "targetContainerName", "description"}).empty());
  EXPECT_TRUE(json::get_string(schemas, {"io.k8s.api.core.v1.Container", "properties", "targetContainerName", "description"}).empty());
  json::Value old = *json::parse(*api.v2(false).bytes);
  EXPECT_EQ(json::get_string(old, {"definitions", "io.k8s.api.apps.v1.DeploymentSpec", "properties", "replicas", "description"}), "How many pods. Default 1.");
}

TEST(OpenApi, HashIsStable) {
  OpenApi a, b;
  EXPECT_EQ(*a.hash("api/v1"), *b.hash("api/v1"));
  EXPECT_EQ(a.hash("api/v1")->size(), 128U);
  EXPECT_EQ(**a.document("api/v1"), **b.document("api/v1"));
  OpenApi few([](const Resource& r) { return r.plural() == "pods"; });
  EXPECT_FALSE(few.document("apis/apps/v1"));
}

}  // namespace
}  // namespace monopod::api
