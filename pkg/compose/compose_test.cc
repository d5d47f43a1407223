// Compose files as bodies of requests; nothing here needs an engine.
#include <gtest/gtest.h>

#include "base/strings.h"
#include "compose/project.h"

namespace monopod::compose {
namespace {

std::map<std::string, std::string> variables() { return {{"SET", "value"}, {"EMPTY", ""}, {"TAG", "1.2"}, {"PORT", "8080"}}; }

Sources sources() {
  Sources out;
  out.variable = [all = variables()](std::string_view name) -> std::optional<std::string> {
    auto found = all.find(std::string(name));
    return found == all.end() ? std::nullopt : std::optional(found->second);
  };
  out.read_file = [](const std::string& path) -> Result<std::string> {
    if (path == "/src/app.env") return "FROM_FILE=1\nOWN=file\nQUOTED=\"a b\" # comment\n";
    return fail(Code::kNotFound, cat("open ", path, ": No such file or directory"));
  };
  return out;
}

std::string filled(std::string_view text) {
  auto out = interpolate(text, sources().variable);
  return out ? *out : "! " + out.error().message();
}

TEST(Interpolate, FormsOfTheSpecification) {
  struct {
    const char* text;
    const char* want;
  } const table[] = {
      {"plain", "plain"}, {"$SET", "value"}, {"a${SET}b", "avalueb"}, {"$SET-x", "value-x"}, {"$$SET", "$SET"}, {"$$$SET", "$value"}, {"${NONE}", ""}, {"$NONE", ""},
      {"${NONE:-default}", "default"}, {"${EMPTY:-default}", "default"}, {"${EMPTY-default}", ""}, {"${SET:-default}", "value"}, {"${NONE-}", ""},
      {"${SET:+there}", "there"}, {"${EMPTY:+there}", ""}, {"${EMPTY+there}", "there"}, {"${NONE+there}", ""},
      {"${NONE:-${SET}}", "value"}, {"${NONE:-a${NONE:-b}c}", "abc"}, {"${NONE:-a:b-c}", "a:b-c"},
      {"${NONE?}", "! required variable NONE is missing a value"}, {"${EMPTY:?say it}", "! required variable EMPTY is missing a value: say it"}, {"${EMPTY?x}", ""},
      {"$", "! invalid interpolation format for \"$\": want $NAME, ${NAME} or $$"}, {"${", "! invalid interpolation format for \"${\": want $NAME, ${NAME} or $$"},
      {"${1}", "! invalid interpolation format for \"${1}\": want $NAME, ${NAME} or $$"}, {"${A!}", "! invalid interpolation format for \"${A!}\": want $NAME, ${NAME} or $$"},
  };
  for (const auto& c : table) EXPECT_EQ(filled(c.text), c.want) << c.text;
  std::string deep;
  for (int i = 0; i < 30; ++i) deep += "${NONE:-";
  EXPECT_TRUE(filled(deep + std::string(30, '}')).starts_with("! invalid"));
}

TEST(Dotenv, QuotesCommentsAndVariables) {
  auto pairs = parse_dotenv("# head\nA=1\nexport B = two words # not this\nC='$A \\n'\nD=\"$A ${SET}\\n\\$x\"\nE=\nF=a#b\nG=\"several\nlines\"\n\nH=${NONE:-h}", sources().variable);
  ASSERT_TRUE(pairs) << pairs.error().message();
  std::map<std::string, std::string> want{{"A", "1"}, {"B", "two words"}, {"C", "$A \\n"}, {"D", "1 value\n$x"}, {"E", ""}, {"F", "a#b"}, {"G", "several\nlines"}, {"H", "h"}};
  EXPECT_EQ(*pairs, want);
  for (const char* wrong : {"novalue", "=x", "1A=x", "A=\"open", "A B=c"}) EXPECT_FALSE(parse_dotenv(wrong, sources().variable)) << wrong;
}

Result<Project> project_of(std::string_view text) {
  TRY_ASSIGN(json::Value tree, read_tree(text, sources()));
  return read_project(tree, {.directory = "/src", .file = "/src/compose.yaml"}, sources());
}

// The member of service web's body, where the file is "services: {web: {image: i, TEXT}}"; or the error.
std::string member(std::string_view text, std::initializer_list<std::string_view> path) {
  auto project = project_of(cat("volumes: {data: {}, mine: {name: own}, there: {external: true}}\nnetworks: {back: {}}\nsecrets: {key: {file: ./key.txt}}\nconfigs: {conf: {file: /etc/c}}\nservices:\n  web:\n    image: i\n    ", text, "\n"));
  if (!project) return project.error().message();
  json::Value body(project->services.at("web").body);
  const json::Value* found = json::find(body, path);
  return found == nullptr ? "absent" : json::format(*found);
}

TEST(Service, KeysBecomeMembers) {
  struct {
    const char* text;
    std::initializer_list<std::string_view> path;
    const char* want;
  } const table[] = {
      {"command: sh -c 'echo a  b'", {"Cmd"}, R"(["sh","-c","echo a  b"])"},
      {"command: [a, 1, yes]", {"Cmd"}, R"(["a","1","yes"])"},
      {"entrypoint: []", {"Entrypoint"}, "[]"},
      {"environment: {A: 1.10, B: yes, SET: , NONE: }", {"Env"}, R"(["A=1.10","B=yes","SET=value"])"},
      {"environment: [A=b=c, SET]", {"Env"}, R"(["A=b=c","SET=value"])"},
      {"env_file: [{path: none.env, required: false}, app.env]", {"Env"}, R"(["FROM_FILE=1","OWN=file","QUOTED=a b"])"},
      {"env_file: none.env", {}, "services.web.env_file: open /src/none.env: No such file or directory"},
      {"ports: [\"${PORT}:80\", 443]", {"HostConfig", "PortBindings"}, R"({"80/tcp":[{"HostIp":"","HostPort":"8080"}],"443/tcp":[{"HostIp":"","HostPort":""}]})"},
      {"ports: [{target: 80, published: \"81\", host_ip: 127.0.0.1, protocol: udp}]", {"HostConfig", "PortBindings"}, R"({"80/udp":[{"HostIp":"127.0.0.1","HostPort":"81"}]})"},
      {"ports: [nonsense]", {}, "services.web.ports: invalid port \"nonsense\": want PORT, HOST:PORT or ADDRESS:HOST:PORT"},
      {"volumes: [\"data:/d\", \"./x:/x:ro\", /anon, \"mine:/m\", \"there:/t\"]", {"HostConfig", "Binds"}, R"(["src_data:/d","/src/x:/x:ro","own:/m","there:/t"])"},
      {"volumes: [\"nope:/d\"]", {}, "services.web.volumes: volume \"nope\" is not declared below volumes"},
      {"volumes: [{type: bind, source: ./a, target: /a, read_only: true}]", {"HostConfig", "Mounts"}, R"([{"Type":"bind","Source":"/src/a","Target":"/a","ReadOnly":true,"BindOptions":{"CreateMountpoint":true}}])"},
      {"volumes: [{type: tmpfs, target: /t, tmpfs: {size: 1m, mode: 0700}}]", {"HostConfig", "Mounts"}, R"([{"Type":"tmpfs","Target":"/t","TmpfsOptions":{"SizeBytes":1048576,"Mode":448}}])"},
      {"restart: no", {"HostConfig", "RestartPolicy", "Name"}, "\"no\""},
      {"restart: on-failure:2", {"HostConfig", "RestartPolicy"}, R"({"Name":"on-failure","MaximumRetryCount":2})"},
      {"healthcheck: {test: curl x, interval: 1m30s, retries: 3}", {"Healthcheck"}, R"({"Test":["CMD-SHELL","curl x"],"Interval":90000000000,"Retries":3})"},
      {"healthcheck: {test: [CMD, a]}", {"Healthcheck", "Test"}, R"(["CMD","a"])"},
      {"healthcheck: {disable: true}", {"Healthcheck", "Test"}, R"(["NONE"])"},
      {"labels: [a=b, c]", {"Labels"}, R"({"a":"b","c":""})"},
      {"user: 1000:1000", {"User"}, "\"1000:1000\""},
      {"deploy: {resources: {limits: {cpus: 0.5, memory: 64M, pids: 9}, reservations: {memory: 1m}}}", {"HostConfig"}, R"({"NanoCpus":500000000,"Memory":67108864,"PidsLimit":9,"MemoryReservation":1048576})"},
      {"mem_limit: 1g", {"HostConfig", "Memory"}, "1073741824"},
      {"stop_grace_period: 1m", {"StopTimeout"}, "60"},
      {"extra_hosts: [\"a:1.2.3.4\"]", {"HostConfig", "ExtraHosts"}, R"(["a:1.2.3.4"])"},
      {"extra_hosts: {a: 1.2.3.4}", {"HostConfig", "ExtraHosts"}, R"(["a:1.2.3.4"])"},
      {"ulimits: {nproc: 10, nofile: {soft: 1, hard: 2}}", {"HostConfig", "Ulimits"}, R"([{"Name":"nproc","Soft":10,"Hard":10},{"Name":"nofile","Soft":1,"Hard":2}])"},
      {"secrets: [key]", {"HostConfig", "Mounts"}, R"([{"Type":"bind","Source":"/src/key.txt","Target":"/run/secrets/key","ReadOnly":true}])"},
      {"configs: [{source: conf, target: /etc/conf}]", {"HostConfig", "Mounts"}, R"([{"Type":"bind","Source":"/etc/c","Target":"/etc/conf","ReadOnly":true}])"},
      {"network_mode: host", {"HostConfig", "NetworkMode"}, "\"host\""},
      {"init: maybe", {}, "services.web.init: want true or false"},
      {"links: [db]", {}, "services.web.depends_on: there is no service \"db\""},
      {"deploy: {placement: {}, restart_policy: {condition: on-failure, max_attempts: 3}}", {"HostConfig", "RestartPolicy"}, R"({"Name":"on-failure","MaximumRetryCount":3})"},
      {"deploy: {resources: {reservations: {devices: [{driver: nvidia}]}}}", {}, "services.web.deploy.resources.reservations.devices: devices (GPUs) are not supported"},
      {"label_file: app.env\n    labels: {OWN: here}", {"Labels"}, R"({"FROM_FILE":"1","OWN":"here","QUOTED":"a b"})"},
      {"annotations: {a: b}", {"HostConfig", "Annotations"}, R"({"a":"b"})"},
      {"devices: [{source: /dev/null, target: /dev/x, permissions: r}, /dev/zero]", {"HostConfig", "Devices"}, R"([{"PathOnHost":"/dev/null","PathInContainer":"/dev/x","CgroupPermissions":"r"},{"PathOnHost":"/dev/zero","PathInContainer":"/dev/zero","CgroupPermissions":"rwm"}])"},
      {"env_file: [{path: app.env, format: raw}]", {"Env"}, R"(["FROM_FILE=1","OWN=file","QUOTED=\"a b\" # comment"])"},
      {"env_file: [{path: app.env, format: other}]", {}, "services.web.env_file.format: want raw"},
      {"pid: service:nope", {}, "services.web.depends_on: there is no service \"nope\""},
      {"ipc: host", {"HostConfig", "IpcMode"}, "\"host\""},
      {"build: {context: ., platforms: [a, b]}", {}, "services.web.build.platforms: an image of several platforms is not supported"},
      {"build: {context: ., ssh: [default]}", {}, "services.web.build: key \"ssh\" is not supported"},
      {"tmpfs: [\"/run:size=1m\", /tmp]", {"HostConfig", "Tmpfs"}, R"({"/run":"size=1m","/tmp":""})"},
      {"logging: {driver: json-file, options: {max-size: 1m}}", {"HostConfig", "LogConfig"}, R"({"Type":"json-file","Config":{"max-size":"1m"}})"},
      {"sysctls: [net.ipv4.ip_forward=1]", {"HostConfig", "Sysctls"}, R"({"net.ipv4.ip_forward":"1"})"},
      {"cap_add: [NET_ADMIN]\n    cap_drop: [ALL]", {"HostConfig", "CapDrop"}, R"(["ALL"])"},
      {"gpus: all", {}, "services.web: key \"gpus\" is not supported"},
      {"x-own: {anything: 1}", {"Image"}, "\"i\""},
      {"networks: [nope]", {}, "services.web.networks: network \"nope\" is not declared below networks"},
      {"depends_on: [nope]", {}, "services.web.depends_on: there is no service \"nope\""},
      {"user: ${NONE:?give it}", {}, "services.web.user: required variable NONE is missing a value: give it"},
  };
  for (const auto& c : table) EXPECT_EQ(member(c.text, c.path), c.want) << c.text;
}

TEST(Service, WhatTheFileSaysWinsOverItsEnvFiles) { EXPECT_EQ(member("env_file: app.env\n    environment: {OWN: here}", {"Env"}), R"(["FROM_FILE=1","OWN=here","QUOTED=a b"])"); }

constexpr std::string_view kShop = R"(
name: Shop.1
services:
  web: {build: {context: ./web, args: {V: "${TAG}", SET: }}, depends_on: {db: {condition: service_healthy}, init: {condition: service_completed_successfully}}}
  db: {image: "db:${TAG}", networks: {back: {aliases: [store], ipv4_address: 10.9.0.5}}}
  init: {image: db, depends_on: [db], network_mode: none}
  debug: {image: db, profiles: [debug], depends_on: [web]}
networks:
  back: {internal: true, ipam: {config: [{subnet: 10.9.0.0/24}]}}
volumes: {data: {labels: {a: b}}}
)";

