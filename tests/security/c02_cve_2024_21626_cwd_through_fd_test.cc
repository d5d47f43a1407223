// A working directory that goes through a leaked descriptor would stand outside of the container (also CVE-2016-9962).
#include <gtest/gtest.h>

#include "async/test_support.h"
#include "base/strings.h"
#include "container/node_support.h"

namespace monopod::container {
namespace {

MONOPOD_NODE_TEST(C02CwdThroughFd, IsAnErrorForEveryDescriptor) {
  CO_TRY(co_await node.runtime.create("c1", node.config({"sleep", "1000"}), node.stdio("c1")));
  CO_TRY(co_await node.runtime.start("c1"));
  for (int fd = 0; fd < 24; ++fd) {
    for (const char* tail : {"", "/", "/../..", "/."}) {
      std::string cwd = cat("/proc/self/fd/", fd, tail);
      ExecOptions options;
      options.args = {"pwd"};
      options.cwd = cwd;
      auto out = co_await node.runtime.exec_sync("c1", options, std::chrono::seconds(20));
      EXPECT_FALSE(out) << cwd;
    }
    ContainerConfig config = node.config({"pwd"});
    config.cgroup_path += "-second";
    config.process.cwd = cat("/proc/self/fd/", fd);
    auto out = co_await node.run_container("c2", config);
    EXPECT_FALSE(out) << config.process.cwd;
  }
  co_return co_await node.runtime.remove("c1");
}

MONOPOD_NODE_TEST(C02CwdThroughFd, NoDescriptorLeaksIntoTheProgram) {
  CO_TRY_ASSIGN(auto out, co_await node.run_container("c1", node.config({"sh", "-c", "ls /proc/self/fd"})));
  // 3 is ls's own look at the directory.
  EXPECT_EQ(out.log, "stdout F 0\nstdout F 1\nstdout F 2\nstdout F 3\n");
  CO_TRY(co_await node.runtime.create("c2", node.config({"sleep", "1000"}), node.stdio("c2")));
  CO_TRY(co_await node.runtime.start("c2"));
  ExecOptions options;
  options.args = {"ls", "/proc/self/fd"};
  CO_TRY_ASSIGN(ExecSyncOutput exec, co_await node.runtime.exec_sync("c2", options, std::chrono::seconds(20)));
  EXPECT_EQ(exec.stdout_text, "0\n1\n2\n3\n");
  co_return co_await node.runtime.remove("c2");
}

}  // namespace
}  // namespace monopod::container
