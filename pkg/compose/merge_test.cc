// Several files as one: what is laid over, extended and included.
#include <gtest/gtest.h>

#include "base/strings.h"
#include "compose/files.h"

namespace monopod::compose {
namespace {

using Files = std::map<std::string, std::string>;

Result<json::Value> read(const Files& files, const std::vector<std::string>& paths) {
  Sources sources;
  sources.variable = [](std::string_view name) { return name == "OUTER" ? std::optional<std::string>("outer") : std::nullopt; };
  sources.read_file = [&files](const std::string& path) -> Result<std::string> {
    auto found = files.find(path);
    return found == files.end() ? Result<std::string>(fail(Code::kNotFound, cat("open ", path, ": No such file or directory"))) : found->second;
  };
  return read_files(paths, "/src", sources);
}
std::string shown(const Result<json::Value>& tree, std::initializer_list<std::string_view> path) {
  if (!tree) return tree.error().message();
  const json::Value* found = json::find(*tree, path);
  return found == nullptr ? "absent" : json::format(*found);
}

TEST(Merge, EachKeyByItsRule) {
  struct {
    const char *key, *base, *over, *want;
  } const table[] = {
      {"image", "a", "b", R"("b")"},
      {"command", "[a, b]", "[c]", R"(["c"])"},
      {"entrypoint", "x", "[y]", R"(["y"])"},
      {"environment", "[A=1, B=2]", "{B: 3, C: 4}", R"({"A":"1","B":"3","C":"4"})"},
      {"environment", "{A: 1}", "[A, D=x=y]", R"({"A":"1","D":"x=y"})"},
      {"labels", "{a: b}", "[c]", R"({"a":"b","c":null})"},
      {"ports", "[\"80:80\", \"81:81\"]", "[\"80:80\", \"82:82\"]", R"(["80:80","81:81","82:82"])"},
      {"volumes", "[\"a:/d\", \"b:/e:ro\"]", "[\"c:/d\", {type: tmpfs, target: /e}, /f]", R"(["c:/d",{"type":"tmpfs","target":"/e"},"/f"])"},
      {"dns", "1.1.1.1", "[8.8.8.8]", R"(["1.1.1.1","8.8.8.8"])"},
      {"depends_on", "[db]", "{db: {condition: service_healthy}, q: {}}", R"({"db":{"condition":"service_healthy"},"q":{}})"},
      {"networks", "[a]", "{a: {aliases: [x]}}", R"({"a":{"aliases":["x"]}})"},
      {"build", "./dir", "{args: {A: 1}}", R"({"context":"./dir","args":{"A":"1"}})"},
      {"build", "{context: a, args: [A=1]}", "{args: {B: 2}}", R"({"context":"a","args":{"A":"1","B":"2"}})"},
      {"healthcheck", "{test: [CMD, a], retries: 1}", "{test: b}", R"({"test":"b","retries":"1"})"},
      {"logging", "{driver: json-file, options: {a: 1}}", "{driver: none}", R"({"driver":"none"})"},
      {"logging", "{driver: json-file, options: {a: 1}}", "{driver: json-file, options: {b: 2}}", R"({"driver":"json-file","options":{"a":"1","b":"2"}})"},
      {"deploy", "{resources: {limits: {cpus: 1}}}", "{resources: {limits: {memory: 1m}}}", R"({"resources":{"limits":{"cpus":"1","memory":"1m"}}})"},
      {"ports", "[\"80:80\"]", "!reset []", "absent"},
      {"ports", "[\"80:80\"]", "!override [\"81:81\"]", R"(["81:81"])"},
      {"image", "a", "!reset null", "absent"},
      {"image", "!override a", "b", R"("b")"},
      {"image", "!reset a", "!reset b", "absent"},
      {"image", "!custom a", "!custom b", "/src/b.yaml: tag !custom is not supported"},
      {"environment", "{A: 1}", "text", "/src/b.yaml: services.web: environment: a map in one file, no map in another"},
  };
  for (const auto& c : table) {
    Files files{{"/src/a.yaml", cat("services: {web: {", c.key, ": ", c.base, "}}")}, {"/src/b.yaml", cat("services: {web: {", c.key, ": ", c.over, "}}")}};
    EXPECT_EQ(shown(read(files, {"/src/a.yaml", "/src/b.yaml"}), {"services", "web", c.key}), c.want) << c.key << ": " << c.base << " and " << c.over;
  }
}

TEST(Merge, SectionsAndNewServices) {
  Files files{{"/src/a.yaml", "name: one\nservices: {a: {image: i}}\nnetworks: {n: {labels: [x=1]}, m: }\nvolumes: {v: {driver_opts: {type: nfs}}}"},
              {"/src/b.yaml", "name: two\nservices: {b: {image: j}, a: !reset {}}\nnetworks: {n: {labels: {y: 2}}, m: {internal: true}}\nvolumes: {v: }"}};
  auto tree = read(files, {"/src/a.yaml", "/src/b.yaml"});
  EXPECT_EQ(shown(tree, {}), R"({"name":"two","services":{"b":{"image":"j"}},"networks":{"n":{"labels":{"x":"1","y":"2"}},"m":{"internal":"true"}},"volumes":{"v":{"driver_opts":{"type":"nfs"}}}})");
  EXPECT_EQ(shown(read(files, {"/src/a.yaml", "/src/none.yaml"}), {}), "/src/none.yaml: open /src/none.yaml: No such file or directory");
}

TEST(Extends, OfTheSameFileAndOfOthers) {
  Files files{{"/src/a.yaml", "services:\n  base: {image: i, environment: {A: 1}, volumes: [./x:/x]}\n  web: {extends: base, environment: [B=2]}\n  far: {extends: {file: sub/common.yaml, service: web}, command: c}"},
              {"/src/sub/common.yaml", "services:\n  root: {build: ./ctx, env_file: [e.env, {path: f.env}], volumes: [\"./d:/d\", \"named:/n\"]}\n  web: {extends: {service: root}, command: own, environment: {V: \"${OUTER}\"}}"}};
  auto tree = read(files, {"/src/a.yaml"});
  EXPECT_EQ(shown(tree, {"services", "web"}), R"({"image":"i","environment":{"A":"1","B":"2"},"volumes":["./x:/x"]})");
  EXPECT_EQ(shown(tree, {"services", "far"}), R"({"build":"/src/sub/ctx","env_file":["/src/sub/e.env",{"path":"/src/sub/f.env"}],"volumes":["/src/sub/d:/d","named:/n"],"command":"c","environment":{"V":"outer"}})");
  files["/src/a.yaml"] = "services: {a: {extends: b}, b: {extends: a}}";
  EXPECT_NE(shown(read(files, {"/src/a.yaml"}), {}).find("in a circle"), std::string::npos);
  files["/src/a.yaml"] = "services: {a: {extends: {file: a.yaml, service: a}}}";
  EXPECT_NE(shown(read(files, {"/src/a.yaml"}), {}).find("in a circle"), std::string::npos);
  files["/src/a.yaml"] = "services: {a: {extends: nope}}";
  EXPECT_EQ(shown(read(files, {"/src/a.yaml"}), {}), "/src/a.yaml: services.nope: there is no such service in /src/a.yaml");
  files["/src/a.yaml"] = "services: {a: {extends: {file: none.yaml, service: x}}}";
  EXPECT_NE(shown(read(files, {"/src/a.yaml"}), {}).find("open /src/none.yaml"), std::string::npos);
}

TEST(Include, BringsWhatIsThereNot) {
  Files files{{"/src/a.yaml", "include: [sub/b.yaml, {path: [other/c.yaml, other/d.yaml], env_file: c.env}]\nservices: {a: {image: i, depends_on: [b]}}"},
              {"/src/sub/b.yaml", "services: {b: {build: ., image: \"${IN:-none}-${OUTER}\"}}\nsecrets: {s: {file: ./s.txt}}"},
              {"/src/sub/.env", "IN=within\nOUTER=inner\n"},
              {"/src/other/c.yaml", "services: {c: {image: \"${C}\"}}"},
              {"/src/other/d.yaml", "services: {c: {command: d}}"},
              {"/src/c.env", "C=see\n"}};
  auto tree = read(files, {"/src/a.yaml"});
  EXPECT_EQ(shown(tree, {"services", "b"}), R"({"build":"/src/sub","image":"within-outer"})");
  EXPECT_EQ(shown(tree, {"services", "c"}), R"({"image":"see","command":"d"})");
  EXPECT_EQ(shown(tree, {"secrets", "s", "file"}), R"("/src/sub/s.txt")");
  files["/src/sub/b.yaml"] = "services: {a: {image: other}}";
  EXPECT_EQ(shown(read(files, {"/src/a.yaml"}), {}), "services.a conflicts with what /src/sub/b.yaml includes");
  files["/src/sub/b.yaml"] = "include: [b.yaml]\nservices: {}";
  EXPECT_NE(shown(read(files, {"/src/a.yaml"}), {}).find("more than 100 files"), std::string::npos);
}

}  // namespace
}  // namespace monopod::compose
