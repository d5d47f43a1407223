// A15: schemas of custom kinds made to cost: expressions that others match in exponential time, references to themselves, extensions in the wrong
// place, thousands of versions, depth without end. Each is refused by name or has a bounded price.
#include <gtest/gtest.h>

#include "api/testing.h"
#include "base/bytes.h"
#include "base/strings.h"

namespace monopod::api {
namespace {

const std::string kDefinitions = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";

std::string definition(std::string_view name, std::string_view schema, std::string_view versions = {}) {
  std::string one = cat(R"({"name":"v1","served":true,"storage":true,"schema":{"openAPIV3Schema":)", schema, "}}");
  return cat(R"({"apiVersion":"apiextensions.k8s.io/v1","kind":"CustomResourceDefinition","metadata":{"name":")", name, R"(s.example.com"},"spec":{"group":"example.com","scope":"Namespaced","names":{"plural":")", name,
             R"(s","kind":")", name, R"("},"versions":[)", one, versions, "]}}");
}

std::string nested(int depth) {
  std::string out = R"({"type":"string"})";
  for (int i = 0; i < depth; ++i) out = cat(R"({"type":"object","properties":{"a":)", out, "}}");
  return out;
}

async::Task<Result<>> refused(TestCluster& cluster) {
  std::string versions;
  for (int i = 2; i < 10'000; ++i) versions += cat(R"(,{"name":"v)", i, R"(","served":false,"storage":false,"schema":{"openAPIV3Schema":{"type":"object"}}})");
  std::string wide = R"({"type":"object","properties":{)";
  for (int i = 0; i < 40'000; ++i) wide += cat(i == 0 ? "" : ",", "\"p", i, R"(":{"type":"string"})");
  struct Case {
    std::string name, body;
  } cases[] = {
      {"a reference to itself", definition("a", R"({"$ref":"#"})")},
      {"a reference within", definition("a", R"({"type":"object","properties":{"x":{"$ref":"#/properties/x"}}})")},
      {"an expression that is none", definition("a", R"x({"type":"object","properties":{"x":{"type":"string","pattern":"("}}})x")},
      {"counted repeats of counted repeats", definition("a", R"x({"type":"object","properties":{"x":{"type":"string","pattern":"((((a{1000}){1000}){1000}){1000})"}}})x")},
      {"a back reference", definition("a", R"x({"type":"object","properties":{"x":{"type":"string","pattern":"(a*)\\1"}}})x")},
      {"a look ahead", definition("a", R"x({"type":"object","properties":{"x":{"type":"string","pattern":"(?=a)b"}}})x")},
      {"an expression of a megabyte", definition("a", cat(R"x({"type":"object","properties":{"x":{"type":"string","pattern":")x", std::string(1'000'000, 'a'), R"x("}}})x"))},
      {"a list type that is none", definition("a", R"({"type":"object","properties":{"x":{"type":"array","items":{"type":"string"},"x-kubernetes-list-type":"heap"}}})")},
      {"a map without keys", definition("a", R"({"type":"object","properties":{"x":{"type":"array","items":{"type":"object"},"x-kubernetes-list-type":"map"}}})")},
      {"keys that are not there", definition("a", R"({"type":"object","properties":{"x":{"type":"array","items":{"type":"object"},"x-kubernetes-list-type":"map","x-kubernetes-list-map-keys":["y"]}}})")},
      {"embedded where there is no object", definition("a", R"({"type":"object","properties":{"x":{"type":"string","x-kubernetes-embedded-resource":true}}})")},
      {"a set of anything", definition("a", R"({"type":"object","properties":{"x":{"type":"array","items":{"type":"object","x-kubernetes-preserve-unknown-fields":true},"x-kubernetes-list-type":"set"}}})")},
      {"rules", definition("a", R"x({"type":"object","x-kubernetes-validations":[{"rule":"self.all(x, self.all(y, self.all(z, true)))"}]})x")},
      {"10,000 versions", definition("a", R"({"type":"object"})", versions)},
      {"10,000 levels", definition("a", nested(10'000))},
      {"no type", definition("a", R"({"properties":{"x":{}}})")},
      {"a default that is not of the type", definition("a", R"({"type":"object","properties":{"x":{"type":"integer","default":"seven"}}})")},
  };
  for (const Case& c : cases) {
    auto begin = std::chrono::steady_clock::now();
    CO_CALL(made, "POST", kDefinitions, c.body);
    EXPECT_TRUE(made.status == 400 || made.status == 422 || made.status == 413) << c.name << ": " << made.status << ' ' << made.body.substr(0, 400);
    EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(5)) << c.name;
    EXPECT_LT(made.body.size(), 200'000U + 3 * c.body.size()) << c.name;
  }
  auto begin = std::chrono::steady_clock::now();
  CO_CALL(many, "POST", kDefinitions, definition("wide", wide + "}}"));
  EXPECT_TRUE(many.status == 201 || many.status == 422 || many.status == 413) << many.status << many.body.substr(0, 300);
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(5));
  co_return Result<>();
}
TEST(A15CustomKinds, ThatAreTrapsAreRefused) { with_cluster(refused); }

async::Task<Result<>> linear(TestCluster& cluster) {
  // Expressions that backtracking engines take ages for.
  constexpr std::string_view kPatterns[] = {"^(a+)+$", "^(a|aa)+$", "^(a|a)*$", "^([a-z]+)*[0-9]$", "(.*)*x", "^((a?){30}a{30})$"};
  std::string properties;
  for (std::size_t i = 0; i < std::size(kPatterns); ++i) properties += cat(i == 0 ? "" : ",", "\"p", i, R"(":{"type":"string","pattern":")", kPatterns[i], "\"}");
  CO_CALL(made, "POST", kDefinitions, definition("slow", cat(R"({"type":"object","properties":{)", properties, "}}")));
  CO_EXPECT_STATUS(made, 201);
  const std::string slows = "/apis/example.com/v1/namespaces/default/slows";
  CO_TRY_ASSIGN(Reply served, co_await cluster.eventually(slows, [](const Reply& reply) { return reply.status == 200; }));
  CO_EXPECT_STATUS(served, 200);
  std::string evil(100'000, 'a');
  for (std::size_t i = 0; i < std::size(kPatterns); ++i) {
    auto begin = std::chrono::steady_clock::now();
    CO_CALL(checked, "POST", slows, cat(R"({"apiVersion":"example.com/v1","kind":"slow","metadata":{"name":"o"},"p)", i, R"(":")", evil, "!\"}"));
    EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(5)) << kPatterns[i];
    EXPECT_EQ(checked.status, 422) << kPatterns[i] << ": " << checked.body.substr(0, 200);
  }
  CO_CALL(right, "POST", slows, R"({"apiVersion":"example.com/v1","kind":"slow","metadata":{"name":"o"},"p0":"aaaa","p3":"abc7"})");
  CO_EXPECT_STATUS(right, 201);
  co_return Result<>();
}
TEST(A15CustomKinds, ExpressionsTakeLinearTime) { with_cluster(linear); }

}  // namespace
}  // namespace monopod::api
