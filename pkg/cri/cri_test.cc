#include <gtest/gtest.h>

#include <csignal>

#include "base/strings.h"
#include "codec/proto_wire.h"
#include "cri/describe.h"
#include "cri/limits.h"
#include "cri/messages.h"
#include "cri/plan.h"

namespace monopod::cri {
namespace {

json::Value tree(std::string_view text) { return json::parse(text).value(); }
const Message& type_of(std::string_view name) { return *Schema::get().find(name); }

struct Case {
  boost::asio::io_context context;
  Sandbox sandbox{context.get_executor()};
  Container container{context.get_executor()};
  image::ImageConfig image;
  Place place{.rootfs = "/root", .files = "/files", .hostname = "host", .cgroup = "cri/s/c", .namespaces = {"/ns/net", "/ns/ipc", "/ns/uts"}, .shm = "/shm"};

  explicit Case(std::string_view config, std::string_view sandbox_config = "{}") {
    sandbox.config = tree(sandbox_config);
    container.config = tree(config);
    container.user = json::Object{{"uid", 7}, {"gid", 8}, {"supplemental_groups", json::Array{8, 9}}};
    image.cmd = {"run"};
    if (const json::Array* mounts = json::get_array(container.config, {"mounts"})) place.mount_sources.assign(mounts->size(), "/source");
  }
  Result<container::ContainerConfig> make() { return make_config(sandbox, container, image, place); }
};

TEST(CriMessages, AreTheSameThereAndBack) {
  json::Value request = tree(R"({"config":{"metadata":{"name":"n","attempt":3},"hostname":"h","port_mappings":[{"protocol":1,"host_port":80}],"labels":{"a":"b"},"linux":{"sysctls":{"x":"1"}}}})");
  std::string bytes = encode_message(request, type_of("RunPodSandboxRequest"));
  EXPECT_EQ(decode_message(bytes, type_of("RunPodSandboxRequest")).value(), request);
}

TEST(CriMessages, DefaultsTakeNoBytesAndPresenceIsKept) {
  EXPECT_EQ(encode_message(tree(R"({"version":""})"), type_of("VersionRequest")), "");
  EXPECT_EQ(encode_message(tree(R"({"config":{}})"), type_of("RunPodSandboxRequest")), std::string("\x0a\x00", 2));
  EXPECT_EQ(decode_message(std::string_view("\x0a\x00", 2), type_of("RunPodSandboxRequest")).value(), tree(R"({"config":{}})"));
}

TEST(CriMessages, PartsOfOneMessageAreMerged) {
  std::string first = ProtoWriter().message(1, ProtoWriter().bytes(2, "h").str()).take();
  std::string second = ProtoWriter().message(1, ProtoWriter().bytes(3, "/log").str()).take();
  EXPECT_EQ(decode_message(first + second, type_of("RunPodSandboxRequest")).value(), tree(R"({"config":{"hostname":"h","log_directory":"/log"}})"));
}

TEST(CriMessages, ListsOfNumbersMayBePacked) {
  std::string packed = ProtoWriter().bytes(2, std::string_view("\x50\xbb\x03", 3)).take();
  EXPECT_EQ(decode_message(packed, type_of("PortForwardRequest")).value(), tree(R"({"port":[80,443]})"));
  EXPECT_FALSE(decode_message(ProtoWriter().bytes(2, "\x80").take(), type_of("PortForwardRequest")));
}

TEST(CriMessages, UnknownFieldsAreSkippedAndBrokenOnesRefused) {
  EXPECT_EQ(decode_message(ProtoWriter().bytes(99, "x").integer(98, 5).take(), type_of("VersionRequest")).value(), tree("{}"));
  for (std::string bytes : {std::string("\x0a\x05x"), std::string("\x08\x01"), ProtoWriter().bytes(1, "\xff").take(), std::string("\x0b")})
    EXPECT_EQ(decode_message(bytes, type_of("VersionRequest")).error().code(), Code::kInvalidArgument);
}

TEST(CriSchema, TellsWhatIsWrongWithItsText) {
  for (std::string_view text : {"A x", "A x=s", "A x=1q", "A x=1:None", "A x=1e", "A x=1s:B", "A =1s"}) EXPECT_FALSE(Schema::parse(text)) << text;
  ASSERT_TRUE(Schema::parse("A b=1+:B\nB x=2s"));
}

TEST(CriSignals, AreThoseOfLinux) {
  EXPECT_EQ(signal_of_enum(23), SIGTERM);
  EXPECT_EQ(signal_of_enum(13), SIGKILL);
  EXPECT_EQ(signal_of_enum(30), SIGUSR2);
  EXPECT_EQ(signal_of_enum(35), 34);
  EXPECT_EQ(signal_of_enum(65), 64);
  for (std::int64_t none : {-1, 0, 66}) EXPECT_EQ(signal_of_enum(none), 0);
  for (std::int64_t value = 1; value <= 65; ++value) EXPECT_EQ(signal_of_enum(enum_of_signal(signal_of_enum(value))), signal_of_enum(value)) << value;
  image::ImageConfig image;
  EXPECT_EQ(stop_signal(tree("{}"), image), SIGTERM);
  image.stop_signal = "SIGQUIT";
  EXPECT_EQ(stop_signal(tree("{}"), image), SIGQUIT);
  EXPECT_EQ(stop_signal(tree(R"({"stop_signal":10})"), image), SIGINT);
}

TEST(CriRequests, OfSandboxesAreCheckedWhole) {
  constexpr std::string_view kGood = R"({"metadata":{"name":"a","uid":"b","namespace":"c"}})";
  EXPECT_TRUE(check_sandbox(tree(kGood)));
  auto with = [&](std::string_view more) {
    json::Value config = tree(kGood);
    for (const auto& member : tree(more).get_object()) config.get_object()[member.key()] = member.value();
    return check_sandbox(config);
  };
  for (std::string_view wrong :
       {R"({"metadata":{}})", R"({"log_directory":"relative"})", R"({"port_mappings":[{"host_port":65536,"container_port":1}]})", R"({"port_mappings":[{"host_port":1}]})",
        R"({"port_mappings":[{"host_port":1,"container_port":1,"host_ip":"x"}]})", R"({"port_mappings":[{"host_port":1,"container_port":1,"protocol":3}]})", R"({"dns_config":{"servers":["x"]}})",
        R"({"linux":{"sysctls":{"kernel.panic":"1"}}})", R"({"linux":{"cgroup_parent":"/a/../b"}})", R"({"linux":{"security_context":{"namespace_options":{"pid":4}}}})", R"({"linux":{"security_context":{"namespace_options":{"ipc":3}}}})",
        R"({"linux":{"security_context":{"run_as_group":{"value":1}}}})", R"({"linux":{"security_context":{"namespace_options":{"network":2}},"sysctls":{"net.ipv4.ip_forward":"1"}}})"})
    EXPECT_EQ(with(wrong).error().code(), Code::kInvalidArgument) << wrong;
  EXPECT_TRUE(with(R"({"linux":{"sysctls":{"net.ipv4.ip_forward":"1"},"security_context":{"namespace_options":{"userns_options":{"mode":2}}}},"port_mappings":[{"host_port":65535,"container_port":65535}]})"));
  auto users = [&](std::string_view options) { return with(cat(R"({"linux":{"security_context":{"namespace_options":)", options, "}}}")); };
  constexpr std::string_view kMaps = R"("uids":[{"host_id":9,"length":4}],"gids":[{"host_id":8,"length":4}])";
  EXPECT_TRUE(users(cat(R"({"userns_options":{)", kMaps, "}}")));
  for (const std::string& wrong : {std::string(R"({"userns_options":{}})"), cat(R"({"userns_options":{"mode":1,)", kMaps, "}}"), cat(R"({"ipc":2,"userns_options":{)", kMaps, "}}"),
                                   std::string(R"({"userns_options":{"uids":[{"host_id":9,"length":4,"container_id":1}],"gids":[{"host_id":9,"length":4}]}})")})
    EXPECT_EQ(users(wrong).error().code(), Code::kInvalidArgument) << wrong;
  sys::IdMaps maps = user_maps(tree(cat(R"({"linux":{"security_context":{"namespace_options":{"userns_options":{)", kMaps, "}}}}}")));
  EXPECT_EQ(maps, (sys::IdMaps{{{0, 9, 4}}, {{0, 8, 4}}}));
  EXPECT_EQ(with(R"({"linux":{"cgroup_parent":"kubepods-pod1.slice"}})").error().code(), Code::kUnimplemented);
  EXPECT_TRUE(with(cat(R"({"hostname":")", std::string(64, 'h'), "\"}")));
  EXPECT_FALSE(with(cat(R"({"hostname":")", std::string(65, 'h'), "\"}")));
}