TEST(Project, NamesNetworksVolumesAndBuilds) {
  auto p = project_of(kShop);
  ASSERT_TRUE(p) << p.error().message();
  EXPECT_EQ(p->name, "shop1");
  EXPECT_EQ(p->networks.at("back").name, "shop1_back");
  EXPECT_EQ(json::format(p->networks.at("back").body.at("IPAM")), R"({"Driver":"default","Config":[{"Subnet":"10.9.0.0/24"}]})");
  EXPECT_EQ(p->networks.at("default").name, "shop1_default");
  EXPECT_EQ(json::format(p->volumes.at("data").body.at("Labels")), cat(R"({"com.docker.compose.volume":"data","com.docker.compose.project":"shop1","com.docker.compose.version":")", MONOPOD_VERSION, R"(","a":"b"})"));
  const Service& web = p->services.at("web");
  EXPECT_EQ(web.body.at("Image").get_string(), "shop1-web");
  EXPECT_EQ(web.build->context, "/src/web");
  EXPECT_EQ(web.build->arguments, (std::map<std::string, std::string>{{"SET", "value"}, {"V", "1.2"}}));
  EXPECT_EQ(json::format(p->services.at("db").networks.at("back")), R"({"Aliases":["store"],"IPAMConfig":{"IPv4Address":"10.9.0.5"}})");
  EXPECT_TRUE(p->services.at("init").networks.empty());
}

