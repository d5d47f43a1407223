#include "container/oci/bundle.h"

#include <gtest/gtest.h>

#include "base/strings.h"
#include "container/mount_options.h"
#include "container/oci/group.h"
#include "container/oci/resources.h"
#include "container/oci/runtime.h"

namespace monopod::container::oci {
namespace {

json::Value example() { return json::parse(example_config(false)).value(); }

struct Case {
  const char* text;
  const char* path;  // a.b.c
  json::Value value;
};

TEST(Bundle, TheExampleIsABundle) {
  for (bool rootless : {false, true}) {
    Result<Bundle> bundle = parse_bundle("/b", example_config(rootless));
    ASSERT_TRUE(bundle) << bundle.error().message();
    EXPECT_EQ(bundle->config.rootfs, "/b/rootfs");
    EXPECT_EQ(bundle->config.uid_mappings.empty(), !rootless);
  }
}

TEST(Bundle, WhatIsWrongIsNamed) {
  const std::vector<Case> cases = {
      {"ociVersion is missing", "ociVersion", ""},
      {"ociVersion \"2.0.0\" is not supported", "ociVersion", "2.0.0"},
      {"ociVersion \"1.x\" is not a version", "ociVersion", "1.x"},
      {"ociVersion \"1.0\" is not a version", "ociVersion", "1.0"},
      {"root.path is missing", "root.path", ""},
      {"process.cwd is missing", "process", json::Object()},
      {"process.cwd is missing", "process.cwd", ""},
      {"working directory x is not absolute", "process.cwd", "x"},
      {"process has no arguments", "process.args", json::Array()},
      {"args is not a list of strings", "process.args", json::Array{1}},
      {"linux is missing", "linux", nullptr},
      {"hooks is not an object", "hooks", json::Array()},
      {"linux.intelRdt is not supported", "linux.intelRdt", json::Object{{"closID", "x"}}},
      {"windows is not supported", "windows", json::Object{{"layerFolders", json::Array{"x"}}}},
      {"a container without a mount namespace is not supported", "linux.namespaces", json::Array()},
      {"unknown namespace moon", "linux.namespaces", json::Array{json::Object{{"type", "moon"}}}},
      {"mounts: destination is missing", "mounts", json::Array{json::Object{{"type", "tmpfs"}}}},
      {"mount /x: type is missing", "mounts", json::Array{json::Object{{"destination", "/x"}}}},
      {"a bind mount has no source", "mounts", json::Array{json::Object{{"destination", "/x"}, {"type", "bind"}}}},
      {"tmpcopyup is for tmpfs", "mounts", json::Array{json::Object{{"destination", "/x"}, {"type", "proc"}, {"options", json::Array{"tmpcopyup"}}}}},
      {"idmap has no mappings", "mounts", json::Array{json::Object{{"destination", "/x"}, {"source", "/"}, {"options", json::Array{"bind", "idmap"}}}}},
      {"linux.resources is not an object", "linux.resources", 5},
      {"linux.resources.memory.limit is not a number in range", "linux.resources.memory", json::Object{{"limit", "1G"}}},
      {"memory.swap is below memory.limit", "linux.resources.memory", json::Object{{"limit", 20}, {"swap", 10}}},
      {"linux.resources.memory.swappiness is not in 0-100", "linux.resources.memory", json::Object{{"swappiness", 101}}},
      {"linux.resources.cpu.period is not in 1000-1000000 microseconds", "linux.resources.cpu", json::Object{{"period", 999}}},
      {"linux.resources.blockIO.weight is not in 10-1000", "linux.resources.blockIO", json::Object{{"weight", 1001}}},
      {"linux.resources.hugepageLimits is not a list of page sizes", "linux.resources.hugepageLimits", json::Array{json::Object{{"pageSize", "../x"}, {"limit", 1}}}},
      {"linux.resources.devices.access is not of r, w and m", "linux.resources.devices", json::Array{json::Object{{"allow", true}, {"access", "rx"}}}},
      {"linux.resources.devices.type is not a, b, c or u", "linux.resources.devices", json::Array{json::Object{{"type", "z"}}}},
      {"sysctl kernel.panic is not of a namespace", "linux.sysctl", json::Object{{"kernel.panic", "1"}}},
      {"process.capabilities: \"cap_chown\" is not a capability", "process.capabilities.bounding", json::Array{"cap_chown"}},
      {"listenerMetadata needs listenerPath", "linux.seccomp", json::Object{{"defaultAction", "SCMP_ACT_ALLOW"}, {"listenerMetadata", "x"}}},
  };
  for (const Case& one : cases) {
    json::Value value = example();
    json::Value* at = &value;
    for (std::string_view name : split(one.path, '.')) at = &json::at_path(*at, {name});
    *at = one.value;
    Result<Bundle> bundle = parse_bundle("/b", json::format(value));
    ASSERT_FALSE(bundle) << one.text;
    EXPECT_NE(bundle.error().message().find(one.text), std::string::npos) << bundle.error().message() << "\nwant: " << one.text;
  }
}

TEST(Bundle, UnknownMembersAndCapabilitiesOfTheFutureAreIgnored) {
  json::Value value = example();
  json::at_path(value, {"x-new"}) = json::Object{{"a", 1}};
  json::at_path(value, {"linux", "resources", "new"}) = json::Object{{"a", 1}};
  json::at_path(value, {"process", "capabilities", "bounding"}) = json::Array{"CAP_CHOWN", "CAP_TELEPORT"};
  json::at_path(value, {"process", "capabilities", "effective"}) = json::Array();
  json::at_path(value, {"process", "capabilities", "permitted"}) = json::Array();
  Result<Bundle> bundle = parse_bundle("/b", json::format(value));
  ASSERT_TRUE(bundle) << bundle.error().message();
  EXPECT_EQ(bundle->config.process.capabilities.bounding, std::vector<std::string>{"CAP_CHOWN"});
}

TEST(Bundle, PathsBecomeAbsolute) {
  json::Value value = example();
  json::at_path(value, {"mounts"}) = json::Array{json::Object{{"destination", "data"}, {"type", "bind"}, {"source", "files"}}};
  Result<Bundle> bundle = parse_bundle("/b", json::format(value));
  ASSERT_TRUE(bundle) << bundle.error().message();
  EXPECT_EQ(bundle->config.mounts[0].destination, "/data");
  EXPECT_EQ(bundle->config.mounts[0].source, "/b/files");
}

std::string lines(const char* resources, bool v2) {
  Result<std::vector<Setting>> settings = plan_resources(json::parse(resources).value(), v2);
  if (!settings) return settings.error().message();
  std::string out;
  for (const Setting& one : *settings) out += cat(one.file, "=", one.value, ";");
  return out;
}

TEST(Resources, EveryMemberHasItsFileOnBothVersions) {
  struct Row {
    const char* resources;
    const char* v1;
    const char* v2;
  };
  for (const Row& row : {
           Row{R"({"memory":{"limit":1000,"swap":3000}})", "memory.limit_in_bytes=1000;memory.memsw.limit_in_bytes=3000;memory.limit_in_bytes=1000;",
               "memory.max=1000;memory.swap.max=2000;"},
           Row{R"({"memory":{"limit":-1,"reservation":5}})", "memory.soft_limit_in_bytes=5;memory.limit_in_bytes=-1;", "memory.low=5;memory.max=max;"},
           Row{R"({"memory":{"swappiness":0}})", "memory.swappiness=0;", "linux.resources.memory.swappiness is not in control groups v2"},
           Row{R"({"memory":{"swappiness":18446744073709551615,"limit":0}})", "", ""},
           Row{R"({"memory":{"disableOOMKiller":false}})", "", ""},
           Row{R"({"cpu":{"shares":1024,"quota":50000,"period":100000,"burst":10}})",
               "cpu.shares=1024;cpu.cfs_burst_us=10;cpu.cfs_period_us=100000;cpu.cfs_quota_us=50000;", "cpu.weight=100;cpu.max.burst=10;cpu.max=50000 100000;"},
           Row{R"({"cpu":{"quota":-1}})", "cpu.cfs_quota_us=-1;", "cpu.max=max 100000;"},
           Row{R"({"cpu":{"cpus":"0-1","mems":"0","idle":1}})", "cpu.idle=1;cpuset.cpus=0-1;cpuset.mems=0;", "cpu.idle=1;cpuset.cpus=0-1;cpuset.mems=0;"},
           Row{R"({"pids":{"limit":-1}})", "pids.max=max;", "pids.max=max;"},
           Row{R"({"pids":{"limit":7}})", "pids.max=7;", "pids.max=7;"},
           Row{R"({"blockIO":{"weight":10,"throttleReadBpsDevice":[{"major":8,"minor":0,"rate":9}]}})", "blkio.weight=10;blkio.throttle.read_bps_device=8:0 9;",
               "io.weight=default 1;io.max=8:0 rbps=9;"},
           Row{R"({"hugepageLimits":[{"pageSize":"2MB","limit":4}]})", "hugetlb.2MB.limit_in_bytes=4;", "hugetlb.2MB.max=4;"},
           Row{R"({"rdma":{"mlx5_1":{"hcaHandles":3,"hcaObjects":4}}})", "rdma.max=mlx5_1 hca_handle=3 hca_object=4;", "rdma.max=mlx5_1 hca_handle=3 hca_object=4;"},
           Row{R"({"network":{"classID":5,"priorities":[{"name":"eth0","priority":3}]}})", "net_cls.classid=5;net_prio.ifpriomap=eth0 3;",
               "linux.resources.network.classID is not in control groups v2"},
           Row{R"({"unified":{"memory.high":"5"}})", "invalid configuration: linux.resources.unified needs control groups v2 alone", "memory.high=5;"},
           Row{R"({"unified":{"../memory.high":"5"}})", "invalid configuration: linux.resources.unified needs control groups v2 alone",
               "linux.resources.unified.../memory.high is not a file of a control group and its text"}}) {
    EXPECT_EQ(lines(row.resources, false), row.v1) << row.resources;
    EXPECT_EQ(lines(row.resources, true), row.v2) << row.resources;
  }
}

TEST(Resources, NamesMayBeSpeltAsGoTakesThem) {
  json::Value value = json::parse(R"({"cpu":{"shares":5,"cpus":"3"},"CPU":{"Cpus":"0","mems":"1"},"Memory":{"LIMIT":7},"unified":{"Memory.High":"1"}})").value();
  EXPECT_EQ(spell_resources(value), json::parse(R"({"cpu":{"shares":5,"cpus":"0","mems":"1"},"memory":{"limit":7},"unified":{"Memory.High":"1"}})").value());
}

TEST(Resources, BfqTakesWeightsAsTheyAre) {
  auto settings = plan_resources(json::parse(R"({"blockIO":{"weight":500,"weightDevice":[{"major":8,"minor":0,"weight":300}]}})").value(), true);
  ASSERT_TRUE(settings && settings->size() == 2);
  EXPECT_EQ((*settings)[0].value + "|" + (*settings)[0].bfq_value, "default 4950|500");
  EXPECT_EQ((*settings)[1].value + "|" + (*settings)[1].bfq_value, "8:0 2930|8:0 300");
}

TEST(Resources, LimitsBelowWhatIsInUseAreRejectedWhereThatIsAskedFor) {
  struct Row {
    const char* memory;
    const char* error;
  };
  for (const Row& row : {Row{R"({"limit":1024,"checkBeforeUpdate":true})", "rejecting memory limit below the 2000 bytes in use"}, Row{R"({"limit":1024,"swap":2048,"checkBeforeUpdate":true})", "rejecting memory+swap limit below the 2100 bytes in use"},
                         Row{R"({"limit":1024})", ""}, Row{R"({"limit":2000,"swap":-1,"checkBeforeUpdate":true})", ""}}) {
    Result<> checked = check_memory_use(json::parse(cat(R"({"memory":)", row.memory, "}")).value(), 2000, 100);
    EXPECT_EQ(checked ? "" : checked.error().message(), row.error) << row.memory;
  }
}

TEST(Resources, DeviceRulesWithMinusOneAreWildcards) {
  Result<std::vector<sys::DeviceRule>> rules = parse_device_rules(json::parse(R"({"devices":[{"allow":true,"type":"c","major":-1,"minor":3,"access":"r"}]})").value());
  ASSERT_TRUE(rules);
  EXPECT_FALSE((*rules)[0].major);
  EXPECT_EQ((*rules)[0].minor, 3U);
}

TEST(Group, PathsStartAtTheTop) {
  EXPECT_EQ(group_path("", "c1"), "monopod-c1");
  EXPECT_EQ(group_path("//a/b", "c1"), "a/b");
  EXPECT_EQ(group_path("a/b", "c1"), "a/b");
  EXPECT_EQ(group_path("/", "c1"), "");
}

TEST(MountOptions, WordsOfTheSpecificationAreUnderstood) {
  Mount mount{.destination = "/x", .type = "tmpfs", .options = {"ro", "nosuid", "rnoexec", "noatime", "rslave", "size=5", "sync", "idmap", "defaults"}};
  MountOptions options = parse_mount_options(mount);
  EXPECT_EQ(options.attributes.set, 0x1U | 0x2U | 0x10U);
  EXPECT_EQ(options.attributes.clear, 0x70U);
  EXPECT_EQ(options.recursive.set, 0x8U);
  EXPECT_EQ(options.propagation, kPropagationSlave);
  EXPECT_TRUE(options.propagation_recursive);
  EXPECT_TRUE(options.id_map);
  EXPECT_FALSE(options.id_map_recursive);
  EXPECT_EQ(options.data, (std::vector<std::pair<std::string, std::string>>{{"size", "5"}, {"sync", ""}}));
  // The later of two that contradict wins.
  mount.options = {"ro", "rw", "noexec", "exec"};
  options = parse_mount_options(mount);
  EXPECT_EQ(options.attributes.set, 0U);
  EXPECT_EQ(options.attributes.clear, 0x1U | 0x8U);
}

TEST(Signals, HaveNamesAndNumbers) {
  EXPECT_EQ(find_signal("TERM"), 15);
  EXPECT_EQ(find_signal("sigkill"), 9);
  EXPECT_EQ(find_signal("RTMIN+3"), 37);
  EXPECT_EQ(find_signal("RTMAX-1"), 63);
  EXPECT_EQ(find_signal("64"), 64);
  EXPECT_EQ(find_signal("0"), 0);
  for (const char* text : {"", "-1", "65", "SIG", "MOON", "RTMIN+31", "TERM+1"}) EXPECT_FALSE(find_signal(text)) << text;
}

}  // namespace
}  // namespace monopod::container::oci
