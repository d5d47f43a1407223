#include "api/patch/patch.h"

#include <gtest/gtest.h>

#include "api/schema/decode.h"
#include "base/rng.h"
#include "base/strings.h"

namespace monopod::api {
namespace {

json::Value tree(std::string_view text) { return *json::parse(text); }

std::string json_patched(std::string_view document, std::string_view patch) {
  auto r = apply_json_patch(tree(document), tree(patch));
  return r ? json::format(*r) : "error: " + r.error().message();
}

TEST(JsonPatch, OperationsOfTheRfcWork) {
  struct { const char *document, *patch, *expected; } cases[] = {
      {R"({"a":1})", R"([{"op":"add","path":"/b","value":[1]}])", R"({"a":1,"b":[1]})"},
      {R"({"a":[1,3]})", R"([{"op":"add","path":"/a/1","value":2},{"op":"add","path":"/a/-","value":4}])", R"({"a":[1,2,3,4]})"},
      {R"({"a":1,"b":2})", R"([{"op":"remove","path":"/b"}])", R"({"a":1})"},
      {R"({"a":1})", R"([{"op":"replace","path":"/a","value":null}])", R"({"a":null})"},
      {R"({"a":{"b":1}})", R"([{"op":"move","from":"/a/b","path":"/c"}])", R"({"a":{},"c":1})"},
      {R"({"a":{"b":1}})", R"([{"op":"copy","from":"/a","path":"/c"}])", R"({"a":{"b":1},"c":{"b":1}})"},
      {R"({"a/b":{"~":1}})", R"([{"op":"test","path":"/a~1b/~0","value":1}])", R"({"a/b":{"~":1}})"},
      {R"({"a":1})", R"([{"op":"test","path":"/a","value":2}])", "error: testing value /a failed: test failed"},
      {R"({"a":1})", R"([{"op":"remove","path":"/x"}])", "error: remove operation does not apply: Unable to remove nonexistent key: x: missing value"},
      {R"({"a":[1]})", R"([{"op":"add","path":"/a/5","value":2}])", "error: add operation does not apply: error in add for path: '/a/5': index out of bounds: invalid index referenced"},
      {R"({"a":{"b":1}})", R"([{"op":"move","from":"/a","path":"/a/b"}])", "error: move operation does not apply: into its own child: /a/b"},
  };
  for (auto& c : cases) EXPECT_EQ(json_patched(c.document, c.patch), c.expected) << c.patch;
}

TEST(JsonPatch, CopiesThatExplodeAreStopped) {
  std::string patch = "[";
  for (int i = 0; i < 40; ++i) patch += cat(i == 0 ? "" : ",", R"({"op":"copy","from":"","path":"/c)", i, "\"}");
  auto r = apply_json_patch(tree(R"({"a":"xxxxxxxxxxxxxxxxxxxxxxxxxx"})"), tree(patch + "]"));
  ASSERT_FALSE(r);
  EXPECT_EQ(r.error().code(), Code::kResourceExhausted);
  json::Array many(10001, json::Object{{"op", "test"}, {"path", ""}, {"value", nullptr}});
  EXPECT_EQ(apply_json_patch(json::Object(), many).error().code(), Code::kResourceExhausted);
}

TEST(MergePatch, ExamplesOfRfc7396) {
  const char* cases[][3] = {{R"({"a":"b"})", R"({"a":"c"})", R"({"a":"c"})"},     {R"({"a":"b"})", R"({"a":null})", "{}"},
                            {R"({"a":["b"]})", R"({"a":"c"})", R"({"a":"c"})"},   {R"({"a":{"b":"c"}})", R"({"a":{"b":"d","c":null}})", R"({"a":{"b":"d"}})"},
                            {"{}", R"({"a":{"bb":{"ccc":null}}})", R"({"a":{"bb":{}}})"}, {R"({"e":null})", R"({"a":1})", R"({"e":null,"a":1})"},
                            {R"([1,2])", R"({"a":"b","c":null})", R"({"a":"b"})"}};
  for (auto& c : cases) EXPECT_EQ(json::format(apply_merge_patch(tree(c[0]), tree(c[1]))), c[2]) << c[1];
}

std::string strategic(std::string_view original, std::string_view patch, const char* type = "io.k8s.api.core.v1.PodSpec") {
  auto r = apply_strategic_merge_patch(tree(original), tree(patch), *find_type(type));
  return r ? json::format(*r) : "error: " + r.error().message();
}

TEST(StrategicMerge, DirectivesDoWhatTheyName) {
  struct { const char *name, *original, *patch, *expected; } cases[] = {
      {"lists merge by key", R"({"containers":[{"name":"a","image":"1"},{"name":"b","image":"1"}]})", R"({"containers":[{"name":"b","image":"2"}]})",
       R"({"containers":[{"name":"a","image":"1"},{"name":"b","image":"2"}]})"},
      {"a new element follows", R"({"containers":[{"name":"a"}]})", R"({"containers":[{"name":"c"}]})", R"({"containers":[{"name":"c"},{"name":"a"}]})"},
      {"delete takes an element out", R"({"containers":[{"name":"a"},{"name":"b"}]})", R"({"containers":[{"name":"a","$patch":"delete"}]})", R"({"containers":[{"name":"b"}]})"},
      {"replace takes the list", R"({"containers":[{"name":"a"},{"name":"b"}]})", R"({"containers":[{"$patch":"replace"},{"name":"c"}]})", R"({"containers":[{"name":"c"}]})"},
      {"replace takes the map", R"({"nodeSelector":{"a":"1","b":"2"}})", R"({"nodeSelector":{"$patch":"replace","c":"3"}})", R"({"nodeSelector":{"c":"3"}})"},
      {"delete empties the map", R"({"nodeSelector":{"a":"1"}})", R"({"nodeSelector":{"$patch":"delete"}})", R"({"nodeSelector":{}})"},
      {"null removes", R"({"nodeName":"n","hostNetwork":true})", R"({"nodeName":null,"subdomain":null})", R"({"hostNetwork":true})"},
      {"order is set", R"({"containers":[{"name":"a"},{"name":"b"}]})", R"({"$setElementOrder/containers":[{"name":"c"},{"name":"a"},{"name":"b"}],"containers":[{"name":"c"}]})",
       R"({"containers":[{"name":"c"},{"name":"a"},{"name":"b"}]})"},
      {"order alone sorts", R"({"containers":[{"name":"a"},{"name":"b"}]})", R"({"$setElementOrder/containers":[{"name":"b"},{"name":"a"}]})", R"({"containers":[{"name":"b"},{"name":"a"}]})"},
      {"retainKeys drops the rest", R"({"volumes":[{"name":"v","emptyDir":{}}]})", R"({"volumes":[{"name":"v","$retainKeys":["name","hostPath"],"hostPath":{"path":"/x"}}]})",
       R"({"volumes":[{"name":"v","hostPath":{"path":"/x"}}]})"},
      {"retainKeys must name what is set", R"({"volumes":[{"name":"v"}]})", R"({"volumes":[{"name":"v","$retainKeys":["name"],"hostPath":{"path":"/x"}}]})", "error: invalid patch format of retainKeys"},
      {"atomic lists are replaced", R"({"containers":[{"name":"a","args":["1","2"]}]})", R"({"containers":[{"name":"a","args":["3"]}]})", R"({"containers":[{"name":"a","args":["3"]}]})"},
      {"an element needs its key", R"({"containers":[{"name":"a"}]})", R"({"containers":[{"image":"x"}]})", R"(error: map: {"image":"x"} does not contain declared merge key: name)"},
      {"unknown directives are refused", R"({"containers":[{"name":"a"}]})", R"({"containers":[{"name":"a","$patch":"x"}]})", R"(error: unknown patch type: x in map: {"name":"a","$patch":"x"})"},
      {"order must agree", R"({"containers":[{"name":"a"}]})", R"({"$setElementOrder/containers":[{"name":"a"}],"containers":[{"name":"b"}]})",
       "error: The order in patch list:\n[{\"name\":\"b\"}]\n doesn't match $setElementOrder list:\n[{\"name\":\"a\"}]\n"},
      {"directives never reach a new value", R"({})", R"({"containers":[{"name":"a","$patch":"delete"},{"name":"b"}]})", R"({"containers":[{"name":"b"}]})"},
  };
  for (auto& c : cases) EXPECT_EQ(strategic(c.original, c.patch), c.expected) << c.name;
}

TEST(StrategicMerge, PrimitiveListsMergeAndLoseValues) {
  const char* meta = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta";
  EXPECT_EQ(strategic(R"({"finalizers":["a","b"]})", R"({"finalizers":["c","a"]})", meta), R"({"finalizers":["c","a","b"]})");
  EXPECT_EQ(strategic(R"({"finalizers":["a","b"]})", R"({"$deleteFromPrimitiveList/finalizers":["a"]})", meta), R"({"finalizers":["b"]})");
  EXPECT_EQ(strategic(R"({"finalizers":["a","b"]})", R"({"$deleteFromPrimitiveList/finalizers":["a"],"$setElementOrder/finalizers":["b","c"],"finalizers":["c"]})", meta),
            R"({"finalizers":["b","c"]})");
}

json::Value garbage(Rng& rng, int depth) {
  switch (rng.below(depth <= 0 ? 4 : 6)) {
    case 0: return nullptr;
    case 1: return static_cast<std::int64_t>(rng.below(5));
    case 2: return rng.below(2) == 0;
    case 3: { const char* words[] = {"a", "b", "delete", "replace", "merge", ""}; return words[rng.below(6)]; }
    case 4: {
      json::Array a;
      for (std::uint64_t n = rng.below(4); n > 0; --n) a.push_back(garbage(rng, depth - 1));
      return a;
    }
    default: {
      const char* keys[] = {"containers", "name", "$patch", "$retainKeys", "$setElementOrder/containers", "$deleteFromPrimitiveList/args", "args", "env", "volumes", "spec", "metadata",
                            "labels", "finalizers", "ports", "containerPort", "$setElementOrder/finalizers", "op", "path", "value"};
      json::Object o;
      for (std::uint64_t n = rng.below(5); n > 0; --n) o[keys[rng.below(19)]] = garbage(rng, depth - 1);
      return o;
    }
  }
}

TEST(Patches, GarbageNeverCrashes) {
  SeededRng rng(3);
  const Type& pod = *find_type("", "v1", "Pod");
  for (int i = 0; i < 20000; ++i) {
    json::Value original = json::Object{{"metadata", garbage(rng, 3)}, {"spec", garbage(rng, 4)}};
    json::Value patch = json::Object{{"metadata", garbage(rng, 3)}, {"spec", garbage(rng, 4)}};
    (void)apply_strategic_merge_patch(original, patch, pod);
    (void)apply_merge_patch(original, patch);
    const char* ops[] = {"add", "remove", "replace", "move", "copy", "test"};
    const char* paths[] = {"", "/spec", "/spec/containers/0", "/metadata/labels/-", "/spec/-", "/a/b", "x", "/spec/containers/-1", "/spec/name"};
    json::Array list;
    for (std::uint64_t n = rng.below(4); n > 0; --n)
      list.push_back(json::Object{{"op", ops[rng.below(6)]}, {"path", paths[rng.below(9)]}, {"from", paths[rng.below(9)]}, {"value", garbage(rng, 2)}});
    (void)apply_json_patch(original, list);
  }
}

}  // namespace
}  // namespace monopod::api
