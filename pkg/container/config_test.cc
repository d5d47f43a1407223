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
  c.namespaces.push_back({NamespaceType::kUser, {}});
  c.namespaces.push_back({NamespaceType::kTime, {}});
  c.uid_mappings = {{0, 100000, 65536}};
  c.gid_mappings = {{0, 200000, 1}, {1, 300000, 10}};
  c.time_offsets = {{"monotonic", -5, 0}, {"boottime", 1, 999'999'999}};
  c.hooks.prestart = {{"/a", {"a", "b"}, {"X=y"}, 5}};
  c.hooks.poststop = {{"/b", {}, {}, {}}};
  c.personality = {"LINUX32", {}};
  c.memory_policy = {"MPOL_BIND", "0-1", {"MPOL_F_STATIC_NODES"}};
  c.net_devices = {{"eth1", "net0"}, {"eth2", "eth2"}};
  c.mount_label = "label";
  c.process.scheduler = Scheduler{"SCHED_DEADLINE", 0, 0, {"SCHED_FLAG_RECLAIM"}, 1000, 2000, 3000};
  c.process.io_priority = {"IOPRIO_CLASS_BE", 3};
  c.process.exec_cpus_initial = "0";
  c.process.exec_cpus_final = "0-3,7";
  c.process.apparmor_profile = "profile";
  c.process.console_rows = 25;
  c.process.console_columns = 80;
  c.process.capabilities.inheritable = {"CAP_KILL"};
  c.mounts.push_back({.destination = "/m", .type = "bind", .source = "/s", .uid_mappings = {{0, 5, 1}}, .gid_mappings = {{0, 6, 1}}, .source_fd = 9});
  c.seccomp->listener_path = "/run/agent.sock";
  c.seccomp->listener_metadata = "data";
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
                           R"({"hooks":{"prestart":[{"path":7}]}})", R"({"hooks":{"prestart":{}}})", R"({"linux":{"uidMappings":[{"containerID":-1}]}})",
                           R"({"linux":{"intelRdt":{"closID":"a"}}})", R"({"vm":{"kernel":{"path":"/x"}}})", R"({"linux":{"timeOffsets":{"realtime":{"secs":1}}}})",
                           R"({"linux":{"timeOffsets":{"monotonic":{"nanosecs":-1}}}})", R"({"linux":{"netDevices":{"eth0":1}}})", R"({"process":{"cwd":7}})"}) {
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
      {"device path etc/x is not absolute", [](ContainerConfig& c) { c.devices.push_back({"etc/x", 'c', 1, 3, 0, 0, 0}); }},
      {"control group path contains . or ..", [](ContainerConfig& c) { c.cgroup_path = "a/../../b"; }},
      {"linux.uidMappings and linux.gidMappings: a new user namespace needs both", [](ContainerConfig& c) { c.gid_mappings.clear(); }},
      {"linux.uidMappings: no user namespace is asked for", [](ContainerConfig& c) { std::erase_if(c.namespaces, [](const Namespace& n) { return n.type == NamespaceType::kUser; }); }},
      {"linux.uidMappings: size is out of range", [](ContainerConfig& c) { c.uid_mappings = {{0, 1, 0}}; }},
      {"linux.uidMappings: size is out of range", [](ContainerConfig& c) { c.uid_mappings = {{0, 4294967295U, 2}}; }},
      {"linux.gidMappings: ranges overlap", [](ContainerConfig& c) { c.gid_mappings = {{0, 1000, 10}, {9, 2000, 1}}; }},
      {"linux.gidMappings: more than 340 lines", [](ContainerConfig& c) { c.gid_mappings.assign(341, {0, 0, 1}); }},
      {"linux.namespaces: a type stands twice", [](ContainerConfig& c) { c.namespaces.push_back({NamespaceType::kPid, {}}); }},
      {"linux.timeOffsets: no new time namespace is asked for", [](ContainerConfig& c) { std::erase_if(c.namespaces, [](const Namespace& n) { return n.type == NamespaceType::kTime; }); }},
      {"linux.timeOffsets: nanosecs is out of range", [](ContainerConfig& c) { c.time_offsets[0].nanosecs = 1'000'000'000; }},
      {"hooks.poststop: path \"x\" is not absolute", [](ContainerConfig& c) { c.hooks.poststop = {{"x", {}, {}, {}}}; }},
      {"hooks.prestart: timeout is not above 0", [](ContainerConfig& c) { c.hooks.prestart = {{"/x", {}, {}, 0}}; }},
      {"hooks.prestart: more than 64", [](ContainerConfig& c) { c.hooks.prestart.assign(65, {"/x", {}, {}, {}}); }},
      {"process.scheduler.policy: unknown SCHED_MOON", [](ContainerConfig& c) { c.process.scheduler = Scheduler{.policy = "SCHED_MOON"}; }},
      {"process.scheduler.nice is out of range -20-19", [](ContainerConfig& c) { c.process.scheduler = Scheduler{.policy = "SCHED_OTHER", .nice = 20}; }},
      {"process.scheduler.priority: only for SCHED_FIFO and SCHED_RR", [](ContainerConfig& c) { c.process.scheduler = Scheduler{.policy = "SCHED_OTHER", .priority = 1}; }},
      {"process.ioPriority.priority is out of range 0-7", [](ContainerConfig& c) { c.process.io_priority = {"IOPRIO_CLASS_BE", 8}; }},
      {"process.ioPriority.class: unknown BE", [](ContainerConfig& c) { c.process.io_priority = {"BE", 0}; }},
      {"process.execCPUAffinity: \"3-1\" is not a list of cpus", [](ContainerConfig& c) { c.process.exec_cpus_final = "3-1"; }},
      {"linux.personality.domain: unknown BSD", [](ContainerConfig& c) { c.personality = {"BSD", {}}; }},
      {"linux.personality.flags: none is defined", [](ContainerConfig& c) { c.personality = {"LINUX", {"X"}}; }},
      {"linux.memoryPolicy: invalid memory policy mode \"MPOL_MOON\"", [](ContainerConfig& c) { c.memory_policy = {"MPOL_MOON", {}, {}}; }},
      {"linux.netDevices: \"a/b\" is not a device name", [](ContainerConfig& c) { c.net_devices = {{"eth0", "a/b"}}; }},
      {"linux.rootfsPropagation: unknown moon", [](ContainerConfig& c) { c.rootfs_propagation = "moon"; }},
      {"resource limit RLIMIT_NOFILE stands twice", [](ContainerConfig& c) { c.process.rlimits = {{"RLIMIT_NOFILE", 1, 1}, {"RLIMIT_NOFILE", 1, 1}}; }},
      {"process.user.umask is out of range 0-0777", [](ContainerConfig& c) { c.process.user.umask = 01000; }},
      {"mount /x: uidMappings and gidMappings go together", [](ContainerConfig& c) { c.mounts.push_back({.destination = "/x", .uid_mappings = {{0, 0, 1}}}); }},
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
