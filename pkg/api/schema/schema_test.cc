#include "api/schema/schema.h"

#include <gtest/gtest.h>

#include <set>

#include "api/schema/canonical.h"
#include "api/schema/decode.h"
#include "api/schema/sample.h"
#include "base/rng.h"

namespace monopod::api {
namespace {

Result<Decoded> decode(std::string_view kind, std::string_view group_version, std::string_view text, FieldValidation v = FieldValidation::kStrict) {
  GroupVersion gv = split_group_version(group_version);
  return decode_json(text, {find_type(gv.group, gv.version, kind), group_version, kind}, v);
}
std::string decoded(std::string_view kind, std::string_view gv, std::string_view text, FieldValidation v = FieldValidation::kStrict) {
  auto d = decode(kind, gv, text, v);
  return d ? json::format(d->object) : d.error().message();
}

TEST(Schema, EveryResourceIsFoundByNameAndKind) {
  for (const Resource& r : resources()) {
    EXPECT_EQ(find_resource(r.group(), r.version(), r.plural()), &r) << r.plural();
    EXPECT_EQ(find_resource_of_kind(r.group(), r.version(), r.kind()), &r);
    EXPECT_EQ(find_type(r.group(), r.version(), r.kind()), &r.type());
    if (r.has(kList)) EXPECT_NE(r.list_type(), nullptr) << r.plural();
    for (const Subresource& s : r.subresources())
      if (!s.kind().ends_with("Options"))  // connect: no body
        EXPECT_NE(find_type(s.group(), s.version(), s.kind()), nullptr) << r.plural() << "/" << s.name();
  }
  EXPECT_EQ(find_resource("apps", "v1", "nosuch"), nullptr);
  EXPECT_EQ(find_resource("autoscaling", "horizontalpodautoscalers")->version(), "v2");
}

TEST(Schema, DeploymentRowSaysWhatDiscoveryNeeds) {
  const Resource* r = find_resource("apps", "v1", "deployments");
  ASSERT_NE(r, nullptr);
  EXPECT_EQ(r->kind(), "Deployment");
  EXPECT_EQ(r->group_version(), "apps/v1");
  EXPECT_EQ(r->short_name(0), "deploy");
  EXPECT_EQ(r->category(0), "all");
  EXPECT_TRUE(r->namespaced);
  EXPECT_TRUE(r->has(kWatch));
  EXPECT_EQ(r->find_subresource("scale")->group(), "autoscaling");
  EXPECT_EQ(r->columns()[1].name(), "Ready");
  const Field* ports = find_type("io.k8s.api.core.v1.Container")->find("ports");
  EXPECT_EQ(ports->list_type(), ListType::kMap);
  ASSERT_EQ(ports->list_key_count(), 2U);
  EXPECT_EQ(ports->list_key(1), "protocol");
  EXPECT_EQ(ports->merge_key(), "containerPort");
  EXPECT_EQ(ports->proto_number(), 6U);
}

TEST(Schema, FieldsAreSortedAndNumbersUnique) {
  for (const Type& t : types()) {
    EXPECT_LE(t.fields().size(), 96U) << t.name();
    std::set<std::pair<std::uint32_t, std::uint32_t>> numbers;
    for (std::size_t i = 0; i < t.fields().size(); ++i) {
      const Field& f = t.fields()[i];
      if (i > 0) EXPECT_LT(t.fields()[i - 1].name(), f.name());
      EXPECT_EQ(t.find(f.name()), &f);
      if (f.name() == "apiVersion" || f.name() == "kind") continue;
      if (t.name().starts_with("io.k8s.metrics.") && f.name() == "window") continue;  // a Duration: not on the protobuf wire
      EXPECT_NE(f.proto_number(), 0U) << t.name() << "." << f.name();
      EXPECT_TRUE(numbers.insert({f.proto_inline(), f.proto_number()}).second) << t.name() << "." << f.name();
    }
  }
}

TEST(Schema, MetaKindsAreKnownInEveryGroup) {
  EXPECT_NE(find_type("apps", "v1", "DeleteOptions"), nullptr);
  EXPECT_NE(find_type("", "v1", "Status"), nullptr);
  EXPECT_EQ(find_type("apps", "v1", "Pod"), nullptr);
}

TEST(Decode, CanonicalFormSortsPrunesAndCompletes) {
  EXPECT_EQ(decoded("ConfigMap", "v1", R"({"metadata":{"name":"a","creationTimestamp":null,"labels":{"z":"1","b":null}},"data":{},"immutable":false})"),
            R"({"apiVersion":"v1","immutable":false,"kind":"ConfigMap","metadata":{"labels":{"b":"","z":"1"},"name":"a"}})");
  EXPECT_EQ(decoded("Service", "v1", R"({"spec":{"ports":[{"port":80,"nodePort":0}],"publishNotReadyAddresses":false}})"),
            R"({"apiVersion":"v1","kind":"Service","metadata":{},"spec":{"ports":[{"port":80}]},"status":{"loadBalancer":{}}})");
  EXPECT_EQ(decoded("Deployment", "apps/v1", R"({"spec":{"replicas":0,"template":{"spec":{"containers":[{"name":"c","resources":{"limits":{"cpu":0.5,"memory":"1024Mi"}}}]}}}})"),
            R"({"apiVersion":"apps/v1","kind":"Deployment","metadata":{},"spec":{"replicas":0,"strategy":{},"template":{"metadata":{},"spec":{"containers":[{"name":"c","resources":{"limits":{"cpu":"500m","memory":"1Gi"}}}]}}},"status":{}})");
}

TEST(Decode, UnsetTimesThatAreNoPointersInGoAreNull) {
  EXPECT_EQ(decoded("Pod", "v1", R"({"status":{"conditions":[{"type":"Ready","status":"True","lastTransitionTime":"2026-01-01T00:00:00Z"}]}})"),
            R"({"apiVersion":"v1","kind":"Pod","metadata":{},"spec":{},"status":{"conditions":[{"lastProbeTime":null,"lastTransitionTime":"2026-01-01T00:00:00Z","status":"True","type":"Ready"}]}})");
  EXPECT_EQ(decoded("Event", "v1", R"({"lastTimestamp":null,"reportingComponent":"c","reportingInstance":"i"})"),
            R"({"apiVersion":"v1","eventTime":null,"firstTimestamp":null,"involvedObject":{},"kind":"Event","lastTimestamp":null,"metadata":{},"reportingComponent":"c","reportingInstance":"i","source":{}})");
}

TEST(Decode, StrictErrorsAreUpstreams) {
  EXPECT_EQ(decoded("Pod", "v1", R"({"spec":{"foo":1,"containers":[{"name":"a","bar":2}]}})"),
            R"(Pod in version "v1" cannot be handled as a Pod: strict decoding error: unknown field "spec.foo", unknown field "spec.containers[0].bar")");
  EXPECT_EQ(decoded("Deployment", "apps/v1", R"({"spec":{"replicas":1,"replicas":2}})"),
            R"(Deployment in version "v1" cannot be handled as a Deployment: strict decoding error: duplicate field "spec.replicas")");
  EXPECT_EQ(decoded("Deployment", "apps/v1", R"({"spec":{"unknownField":"foo","replicas":2,"replicas":3}})"),
            R"(Deployment in version "v1" cannot be handled as a Deployment: strict decoding error: unknown field "spec.unknownField", duplicate field "spec.replicas")")
      << "in the order of the text";
  auto warned = decode("Pod", "v1", R"({"spec":{"foo":1},"metadata":{"name":"a","name":"b"}})", FieldValidation::kWarn);
  ASSERT_TRUE(warned);
  EXPECT_EQ(warned->warnings, (std::vector<std::string>{"unknown field \"spec.foo\"", "duplicate field \"metadata.name\""}));
  EXPECT_EQ(json::get_string(warned->object, {"metadata", "name"}), "b");
  EXPECT_TRUE(decode("Pod", "v1", R"({"spec":{"foo":1}})", FieldValidation::kIgnore)->warnings.empty());
}

TEST(Decode, TypeErrorsReadAsGoPrintsThem) {
  const std::string head = "Deployment in version \"v1\" cannot be handled as a Deployment: ";
  EXPECT_EQ(decoded("Deployment", "apps/v1", R"({"spec":{"replicas":"2"}})"),
            head + "json: cannot unmarshal string into Go struct field DeploymentSpec.spec.replicas of type int32");
  EXPECT_EQ(decoded("Deployment", "apps/v1", R"({"spec":{"template":{"spec":{"containers":{}}}}})"),
            head + "json: cannot unmarshal object into Go struct field PodSpec.spec.template.spec.containers of type []v1.Container");
  EXPECT_EQ(decoded("Deployment", "apps/v1", R"({"spec":{"template":{"spec":{"containers":[{"ports":[{"containerPort":70000000000}]}]}}}})"),
            head + "json: cannot unmarshal number 70000000000 into Go struct field ContainerPort.spec.template.spec.containers.ports.containerPort of type int32");
  EXPECT_EQ(decoded("Secret", "v1", R"({"data":{"a":"@@"}})"), "Secret in version \"v1\" cannot be handled as a Secret: illegal base64 data at input byte 0");
}

TEST(Decode, DepthIsLimitedHoweverTheTreeWasMade) {
  json::Value deep = json::Object();
  for (int i = 0; i < 5000; ++i) {
    json::Object outer;
    outer["a"] = std::move(deep);
    deep = std::move(outer);
  }
  const Type& type = *find_type("", "v1", "ConfigMap");
  EXPECT_FALSE(decode_tree(std::move(deep), {&type, "v1", "ConfigMap"}, FieldValidation::kIgnore));
  std::string text = std::string(125, '[') + std::string(125, ']');
  EXPECT_FALSE(decode_json(R"({"data":)" + text + "}", {&type, "v1", "ConfigMap"}, FieldValidation::kIgnore));
  EXPECT_FALSE(decode_json(std::string(100000, '['), {&type, "v1", "ConfigMap"}, FieldValidation::kIgnore));
}

TEST(Decode, CanonicalizingTwiceChangesNothing) {
  for (const Resource& r : resources()) {
    json::Value tree(json::Object{{"apiVersion", r.group_version()}, {"kind", r.kind()}});
    ASSERT_TRUE(canonicalize(tree, r.type())) << r.kind();
    std::string once = json::format(tree);
    ASSERT_TRUE(canonicalize(tree, r.type()));
    EXPECT_EQ(json::format(tree), once);
  }
}

TEST(SameTree, IsEqualityWhateverTheOrderOfMembers) {
  SeededRng rng(3);
  for (const Resource& r : resources()) {
    json::Value a = make_sample(r.type(), rng, 3), b = make_sample(r.type(), rng, 3);
    EXPECT_TRUE(same_tree(a, json::Value(a)));
    EXPECT_EQ(same_tree(a, b), a == b);
  }
  auto same = [](std::string_view x, std::string_view y) { return same_tree(*json::parse(x), *json::parse(y)); };
  EXPECT_TRUE(same(R"({"a":1,"b":[{"c":2,"d":3}]})", R"({"b":[{"d":3,"c":2}],"a":1})"));
  EXPECT_FALSE(same(R"({"a":1,"b":2})", R"({"a":1,"c":2})"));
  EXPECT_FALSE(same(R"({"a":1})", R"({"a":1,"b":2})"));
  EXPECT_FALSE(same("[1,2]", "[2,1]"));
  EXPECT_FALSE(same("[1]", "{}"));
}

}  // namespace
}  // namespace monopod::api
