// What needs no containers: requests, names, filters, times, health, trees.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "base/strings.h"
#include "docker/call.h"
#include "docker/events.h"
#include "docker/health.h"
#include "docker/housekeeping.h"
#include "docker/names.h"
#include "docker/plan.h"
#include "docker/registry_auth.h"
#include "docker/tree_tar.h"
#include "image/tar.h"

namespace monopod::docker {
namespace {

json::Value parse(std::string_view text) { return *json::parse(text); }

TEST(Housekeeping, LayersGiveWayToAFullDisk) {
  const CollectOptions options{.disk_percent_max = 85};
  EXPECT_EQ(layer_bytes_allowed(options, 1000, 150, 500), std::nullopt);
  EXPECT_EQ(layer_bytes_allowed(options, 1000, 140, 500), 440U) << "down to 80 percent";
  EXPECT_EQ(layer_bytes_allowed(options, 1000, 0, 100), 0U);
  EXPECT_EQ(layer_bytes_allowed(options, 1000, 2000, 100), std::nullopt);
  EXPECT_EQ(layer_bytes_allowed({.disk_percent_max = 100}, 1000, 0, 100), std::nullopt);
  EXPECT_EQ(layer_bytes_allowed({.disk_percent_max = 1}, 1000, 0, 2000), 1000U);
}

image::ImageConfig web_image() {
  image::ImageConfig out;
  out.entrypoint = {"/web"};
  out.cmd = {"serve"};
  out.env = {"PATH=/bin", "A=image"};
  out.labels = {{"from", "image"}};
  out.exposed_ports = {"80/tcp"};
  out.volumes = {"/data"};
  out.user = "web";
  return out;
}

std::string merged(std::string_view request, std::string_view member) {
  auto config = merge_config(parse(request), web_image(), std::string(64, 'a'));
  if (!config) return config.error().message();
  const json::Value* found = json::find(*config, {member});
  return found == nullptr ? "absent" : json::format(*found);
}

TEST(MergeConfig, RequestWinsOverImageMemberByMember) {
  EXPECT_EQ(merged("{}", "Cmd"), R"(["serve"])");
  EXPECT_EQ(merged(R"({"Cmd":["other"]})", "Cmd"), R"(["other"])");
  EXPECT_EQ(merged(R"({"Cmd":["other"]})", "Entrypoint"), R"(["/web"])");
  EXPECT_EQ(merged(R"({"Entrypoint":["/x"]})", "Cmd"), "null");  // an own entrypoint forgets the image's command
  EXPECT_EQ(merged(R"({"Entrypoint":[""],"Cmd":["x"]})", "Entrypoint"), "null");
  EXPECT_EQ(merged(R"({"Env":["A=own","B"]})", "Env"), R"(["A=own","PATH=/bin"])");
  EXPECT_EQ(merged(R"({"Labels":{"mine":"1"}})", "Labels"), R"({"from":"image","mine":"1"})");
  EXPECT_EQ(merged("{}", "Hostname"), "\"aaaaaaaaaaaa\"");
  EXPECT_EQ(merged(R"({"User":"root"})", "User"), "\"root\"");
}

TEST(MergeConfig, WhatCannotBeIsRefused) {
  EXPECT_EQ(merged(R"({"WorkingDir":"relative"})", "Cmd"), "the working directory 'relative' is invalid, it needs to be an absolute path");
  EXPECT_EQ(merged(R"({"StopSignal":"SIGNOPE"})", "Cmd"), "Invalid signal: SIGNOPE");
  EXPECT_EQ(merged(R"({"Entrypoint":[""]})", "Cmd"), "No command specified");
  EXPECT_EQ(merged(R"({"Env":["=x"]})", "Cmd"), "invalid environment variable: =x");
}

struct HostCase {
  std::string_view host;
  Code code;
  std::string_view text;
};

TEST(HostConfig, WhatIsNotSupportedIsNamed) {
  for (const HostCase& c : std::initializer_list<HostCase>{
           {R"({"Links":["a:b:c"]})", Code::kInvalidArgument, "bad format for links: a:b:c"},
           {R"({"Links":["a:"]})", Code::kInvalidArgument, "bad format for links: a:"},
           {R"({"StorageOpt":{"size":"1G"}})", Code::kUnimplemented, "HostConfig.StorageOpt is not supported"},
           {R"({"RestartPolicy":{"Name":"sometimes"}})", Code::kInvalidArgument, "invalid restart policy 'sometimes'"},
           {R"({"RestartPolicy":{"Name":"always"},"AutoRemove":true})", Code::kInvalidArgument, "can't create 'AutoRemove' container with restart policy"},
           {R"({"RestartPolicy":{"Name":"always","MaximumRetryCount":3}})", Code::kInvalidArgument, "maximum retry count cannot be used with restart policy 'always'"},
           {R"({"Memory":1048576})", Code::kInvalidArgument, "Minimum memory limit allowed is 6MB"},
           {R"({"MemorySwap":10485760})", Code::kInvalidArgument, "You should always set the Memory limit when using Memoryswap limit, see usage"},
           {R"({"Runtime":"kata"})", Code::kInvalidArgument, "unknown or invalid runtime name: kata"},
           {R"({"LogConfig":{"Type":"splunk"}})", Code::kInvalidArgument, "logger: no log driver named 'splunk' is registered"},
           {R"({"NanoCpus":500000000,"CpuQuota":5000})", Code::kInvalidArgument, "Conflicting options: Nano CPUs and CPU Period cannot both be set"}}) {
    auto host = complete_host_config(json::Object{{"HostConfig", parse(c.host)}});
    ASSERT_FALSE(host) << c.host;
    EXPECT_EQ(host.error().code(), c.code) << c.host;
    EXPECT_EQ(host.error().message(), c.text);
  }
}

TEST(HostConfig, HasEveryMemberAndItsLimits) {
  auto host = complete_host_config(parse(R"({"HostConfig":{"Memory":33554432,"NanoCpus":500000000,"PidsLimit":50}})"));
  ASSERT_TRUE(host) << host.error().message();
  EXPECT_EQ(json::get_int(*host, {"ShmSize"}), 64 << 20);
  auto limits = make_limits(*host);
  ASSERT_TRUE(limits);
  EXPECT_EQ(limits->memory_bytes_max, 32 << 20);
  EXPECT_EQ(limits->memory_swap_bytes_max, 64 << 20);
  EXPECT_EQ(limits->cpu_quota_us, 50'000);
  EXPECT_EQ(limits->pids_max, 50);
}

std::string mounts(std::string_view host) {
  auto complete = complete_host_config(json::Object{{"HostConfig", parse(host)}});
  if (!complete) return complete.error().message();
  auto planned = plan_mounts(parse(R"({"Volumes":{"/data":{}}})"), *complete);
  if (!planned) return planned.error().message();
  std::string out;
  for (const MountPoint& m : *planned) out += cat(m.type, " ", m.name, m.source, ">", m.destination, m.read_only ? " ro" : "", m.options.empty() ? "" : " " + m.options, ";");
  return out;
}

TEST(Mounts, BindsVolumesAndTmpfs) {
  EXPECT_EQ(mounts("{}"), "volume >/data;");
  EXPECT_EQ(mounts(R"({"Binds":["/a/../b:/x:ro","named:/data"]})"), "bind /b>/x ro;volume named>/data;");
  EXPECT_EQ(mounts(R"({"Mounts":[{"Type":"tmpfs","Target":"/t","TmpfsOptions":{"SizeBytes":1024,"Mode":511}}],"Tmpfs":{"/u":"size=1m"}})"), "tmpfs >/t size=1024,mode=777;tmpfs >/u size=1m;volume >/data;");
  EXPECT_EQ(mounts(R"({"Binds":["/a:/x","/b:/x"]})"), "Duplicate mount point: /x");
  EXPECT_EQ(mounts(R"({"Binds":["/a"]})"), "invalid volume specification: '/a'");
  EXPECT_EQ(mounts(R"({"Binds":["/a:/x:sideways"]})"), "invalid mode: sideways");
  EXPECT_EQ(mounts(R"({"Binds":["/a:/"]})"), "invalid volume specification: '/a:/': invalid mount config for type \"bind\": destination can't be '/'");
  EXPECT_EQ(mounts(R"({"Mounts":[{"Type":"npipe","Target":"/t"}]})"), "mount type unknown: \"npipe\"");
}

TEST(Ports, ArePublishedAsAskedOrAsExposed) {
  auto ports = plan_ports(parse(R"({"ExposedPorts":{"80/tcp":{},"53/udp":{}}})"), parse(R"({"PortBindings":{"80/tcp":[{"HostIp":"127.0.0.1","HostPort":"8080"}]},"PublishAllPorts":true})"));
  ASSERT_TRUE(ports);
  ASSERT_EQ(ports->size(), 2U);
  EXPECT_EQ((*ports)[0].host_port, 8080);
  EXPECT_EQ((*ports)[1].container, "53/udp");
  EXPECT_FALSE(plan_ports(parse("{}"), parse(R"({"PortBindings":{"0/tcp":[]}})")));
  EXPECT_FALSE(plan_ports(parse("{}"), parse(R"({"PortBindings":{"80/icmp":[]}})")));
  EXPECT_FALSE(plan_ports(parse("{}"), parse(R"({"PortBindings":{"80/tcp":[{"HostPort":"65536"}]}})")));
  // On loopback alone only the proxy listens.
  auto rules = host_ports(*ports);
  ASSERT_TRUE(rules);
  EXPECT_EQ(rules->size(), 1U);
}

TEST(Names, OfContainersAndSignals) {
  EXPECT_TRUE(check_object_name("web.1_a-b", "container"));
  for (std::string_view bad : {"", "a", "-a", "a b", "a/b", "\xC3\xA4x"}) EXPECT_FALSE(check_object_name(bad, "container")) << bad;
  EXPECT_TRUE(check_object_name(std::string(255, 'a'), "volume"));
  EXPECT_FALSE(check_object_name(std::string(256, 'a'), "volume"));
  EXPECT_EQ(parse_signal("SIGTERM"), 15);
  EXPECT_EQ(parse_signal("kill"), 9);
  EXPECT_EQ(parse_signal("RTMIN+3"), 37);
  EXPECT_EQ(parse_signal("64"), 64);
  EXPECT_EQ(parse_signal("65"), std::nullopt);
  EXPECT_EQ(parse_signal("TERMINATE"), std::nullopt);
  EXPECT_EQ(familiar_name("docker.io/library/a:1"), "a:1");
  EXPECT_EQ(familiar_name("docker.io/b/a:1"), "b/a:1");
  EXPECT_EQ(familiar_name("localhost:5000/a:1"), "localhost:5000/a:1");
}

TEST(FiltersOf, BothFormsAndLabels) {
  auto filters = Filters::parse(R"({"label":{"a=b":true,"c=d":false},"status":["running"]})");
  ASSERT_TRUE(filters);
  EXPECT_EQ(filters->get("label"), std::vector<std::string>{"a=b"});
  EXPECT_TRUE(filters->is("status", "running"));
  EXPECT_FALSE(filters->is("status", "exited"));
  EXPECT_TRUE(filters->is("other", "anything"));
  json::Object labels{{"a", "b"}};
  EXPECT_TRUE(filters->labels_match(&labels));
  labels["a"] = "c";
  EXPECT_FALSE(filters->labels_match(&labels));
  EXPECT_FALSE(filters->labels_match(nullptr));
  EXPECT_FALSE(filters->only({"label"}));
  for (std::string_view bad : {"[", "[]", R"({"a":1})", R"({"a":[1]})"}) EXPECT_FALSE(Filters::parse(bad)) << bad;
}

TEST(Moments, AsClientsWriteThem) {
  WallTime now{std::chrono::seconds(2000)};
  EXPECT_EQ(*parse_moment("1000", now), WallTime(std::chrono::seconds(1000)));
  EXPECT_EQ(*parse_moment("1000.5", now), WallTime(std::chrono::milliseconds(1'000'500)));
  EXPECT_EQ(*parse_moment("10m", now), WallTime(std::chrono::seconds(1400)));
  EXPECT_EQ(*parse_moment("1970-01-01T00:00:07Z", now), WallTime(std::chrono::seconds(7)));
  EXPECT_FALSE(parse_moment("yesterday", now));
}

TEST(HealthOf, TurnsWithItsChecks) {
  HealthPlan plan = plan_health(parse(R"({"Healthcheck":{"Test":["CMD-SHELL","ok"],"Retries":2,"Interval":5000000000}})"));
  EXPECT_EQ(plan.command, (std::vector<std::string>{"/bin/sh", "-c", "ok"}));
  EXPECT_EQ(plan.interval, std::chrono::seconds(5));
  EXPECT_TRUE(plan_health(parse(R"({"Healthcheck":{"Test":["NONE"]}})")).command.empty());
  Health health;
  EXPECT_FALSE(record_health(health, {.exit_code = 1}, plan, true));  // in the start period
  EXPECT_EQ(health.failing_streak, 0);
  EXPECT_TRUE(record_health(health, {.exit_code = 0}, plan, true));
  EXPECT_EQ(health.status, "healthy");
  EXPECT_FALSE(record_health(health, {.exit_code = 1}, plan, false));
  EXPECT_TRUE(record_health(health, {.exit_code = 1}, plan, false));
  EXPECT_EQ(health.status, "unhealthy");
  for (int i = 0; i < 10; ++i) record_health(health, {.exit_code = 0}, plan, false);
  EXPECT_EQ(health.log.size(), 5U);
}

TEST(RegistryAuthOf, Header) {
  EXPECT_EQ(parse_registry_auth(format_base64url(R"({"username":"u","password":"p"})"))->password, "p");
  EXPECT_EQ(parse_registry_auth(format_base64url(cat(R"({"auth":")", format_base64("u:p:q"), R"("})")))->password, "p:q");
  EXPECT_TRUE(parse_registry_auth("")->username.empty());
  EXPECT_FALSE(parse_registry_auth("!"));
  EXPECT_FALSE(parse_registry_auth(format_base64url("[]")));
}

TEST(ContainerRecord, IsReadAsItWasWritten) {
  async::asio::io_context context;
  Container c(context.get_executor());
  c.id = std::string(64, 'b');
  c.name = "web";
  c.config = parse(R"({"Cmd":["x"]})");
  c.host_config = parse(R"({"Memory":1})");
  c.networks = parse(R"({"bridge":{}})");
  c.mounts = {{.type = "volume", .name = "v", .source = "/s", .destination = "/d", .read_only = true, .copy_up = false}};
  c.phase = Phase::kExited;
  c.exit_code = 3;
  c.endpoints["n"] = {.network_id = "n", .ip = "10.0.0.2", .gateway = "10.0.0.1", .mac = "m", .prefix_bits = 24, .interface = "eth0", .names = {"web"}};
  c.ports = {{"80/tcp", "", 8080}};
  std::string text = format_container(c);
  auto again = parse_container(context.get_executor(), c.id, text);
  ASSERT_TRUE(again) << again.error().message();
  EXPECT_EQ(format_container(**again), text);
  EXPECT_FALSE(parse_container(context.get_executor(), c.id, "{}"));
  EXPECT_FALSE(parse_container(context.get_executor(), c.id, "["));
}

class Tree : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string name = "/tmp/docker-test-XXXXXX";
    directory_ = ::mkdtemp(name.data());
  }
  void TearDown() override { std::filesystem::remove_all(directory_); }
  sys::Root root() const { return *sys::Root::open(directory_); }
  std::string directory_;
};

std::string tar_of(const std::vector<image::TarEntry>& entries) {
  codec::StringSink out;
  image::TarWriter tar(out);
  for (const image::TarEntry& e : entries) EXPECT_TRUE(tar.begin(e));
  EXPECT_TRUE(tar.finish());
  return out.text();
}

TEST_F(Tree, GoesOutAndComesIn) {
  std::filesystem::create_directories(directory_ + "/from/below");
  std::filesystem::create_directories(directory_ + "/to");
  std::ofstream(directory_ + "/from/below/file") << "content";
  std::filesystem::create_symlink("below/file", directory_ + "/from/link");
  codec::StringSink out;
  ASSERT_TRUE(write_tree(root(), "/from", "renamed", out));
  codec::MemorySource in(out.text());
  Result<> extracted = extract_tree(in, root(), "/to", {});
  ASSERT_TRUE(extracted) << extracted.error().message();
  EXPECT_EQ(*root().read_file("/to/renamed/below/file", 100), "content");
  EXPECT_EQ(*root().read_link("/to/renamed/link"), "below/file");
  EXPECT_EQ(json::get_string(*describe_path(root(), "/to/renamed/link"), {"linkTarget"}), "/to/renamed/below/file");
}

TEST_F(Tree, NothingLeavesTheRoot) {
  std::filesystem::create_directories(directory_ + "/inner/dir");
  std::string up = tar_of({{.name = "../out", .mode = 0644}});
  codec::MemorySource in(up);
  EXPECT_EQ(extract_tree(in, root(), "/inner", {}).error().code(), Code::kInvalidArgument);
  // A link that points above, then a file through it.
  std::string through = tar_of({{.type = image::TarEntry::Type::kSymlink, .name = "l", .link = "../.."}, {.name = "l/out", .mode = 0644}});
  codec::MemorySource again(through);
  (void)extract_tree(again, *root().open_root("/inner"), "/dir", {});
  EXPECT_FALSE(std::filesystem::exists(directory_ + "/out"));
  EXPECT_FALSE(std::filesystem::exists(directory_ + "/../out"));
}

TEST_F(Tree, KindsAreKeptWhereAsked) {
  std::filesystem::create_directories(directory_ + "/name");
  std::string tar = tar_of({{.name = "name", .mode = 0644}});
  codec::MemorySource in(tar);
  Result<> kept = extract_tree(in, root(), "/", {.keep_kinds = true});
  ASSERT_FALSE(kept);
  EXPECT_NE(kept.error().message().find("cannot overwrite directory \"name\" with non-directory"), std::string::npos);
}

TEST_F(Tree, ChangesAreWhatTheUpperHas) {
  std::filesystem::create_directories(directory_ + "/lower/etc");
  std::filesystem::create_directories(directory_ + "/upper/etc");
  std::filesystem::create_directories(directory_ + "/upper/new");
  std::ofstream(directory_ + "/lower/etc/passwd") << "a";
  std::ofstream(directory_ + "/upper/etc/passwd") << "b";
  std::ofstream(directory_ + "/upper/etc/hosts") << "";
  auto found = find_changes(directory_ + "/upper", {directory_ + "/lower"}, {"/etc/hosts"});
  ASSERT_TRUE(found);
  EXPECT_EQ(json::format(json::Value(*found)), R"([{"Path":"/etc","Kind":0},{"Path":"/etc/passwd","Kind":0},{"Path":"/new","Kind":1}])");
}

}  // namespace
}  // namespace monopod::docker