TEST(Project, BuildsSayWhatTheEngineTakes) {
  auto p = project_of(R"(
services:
  web: {build: {context: ./web, dockerfile_inline: "FROM a\n", tags: ["t:1"], pull: true, network: host, platforms: [linux/arm64], cache_from: [x]}, pid: "service:db", ipc: "service:db"}
  db: {image: db}
)");
  ASSERT_TRUE(p) << p.error().message();
  const Service& web = p->services.at("web");
  EXPECT_EQ(web.build->inline_dockerfile, "FROM a\n");
  EXPECT_EQ(web.build->tags, (std::vector<std::string>{"t:1"}));
  EXPECT_TRUE(web.build->pull && web.build->network == "host" && web.platform == "linux/arm64");
  EXPECT_EQ(web.shares, (std::map<std::string, std::string>{{"IpcMode", "db"}, {"PidMode", "db"}}));
  EXPECT_EQ(*order_services(*p, *choose_services(*p, {}, {})), (std::vector<std::vector<std::string>>{{"db"}, {"web"}}));
}

// Anchors, merge keys and fields of one's own: what people share between services.
TEST(Project, AnchorsAndExtensionFieldsAreSharedBetweenServices) {
  auto p = project_of(R"(
x-env: &env {A: "1", B: "2"}
x-base: &base
  image: i
  restart: unless-stopped
  environment: *env
services:
  one: {<<: *base, environment: {<<: *env, B: "3"}}
  two: {<<: *base, restart: "no"}
)");
  ASSERT_TRUE(p) << p.error().message();
  auto member_of = [&](const char* service, std::initializer_list<std::string_view> path) { return json::format(*json::find(json::Value(p->services.at(service).body), path)); };
  EXPECT_EQ(member_of("one", {"Env"}), R"(["A=1","B=3"])");
  EXPECT_EQ(member_of("two", {"Env"}), R"(["A=1","B=2"])");
  EXPECT_EQ(member_of("one", {"HostConfig", "RestartPolicy", "Name"}), "\"unless-stopped\"");
  EXPECT_EQ(member_of("two", {"HostConfig", "RestartPolicy", "Name"}), "\"no\"");
}

