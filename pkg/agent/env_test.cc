#include "agent/env.h"

#include "agent/test_pods.h"

namespace monopod::agent {
namespace {

TEST(Env, ExpandsKnownVariablesAndKeepsTheRest) {
  std::map<std::string, std::string> vars{{"A", "1"}, {"B_C", "x y"}};
  struct Row {
    std::string_view in, out;
  };
  for (const Row& row : {Row{"$(A)", "1"}, Row{"a$(A)b$(B_C)", "a1bx y"}, Row{"$$(A)", "$(A)"}, Row{"$(NO)", "$(NO)"}, Row{"$A", "$A"}, Row{"$(A", "$(A"},
                         Row{"$", "$"}, Row{"$$", "$"}, Row{"$$$(A)", "$1"}})
    EXPECT_EQ(expand(row.in, vars), row.out) << row.in;
}

TEST(Env, CommandAndArgsReplaceTheImagesByTheTableOfTheDocs) {
  std::vector<std::string> entry{"/ep", "e"}, cmd{"c"};
  struct Row {
    std::string_view spec;
    std::vector<std::string> want;
  };
  for (const Row& row : {Row{R"({"containers":[{"name":"a"}]})", {"/ep", "e", "c"}}, Row{R"({"containers":[{"name":"a","command":["x"]}]})", {"x"}},
                         Row{R"({"containers":[{"name":"a","args":["y"]}]})", {"/ep", "e", "y"}},
                         Row{R"json({"containers":[{"name":"a","command":["x"],"args":["$(V)"]}]})json", {"x", "v"}}}) {
    Pod pod = make_pod(row.spec);
    EXPECT_EQ(make_command(pod.containers[0], entry, cmd, {{"V", "v"}}), row.want) << row.spec;
  }
}

TEST(Env, EverySourceIsResolvedAndLaterOnesSeeEarlierOnes) {
  Pod pod = make_pod(R"json({"nodeName":"n1","serviceAccountName":"sa","containers":[{"name":"a","resources":{"limits":{"cpu":"1500m","memory":"64Mi"}},
    "envFrom":[{"prefix":"P_","configMapRef":{"name":"cm"}},{"secretRef":{"name":"none","optional":true}}],
    "env":[{"name":"LIT","value":"x"},{"name":"REF","value":"$(LIT)-$(P_k)-$(DB_SERVICE_HOST)"},
      {"name":"NAME","valueFrom":{"fieldRef":{"fieldPath":"metadata.name"}}},{"name":"IP","valueFrom":{"fieldRef":{"fieldPath":"status.podIP"}}},
      {"name":"LBL","valueFrom":{"fieldRef":{"fieldPath":"metadata.labels['app']"}}},
      {"name":"CPU","valueFrom":{"resourceFieldRef":{"resource":"limits.cpu"}}},{"name":"MEM","valueFrom":{"resourceFieldRef":{"resource":"limits.memory","divisor":"1Mi"}}},
      {"name":"S","valueFrom":{"secretKeyRef":{"name":"s","key":"k"}}},{"name":"GONE","valueFrom":{"configMapKeyRef":{"name":"cm","key":"no","optional":true}}}]}]})json",
                     R"("labels":{"app":"web"})");
  ReferencedObjects objects;
  objects.config_maps["cm"].values = {{"k", "v"}, {"bad key", "1"}};
  objects.secrets["s"].values = {{"k", "geheim"}};
  auto env = make_environment(pod, pod.containers[0], {"PATH=/bin", "LIT=image"}, objects, {{"db", "10.0.0.9", {{"", "TCP", 5432}}}}, {.pod_ip = "10.1.1.1", .node_name = "n1"});
  ASSERT_TRUE(env) << env.error().message();
  EXPECT_EQ(env->lines.front(), "PATH=/bin");
  for (const char* line : {"LIT=x", "REF=x-v-10.0.0.9", "NAME=web", "IP=10.1.1.1", "LBL=web", "CPU=2", "MEM=64", "S=geheim", "P_k=v", "DB_SERVICE_PORT=5432", "DB_PORT_5432_TCP_ADDR=10.0.0.9"})
    EXPECT_EQ(std::count(env->lines.begin(), env->lines.end(), line), 1) << line;
  EXPECT_FALSE(env->variables.contains("GONE"));
  EXPECT_EQ(env->skipped, std::vector<std::string>{"P_bad key"});
}

TEST(Env, MissingObjectsAreNamedAsKubectlUsersKnowThem) {
  struct Row {
    std::string_view env, text;
  };
  for (const Row& row : {Row{R"("env":[{"name":"A","valueFrom":{"configMapKeyRef":{"name":"cm","key":"k"}}}])", "configmap \"cm\" not found"},
                         Row{R"("env":[{"name":"A","valueFrom":{"secretKeyRef":{"name":"s","key":"k"}}}])", "couldn't find key k in Secret default/s"},
                         Row{R"("envFrom":[{"configMapRef":{"name":"cm"}}])", "configmap \"cm\" not found"}}) {
    Pod pod = make_pod(std::string(R"({"containers":[{"name":"a",)") + std::string(row.env) + "}]}");
    ReferencedObjects objects;
    objects.secrets["s"].values = {{"other", "1"}};
    auto env = make_environment(pod, pod.containers[0], {}, objects, {}, {});
    ASSERT_FALSE(env);
    EXPECT_EQ(env.error().message(), row.text);
  }
}

TEST(Quantity, IsParsedInEverySuffixForm) {
  struct Row {
    std::string_view in;
    std::int64_t milli, whole;
  };
  for (const Row& row : {Row{"250m", 250, 1}, Row{"2", 2000, 2}, Row{"1.5", 1500, 2}, Row{"1Ki", 1024000, 1024}, Row{"128Mi", 134217728000, 134217728}, Row{"1e3", 1000000, 1000},
                         Row{"0.1", 100, 1}, Row{"100u", 1, 1}, Row{"5k", 5000000, 5000}}) {
    EXPECT_EQ(parse_quantity_milli(row.in).value_or(-1), row.milli) << row.in;
    EXPECT_EQ(parse_quantity(row.in).value_or(-1), row.whole) << row.in;
  }
  for (const char* bad : {"", "x", "1Zi", "1.2.3", "--1"}) EXPECT_FALSE(parse_quantity(bad)) << bad;
}

}  // namespace
}  // namespace monopod::agent
