#include "container/oci/systemd.h"

#include <gtest/gtest.h>

#include "base/strings.h"

namespace monopod::container::oci {
namespace {

BusMessage signal_of(std::string_view job, std::string_view result) {
  BusWriter body;
  body.put_u32(7);
  body.put_text(job);
  body.put_text("a.scope");
  body.put_text(result);
  BusMessage out;
  out.type = BusMessageType::kSignal;
  out.serial = 9;
  out.path = "/org/freedesktop/systemd1";
  out.interface = "org.freedesktop.systemd1.Manager";
  out.member = "JobRemoved";
  out.signature = "uoss";
  out.body = body.bytes();
  return out;
}

TEST(BusMessage, ComesBackAsItWentAndInAnyPieces) {
  std::string one = format_bus_message(signal_of("/job/1", "done"));
  std::string stream = one + format_bus_message(signal_of("/job/22", "failed"));
  std::string received;
  std::vector<BusMessage> messages;
  for (char byte : stream) {
    received += byte;
    Result<std::optional<BusMessage>> message = parse_bus_message(received);
    ASSERT_TRUE(message) << message.error().message();
    if (*message) messages.push_back(**message);
  }
  ASSERT_EQ(messages.size(), 2U);
  EXPECT_EQ(messages[0].member, "JobRemoved");
  EXPECT_EQ(format_bus_message(messages[0]), one);
  BusReader in(messages[1].body);
  EXPECT_EQ(in.u32(), 7U);
  EXPECT_EQ(in.text(), "/job/22");
  EXPECT_EQ(in.text(), "a.scope");
  EXPECT_EQ(in.text(), "failed");
  EXPECT_TRUE(in.ok());
  EXPECT_EQ(in.text(), "");
  EXPECT_FALSE(in.ok());
}

// D-Bus specification, "Message Format": a call of Ping, byte by byte.
TEST(BusMessage, StandsAsTheSpecificationHasIt) {
  BusMessage ping;
  ping.serial = 1;
  ping.path = "/";
  ping.member = "Ping";
  const std::string expected("l\1\0\1\0\0\0\0\1\0\0\0\x1d\0\0\0" "\1\1o\0\1\0\0\0/\0\0\0\0\0\0\0" "\3\1s\0\4\0\0\0Ping\0\0\0\0", 48);
  EXPECT_EQ(format_bus_message(ping), expected);
}

TEST(BusMessage, WhatNoMessageBeginsWithIsAnError) {
  std::string good = format_bus_message(signal_of("/job/1", "done"));
  struct Case {
    std::size_t at;
    char byte;
  };
  for (const Case& one : {Case{0, 'B'}, Case{1, 0}, Case{1, 5}, Case{3, 2}, Case{6, 0x7f}, Case{14, 0x7f}, Case{18, 'x'}}) {
    std::string bytes = good;
    bytes[one.at] = one.byte;
    EXPECT_FALSE(parse_bus_message(bytes)) << one.at;
  }
}

TEST(Scope, IsPlannedFromThePathOfTheConfig) {
  struct Case {
    const char* path;
    const char* slice;
    const char* unit;
    const char* group;
  };
  for (const Case& one : {Case{"", "system.slice", "monopod-c1.scope", "system.slice/monopod-c1.scope"},
                          Case{"machine.slice:libpod:abc", "machine.slice", "libpod-abc.scope", "machine.slice/libpod-abc.scope"},
                          Case{"kubepods-besteffort-pod1.slice:cri-containerd:x", "kubepods-besteffort-pod1.slice", "cri-containerd-x.scope",
                               "kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod1.slice/cri-containerd-x.scope"},
                          Case{"-.slice:a:b", "-.slice", "a-b.scope", "a-b.scope"}, Case{":a:b", "system.slice", "a-b.scope", "system.slice/a-b.scope"},
                          Case{"a.slice::b", "a.slice", "b.scope", "a.slice/b.scope"}}) {
    Result<Scope> scope = plan_scope(one.path, "c1", false);
    ASSERT_TRUE(scope) << one.path;
    EXPECT_EQ(cat(scope->slice, " ", scope->unit, " ", scope->group), cat(one.slice, " ", one.unit, " ", one.group));
  }
  EXPECT_EQ(plan_scope("", "c1", true)->slice, "user.slice");
  for (const char* path : {"/a", "a.slice:b", "a.slice:b:c:d", "a:b:c", ".slice:b:c", "-a.slice:b:c", "a-.slice:b:c", "a--b.slice:b:c", "a/b.slice:b:c", "a.slice:b:",
                           "a.slice:b:c/d", "a.slice:b:c.slice", "a.slice:b:c d"})
    EXPECT_FALSE(plan_scope(path, "c1", false)) << path;
}

TEST(Scope, LimitsAreWhatSystemdCallsThem) {
  struct Case {
    bool v2;
    const char* resources;
    const char* expected;
  };
  constexpr const char* kNone = "18446744073709551615";
  for (const Case& one : {Case{true, R"({"memory":{"limit":4096,"swap":8192,"reservation":1024},"pids":{"limit":7}})", "MemoryLow=1024 MemoryMax=4096 MemorySwapMax=4096 TasksMax=7"},
                          Case{true, R"({"cpu":{"shares":1024,"quota":15000,"period":100000}})", "CPUWeight=100 CPUQuotaPerSecUSec=150000"},
                          Case{true, R"({"cpu":{"quota":12345,"period":100000}})", "CPUQuotaPerSecUSec=130000"}, Case{true, R"({"memory":{"limit":-1}})", "MemoryMax=NONE"},
                          Case{true, R"({"cpu":{"cpus":"0-2,9","mems":"0"}})", "AllowedCPUs=7,2 AllowedMemoryNodes=1"}, Case{true, R"({"blockIO":{"weight":1000}})", "IOWeight=10000"},
                          Case{false, R"({"memory":{"limit":4096},"cpu":{"shares":512,"quota":-1}})", "CPUShares=512 MemoryLimit=4096 CPUQuotaPerSecUSec=NONE"},
                          Case{true, R"({"hugepageLimits":[{"pageSize":"2MB","limit":0}]})", ""}}) {
    Result<json::Value> resources = json::parse(one.resources);
    ASSERT_TRUE(resources);
    Result<std::vector<Setting>> settings = plan_resources(*resources, one.v2);
    ASSERT_TRUE(settings) << settings.error().message();
    std::vector<std::string> found;
    for (const ScopeProperty& property : scope_properties(*settings)) {
      std::vector<std::string> bytes;
      for (char byte : property.bytes) bytes.push_back(cat(static_cast<int>(byte)));
      std::string number = cat(property.number);
      found.push_back(cat(property.name, "=", property.type == ScopeProperty::Type::kBytes ? join(bytes, ",") : number == kNone ? "NONE" : number));
    }
    EXPECT_EQ(join(found, " "), one.expected) << one.resources;
  }
}

}  // namespace
}  // namespace monopod::container::oci