TEST(Project, OrderFollowsDependencies) {
  auto p = project_of(kShop);
  ASSERT_TRUE(p);
  auto chosen = choose_services(*p, {}, {});
  EXPECT_EQ(*order_services(*p, *chosen), (std::vector<std::vector<std::string>>{{"db"}, {"init"}, {"web"}}));
  EXPECT_EQ(choose_services(*p, {}, {"debug"})->size(), 4U);
  EXPECT_EQ(*choose_services(*p, {"init"}, {}), (std::set<std::string>{"db", "init"}));
  EXPECT_EQ(choose_services(*p, {"nope"}, {}).error().message(), "no such service: nope");
  auto circle = project_of("services: {a: {image: i, depends_on: [b]}, b: {image: i, depends_on: [a]}}");
  EXPECT_EQ(order_services(*circle, *choose_services(*circle, {}, {})).error().message(), "services depend on one another in a circle: a, b");
}

TEST(Project, LabelsAreThoseOfDockerCompose) {
  auto p = project_of(kShop);
  ASSERT_TRUE(p);
  auto labels = labels_of(*p, p->services.at("web"), 2, "hash");
  EXPECT_EQ(labels.at("com.docker.compose.project"), "shop1");
  EXPECT_EQ(labels.at("com.docker.compose.service"), "web");
  EXPECT_EQ(labels.at("com.docker.compose.container-number"), "2");
  EXPECT_EQ(labels.at("com.docker.compose.oneoff"), "False");
  EXPECT_EQ(labels.at("com.docker.compose.depends_on"), "db:service_healthy:false,init:service_completed_successfully:false");
  EXPECT_EQ(labels.at("com.docker.compose.project.working_dir"), "/src");
  EXPECT_EQ(labels.at("com.docker.compose.project.config_files"), "/src/compose.yaml");
}