TEST(CriRequests, OfContainersAreCheckedWhole) {
  boost::asio::io_context context;
  Sandbox sandbox(context.get_executor());
  sandbox.config = tree("{}");
  auto with = [&](std::string_view more) {
    json::Value config = tree(R"({"metadata":{"name":"a"},"image":{"image":"i"}})");
    for (const auto& member : tree(more).get_object()) config.get_object()[member.key()] = member.value();
    return check_container(sandbox, config);
  };
  EXPECT_TRUE(with("{}"));
  for (std::string_view wrong :
       {R"({"metadata":{}})", R"({"image":{}})", R"({"log_path":"../x"})", R"({"stop_signal":66})", R"({"mounts":[{"host_path":"/a","container_path":"b"}]})", R"({"mounts":[{"container_path":"/b"}]})",
        R"({"mounts":[{"host_path":"/a","container_path":"/b","propagation":3}]})", R"({"mounts":[{"host_path":"/a","container_path":"/b","readonly":true,"recursive_read_only":true,"propagation":1}]})",
        R"({"mounts":[{"host_path":"/a","container_path":"/b","image":{}}]})", R"({"devices":[{"host_path":"/a"}]})", R"({"devices":[{"host_path":"/a","container_path":"/b","permissions":"x"}]})",
        R"({"linux":{"security_context":{"run_as_user":{"value":-1}}}})", R"({"linux":{"security_context":{"privileged":true}}})", R"({"linux":{"security_context":{"supplemental_groups":[-1]}}})",
        R"({"linux":{"security_context":{"seccomp":{"profile_type":2}}}})", R"({"linux":{"security_context":{"seccomp":{"profile_type":2,"localhost_ref":"relative"}}}})",
        R"({"linux":{"security_context":{"apparmor":{"profile_type":1,"localhost_ref":"p"}}}})", R"({"linux":{"security_context":{"masked_paths":["relative"]}}})",
        R"({"linux":{"security_context":{"namespace_options":{"network":3}}}})", R"({"linux":{"security_context":{"seccomp_profile_path":"/profile"}}})",
        R"({"linux":{"security_context":{"seccomp_profile_path":"localhost/relative"}}})", R"({"mounts":[{"container_path":"/b","image":{"image":"i"}}]})",
        R"({"mounts":[{"container_path":"/b","readonly":true,"image":{}}]})", R"({"mounts":[{"container_path":"/b","readonly":true,"propagation":1,"image":{"image":"i"}}]})",
        R"({"mounts":[{"container_path":"/b","readonly":true,"image":{"image":"i"},"image_sub_path":"/etc"}]})", R"({"mounts":[{"container_path":"/b","readonly":true,"image":{"image":"i"},"image_sub_path":"a/../../b"}]})",
        R"({"linux":{"security_context":{"cgroup_mount_mode":3}}})", R"({"mounts":[{"host_path":"/a","container_path":"/b","gidMappings":[{}]}]})",
        R"({"linux":{"security_context":{"namespace_options":{"userns_options":{"uids":[{"host_id":9,"length":1}],"gids":[{"host_id":9,"length":1}]}}}}})"})
    EXPECT_EQ(with(wrong).error().code(), Code::kInvalidArgument) << wrong;
  EXPECT_TRUE(with(R"({"linux":{"security_context":{"seccomp_profile_path":"localhost//profile","cgroup_mount_mode":1}}})"));
  EXPECT_TRUE(with(R"({"mounts":[{"container_path":"/b","readonly":true,"image":{"image":"i"},"image_sub_path":"etc/x"}]})"));
  sandbox.config = tree(R"({"linux":{"security_context":{"privileged":true}}})");
  EXPECT_EQ(with(R"({"linux":{"security_context":{"privileged":true,"cgroup_mount_mode":1}}})").error().code(), Code::kInvalidArgument);
  EXPECT_EQ(with(R"({"CDI_devices":[{"name":"x"}]})").error().code(), Code::kUnimplemented);
}

TEST(CriPlan, CommandsAndEnvironmentAreTheImagesUnlessAskedOtherwise) {
  Case plain("{}");
  plain.image.entrypoint = {"entry"};
  plain.image.env = {"A=1", "B=2"};
  plain.image.working_dir = "/work";
  auto config = plain.make().value();
  EXPECT_EQ(config.process.args, (std::vector<std::string>{"entry", "run"}));
  EXPECT_EQ(config.process.cwd, "/work");
  EXPECT_EQ(config.process.user.uid, 7U);
  EXPECT_EQ(config.process.user.additional_gids, (std::vector<std::uint32_t>{8, 9}));
  Case args(R"({"args":["x"],"envs":[{"key":"A","value":"3"},{"key":"HOME","value":"/h"}]})");
  args.image = plain.image;
  config = args.make().value();
  EXPECT_EQ(config.process.args, (std::vector<std::string>{"entry", "x"}));
  EXPECT_EQ(std::ranges::count(config.process.env, "A=3"), 1);
  EXPECT_EQ(std::ranges::count(config.process.env, "A=1"), 0);
  EXPECT_EQ(std::ranges::count(config.process.env, "HOSTNAME=host"), 1);
  EXPECT_EQ(std::ranges::count(config.process.env, "HOME=/h"), 1);
  Case command(R"({"command":["c"]})");
  command.image = plain.image;
  EXPECT_EQ(command.make().value().process.args, (std::vector<std::string>{"c"}));
  Case none("{}");
  none.image.cmd.clear();
  EXPECT_EQ(none.make().error().code(), Code::kInvalidArgument);
}

TEST(CriPlan, SeccompIsOnlyWhatIsAskedFor) {
  EXPECT_FALSE(Case("{}").make().value().seccomp);
  EXPECT_TRUE(Case(R"({"linux":{"security_context":{"seccomp":{}}}})").make().value().seccomp);
  EXPECT_TRUE(Case(R"({"linux":{"security_context":{"seccomp_profile_path":"runtime/default"}}})").make().value().seccomp);
  EXPECT_FALSE(Case(R"({"linux":{"security_context":{"seccomp":{"profile_type":1}}}})").make().value().seccomp);
  EXPECT_FALSE(Case(R"({"linux":{"security_context":{"privileged":true,"seccomp":{}}}})").make().value().seccomp);
  Case local(R"({"linux":{"security_context":{"seccomp":{"profile_type":2,"localhost_ref":"/p"}}}})");
  local.place.seccomp_json = R"({"defaultAction":"SCMP_ACT_LOG"})";
  EXPECT_EQ(local.make().value().seccomp->default_action, "SCMP_ACT_LOG");
  local.place.seccomp_json = "nonsense";
  EXPECT_FALSE(local.make());
}

TEST(CriPlan, LabelsCountWhereTheHostHasThem) {
  Case profile(R"({"linux":{"security_context":{"apparmor":{"profile_type":2,"localhost_ref":"p"},"selinux_options":{"user":"u","role":"r","type":"t","level":"l"}}}})");
  EXPECT_EQ(profile.make().error().code(), Code::kFailedPrecondition);
  profile.place.apparmor = true;
  EXPECT_EQ(profile.make().value().process.apparmor_profile, "p");
  EXPECT_EQ(profile.make().value().process.selinux_label, "");
  EXPECT_EQ(apparmor_profile(tree(R"({"linux":{"security_context":{"apparmor_profile":"localhost/old"}}})")), "old");
  EXPECT_EQ(apparmor_profile(tree(R"({"linux":{"security_context":{"apparmor_profile":"localhost/old","apparmor":{"profile_type":2,"localhost_ref":"localhost/new"}}}})")), "new");
  EXPECT_EQ(apparmor_profile(tree(R"({"linux":{"security_context":{"apparmor_profile":"runtime/default"}}})")), "");
  profile.place.selinux = true;
  EXPECT_EQ(profile.make().value().process.selinux_label, "u:r:t:l");
}

TEST(CriPlan, NamespacesAreThePodsTheContainersOrTheNodes) {
  auto has = [](const container::ContainerConfig& config, container::NamespaceType type) { return container::find_namespace(config, type); };
  auto config = Case("{}").make().value();
  EXPECT_EQ(has(config, container::NamespaceType::kNetwork)->path, "/ns/net");
  EXPECT_EQ(has(config, container::NamespaceType::kIpc)->path, "/ns/ipc");
  EXPECT_EQ(has(config, container::NamespaceType::kPid)->path, "");
  constexpr std::string_view kNode = R"({"linux":{"security_context":{"namespace_options":{"network":2,"pid":2,"ipc":2}}}})";
  config = Case(kNode, kNode).make().value();
  for (auto type : {container::NamespaceType::kNetwork, container::NamespaceType::kIpc, container::NamespaceType::kPid, container::NamespaceType::kUts}) EXPECT_EQ(has(config, type), nullptr);
  config = Case(R"({"linux":{"security_context":{"namespace_options":{"ipc":1}}}})").make().value();
  EXPECT_EQ(has(config, container::NamespaceType::kIpc)->path, "");
}

TEST(CriPlan, MountsAreOrderedAndReplaceWhatIsThereAnyway) {
  auto config = Case(R"({"mounts":[{"container_path":"/a/b","readonly":true,"recursive_read_only":true},{"container_path":"/a","propagation":2},{"container_path":"/etc/hosts"},{"container_path":"/dev/shm"}]})").make().value();
  auto at = [&](std::string_view path) { return std::ranges::find(config.mounts, path, &container::Mount::destination) - config.mounts.begin(); };
  EXPECT_LT(at("/a"), at("/a/b"));
  EXPECT_EQ(std::ranges::count(config.mounts, "/etc/hosts", &container::Mount::destination), 1);
  EXPECT_EQ(std::ranges::count(config.mounts, "/dev/shm", &container::Mount::destination), 1);
  EXPECT_EQ(config.mounts[static_cast<std::size_t>(at("/a/b"))].options, (std::vector<std::string>{"rbind", "rprivate", "ro", "rro"}));
  EXPECT_EQ(config.mounts[static_cast<std::size_t>(at("/a"))].options, (std::vector<std::string>{"rbind", "rshared", "rw"}));
  EXPECT_EQ(config.rootfs_propagation, "shared");
}

TEST(CriPlan, DeclaredVolumesStayWritableBelowAReadOnlyRoot) {
  constexpr std::string_view kFixed = R"({"linux":{"security_context":{"readonly_rootfs":true}},"mounts":[{"container_path":"/taken"}]})";
  for (auto [text, volumes] : {std::pair(std::string_view("{}"), std::vector<std::string>{}), std::pair(kFixed, std::vector<std::string>{"/data", "/var/lib/x"})}) {
    Case c(text);
    c.image.volumes = {"/", "/data/", "/taken", "/var/lib/x"};
    c.place.volumes = "/volumes";
    EXPECT_EQ(declared_volumes(c.container.config, c.image), volumes);
    auto config = c.make().value();
    for (const container::Mount& m : config.mounts)
      if (m.source == "/volumes") EXPECT_EQ("/" + m.source_below, m.destination);
    EXPECT_EQ(std::ranges::count(config.mounts, "/volumes", &container::Mount::source), static_cast<std::ptrdiff_t>(volumes.size()));
  }
}

TEST(CriPlan, ControlGroupsAreWritableWhereThatIsSafe) {
  auto writable = [](Case&& c) {
    auto config = c.make().value();
    auto mount = std::ranges::find(config.mounts, "/sys/fs/cgroup", &container::Mount::destination);
    return std::ranges::find(mount->options, "rw") != mount->options.end();
  };
  EXPECT_FALSE(writable(Case("{}")));
  EXPECT_TRUE(writable(Case(R"({"linux":{"security_context":{"privileged":true}}})")));
  Case asked(R"({"linux":{"security_context":{"cgroup_mount_mode":2}}})");
  EXPECT_EQ(asked.make().error().code(), Code::kFailedPrecondition);
  asked.place.delegated = true;
  EXPECT_TRUE(writable(std::move(asked)));
}

TEST(CriUsers, AreMergedOrStrict) {
  container::ResolvedUser user{.uid = 1, .gid = 2, .additional_gids = {3, 2}, .name = "u"};
  EXPECT_EQ(json::format(effective_user(tree(R"({"linux":{"security_context":{"supplemental_groups":[4,3]}}})"), user)), R"({"uid":1,"gid":2,"supplemental_groups":[2,3,4]})");
  EXPECT_EQ(json::format(effective_user(tree(R"({"linux":{"security_context":{"supplemental_groups":[4],"supplemental_groups_policy":1}}})"), user)), R"({"uid":1,"gid":2,"supplemental_groups":[2,4]})");
  image::ImageConfig image;
  image.user = "web:web";
  EXPECT_EQ(user_text(tree("{}"), image), "web:web");
  EXPECT_EQ(user_text(tree(R"({"linux":{"security_context":{"run_as_user":{},"run_as_group":{"value":5}}}})"), image), "0:5");
  EXPECT_EQ(user_text(tree(R"({"linux":{"security_context":{"run_as_username":"x"}}})"), image), "x");
}

TEST(CriResources, AreMergedByWhatIsSaid) {
  json::Value merged = merge_resources(tree(R"({"cpu_shares":5,"memory_limit_in_bytes":7,"cpuset_cpus":"0"})"), tree(R"({"cpu_shares":0,"memory_limit_in_bytes":9,"cpuset_cpus":""})"));
  EXPECT_EQ(json::format(merged), R"({"cpu_shares":5,"memory_limit_in_bytes":9,"cpuset_cpus":"0"})");
  sys::CgroupLimits limits = make_limits(merged);
  EXPECT_EQ(limits.cpu_shares, 5U);
  EXPECT_EQ(limits.memory_bytes_max, 9);
  EXPECT_FALSE(limits.cpu_quota_us);
}

TEST(CriRecords, SurviveARestart) {
  Case one(R"({"metadata":{"name":"n","attempt":2},"labels":{"a":"b"}})", R"({"metadata":{"name":"p"}})");
  one.container.sandbox_id = "s";
  one.container.phase = Phase::kExited;
  one.container.exit_code = 3;
  one.container.reason = "Error";
  one.container.created = WallTime(std::chrono::nanoseconds(1'700'000'000'123'456'789));
  auto read = parse_container(one.context.get_executor(), "c", format_container(one.container)).value();
  EXPECT_EQ(json::format(describe_container_status(*read, {})), [&] {
    one.container.id = "c";
    return json::format(describe_container_status(one.container, {}));
  }());
  EXPECT_EQ(read->phase, Phase::kExited);
  one.container.phase = Phase::kRunning;
  EXPECT_EQ(parse_container(one.context.get_executor(), "c", format_container(one.container)).value()->phase, Phase::kCreated) << "who runs is the runtime's to say";
  one.sandbox.ready = true;
  one.sandbox.ip = "10.0.0.1";
  auto sandbox = parse_sandbox(one.context.get_executor(), "s", format_sandbox(one.sandbox)).value();
  EXPECT_EQ(std::pair(sandbox->ready, sandbox->ip), std::pair(true, std::string("10.0.0.1")));
  for (std::string_view damaged : {"", "{", "[]", "{}"}) EXPECT_FALSE(parse_sandbox(one.context.get_executor(), "s", damaged));
}

TEST(CriFilters, AreAllOfThemTogether) {
  Case one(R"({"labels":{"a":"b","c":"d"}})");
  one.container.id = "abcdef";
  one.container.sandbox_id = "123456";
  EXPECT_TRUE(matches(tree("{}"), one.container));
  EXPECT_TRUE(matches(tree(R"({"id":"abc","pod_sandbox_id":"1234","state":{},"label_selector":{"a":"b"}})"), one.container));
  for (std::string_view other : {R"({"id":"b"})", R"({"pod_sandbox_id":"2"})", R"({"state":{"state":1}})", R"({"label_selector":{"a":"c"}})", R"({"label_selector":{"x":""}})"})
    EXPECT_FALSE(matches(tree(other), one.container)) << other;
}

TEST(CriFiles, AreThoseOfThePod) {
  Case one("{}", R"({"hostname":"web"})");
  one.sandbox.ip = "10.85.0.7";
  EXPECT_TRUE(make_hosts(one.sandbox, "").ends_with("10.85.0.7\tweb\n"));
  EXPECT_EQ(make_resolv_conf(tree("{}"), "nameserver 1.2.3.4\n"), "nameserver 1.2.3.4\n");
  EXPECT_EQ(make_resolv_conf(tree(R"({"dns_config":{"servers":["9.9.9.9"],"options":["ndots:2"]}})"), "nameserver 1.2.3.4\n"), "nameserver 9.9.9.9\noptions ndots:2\n");
}

}  // namespace
}  // namespace monopod::cri
