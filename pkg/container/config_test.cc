#include "container/config.h"

#include <gtest/gtest.h>

#include "base/strings.h"
#include "container/init_spec.h"
#include "container/sandbox.h"
#include "container/seccomp.h"

namespace monopod::container {
namespace {

ContainerConfig full_config() {
  ContainerConfig c = default_config();
  c.rootfs = "/r";
  c.process.args = {"a", "b"};
  c.process.username = "user:group";
  c.process.user.umask = 077;
  c.process.user.additional_gids = {1, 2};
  c.process.rlimits = {{"RLIMIT_NOFILE", 1024, 18446744073709551615U}};
  c.process.oom_score_adj = -5;
  c.process.no_new_privileges = true;
  c.mounts.push_back({"/x", "bind", "/y", {"rbind", "ro"}, "below"});
  c.namespaces.push_back({NamespaceType::kNetwork, "/run/ns/net"});
  c.devices.push_back({"/dev/fuse", 'c', 10, 229, 0660, 1, 2});
  c.resources.limits.cpu_shares = 512;
  c.resources.limits.cpu_quota_us = -1;
  c.resources.limits.memory_bytes_max = 1LL << 40;
  c.resources.limits.pids_max = 100;
  c.sysctl["net.ipv4.ip_forward"] = "1";
  c.annotations["k"] = "v";
  c.cgroup_path = "monopod/a/b";
  c.init = true;
  return c;
}

TEST(Config, JsonRoundTripKeepsEverything) {
  json::Value first = format_config(full_config());
  Result<ContainerConfig> parsed = parse_config(first);
  ASSERT_TRUE(parsed) << parsed.error().message();
  EXPECT_EQ(json::format(format_config(*parsed)), json::format(first));
  EXPECT_EQ(parsed->process.rlimits[0].hard, 18446744073709551615U);
  EXPECT_EQ(parsed->resources.limits.memory_bytes_max, 1LL << 40);
  EXPECT_EQ(json::get_string(first, {"process", "x-username"}), "user:group");
  EXPECT_TRUE(validate_config(*parsed));
}

TEST(Config, InitSpecRoundTrip) {
  InitSpec spec;
  spec.config = full_config();
  spec.seccomp_program = std::string("\0\1\xff", 3);
  spec.cgroup_views = {{"memory", "/a"}, {"", "/b"}};
  spec.mode = InitMode::kExec;
  Result<InitSpec> back = parse_init_spec(format_init_spec(spec));
  ASSERT_TRUE(back);
  EXPECT_EQ(back->seccomp_program, spec.seccomp_program);
  EXPECT_EQ(back->cgroup_views, spec.cgroup_views);
  EXPECT_EQ(back->mode, InitMode::kExec);
  EXPECT_FALSE(parse_init_spec("{}"));
}

TEST(Config, WrongTypesAndUnsupportedMembersAreErrors) {
  for (const char* text : {R"([])", R"({"process":{"args":[1]}})", R"({"process":{"user":{"uid":-1}}})", R"({"process":{"user":{"uid":4294967296}}})",
                           R"({"process":{"user":{"additionalGids":[4294967296]}}})", R"({"mounts":{}})", R"({"linux":{"namespaces":[{"type":"moon"}]}})",
                           R"({"hooks":{"prestart":[{"path":"/x"}]}})", R"({"linux":{"uidMappings":[{"containerID":0}]}})", R"({"process":{"cwd":7}})"}) {
    EXPECT_FALSE(parse_config(*json::parse(text))) << text;
  }
}

TEST(Config, InvalidConfigsAreNamed) {
  struct Case {
    const char* text;
    void (*change)(ContainerConfig&);
  };
  const std::vector<Case> cases = {
      {"root path is not absolute", [](ContainerConfig& c) { c.rootfs = "x"; }},
      {"process has no arguments", [](ContainerConfig& c) { c.process.args.clear(); }},
      {"working directory x is not absolute", [](ContainerConfig& c) { c.process.cwd = "x"; }},
      {"unknown capability CAP_MOON in bounding", [](ContainerConfig& c) { c.process.capabilities.bounding.push_back("CAP_MOON"); }},
      {"capability CAP_CHOWN stands twice in bounding", [](ContainerConfig& c) { c.process.capabilities.bounding.push_back("CAP_CHOWN"); }},
      {"capability CAP_SYS_ADMIN is ambient but not permitted", [](ContainerConfig& c) { c.process.capabilities.ambient = {"CAP_SYS_ADMIN"}; }},
      {"user or group id is out of range 0-2147483647", [](ContainerConfig& c) { c.process.user.uid = 0x80000000U; }},
      {"unknown resource limit RLIMIT_MOON", [](ContainerConfig& c) { c.process.rlimits = {{"RLIMIT_MOON", 1, 1}}; }},
      {"mount destination x is not absolute", [](ContainerConfig& c) { c.mounts.push_back({"x", "tmpfs", "", {}, {}}); }},
      {"device /etc/x is not below /dev", [](ContainerConfig& c) { c.devices.push_back({"/etc/x", 'c', 1, 3, 0, 0, 0}); }},
      {"control group path contains . or ..", [](ContainerConfig& c) { c.cgroup_path = "a/../../b"; }},
      {"user namespaces are not supported yet", [](ContainerConfig& c) { c.namespaces.push_back({NamespaceType::kUser, {}}); }},
      {"process arguments and environment may not contain NUL", [](ContainerConfig& c) { c.process.env.push_back(std::string("A=\0b", 4)); }},
  };
  for (const Case& one : cases) {
    ContainerConfig config = full_config();
    one.change(config);
    Result<> result = validate_config(config);
    ASSERT_FALSE(result) << one.text;
    EXPECT_EQ(result.error().message(), one.text);
  }
}

TEST(Config, CapabilitiesAdjustAsTheFieldDoes) {
  EXPECT_EQ(adjust_capabilities({"NET_ADMIN"}, {"ALL"})->bounding, std::vector<std::string>{"CAP_NET_ADMIN"});
  EXPECT_EQ(adjust_capabilities({"ALL"}, {})->bounding.size(), 41U);
  EXPECT_EQ(adjust_capabilities({"ALL"}, {"SYS_ADMIN"})->bounding.size(), 40U);
  EXPECT_EQ(adjust_capabilities({}, {"cap_chown"})->bounding.size(), 13U);
  EXPECT_FALSE(adjust_capabilities({"MOON"}, {}));
}

TEST(Config, DevicesOfProcessesAreDenyByDefault) {
  std::vector<sys::DeviceRule> rules = default_device_rules();
  EXPECT_FALSE(rules.front().allow);
  EXPECT_EQ(rules.front().type, 'a');
}

TEST(Seccomp, DefaultProfileCompilesForEveryCapabilitySet) {
  for (const auto& caps : {default_capability_names(), std::vector<std::string>(), all_capabilities().bounding}) {
    Result<std::string> program = compile_seccomp(default_seccomp_profile(caps));
    ASSERT_TRUE(program) << program.error().message();
    EXPECT_LE(program->size() / 8, kSeccompInstructionsMax);
    EXPECT_GT(program->size() / 8, 100U);
  }
}

TEST(Seccomp, DockerFormIsFilteredByConditions) {
  auto value = json::parse(R"({"defaultAction":"SCMP_ACT_ERRNO","archMap":[{"architecture":"SCMP_ARCH_X86_64","subArchitectures":["SCMP_ARCH_X86"]}],
    "syscalls":[{"names":["read"],"action":"SCMP_ACT_ALLOW"},{"names":["mount"],"action":"SCMP_ACT_ALLOW","includes":{"caps":["CAP_SYS_ADMIN"]}},
    {"name":"clone","action":"SCMP_ACT_ALLOW","excludes":{"caps":["CAP_SYS_ADMIN"]}}]})");
  EXPECT_EQ(parse_seccomp_profile(*value, {})->rules.size(), 2U);
  EXPECT_EQ(parse_seccomp_profile(*value, {})->rules[1].names[0], "clone");
  EXPECT_EQ(parse_seccomp_profile(*value, {"CAP_SYS_ADMIN"})->rules[1].names[0], "mount");
}

TEST(Sandbox, SysctlsOfOtherNamespacesAreRefused) {
  SysctlNamespaces all{true, true, true};
  for (const char* name : {"net.ipv4.ip_forward", "net/ipv4/conf/eth0/forwarding", "kernel.shmmax", "kernel.msgmax", "kernel.sem", "fs.mqueue.msg_max"})
    EXPECT_TRUE(check_sysctl(name, "1", all)) << name;
  for (const char* name : {"kernel.core_pattern", "vm.swappiness", "kernel.panic", "net..x", "net.ipv4/../../kernel/core_pattern", "", "net.x y", "fs.file-max"})
    EXPECT_FALSE(check_sysctl(name, "1", all)) << name;
  for (const char* value : {"1+net.x=2", "1\n2", "|/bin/sh", "a;b", "$(x)"}) EXPECT_FALSE(check_sysctl("net.ipv4.ip_forward", value, all)) << value;
  EXPECT_FALSE(check_sysctl("net.ipv4.ip_forward", "1", {}));
}

}  // namespace
}  // namespace monopod::container