TEST(Project, AHashChangesWithWhatMakesTheContainer) {
  auto hash = [](std::string_view text) { return config_hash_of(project_of(text)->services.at("a")); };
  std::string one = hash("services: {a: {image: i, environment: {B: 1}}}");
  EXPECT_EQ(one, hash("services: {a: {image: i, environment: {B: 1}, depends_on: [b]}, b: {image: j}}"));
  EXPECT_NE(one, hash("services: {a: {image: i, environment: {B: 2}}}"));
  EXPECT_NE(one, hash("networks: {n: {}}\nservices: {a: {image: i, environment: {B: 1}, networks: [n]}}"));
  EXPECT_EQ(one.size(), 64U);
}

TEST(Project, WhatIsNoComposeFileIsRefused) {
  struct {
    const char* text;
    const char* want;
  } const table[] = {
      {"", "want a map with services"}, {"[]", "want a map with services"}, {"{}", "no service is defined"}, {"services: []", "services: want a map"}, {"services: {a: }", "services.a: want a map"},
      {"services: {a: {}}", "services.a: neither an image nor a build is given"}, {"include: [x]", "the compose file: key \"include\" is not supported"},
      {"services: {a: {image: i, scale: 101}}", "services.a.scale: want 0 to 100"}, {"services: {a: {image: i, scale: 2, container_name: n}}", "services.a: container_name is of one container: it cannot be scaled"},
      {"services: {a: {image: i, network_mode: host, networks: [n]}}\nnetworks: {n: }", "services.a: network_mode and networks exclude each other"},
      {"services: {a: {image: i, secrets: [s]}}\nsecrets: {s: {environment: X}}", "secrets.s.environment: the variable X is not set"},
      {"services: {a: {image: i, volumes: {}}}", "services.a.volumes: want a list"}, {"services: {a: {image: [i]}}", "services.a.image: want a text"},
      {"name: '...'\nservices: {a: {image: i}}", "the project has no name: say --project-name, or name: in the file"},
  };
  for (const auto& c : table) {
    auto p = project_of(c.text);
    EXPECT_EQ(p ? "accepted" : p.error().message(), c.want) << c.text;
  }
}

TEST(Words, ShellQuotesWithoutVariables) {
  EXPECT_EQ(*split_command(R"(a  'b c' "d \" e\n" f\ g '')"), (std::vector<std::string>{"a", "b c", "d \" e\\n", "f g", ""}));
  EXPECT_FALSE(split_command("'open"));
  EXPECT_FALSE(split_command("end\\"));
}

}  // namespace
}  // namespace monopod::compose
