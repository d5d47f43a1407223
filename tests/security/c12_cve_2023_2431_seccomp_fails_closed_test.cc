// Profiles that are empty or wrong are errors, and system calls of other architectures do not slip past the filter.
#include <errno.h>
#include <gtest/gtest.h>
#include <signal.h>

#include "async/test_support.h"
#include "container/node_support.h"
#include "container/seccomp.h"

namespace monopod::container {
namespace {

TEST(C12Seccomp, WrongProfilesAreErrors) {
  for (const char* text : {R"({})", R"([])", R"({"defaultAction":""})", R"({"defaultAction":"SCMP_ACT_SING"})",
                           R"({"defaultAction":"SCMP_ACT_ERRNO","architectures":["SCMP_ARCH_MOON"]})",
                           R"({"defaultAction":"SCMP_ACT_ERRNO","flags":["SECCOMP_FILTER_FLAG_MOON"]})",
                           R"({"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["fly"],"action":"SCMP_ACT_ERRNO"}]})",
                           R"({"defaultAction":"SCMP_ACT_ERRNO","syscalls":[{"names":["read"],"action":"SCMP_ACT_SING"}]})",
                           R"({"defaultAction":"SCMP_ACT_ERRNO","syscalls":[{"names":[],"action":"SCMP_ACT_ALLOW"}]})",
                           R"({"defaultAction":"SCMP_ACT_ERRNO","syscalls":[{"names":["read"],"action":"SCMP_ACT_ALLOW","args":[{"index":9,"value":1,"op":"SCMP_CMP_EQ"}]}]})",
                           R"({"defaultAction":"SCMP_ACT_ERRNO","syscalls":[{"names":["read"],"action":"SCMP_ACT_ALLOW","args":[{"index":0,"value":1,"op":"SCMP_CMP_MOON"}]}]})"}) {
    Result<SeccompProfile> profile = parse_seccomp_profile(*json::parse(text), {});
    EXPECT_FALSE(profile && compile_seccomp(*profile)) << text;
  }
}

TEST(C12Seccomp, TooLargeAProgramIsAnError) {
  SeccompProfile profile = default_seccomp_profile({});
  for (std::uint64_t value = 0; value < 3000; ++value) profile.rules.push_back({{"bpf"}, "SCMP_ACT_ALLOW", {}, {{1, value * 0x100000001ULL, 0, "SCMP_CMP_EQ"}}});
  EXPECT_FALSE(compile_seccomp(profile));
}

async::Task<Result<int>> probe(testing_support::NodeCase& node, std::string what, SeccompProfile profile) {
  ContainerConfig config = node.config({"/probe", "probe", what});
  config.mounts.push_back({"/probe", "bind", testing_support::program_path(), {"bind", "ro"}, {}});
  config.seccomp = std::move(profile);
  CO_TRY_ASSIGN(auto out, co_await node.run_container("c1", config));
  co_return out.state.exit_code;
}

MONOPOD_NODE_TEST(C12Seccomp, OtherArchitecturesAndNewCalls) {
  SeccompProfile standard = default_seccomp_profile(default_capability_names());
  struct Case {
    const char* what;
    int code;
  };
  std::vector<Case> cases = {{"new-call", ENOSYS}, {"fchmodat2", ENOENT}, {"vsock", EPERM}, {"clone3", ENOSYS}, {"clone-newuser", EPERM}};
#if defined(__x86_64__)
  cases.push_back({"x32-mount", EPERM});
  cases.push_back({"i386-mount", EPERM});
#endif
  for (const Case& one : cases) {
    CO_TRY_ASSIGN(int code, co_await probe(node, one.what, standard));
    EXPECT_EQ(code, one.code) << one.what;
  }
#if defined(__x86_64__)
  // An architecture that the profile does not list kills.
  SeccompProfile native = standard;
  native.architectures = {"SCMP_ARCH_X86_64"};
  for (const char* what : {"i386-mount", "x32-mount"}) {
    CO_TRY_ASSIGN(int code, co_await probe(node, what, native));
    EXPECT_EQ(code, 128 + SIGSYS) << what;
  }
#endif
  co_return Result<>();
}

// What the first stage itself would have liked to call after loading the filter must not matter.
MONOPOD_NODE_TEST(C12Seccomp, ProfileThatForbidsTalkingAndLooking) {
  for (bool no_new_privileges : {false, true}) {
    ContainerConfig config = node.config({"true"});
    config.process.no_new_privileges = no_new_privileges;
    config.seccomp = SeccompProfile{};
    config.seccomp->default_action = "SCMP_ACT_ALLOW";
    config.seccomp->rules = {{{"sendmsg", "sendto", "faccessat", "faccessat2", "newfstatat", "stat", "close"}, "SCMP_ACT_ERRNO", {}, {}}};
    CO_TRY_ASSIGN(auto out, co_await node.run_container("c1", config));
    EXPECT_EQ(out.state.exit_code, 0);
    config.process.args = {"nothing-such"};
    auto missing = co_await node.run_container("c2", config);
    EXPECT_TRUE(!missing || missing->state.exit_code == 127);
  }
  co_return Result<>();
}

}  // namespace
}  // namespace monopod::container
